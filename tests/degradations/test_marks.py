"""Scratches, dust, creases and holes: how many, where, how large, and what is left alone."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations import marks
from make_it_real.degradations.kinds import DEGRADATIONS, degraded

MARKS = ("scratches", "dust", "creases", "holes")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def marked(kind: str, count: float, side: tuple[int, int] = (100, 120), n: int = 16) -> Tensor:
    """Where n grey images are painted, (n, H, W)."""
    x = torch.full((n, 3, *side), 0.123)
    y = degraded(x, kind, count, generator=seeded())
    assert y.min() >= -1
    assert y.max() <= 1
    changed = y != x
    assert torch.equal(changed.any(1), changed.all(1))
    return changed.any(1)


@pytest.mark.parametrize("kind", MARKS)
def test_none_changes_nothing_and_more_cover_more(kind: str) -> None:
    assert not marked(kind, 0).any()
    few, many = marked(kind, 1), marked(kind, 4)
    assert few.flatten(1).any(1).all()
    assert 2 * few.sum() < many.sum() < 0.4 * many.numel()


@pytest.mark.parametrize("kind", MARKS)
def test_each_image_has_as_many_as_its_level(kind: str) -> None:
    x = torch.full((2, 1, 64, 64), 0.123)
    y = DEGRADATIONS[kind].apply(x, torch.tensor([0.0, 2.0]), seeded())
    assert torch.equal(y[0], x[0])
    assert not torch.equal(y[1], x[1])


def test_scratches_are_thin_and_long() -> None:
    painted = marked("scratches", 1)
    # Widths are up to 2.5 pixels, and a pixel at each side that is painted in part.
    eroded = -F.max_pool2d(-painted[:, None].float(), 5, stride=1)
    assert not eroded.any()
    longest = torch.maximum(painted.any(2).sum(1), painted.any(1).sum(1))
    assert float(longest.float().mean()) > 40


@pytest.mark.parametrize(("number", "straight"), [(0.1, True), (0.9, False)])
def test_some_scratches_are_straight_and_some_are_bent(number: float, straight: bool) -> None:
    r = [0.2, 0.5, 0.5, 0.9, 0.5, 0.5, 0.5, number, 0.5]
    (x0, y0), *middle, (x1, y1) = marks._scratch(r, 100, 100, 1.0)[0]
    off = [abs((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)) / 100 for x, y in middle]
    assert (max(off) < 1e-9) == straight


@pytest.mark.parametrize("kind", MARKS)
def test_some_have_hard_edges(kind: str) -> None:
    painted = degraded(torch.full((100, 1, 60, 60), 0.123), kind, 1, generator=seeded())
    assert sum(len(image.unique()) == 2 for image in painted) == pytest.approx(42, abs=15)


def test_creases_go_from_edge_to_edge() -> None:
    for image in marked("creases", 1):
        across = image[:, 0].any() and image[:, -1].any()
        upright = image[0].any() and image[-1].any()
        # Where a slope leaves the image at a corner, it meets one of the other edges.
        assert across or upright or image[[0, -1]].any()


def test_holes_and_dust_are_small_and_in_one_piece() -> None:
    for kind, most in (("holes", 18), ("dust", 10)):
        for image in marked(kind, 1):
            rows, columns = (image.any(axis).nonzero() for axis in (1, 0))
            assert int(rows[-1] - rows[0]) <= most
            assert int(columns[-1] - columns[0]) <= most


def test_a_large_picture_has_larger_marks() -> None:
    small, large = (marked("holes", 8, (side, side), n=1).sum() for side in (1000, 3000))
    assert float(large / small) == pytest.approx(9, rel=0.3)


def test_marks_have_several_paints_and_some_show_through() -> None:
    x = torch.full((60, 1, 40, 40), 0.123)
    y = degraded(x, "creases", 1, generator=seeded())
    flat = y.flatten(1)
    paints = flat.gather(1, (flat - 0.123).abs().argmax(1, keepdim=True))
    assert len(paints.round(decimals=3).unique()) > 20
    assert (y == 1).any()
    assert (y == -1).any()
