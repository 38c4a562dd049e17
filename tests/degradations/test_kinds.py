"""Each corruption: its level's meaning, its neutral level, its randomness, its kind of images."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from make_it_real.degradations import kinds as degradations_kinds
from make_it_real.degradations.kinds import (
    COLOUR_DAMAGE,
    DEGRADATIONS,
    GREY_DAMAGE,
    Degradation,
    check_damage,
    damage_weights,
    degraded,
    kept_out,
    randomly_degraded,
)
from make_it_real.models.ign import IGNConfig
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.config import AdversarialConfig, default_config

KINDS = sorted(DEGRADATIONS)
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 12, 20), (3, 12, 20)]
NEUTRAL = {
    "noise": 0, "mask": 0, "contrast": 1, "light": 0, "thin": 0, "grayscale": 0, "blur": 0,
    "salt-and-pepper": 0, "low-resolution": 1, "pixelate": 1, "glass": 0, "lines": 1,
    "coarse-noise": 0, "cast": 0, "saturation": 1, "gamma": 1, "motion-blur": 1,
    "anisotropic-blur": 0, "plateau-blur": 0, "defocus": 0, "phone-noise": 0, "sharpen": 0,
    "fading": 0, "downscale": 1, "scratches": 0, "dust": 0, "creases": 0, "holes": 0,
    "block": 0, "central-block": 0, "pencil": 0, "colour-blocks": 0,
}  # fmt: skip


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(n: int, channels: int = 1, height: int = 28, width: int = 28) -> Tensor:
    """Images with shapes and texture in [−1, 1], (n, C, H, W)."""
    coarse = torch.rand(n, channels, 4, 4, generator=seeded(1)) * 2 - 1
    x = torch.nn.functional.interpolate(coarse, (height, width), mode="nearest")
    fine = torch.rand(x.shape, generator=seeded(2)) - 0.5
    return (x + fine).clamp(-1, 1)


def apply(kind: str, images: Tensor, levels: list[float], seed: int = 0) -> Tensor:
    return DEGRADATIONS[kind].apply(images, torch.tensor(levels), seeded(seed))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_does_something_and_keeps_the_shape(
    kind: str, shape: tuple[int, int, int]
) -> None:
    x = pictures(3, *shape)
    before = x.clone()
    y = degraded(x, kind, generator=seeded())
    assert torch.equal(x, before)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert y.isfinite().all()
    changed = (y - x).abs().flatten(1).amax(1)
    if kind in ("grayscale", "saturation") and shape[0] == 1:
        assert changed.max() == 0
    else:
        assert changed.min() > 0.01


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_does_the_same_damage(kind: str) -> None:
    x = pictures(4)
    once, again = (degraded(x, kind, generator=seeded(5)) for _ in range(2))
    assert torch.equal(once, again)


@pytest.mark.parametrize("kind", ["noise", "mask", "contrast", "light", "salt-and-pepper"])
def test_another_seed_does_other_damage(kind: str) -> None:
    x = pictures(4)
    y, other = (degraded(x, kind, generator=seeded(seed)) for seed in (5, 6))
    assert not torch.equal(y, other)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", sorted(NEUTRAL))
def test_the_neutral_level_changes_nothing(kind: str, shape: tuple[int, int, int]) -> None:
    x = pictures(3, *shape)
    y = degraded(x, kind, NEUTRAL[kind], generator=seeded())
    torch.testing.assert_close(y, x, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", sorted(NEUTRAL))
def test_each_image_gets_its_own_level(kind: str) -> None:
    damage, x = DEGRADATIONS[kind], pictures(2, 3)
    y = apply(kind, x, [NEUTRAL[kind], damage.default])
    torch.testing.assert_close(y[0], x[0], atol=1e-6, rtol=0)
    assert (y[1] - x[1]).abs().max() > 0.01


def test_noise_has_the_deviation_asked_for_and_is_not_clipped() -> None:
    x = torch.ones(3, 1, 64, 64)
    y = apply("noise", x, [0.15, 0.5, 3.0])
    assert (y - x).flatten(1).std(1).tolist() == pytest.approx([0.15, 0.5, 3.0], rel=0.04)
    assert (y - x).flatten(1).mean(1).abs().max() < 0.15
    assert y.max() > 2


def test_salt_and_pepper_hits_the_share_asked_for_with_black_and_white() -> None:
    x = torch.zeros(3, 3, 128, 128)
    y = apply("salt-and-pepper", x, [0.05, 0.2, 1.0])
    assert torch.equal(y[:, 0], y[:, 1])
    shares = [[float((image == level).float().mean()) for level in (-1, 1)] for image in y]
    assert shares[0] == pytest.approx([0.025, 0.025], abs=0.005)
    assert shares[1] == pytest.approx([0.1, 0.1], abs=0.01)
    assert shares[2] == pytest.approx([0.5, 0.5], abs=0.02)
    assert ((y == 0) | (y.abs() == 1)).all()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (1, 16, 24)])
def test_mask_paints_whole_cells_of_one_level(shape: tuple[int, int, int]) -> None:
    n = 300
    x = torch.full((n, *shape), 0.5)
    y = degraded(x, "mask", 0.25, generator=seeded())
    hidden = y != x
    assert torch.equal(hidden.any(1), hidden.all(1))
    for image, gone in zip(y[:50], hidden, strict=False):
        assert image[gone].unique().numel() <= 1
    paints = {float(image[gone][0]) for image, gone in zip(y, hidden, strict=True) if gone.any()}
    assert paints == {-1, 0, 1}
    assert float(hidden.float().mean()) == pytest.approx(0.25, abs=0.01)


def test_mask_hides_cells_of_an_eighth() -> None:
    x = torch.full((20, 1, 64, 64), 0.5)
    cells = (degraded(x, "mask", 0.4, generator=seeded()) != x).view(20, 8, 8, 8, 8)
    by_cell = cells.permute(0, 1, 3, 2, 4).flatten(3)
    assert torch.equal(by_cell.any(3), by_cell.all(3))
    assert by_cell.any(3).any()


@pytest.mark.parametrize(
    "kind",
    ["blur", "low-resolution", "pixelate", "thin", "defocus", "crystals", "sharpen", "downscale"],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_image_stays_as_it_is(kind: str, shape: tuple[int, int, int]) -> None:
    x = torch.full((2, *shape), 0.3)
    y = degraded(x, kind, generator=seeded())
    torch.testing.assert_close(y, x, atol=1e-5, rtol=0)


def test_blur_keeps_the_mean_and_the_symmetry_of_what_is_clear_of_the_border() -> None:
    x = -torch.ones(1, 1, 41, 41)
    x[..., 15:26, 18:23] = 1
    y = degraded(x, "blur", 2.0, generator=seeded())
    assert float(y.mean()) == pytest.approx(float(x.mean()), abs=1e-5)
    for axis in (2, 3):
        torch.testing.assert_close(y, y.flip(axis), atol=1e-5, rtol=0)
    assert y[0, 0, 20, 23] > x[0, 0, 20, 23] + 0.2


@pytest.mark.parametrize("sigma", [0.5, 1.5])
def test_blur_scales_a_cosine_by_the_gaussian_s_response(sigma: float) -> None:
    # cos(πkj/(n − 1)) mirrors into itself at both borders: blur only scales it, here along
    # both axes.
    n, k = 29, 4
    omega = torch.pi * k / (n - 1)
    wave = torch.cos(omega * torch.arange(n, dtype=torch.float64))
    x = (wave[:, None] * wave[None, :])[None, None]
    reach = int(3 * sigma + 0.5)
    steps = torch.arange(-reach, reach + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    response = (kernel * torch.cos(omega * steps)).sum() / kernel.sum()
    y = degraded(x, "blur", sigma, generator=seeded())
    torch.testing.assert_close(y, x * response**2, atol=1e-9, rtol=0)


def test_blur_is_stronger_where_its_level_is() -> None:
    x = pictures(1).expand(4, -1, -1, -1)
    y = apply("blur", x, [0.3, 0.8, 1.5, 3.0])
    spread = y.flatten(1).std(1)
    assert (spread.diff() < 0).all()
    assert spread[0] < x[0].std()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_pixelate_makes_blocks_of_their_mean(shape: tuple[int, int, int], factor: int) -> None:
    x = pictures(2, *shape)
    y = degraded(x, "pixelate", factor, generator=seeded())
    for top in range(0, shape[1], factor):
        for left in range(0, shape[2], factor):
            block = (..., slice(top, top + factor), slice(left, left + factor))
            wanted = x[block].mean((2, 3), keepdim=True).expand_as(y[block])
            torch.testing.assert_close(y[block], wanted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [2, 4])
def test_low_resolution_loses_what_is_finer_than_its_factor(factor: int) -> None:
    cells = pictures(2, 3, 24, 24)
    means = torch.nn.functional.avg_pool2d(cells, factor)
    blocks = means.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    fine, coarse = (degraded(x, "low-resolution", factor, generator=seeded())
                    for x in (cells, blocks))  # fmt: skip
    torch.testing.assert_close(fine, coarse, atol=1e-6, rtol=0)
    assert (fine - cells).abs().max() > 0.1


@pytest.mark.parametrize("shape", SHAPES)
def test_low_resolution_takes_factors_that_do_not_divide_the_size(
    shape: tuple[int, int, int],
) -> None:
    x = pictures(3, *shape)
    y = apply("low-resolution", x, [1.5, 3.3, 100.0])
    errors = (y - x).abs().flatten(1).mean(1)
    assert errors[0] < errors[1] < errors[2]
    # At last one level a channel is left.
    assert y[2].flatten(1).std(1).max() < 1e-5


def test_contrast_keeps_its_share_of_the_range_and_stays_within_bounds() -> None:
    x = pictures(200)
    x[:, :, 0, 0], x[:, :, 0, 1] = -1, 1
    y = degraded(x, "contrast", 0.3, generator=seeded())
    ranges = y.flatten(1).amax(1) - y.flatten(1).amin(1)
    torch.testing.assert_close(ranges, torch.full((200,), 0.6), atol=1e-5, rtol=0)
    assert y.min() >= -1
    assert y.max() <= 1
    centres = y.flatten(1).amax(1) - 0.3
    assert centres.min() < -0.5
    assert centres.max() > 0.5


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 12, 20)])
def test_light_adds_a_ramp_within_its_level(shape: tuple[int, int, int]) -> None:
    x = pictures(100, *shape)
    ramp = degraded(x, "light", 0.5, generator=seeded()) - x
    assert ramp.abs().max() <= 0.5 + 1e-6
    assert float(ramp.abs().max()) == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(ramp, -ramp.flip((2, 3)), atol=1e-5, rtol=0)
    for axis in (2, 3):
        bend = ramp.diff(dim=axis).diff(dim=axis)
        assert bend.abs().max() < 1e-5


def test_thin_takes_a_pixel_off_bright_strokes() -> None:
    x = -torch.ones(1, 1, 12, 12)
    x[..., 2:10, 3] = 1
    x[..., 2:10, 6:9] = 1
    whole = degraded(x, "thin", generator=seeded())
    wanted = -torch.ones(1, 1, 12, 12)
    wanted[..., 2:9, 6:8] = 1
    assert torch.equal(whole, wanted)
    half = degraded(x, "thin", 0.5, generator=seeded())
    torch.testing.assert_close(half, (x + wanted) / 2)


def test_grayscale_leaves_the_mean_of_the_channels() -> None:
    x = pictures(2, 3)
    y = degraded(x, "grayscale", generator=seeded())
    for c in range(3):
        torch.testing.assert_close(y[:, c], x.mean(1))


def test_jpeg_is_nearer_at_higher_quality() -> None:
    x = torch.nn.functional.interpolate(pictures(1, 3, 8, 8), (32, 32), mode="bilinear")
    low, middle, high = (degraded(x, "jpeg", q, generator=seeded()) - x for q in (5, 30, 95))
    assert low.abs().mean() > middle.abs().mean() > high.abs().mean()
    assert high.abs().mean() < 0.05


def test_jpeg_clips_what_lies_outside() -> None:
    x = 5 * pictures(1)
    y = degraded(x, "jpeg", 50, generator=seeded())
    assert y.abs().max() <= 1


def test_an_unknown_kind_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="rain"):
        degraded(pictures(1), "rain", generator=seeded())


def spies(
    monkeypatch: pytest.MonkeyPatch, kinds: dict[str, tuple[float, float]], log: bool = False
) -> dict[str, list[float]]:
    """Replace the table by kinds that add 1, 2, … to an image and note their levels."""
    seen: dict[str, list[float]] = {kind: [] for kind in kinds}

    def spy(kind: str, mark: int) -> Callable[[Tensor, Tensor, torch.Generator], Tensor]:
        def damage(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
            seen[kind] += levels.tolist()
            return images + mark

        return damage

    table = {
        kind: Degradation(spy(kind, mark), "", 1, levels, log=log)
        for mark, (kind, levels) in enumerate(kinds.items(), 1)
    }
    monkeypatch.setattr(degradations_kinds, "DEGRADATIONS", table)
    return seen


def test_random_damage_is_of_the_named_kinds_only_and_one_an_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = spies(monkeypatch, {"a": (2, 3), "b": (5, 6), "c": (0, 1)})
    x = torch.zeros(900, 1, 2, 2)
    y = randomly_degraded(x, {"a": 2, "b": 1}, generator=seeded())
    assert set(y.unique().tolist()) == {1, 2}
    assert len(seen["a"]) == int((y[:, 0, 0, 0] == 1).sum())
    assert len(seen["b"]) == int((y[:, 0, 0, 0] == 2).sum())
    assert seen["c"] == []
    # Of twice the weight, drawn twice as often.
    assert len(seen["a"]) == pytest.approx(600, abs=60)


def test_random_levels_fill_their_range_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = spies(monkeypatch, {"a": (2, 4)})
    randomly_degraded(torch.zeros(2000, 1, 1, 1), {"a": 1}, generator=seeded())
    levels = torch.tensor(seen["a"])
    assert 2 <= levels.min() < 2.02
    assert 3.98 < levels.max() <= 4
    assert float(levels.median()) == pytest.approx(3, abs=0.1)


def test_random_levels_can_be_even_in_their_logarithm(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = spies(monkeypatch, {"a": (0.05, 5)}, log=True)
    randomly_degraded(torch.zeros(2000, 1, 1, 1), {"a": 1}, generator=seeded())
    levels = torch.tensor(seen["a"])
    assert levels.min() >= 0.0499
    assert levels.max() <= 5.001
    assert float(levels.log10().median()) == pytest.approx(-0.3, abs=0.1)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_training_mixtures_run_on_any_shape(shape: tuple[int, int, int]) -> None:
    x = pictures(40, *shape)
    before = x.clone()
    for kinds in (GREY_DAMAGE, COLOUR_DAMAGE):
        once, again = (randomly_degraded(x, kinds, generator=seeded(3)) for _ in range(2))
        assert torch.equal(once, again)
        assert once.isfinite().all()
        assert once.shape == x.shape
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("channels", "kind"),
    [
        (1, "salt-and-pepper"), (1, "jpeg"), (1, "pixelate"), (1, "scribbles"),
        (1, "edges"), (3, "pixelate"), (3, "motion-blur"), (3, "glass"), (3, "edges"),
    ],
)  # fmt: skip
def test_training_refuses_the_kinds_that_are_kept_out(channels: int, kind: str) -> None:
    assert kind in kept_out(channels)
    model = IGNConfig(12, channels, 8, (8, 16), 8, 2)
    config = AdversarialConfig(damage={"noise": 1, kind: 1})
    with pytest.raises(ValueError, match=f"kept out of training on purpose: {kind}"):
        AdversarialObjective(model, config, torch.device("cpu"))


@pytest.mark.parametrize(("channels", "kinds"), [(1, GREY_DAMAGE), (3, COLOUR_DAMAGE)])
def test_the_training_mixtures_hold_none_of_them(channels: int, kinds: dict[str, float]) -> None:
    assert not set(kept_out(channels)) & set(kinds)
    assert default_config(IGNConfig(12, channels, 8, (8, 16), 8, 2)).damage == kinds


def test_names_alone_count_as_often_as_they_are_there() -> None:
    assert damage_weights(["mask", "noise", "mask"]) == {"mask": 2, "noise": 1}
    assert damage_weights({"noise": 0.5}) == {"noise": 0.5}


@pytest.mark.parametrize("damage", [{}, {"noise": 0}, {"noise": math.nan}, {"rain": 1}], ids=str)
def test_weights_that_mean_nothing_are_refused(damage: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"over 0|no such damage"):
        damage_weights(damage)


def test_what_is_kept_out_exists_and_differs_by_channels() -> None:
    assert set(kept_out(1)) | set(kept_out(3)) <= set(DEGRADATIONS)
    assert "jpeg" in COLOUR_DAMAGE
    assert "glass" in GREY_DAMAGE


@pytest.mark.parametrize("kind", KINDS)
def test_default_and_trained_levels_make_sense(kind: str) -> None:
    damage = DEGRADATIONS[kind]
    low, high = damage.levels
    assert low <= damage.default <= high
    assert damage.unit
    assert low > 0 or not damage.log


def test_lines_show_one_row_of_each_few_in_place_of_the_others() -> None:
    x = pictures(4, 1, 12, 12)
    y = apply("lines", x, [3.0] * 4)
    for before, after in zip(x[:, 0], y[:, 0], strict=True):
        assert all(any(torch.equal(row, kept) for kept in before) for row in after)
        assert len(after.unique(dim=0)) <= 5


def test_glass_only_moves_pixels_and_not_far() -> None:
    x = torch.arange(400.0).view(1, 1, 20, 20)
    y = apply("glass", x, [2.0])
    assert torch.isin(y, x).all()
    rows, columns = y // 20 - x // 20, y % 20 - x % 20
    assert rows.abs().max() <= 2
    assert columns.abs().max() <= 2
    assert (y != x).float().mean() > 0.5


def test_a_scan_is_nearly_all_black_or_white() -> None:
    x = torch.linspace(-1, 1, 64).repeat(2, 1, 64, 1)
    y = apply("scan", x, [0.3, 1.0])
    assert (y.abs() == 1).float().mean() > 0.75
    assert (y.diff(dim=3) >= 0).all()


def test_a_cast_moves_the_ends_of_each_channel_by_up_to_its_level() -> None:
    ramp = torch.linspace(-1, 1, 21).expand(40, 3, 5, 21)
    change = degraded(ramp, "cast", 0.4, generator=seeded()) - ramp
    # Linear in the pixel's level, one gain and offset a channel, the same all over the image.
    assert change.diff(dim=3).diff(dim=3).abs().max() < 1e-5
    assert torch.equal(change[:, :, :1].expand_as(change), change)
    largest = change.abs().flatten(1).amax(1)
    torch.testing.assert_close(largest, torch.full((40,), 0.4))
    assert (change[:, 0] - change[:, 1]).abs().flatten(1).amax(1).min() > 0.005


@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
def test_saturation_scales_the_distance_from_grey(share: float) -> None:
    x = pictures(4, 3)
    y = degraded(x, "saturation", share, generator=seeded())
    grey = x.mean(1, keepdim=True)
    torch.testing.assert_close(y - grey, share * (x - grey), atol=1e-5, rtol=1e-4)


def test_gamma_keeps_black_and_white_and_bends_what_is_between() -> None:
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).view(1, 1, 1, 5)
    y = degraded(x, "gamma", 2.0, generator=seeded())
    assert y.flatten().tolist() == pytest.approx([-1, -1, -0.5, 1, 1])


def test_motion_blur_smears_a_dot_along_a_line_of_its_length() -> None:
    x = torch.zeros(60, 1, 33, 33)
    x[:, :, 16, 16] = 1
    y = degraded(x, "motion-blur", 9.0, generator=seeded())[:, 0]
    torch.testing.assert_close(y.sum((1, 2)), torch.ones(60))
    torch.testing.assert_close(y, y.flip((1, 2)), atol=1e-5, rtol=0)
    offsets = torch.arange(33.0) - 16
    rows = (y.sum(2) * offsets**2).sum(1)
    columns = (y.sum(1) * offsets**2).sum(1)
    both = (y * offsets[:, None] * offsets).sum((1, 2))
    middle, half = (rows + columns) / 2, (((rows - columns) / 2) ** 2 + both**2).sqrt()
    # Evenly spread over 8 pixels between its ends' centres: a variance of 8² / 12 along it, and
    # across it only what a line between pixels is shared out by.
    torch.testing.assert_close(middle + half, torch.full((60,), 64 / 12), atol=0.5, rtol=0)
    assert (middle - half).max() < 0.3
    directions = torch.atan2(2 * both, rows - columns)
    assert directions.max() - directions.min() > 5


def spreads(dots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Deviations across and along, and covariance of y and x, of what 33×33 images (N,) show."""
    steps = torch.arange(33) - 16.0
    by_y, by_x = (dots * steps[:, None] ** 2).sum((1, 2)), (dots * steps**2).sum((1, 2))
    both = (dots * steps[:, None] * steps).sum((1, 2))
    spread = torch.stack([torch.stack([by_y, both]), torch.stack([both, by_x])]).permute(2, 0, 1)
    across, along = torch.linalg.eigvalsh(spread).sqrt().T
    return across, along, both


