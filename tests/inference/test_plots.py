"""Pictures of figures: the strip of f^k above its curve, and enlarged animations."""

import io

import pytest
import torch
from PIL import Image

from make_it_real.inference import plots

CURVE = {"mean": [0.3, 0.0], "largest": [1.5, 0.0]}


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data)).convert("RGB")


def frames(n: int, side: int, *steps: int) -> dict[int, torch.Tensor]:
    """Images of level −1 at k = 0 and 1 at all other k."""
    return {k: torch.full((n, 1, side, side), 1.0 if k else -1.0) for k in steps}


def dark(picture: Image.Image) -> int:
    """How many pixels are nearly black."""
    return sum(picture.convert("L").histogram()[:64])


def test_images_stand_in_labelled_columns_above_the_curve() -> None:
    curve = {"mean": [0.3, 0.2, 0.1]}
    made = opened(plots.refinement(frames(2, 28, 0, 1, 10), [0, 1, 2], curve, "title"))
    side = 4 * 28 + plots.GAP
    assert made.size == (plots.WIDTH, plots.HEAD + 2 * side + plots.GAP + plots.HEIGHT)
    width = (plots.WIDTH - 2 * plots.MARGIN) // 3
    for column, level in enumerate((0, 255, 255)):
        x = plots.MARGIN + column * width
        assert made.getpixel((x + 1, plots.HEAD + 1)) == (level,) * 3
        assert dark(made.crop((x, 0, x + width, plots.HEAD))) > 10, "a label above each column"
    lower = opened(plots.curve([0, 1, 2], curve, "title"))
    assert made.crop((0, made.height - plots.HEIGHT, *made.size)).tobytes() == lower.tobytes()


def test_where_all_rest_at_once_that_is_said_in_place_of_a_curve() -> None:
    strip = frames(1, 28, 0, 1)
    said = {k: opened(plots.refinement(strip, [0, 1], CURVE, "t", k)) for k in (0, 1)}
    moving = opened(plots.refinement(strip, [0, 1], CURVE, "t"))
    assert moving.height - said[1].height == plots.HEIGHT - 60
    assert said[0].tobytes() != said[1].tobytes()
    long = {"mean": [0.3, 0.2, 0.0]}
    assert opened(plots.refinement(strip, [0, 1, 2], long, "t", 2)).height == moving.height


@pytest.mark.parametrize(("side", "n"), [(28, 9), (64, 9), (512, 9), (512, 1)])
def test_any_number_of_images_of_any_size_has_room(side: int, n: int) -> None:
    strip = frames(n, side, 0, 1, 10, 20, 100, 1_000, 10_000, 100_000, 300_000)
    made = opened(plots.refinement(strip, [0, 1], CURVE, "title", 1))
    assert made.width == plots.WIDTH
    assert made.height <= plots.HEAD + plots.ROWS * (plots.WIDTH // 9) + plots.GAP + 60


@pytest.mark.parametrize(("scale", "side"), [(1, 9 * 28), (2, 2 * 28), (12, 12 * 28)])
def test_an_animation_is_as_large_as_asked_for(scale: int, side: int) -> None:
    made = plots.animation([torch.zeros(1, 28, 28)] * 2, ["a", "b"], "GIF", scale)
    assert Image.open(io.BytesIO(made)).size == (max(side, 120), side + 22)
