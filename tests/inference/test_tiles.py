"""Tiles: those of a large image have the result of the whole, at every size, and no seam."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from make_it_real.errors import ShapeError
from make_it_real.images.pixels import to_pixels
from make_it_real.inference import tiles
from make_it_real.inference.projection import apply, drift, in_tiles, project, project_with_change
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGNConfig
from make_it_real.models.unet import Seen, UNet
from make_it_real.weights import model_file, pretrained


def network(**changes: Any) -> UNet:
    """An untrained f of any size whose change is large: some 60 levels."""
    settings: dict[str, Any] = {
        "widths": (8, 16, 16), "blocks": 3, "dead_zone": 0.0, "rest": 0.008, "rest_radius": 8,
        "rest_ramp": 1.25, "architecture": "unet", "source": "none",
    }  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        f = build(IGNConfig(0, 3, **settings | changes))
        assert isinstance(f, UNet)
        for parameter in f.parameters():
            nn.init.normal_(parameter, std=0.08)
    return f.eval().requires_grad_(False)


def noise(n: int, height: int, width: int, seed: int = 0, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (0.4 * torch.randn(n, channels, height, width, generator=generator)).clamp(-1, 1)


@pytest.mark.parametrize("length", [8, 9, 64, 100, 1023, 1024, 1025, 4000])
@pytest.mark.parametrize(("side", "margin"), [(64, 48), (100, 7), (1024, 48)])
def test_spans_cover_a_length_once_and_begin_at_the_stride(
    length: int, side: int, margin: int
) -> None:
    parts = tiles.spans(length, side, margin, 8)
    assert [i for part in parts for i in range(length)[part.kept]] == list(range(length))
    for part in parts:
        assert part.shown.start % 8 == 0
        assert part.kept.stop - part.kept.start <= -(-side // 8) * 8
        assert range(length)[part.shown][part.within] == range(length)[part.kept]
        assert part.kept.start - part.shown.start in (part.kept.start, -(-margin // 8) * 8)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("size", [(300, 408), (301, 395), (64, 1000)])
def test_tiles_with_a_margin_of_the_reach_are_exact(size: tuple[int, int], learned: bool) -> None:
    f, x = network(learned_gate=learned), noise(1, *size)
    whole = apply(f, x)
    assert (whole - x).abs().mean() > 0.02
    (parts,) = tiles.over(
        lambda part: (apply(f, part),), x, stride=f.stride, margin=f.reach, side=96
    )
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)


def test_the_reach_is_as_far_as_one_pixel_acts() -> None:
    f = network(rest=0.0, rest_radius=0)
    x = noise(1, 256, 256)
    moved = x.clone()
    moved[..., 128, 128] += 0.5
    acted = (f.change(moved) - f.change(x)).abs().amax((0, 1)) > 0
    rows = acted.any(1).nonzero().flatten()
    assert 40 < max(int(rows.max()) - 128, 128 - int(rows.min())) <= f.reach


@pytest.mark.parametrize("side", [64, 128, 200])
@pytest.mark.parametrize("size", [(300, 408), (257, 395)])
def test_tiles_are_within_a_level_of_the_whole_and_have_no_seam(
    side: int, size: tuple[int, int]
) -> None:
    f, x = network(), noise(1, *size)
    off = to_pixels(project(f, x, tile=side)).int() - to_pixels(apply(f, x)).int()
    assert off.abs().max() <= 1
    assert off.abs().float().mean() < 0.01


def test_tiles_of_the_bundled_model_are_within_a_level_of_the_whole() -> None:
    f = pretrained.load(model_file.resolve("photos"))
    x = noise(1, 200, 328)
    off = to_pixels(project(f, x, tile=64)).int() - to_pixels(apply(f, x)).int()
    assert off.abs().max() <= 1
    assert off.abs().float().mean() < 0.01


def test_a_second_step_reads_the_whole_result_of_the_first() -> None:
    f, x = network(), noise(1, 200, 168)
    once = project(f, x, tile=64)
    assert torch.equal(project(f, x, 2, tile=64), project(f, once, tile=64))


def test_large_images_are_cut_and_others_go_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    f = network()
    monkeypatch.setattr(tiles, "WHOLE_PIXELS", 96 * 96)
    monkeypatch.setattr(tiles, "SIDE", 64)
    shapes: list[tuple[int, ...]] = []
    f.first.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    # The first layer has the pixels of 2×2 as channels.
    project(f, noise(3, 48, 96))
    assert shapes == [(1, 12, 24, 48)] * 3
    shapes.clear()
    project(f, noise(2, 128, 128))
    assert shapes == [(1, 12, 56, 56)] * 8


@pytest.mark.parametrize("size", [(8, 8), (8, 300), (9, 31), (40, 24)])
def test_any_size_from_eight_on(size: tuple[int, int]) -> None:
    f, x = network(), noise(3, *size)
    y = project(f, x)
    torch.testing.assert_close(y, f(x), atol=1e-5, rtol=0)
    fx, r = project_with_change(f, x)
    assert torch.equal(fx, y)
    assert r.shape == x.shape
    torch.testing.assert_close(drift(f, x), (y - x).abs().mean((1, 2, 3)), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(1, 3, 7, 9), (1, 1, 9, 9), (3, 9, 9), (9, 9), (1, 3, 0, 9)])
def test_other_shapes_are_refused_in_one_line(shape: tuple[int, ...]) -> None:
    given = ", ".join(map(str, shape))
    with pytest.raises(ShapeError) as error:
        project(network(), torch.zeros(shape))
    assert str(error.value) == (
        f"f takes images of shape (N, 3, H, W) with H and W of at least 8, not ({given})"
    )


def test_nothing_comes_of_nothing() -> None:
    assert project(network(), noise(0, 9, 12)).shape == (0, 3, 9, 12)


def test_the_change_before_the_gate_comes_from_tiles_too(monkeypatch: pytest.MonkeyPatch) -> None:
    f, x = network(), noise(1, 200, 168)
    wanted = f.with_change(x)
    monkeypatch.setattr(tiles, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(tiles, "SIDE", 64)
    for found, one in zip(project_with_change(f, x), wanted, strict=True):
        torch.testing.assert_close(found, one, atol=4e-3, rtol=0)


@pytest.mark.parametrize("strength", [0.0, 0.25, 0.5, 1.0])
def test_strength_is_a_share_of_the_change(strength: float) -> None:
    f, x = network(), noise(2, 40, 56)
    y = project(f, x)
    wanted = x.double() + strength * (y.double() - x.double())
    found = project(f, x, strength=strength)
    torch.testing.assert_close(found.double(), wanted, atol=1e-6, rtol=0)
    assert torch.equal(project(network(rest=0.9), x, strength=0.3), x)


@pytest.mark.parametrize("strength", [-0.1, 1.1])
def test_other_strengths_are_refused(strength: float) -> None:
    with pytest.raises(ValueError, match=r"strength must lie in \[0, 1\]"):
        project(network(), noise(1, 8, 8), strength=strength)


def test_grey_images_take_the_mean_change_and_rest_bit_for_bit() -> None:
    f, x = network(), noise(1, 72, 80, channels=1)
    colour = x.expand(-1, 3, -1, -1)
    wanted = x + (f(colour) - colour).mean(1, keepdim=True)
    torch.testing.assert_close(in_tiles(f, x), wanted, atol=1e-6, rtol=0)
    assert torch.equal(in_tiles(network(rest=0.9), x), x)


def test_tiles_are_toned_by_the_whole_picture() -> None:
    """One half dark, one half bright: the curves are those of both, in every tile."""
    f = network(tone=True)
    f.tone.get_parameter("layers.4.bias").data[:3] += 0.5
    x = torch.cat([torch.full((1, 3, 64, 128), -0.8), torch.full((1, 3, 64, 128), 0.7)], 2)
    x = x + 0.05 * torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    whole = project(f, x)
    assert (whole - f.within(x, Seen(None, None))).abs().mean() > 0.05
    torch.testing.assert_close(project(f, x, tile=32), whole, atol=1 / 255, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_tiles_get_the_weights_that_suit_the_whole_picture(channels: int) -> None:
    """One half is noisy, one half flat: its tiles alone would get others."""
    f = network(mixed=True)
    x = torch.cat([noise(1, 96, 128, channels=channels), torch.zeros(1, channels, 96, 128)], 2)
    f.reader.last.weight.data *= 10
    f.reader.last.bias.data -= f.reader.logits(f.samples(x.expand(-1, 3, -1, -1))[1])[0]
    halves = [f.see(*f.samples(part)).shares for part in x.chunk(2, 2)]
    assert halves[0] is not None
    assert halves[1] is not None
    assert (halves[0] - halves[1]).abs().max() > 0.1
    torch.testing.assert_close(in_tiles(f, x, tile=64), in_tiles(f, x), atol=1 / 255, rtol=0)