def test_anisotropic_blur_draws_a_dot_out_to_its_level_and_never_beyond() -> None:
    x = torch.zeros(60, 1, 33, 33)
    x[:, :, 16, 16] = 1
    y = degraded(x, "anisotropic-blur", 2.5, generator=seeded())[:, 0]
    torch.testing.assert_close(y.sum((1, 2)), torch.ones(60))
    across, along, both = spreads(y)
    # Cut at twice its deviation, and across at most as wide as along.
    assert float(along.min()) > 1.9
    assert float(along.max()) < 2.6
    assert float(across.min()) < 0.3 * 2.5
    assert bool((across <= along + 1e-4).all())
    assert float((both.abs() > 1).float().mean()) > 0.3


def test_plateau_blur_fills_ellipses_from_softly_to_evenly() -> None:
    x = torch.zeros(60, 1, 33, 33)
    x[:, :, 16, 16] = 1
    y = degraded(x, "plateau-blur", 4.0, generator=seeded())[:, 0]
    torch.testing.assert_close(y.sum((1, 2)), torch.ones(60))
    torch.testing.assert_close(y, y.flip((1, 2)))
    across, along, _ = spreads(y)
    # An ellipse evenly filled deviates by half of its half axis, a Gaussian by all of it.
    assert 1.9 < float(along.min()) < 2.2
    assert 3.0 < float(along.max()) < 4.1
    # Never so narrow as a line.
    assert float((across / along).min()) > 0.28
    # The flattest are as dense half way out as in the middle.
    flattest = int(along.argmin())
    dense = int((y[flattest] > 0.97 * y[flattest].max()).sum())
    assert dense > 0.5 * 3.14 * 4 * along[flattest] * across[flattest]


