"""Drawings and paintings: what they keep of an image, what they leave out, and how hands differ."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations.drawing import warped
from make_it_real.degradations.kinds import DEGRADATIONS, degraded


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def portraits(n: int, side: int = 64) -> Tensor:
    """Soft images of a pale oval with dark eyes and hair before a coloured ground, (n, 3, S, S)."""
    y = torch.linspace(-1, 1, side)[:, None]
    x = torch.linspace(-1, 1, side)

    def oval(down: float, right: float, high: float, wide: float) -> Tensor:
        inside: Tensor = ((y - down) / high) ** 2 + ((x - right) / wide) ** 2 < 1
        return inside.float()

    hair, skin = oval(-0.1, 0, 0.9, 0.7), oval(0.1, 0, 0.7, 0.5)
    eyes = oval(-0.05, -0.2, 0.08, 0.1) + oval(-0.05, 0.2, 0.08, 0.1) + oval(0.45, 0, 0.05, 0.2)
    image = torch.tensor([0.1, 0.3, 0.2])[:, None, None].expand(3, side, side)
    image = torch.lerp(image, torch.tensor([-0.8, -0.85, -0.9])[:, None, None], hair)
    image = torch.lerp(image, torch.tensor([0.7, 0.5, 0.3])[:, None, None], skin)
    image = torch.lerp(image, torch.full((3, 1, 1), -0.7), eyes.clamp(max=1))
    soft = F.avg_pool2d(F.pad(image[None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return soft.expand(n, -1, -1, -1).clone()


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of images' mean channels, one by one, (n,)."""
    a, b = (v.mean(1).flatten(1) - v.mean((1, 2, 3))[:, None] for v in (a, b))
    return F.cosine_similarity(a, b)


def test_pencils_draw_in_as_many_hands_as_there_are_images() -> None:
    x = portraits(64)
    y = degraded(x, "pencil", generator=seeded())
    assert y.min() >= -1.2
    assert y.max() <= 1.2
    apart = (y[:, None] - y[None]).abs().mean((2, 3, 4)) + torch.eye(64)
    assert apart.min() > 0.01
    # Dark on light paper, most of it bare or nearly so; some on white, some on toned paper.
    paper = y.mean(1).flatten(1).quantile(0.9, dim=1)
    assert (paper > 0.9).float().mean() > 0.3
    assert (paper < 0.7).float().mean() > 0.1
    # Nearly all without colour, where the image has some.
    chroma = (y.amax(1) - y.amin(1)).mean((1, 2))
    assert (chroma < 0.2).float().mean() > 0.85
    assert (x.amax(1) - x.amin(1)).mean() > 0.2


def test_pencils_draw_dark_what_is_dark_and_where_edges_are() -> None:
    x = portraits(200)
    y = degraded(x, "pencil", generator=seeded(1)).mean(1)
    edge = degraded(x, "edges", generator=seeded()).mean(1) < 0
    near = F.max_pool2d(edge.float()[:, None], 5, stride=1, padding=2)[:, 0] > 0
    darker = (y * ~near).sum((1, 2)) / (~near).sum((1, 2)) - (y * near).sum((1, 2)) / near.sum(
        (1, 2)
    )
    assert (darker > 0.01).float().mean() > 0.7
    # What the photograph shows is still told, in shades or in lines.
    assert correlation(y[:, None], x).mean() > 0.25


def test_some_drawings_are_a_pens_black_lines_alone() -> None:
    y = degraded(portraits(200), "pencil", generator=seeded(3)).mean(1)
    paper = y.flatten(1).quantile(0.75, dim=1)[:, None, None]
    black = (y < paper - 0.7).float().mean((1, 2))
    between = ((y >= paper - 0.7) & (y < paper - 0.15)).float().mean((1, 2))
    penned = (black > 0.015) & (between < 0.15 * black)
    assert 0.05 < float(penned.float().mean()) < 0.3


def test_the_background_is_left_white_in_many_drawings_and_not_in_all() -> None:
    x = portraits(200)
    # Stripes behind the head, which a drawing of everything shows.
    stripes = 0.5 * ((torch.arange(64) // 4) % 2) - 0.25
    x[..., :6, :] = stripes
    y = degraded(x, "pencil", generator=seeded(2)).mean(1)
    # Rows average the grain of the paper out.
    corner = y[:, 1:5, :10].mean(1)
    shown = corner.amax(1) - corner.amin(1)
    assert 0.2 < float((shown < 0.1).float().mean()) < 0.8


def test_a_higher_level_is_farther_from_the_photograph() -> None:
    x = portraits(40)
    for kind in ("pencil", "colour-blocks"):
        quarter, half, whole = (
            (degraded(x, kind, level, generator=seeded()) - x).abs().mean()
            for level in (0.25, 0.5, 1.0)
        )
        assert quarter < half < whole


@pytest.mark.parametrize("side", [64, 160])
def test_proportions_go_wrong_by_a_pixel_or_two_of_64(side: int) -> None:
    ramp = torch.arange(side) / side * 2 - 1
    x = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)])
    y = warped(x.expand(50, -1, -1, -1), torch.ones(50), seeded())
    # Beyond the border there is nothing to be moved there.
    edge = side // 8
    offset = (y - x)[:, :, edge:-edge, edge:-edge] * 32
    moved = offset.square().sum(1).sqrt()
    assert 0.3 < float(moved.mean()) < 2
    assert 2 < float(moved.max()) < 7
    # Smooth: neighbours go nearly the same way.
    assert float(offset.diff(dim=3).abs().max()) < 0.7 * 64 / side


