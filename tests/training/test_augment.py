"""What the critic is shown: drawn as often as asked, the same again, and open to gradients."""

import pytest
import torch
from torch import Tensor

from make_it_real.training.augment import HOLE, LIGHT, REACH, Augmentation, share_for


def drawn(n: int, share: float, seed: int = 0) -> Augmentation:
    return Augmentation.draw(n, share, torch.Generator().manual_seed(seed))


def still(n: int) -> dict[str, Tensor]:
    return {"shift": torch.zeros(n, 2), "hole": torch.full((n, 2), 9.0), "light": torch.zeros(n)}


@pytest.mark.parametrize(
    ("n", "share"), [(2, 0.6), (1_999, 0.6), (2_000, 0.3), (9_999, 0.3), (10_000, 0.0)]
)
def test_fewer_images_are_changed_more(n: int, share: float) -> None:
    assert share_for(n) == share


def test_nothing_drawn_changes_nothing() -> None:
    x = torch.rand(5, 3, 12, 12)
    assert torch.equal(drawn(5, 0.0)(x), x)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_each_change_is_made_as_often_as_asked(share: float) -> None:
    change = drawn(4000, share)
    made = {
        "shift": change.shift.abs().sum(1) > 0,
        "hole": change.hole[:, 0] < 2,
        "light": change.light != 0,
    }
    for name, changed in made.items():
        assert float(changed.float().mean()) == pytest.approx(share, abs=0.03), name
    assert change.shift.abs().max() <= REACH
    assert change.light.abs().max() <= LIGHT
    # Independently: two of them coincide as often as chance has it.
    both = float((made["shift"] & made["light"]).float().mean())
    assert both == pytest.approx(share**2, abs=0.03)


def test_a_change_is_the_same_whenever_it_is_applied_and_for_a_part() -> None:
    x, change = torch.rand(8, 1, 16, 16), drawn(8, 0.8)
    assert torch.equal(change(x), change(x))
    assert torch.equal(change[2:5](x[2:5]), change(x)[2:5])
    assert not torch.equal(change(x), drawn(8, 0.8, seed=1)(x))


def test_a_shift_moves_by_whole_pixels_and_repeats_the_edge() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    moved = Augmentation(**{**still(1), "shift": torch.tensor([[0.25, -0.5]])})(x)
    wanted = [[2, 3, 3, 3], [2, 3, 3, 3], [6, 7, 7, 7], [10, 11, 11, 11]]
    assert moved[0, 0].tolist() == wanted


def test_a_hole_is_grey_and_a_light_is_added() -> None:
    x = torch.ones(1, 3, 8, 8)
    holed = Augmentation(**{**still(1), "hole": torch.tensor([[0.5, 0.0]])})(x)
    wanted = torch.ones(8, 8)
    wanted[2:6, :2] = 0
    assert torch.equal(holed[0, 1], wanted)
    assert HOLE == 0.5
    lit = Augmentation(**{**still(1), "light": torch.tensor([-0.25])})(x)
    assert torch.equal(lit, x - 0.25)


def test_gradients_of_gradients_go_through() -> None:
    x = torch.rand(6, 1, 12, 12, requires_grad=True)
    change = drawn(6, 1.0)
    (gradient,) = torch.autograd.grad((change(x) ** 3).sum(), x, create_graph=True)
    gradient.square().sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