@pytest.mark.parametrize("radius", [1.0, 2.5, 4.0])
def test_defocus_spreads_a_dot_evenly_over_a_disc(radius: float) -> None:
    x = torch.zeros(1, 1, 33, 33)
    x[..., 16, 16] = 1
    y = degraded(x, "defocus", radius, generator=seeded())[0, 0]
    assert float(y.sum()) == pytest.approx(1)
    steps = torch.arange(33) - 16.0
    way = (steps[:, None] ** 2 + steps**2).sqrt()
    inside, outside = y[way <= radius - 0.5], y[way >= radius + 0.5]
    torch.testing.assert_close(inside, inside[:1].expand_as(inside))
    assert not outside.any()
    # A disc's variance along an axis is a quarter of its radius squared.
    variance = float((y * steps**2).sum())
    assert variance == pytest.approx(radius**2 / 4, rel=0.15, abs=0.2)


@pytest.mark.parametrize("shape", SHAPES)
def test_crystals_are_cells_of_their_mean_one_for_each_square(shape: tuple[int, int, int]) -> None:
    level = 4
    x = noise_like(2, shape)
    y = degraded(x, "crystals", level, generator=seeded())
    most = round(shape[1] / level) * round(shape[2] / level)
    for before, after in zip(x, y, strict=True):
        colours, cell = after.flatten(1).unique(dim=1, return_inverse=True)
        assert most / 2 < colours.shape[1] <= most
        for i in range(colours.shape[1]):
            mean = before.flatten(1)[:, cell == i].mean(1)
            torch.testing.assert_close(colours[:, i], mean, atol=1e-5, rtol=0)
    # They are no squares of a grid, nor those of another image.
    edges = (y[:, :, :, 1:] != y[:, :, :, :-1]).any(1)
    assert bool(edges.any(1).float().mean() > 0.9)
    assert not torch.equal(edges[0], edges[1])


