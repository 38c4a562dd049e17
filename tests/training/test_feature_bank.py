"""The bank of features: what it keeps, and the energy distance that it computes."""

import pytest
import torch
from torch import Tensor

from make_it_real.training import feature_bank
from make_it_real.training.feature_bank import LEAST, FeatureBank, pooled


def features(n: int, seed: int = 0, *, mean: float = 0.0, spread: float = 1.0) -> list[Tensor]:
    """Features of two resolutions, with 3 and 2 channels."""
    generator = torch.Generator().manual_seed(seed)
    shapes = (n, 3, 4, 4), (n, 2, 2, 2)
    return [mean + spread * torch.randn(shape, generator=generator) for shape in shapes]


def bank(kinds: int = 2) -> FeatureBank:
    return FeatureBank((3, 2), kinds, 2)


def test_features_are_pooled_to_their_mean_and_deviation() -> None:
    h = features(4)
    wanted = [h[0].mean((2, 3)), h[0].std((2, 3)), h[1].mean((2, 3)), h[1].std((2, 3))]
    torch.testing.assert_close(pooled(h), torch.cat(wanted, 1))


@pytest.mark.parametrize("side", [0, 1])
def test_real_features_are_brought_to_one_scale_at_each_side(side: int) -> None:
    kept = bank()
    for seed in range(300):
        for at in (0, 1):
            kept.add_real(features(8, seed, mean=3.0 * at, spread=1.0 + at), at)
    y = kept.scaled(features(4000, 999, mean=3.0 * side, spread=1.0 + side), side)
    assert float(y.mean(0).abs().max()) < 0.15
    assert float((y.std(0) - 1).abs().max()) < 0.15


def test_the_last_ones_of_each_kind_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_bank, "MADE", 3)
    kept = bank()
    rows = torch.arange(7.0)[:, None].expand(-1, 10)
    kinds = torch.tensor([0, 1, 0, 0, 1, 0, 0])
    kept.add_made(rows[:4], kinds[:4])
    assert sorted(kept.made[0, :, 0].tolist()) == [0, 2, 3]
    kept.add_made(rows[4:], kinds[4:])
    assert sorted(kept.made[0, :, 0].tolist()) == [3, 5, 6]
    assert sorted(kept.made[1, :2, 0].tolist()) == [1, 4]
    assert kept.counts.tolist() == [5, 2]


def test_the_last_real_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_bank, "REAL", 4)
    kept = bank()
    for seed in range(3):
        kept.add_real(features(2, seed), 0)
    last = kept.scaled(features(2, 2), 0)
    torch.testing.assert_close(kept.real[:2], last)
    assert int(kept.count) == 6


def test_it_is_the_energy_distance_up_to_what_f_has_no_part_in() -> None:
    kept = bank()
    for seed in range(8):
        kept.add_real(features(10, seed), 0)
    made = kept.scaled(features(30, 77, mean=0.3), 0)
    kept.add_made(made, torch.zeros(30, dtype=torch.long))
    y = kept.scaled(features(5, 78, mean=0.3), 0)
    to_real = (y[:, None] - kept.real[None, :80]).norm(dim=2).mean()
    to_made = (y[:, None] - made[None]).norm(dim=2).mean()
    found = kept.distance(y, torch.zeros(5, dtype=torch.long))
    torch.testing.assert_close(found, (to_real - to_made) / 10**0.5, rtol=1e-4, atol=1e-5)


def test_a_kind_of_which_there_are_few_counts_nothing() -> None:
    kept = bank()
    kept.add_real(features(50), 0)
    y = kept.scaled(features(2, 5), 0).requires_grad_()
    kept.add_made(kept.scaled(features(LEAST - 1, 6), 0), torch.zeros(LEAST - 1, dtype=torch.long))
    assert float(kept.distance(y, torch.tensor([0, 1])).detach()) == 0
    kept.add_made(kept.scaled(features(1, 7), 0), torch.zeros(1, dtype=torch.long))
    (gradient,) = torch.autograd.grad(kept.distance(y, torch.tensor([0, 1])), y)
    assert (gradient.norm(dim=1) > 0).tolist() == [True, False]


def test_following_its_gradient_images_that_are_all_alike_become_as_different_as_real_ones() -> (
    None
):
    kept = bank(1)
    for seed in range(60):
        kept.add_real(features(16, seed), 0)
    y = (0.1 * kept.scaled(features(64, 5), 0)).requires_grad_()
    kinds = torch.zeros(64, dtype=torch.long)
    optimizer = torch.optim.Adam([y], lr=0.02)
    for _ in range(200):
        kept.add_made(y.detach(), kinds)
        optimizer.zero_grad()
        kept.distance(y, kinds).backward()
        optimizer.step()
    assert 0.7 < float(y.detach().std(0).mean()) < 1.2
