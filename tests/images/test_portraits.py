"""Faces in drawings made by code: found by their strokes, on any paper, and laid on white."""

import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from make_it_real.errors import NoFaceError
from make_it_real.images import decode, faces, framing, portraits
from make_it_real.images.alignment import Similarity
from make_it_real.images.framing import Fitted, Framing, fit_all

SIZE, FACES = 64, Framing(faces=True)
Sheet = Callable[[Image.Image], Image.Image]


def drawn(side: int, corner: tuple[int, int], sheet: tuple[int, int]) -> Image.Image:
    """A line drawing of a face on a white sheet, by an aligned square: its side and corner."""
    image = Image.new("RGB", sheet, "white")
    draw = ImageDraw.Draw(image)
    pen = max(2, side // 70)

    def at(*shares: float) -> list[float]:
        return [corner[i % 2] + share * side for i, share in enumerate(shares)]

    draw.ellipse(at(0.21, 0.12, 0.79, 0.97), outline="black", width=pen)
    for eye in (faces.LANDMARKS[0].real, faces.LANDMARKS[1].real):
        draw.ellipse(at(eye - 0.06, 0.49, eye + 0.06, 0.55), outline="black", width=pen)
        draw.ellipse(at(eye - 0.02, 0.5, eye + 0.02, 0.54), fill="black")
        draw.arc(at(eye - 0.08, 0.42, eye + 0.08, 0.5), 200, 340, "black", pen)
    draw.line(at(0.5, 0.55, 0.46, 0.67, 0.52, 0.68), "black", pen)
    draw.line(at(0.39, 0.79, 0.61, 0.79), "black", 2 * pen)
    for i in range(30):
        x = 0.22 + 0.56 * i / 29
        y = 0.54 - 0.42 * max(0.0, 1 - ((x - 0.5) / 0.29) ** 2) ** 0.5
        draw.line(at(x, y, x + 0.02, y + 0.13), "black", pen)
    return image


def toned(image: Image.Image) -> Image.Image:
    return Image.fromarray((np.asarray(image) * (0.82, 0.72, 0.55)).astype(np.uint8))


def lined(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image).astype(float)
    for row in range(20, len(pixels), 34):
        pixels[row : row + 2] *= (0.65, 0.75, 0.92)
    pixels[:, 60:62] *= (0.95, 0.6, 0.6)
    return Image.fromarray(pixels.astype(np.uint8))


def shadowed(image: Image.Image) -> Image.Image:
    """Photographed in dim light with a shadow across, and the grain of the sensor."""
    pixels = np.asarray(image).astype(float)
    y, x = np.mgrid[: len(pixels), : pixels.shape[1]]
    light = 0.45 + 0.4 / (1 + np.exp(-(x - 0.6 * x.max() + 0.4 * y) / 40))
    grain = np.random.default_rng(0).normal(0, 3, pixels.shape)
    return Image.fromarray((pixels * light[..., None] + grain).clip(0, 255).astype(np.uint8))


def inverted(image: Image.Image) -> Image.Image:
    return Image.fromarray(255 - np.asarray(image))


def plain(image: Image.Image) -> Image.Image:
    return image


def picture(image: Image.Image) -> decode.Picture:
    with io.BytesIO() as file:
        image.save(file, "PNG")
        return decode.read(file.getvalue())


@pytest.fixture(autouse=True)
def _no_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strokes alone have to do, whether or not the extra is installed."""
    for module in (framing, portraits):
        monkeypatch.setattr(module, "search", lambda colour: None)


def fitted(image: Image.Image, drawings: bool = True) -> Fitted:
    (one,) = fit_all(picture(image), SIZE, 3, FACES, drawings=drawings)
    return one


def assert_lies(one: Fitted, side: int, corner: tuple[int, int], within: float = 0.15) -> None:
    """Hold the square against the true one: its side, and its centre in shares of that side."""
    assert isinstance(one.frame, Similarity)
    assert abs(one.frame.side(SIZE) / side - 1) < within
    centre = one.frame.back(complex(SIZE, SIZE) / 2)
    assert abs(centre - complex(*corner) - side * (0.5 + 0.5j)) < 0.1 * side


@pytest.mark.parametrize(
    ("side", "corner", "sheet"),
    [(200, (380, 60), (640, 480)), (300, (40, 170), (640, 480)), (420, (900, 700), (1600, 1200))],
)
def test_a_drawn_face_is_found_where_it_is(
    side: int, corner: tuple[int, int], sheet: tuple[int, int]
) -> None:
    one = fitted(drawn(side, corner, sheet))
    assert_lies(one, side, corner)
    assert one.drawn
    assert not one.inverted
    assert one.warnings == ()


@pytest.mark.parametrize("paper", [toned, lined, shadowed, inverted])
def test_the_paper_does_not_matter(paper: Sheet) -> None:
    """f sees nearly the same: the drawing on white, dark on bright."""
    image = drawn(260, (300, 120), (640, 480))
    one, other = fitted(image), fitted(paper(image))
    assert_lies(other, 260, (300, 120))
    assert other.inverted == (paper is inverted)
    assert (one.image - other.image).abs().mean() < 0.06
    # Between forehead and border there is bare paper.
    assert other.image[:, :4, :4].min() > 0.8
    assert any("paper made white" in step for step in other.done)


def test_polarity_can_be_kept() -> None:
    colour = picture(inverted(drawn(260, (300, 120), (640, 480)))).colour
    swapped, kept = portraits.on_white(colour), portraits.on_white(colour, False)
    assert swapped is not None
    assert kept is not None
    assert (swapped.inverted, kept.inverted) == (True, False)
    assert swapped.colour.median() > 0.9


@pytest.mark.parametrize("kind", ["house", "oval"])
def test_a_drawing_without_a_face_has_none(kind: str) -> None:
    image = Image.new("RGB", (640, 480), "white")
    draw = ImageDraw.Draw(image)
    if kind == "house":
        draw.rectangle((200, 200, 440, 420), outline="black", width=5)
        draw.line((200, 200, 320, 90, 440, 200), "black", 5)
        draw.rectangle((290, 320, 350, 420), outline="black", width=5)
    else:
        draw.ellipse((220, 100, 420, 380), outline="black", width=5)
    drawing = portraits.on_white(picture(image).colour)
    assert drawing is not None
    assert portraits.locate(drawing) is None
    with pytest.raises(NoFaceError):
        fit_all(picture(image), SIZE, 3, FACES)


def test_blank_paper_is_no_drawing() -> None:
    assert portraits.on_white(torch.full((3, 200, 300), 0.9)) is None


def test_a_drawing_of_the_models_size_is_taken_as_it_is() -> None:
    image = drawn(64, (0, 0), (64, 64))
    one = fitted(toned(image))
    assert not one.drawn
    assert torch.equal(one.image, picture(toned(image)).colour * 2 - 1)


def test_training_images_stay_as_they_are() -> None:
    with pytest.raises(NoFaceError):
        fitted(drawn(300, (40, 170), (640, 480)), drawings=False)