def noise_like(n: int, shape: tuple[int, int, int]) -> Tensor:
    """Images whose pixels all differ, so that no two cells have the same mean."""
    return torch.rand(n, *shape, generator=seeded(3)) * 2 - 1


def test_fading_takes_contrast_and_saturation_and_lifts_black() -> None:
    x = torch.stack(
        [torch.full((3, 8, 8), -1.0), torch.full((3, 8, 8), 1.0), pictures(1, 3)[0, :, :8, :8]]
    )
    y = degraded(x, "fading", 0.8, generator=seeded())
    assert y[0].mean() > -0.5
    assert y[1].mean() < 0.9
    assert y[2].std() < 0.6 * x[2].std()
    # Red over blue.
    assert (y[:2, 0] > y[:2, 2]).all()
    torch.testing.assert_close(degraded(x, "fading", 0, generator=seeded()), x)


def test_sharpening_overshoots_at_edges_and_leaves_even_parts() -> None:
    x = torch.full((1, 1, 24, 24), -0.5)
    x[..., 12:] = 0.5
    y = degraded(x, "sharpen", 1.0, generator=seeded())
    assert y.max() > 0.6
    assert y.min() < -0.6
    torch.testing.assert_close(y[..., :5], x[..., :5])
    torch.testing.assert_close(y.mean(), x.mean(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("factor", [1.5, 2, 4])
def test_downscaling_keeps_even_parts_and_loses_what_is_fine(factor: float) -> None:
    wave = torch.cos(torch.pi * torch.arange(32.0)).expand(1, 3, 32, 32)
    y = degraded(wave, "downscale", factor, generator=seeded())
    assert y[..., 4:-4].abs().max() < 0.4
    flat = torch.full((2, 1, 19, 23), 0.3)
    torch.testing.assert_close(degraded(flat, "downscale", factor, generator=seeded()), flat)


def test_photographs_have_their_own_list_of_what_is_kept_out() -> None:
    apart = kept_out(3, any_size=True)
    assert apart == ("banding", "dither", "half-tone", "motion-blur")
    assert not set(apart) - set(DEGRADATIONS)
    check_damage(["pixelate"], 3, any_size=True)
    with pytest.raises(ValueError, match="kept out of training on purpose: banding"):
        check_damage(["noise", "banding"], 3, any_size=True)