def test_dodging_leaves_even_parts_white_and_lines_where_it_gets_dark() -> None:
    x = torch.full((1, 3, 64, 64), 0.4)
    x[..., 30:34] = -0.6
    y = degraded(x, "dodge-and-burn", generator=seeded(0))
    assert torch.equal(y, degraded(x, "dodge-and-burn", generator=seeded(1)))
    torch.testing.assert_close(y[..., :16], torch.ones(1, 3, 64, 16))
    assert y[..., 30:34].max() < 0.2
    # A wider Gaussian knows more of what lies around, and leaves the line darker.
    assert degraded(x, "dodge-and-burn", 8, generator=seeded())[..., 32].mean() < y[..., 32].mean()


def test_edges_are_lines_a_pixel_wide_around_what_differs() -> None:
    x = torch.full((2, 3, 64, 64), -0.5)
    x[0, :, 20:44, 20:44] = 0.5
    y = degraded(x, "edges", generator=seeded())
    assert set(y.unique().tolist()) == {-1, 1}
    assert torch.equal(y, degraded(x, "edges", generator=seeded(1)))
    black = y[0, 0] < 0
    # Along one side: on its edge, in one or two pixels between which the slopes are equal.
    assert bool(black[24:40, 18:22].any(1).all())
    assert int(black[24:40, :32].sum(1).max()) <= 2
    assert not black[24:40, 24:40].any()
    assert not (y[1] < 0).any()
    soft = degraded(portraits(1), "edges", 0.6, generator=seeded()) < 0
    assert (
        0 < int(soft.sum()) < int((degraded(portraits(1), "edges", generator=seeded()) < 0).sum())
    )


def test_colour_blocks_have_few_colours_or_strokes_and_the_images_own() -> None:
    x = portraits(60)
    y = degraded(x, "colour-blocks", generator=seeded())
    colours = torch.tensor([len((image * 1000).round().flatten(1).unique(dim=1).T) for image in y])
    assert float((colours <= 10).float().mean()) > 0.3
    assert int(colours.max()) > 20
    assert float((y - x).abs().mean()) < 0.5
    assert correlation(y, x).mean() > 0.7
    others = degraded(x, "colour-blocks", generator=seeded(1))
    assert (others - y).abs().mean((1, 2, 3)).min() > 0.005


def test_noise_lies_over_drawings_and_some_of_these_are_in_colour() -> None:
    x = portraits(200)
    page = degraded(x, "noisy-drawing", 0, generator=seeded())
    saturation = (page.amax(1) - page.amin(1)).flatten(1).quantile(0.9, dim=1)
    assert 0.1 < float((saturation > 0.25).float().mean()) < 0.4
    added = degraded(x, "noisy-drawing", 0.7, generator=seeded()) - page
    assert float(added.std()) == pytest.approx(0.7, rel=0.02)
    assert correlation(added, page).abs().mean() < 0.05


@pytest.mark.parametrize("kind", ["pencil", "colour-blocks", "noisy-drawing"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 200, 120)])
def test_lengths_grow_with_the_image(kind: str, shape: tuple[int, int, int]) -> None:
    x = F.interpolate(portraits(12), shape[1:], mode="bilinear")[:, : shape[0]]
    y = degraded(x, kind, generator=seeded())
    assert y.shape == x.shape
    assert y.isfinite().all()


def test_a_block_covers_its_share_in_one_rectangle_of_many_paints() -> None:
    x = portraits(400)
    y = degraded(x, "block", 0.14, generator=seeded())
    changed = (y != x).any(1)
    shares = changed.float().mean((1, 2))
    assert float(shares.median()) == pytest.approx(0.14, abs=0.02)
    flat = 0
    corners = set()
    for image, hidden in zip(y, changed, strict=True):
        rows, columns = hidden.any(1).nonzero(), hidden.any(0).nonzero()
        box = image[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        corners.add((int(rows.min()), int(columns.min())))
        ratio = box.shape[1] / box.shape[2]
        assert 1 / 3 < ratio < 3
        flat += int(box.flatten(1).unique(dim=1).shape[1] == 1)
    assert len(corners) > 200
    # The rest is of noise.
    assert 0.75 * len(y) < flat < 0.95 * len(y)
    assert DEGRADATIONS["block"].apply(x[:2], torch.tensor([0.0, 1.0]), seeded())[0].equal(x[0])


def test_the_central_block_is_20_by_28_grey_pixels_of_64() -> None:
    x = portraits(3) + 0.013
    y = degraded(x, "central-block", generator=seeded())
    assert not y[..., 18:46, 22:42].any()
    y[..., 18:46, 22:42] = x[..., 18:46, 22:42]
    assert torch.equal(y, x)
    wide = torch.ones(1, 3, 100, 400)
    covered = degraded(wide, "central-block", 0.7, generator=seeded()) == 0
    assert int(covered[0, 0].any(1).sum()) == 70
    assert int(covered[0, 0].any(0).sum()) == 50
