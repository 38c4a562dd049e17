"""Faces in drawings made by code: found by their strokes, on any paper, and laid on white."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from make_it_real.errors import NoFaceError
from make_it_real.images import decode, faces, framing, portraits
from make_it_real.images.alignment import Similarity
from make_it_real.images.framing import Fitted, Framing, fit_all
from tests.helpers import example

SIZE, FACES = 64, Framing(faces=True)
SKETCHES = sorted((Path(__file__).parents[3] / "shared" / "data" / "sketches").glob("*.jpg"))
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


@pytest.mark.skipif(not SKETCHES, reason="needs the sketches")
def test_pencil_portraits_are_found_by_their_strokes() -> None:
    drawings = (portraits.on_white(decode.read(path).colour) for path in SKETCHES)
    found = [drawing is not None and portraits.locate(drawing) is not None for drawing in drawings]
    assert sum(found) >= 0.95 * len(found)


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_drawing_that_lies_is_turned_upright(degrees: int) -> None:
    image = drawn(260, (300, 120), (640, 480))
    one, other = fitted(image), fitted(image.rotate(degrees, expand=True))
    assert (one.image - other.image).abs().mean() < 0.03


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


def test_a_painted_face_keeps_its_colours_and_its_ground() -> None:
    painted = example("draw_faces").blocks()
    sheet = Image.new("RGB", (600, 500), painted.getpixel((2, 2)))
    sheet.paste(painted, (200, 120))
    one = fitted(sheet)
    assert_lies(one, 256, (200, 120), 0.2)
    assert not any("white" in step for step in one.done)
    colours = ((one.image + 1) * 127.5).round()
    for colour in ((120, 160, 185), (226, 178, 148)):
        away = (colours - torch.tensor(colour)[:, None, None]).abs().amax(0)
        assert (away < 6).float().mean() > 0.1


def test_polarity_can_be_kept() -> None:
    colour = picture(inverted(drawn(260, (300, 120), (640, 480)))).colour
    swapped, kept = portraits.on_white(colour), portraits.on_white(colour, False)
    assert swapped is not None
    assert kept is not None
    assert (swapped.inverted, kept.inverted) == (True, False)
    assert swapped.colour.median() > 0.9


def test_a_smiley_is_found() -> None:
    image = Image.new("RGB", (500, 400), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((120, 50, 380, 310), outline="black", width=5)
    for x in (205, 295):
        draw.ellipse((x - 14, 131, x + 14, 159), fill="black")
    draw.arc((175, 150, 325, 260), 20, 160, "black", 5)
    drawing = portraits.on_white(picture(image).colour)
    assert drawing is not None
    assert portraits.locate(drawing) is not None


@pytest.mark.parametrize("kind", ["house", "oval", "form", "car", "line"])
def test_a_drawing_without_a_face_has_none(kind: str) -> None:
    image = Image.new("RGB", (640, 480), "white")
    draw = ImageDraw.Draw(image)
    if kind == "form":
        font = ImageFont.load_default(22)
        for row, words in enumerate(("Name: Ada Lovelace", "E-mail: ada@example.org", "City:")):
            draw.text((60, 70 + 90 * row), words, "black", font)
            draw.rectangle((50, 60 + 90 * row, 420, 105 + 90 * row), outline="black", width=2)
        draw.text((60, 360), "I agree to all of the above, and more", "black", font)
    elif kind == "car":
        draw.line((90, 330, 90, 270, 180, 250, 240, 180, 420, 180, 490, 250, 570, 280), "black", 5)
        draw.line((570, 280, 570, 330, 90, 330), "black", 5)
        for x in (190, 470):
            draw.ellipse((x - 45, 290, x + 45, 380), outline="black", width=5)
        draw.rectangle((260, 195, 330, 245), outline="black", width=5)
    elif kind == "line":
        draw.line((60, 236, 560, 242), "black", 4)
    elif kind == "house":
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


def test_dark_hair_across_most_of_a_drawing_is_no_ruling() -> None:
    paper = torch.ones(3, 240, 200) * 0.95
    hair = paper.clone()
    hair[:, 40:80, 25:175] = 0.2
    cleaned = portraits.on_white(hair)
    assert cleaned is not None
    assert float(cleaned.colour[:, 44:76, 30:170].max()) < 0.3
    assert float(cleaned.colour[:, 100:].min()) > 0.97
    # Lines across all of it go.
    ruled = hair.clone()
    ruled[:, 20::30] *= 0.8
    cleaned = portraits.on_white(ruled)
    assert cleaned is not None
    assert float(cleaned.colour[:, 100:].min()) > 0.97
