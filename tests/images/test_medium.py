"""A photograph told from a drawing: made pictures, the examples, and the same ones damaged."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from make_it_real.images import decode
from make_it_real.images.decode import Picture
from make_it_real.images.medium import Medium, recognise

EXAMPLES = Path(__file__).parents[2] / "examples"
DATA = Path(__file__).parents[3] / "shared" / "data"
PAPER, INK = (250, 249, 246), (40, 40, 60)
Array = NDArray[np.float64]


def picture_of(pixels: Array) -> Picture:
    """A picture of pixels (H, W, 3) in 0–255."""
    levels = torch.from_numpy(pixels.round().clip(0, 255).astype(np.float32) / 255)
    return Picture(levels.permute(2, 0, 1).contiguous())


def pixels_of(picture: Picture) -> Array:
    return picture.colour.expand(3, -1, -1).permute(1, 2, 0).double().numpy() * 255


def noisy(pixels: Array, deviation: float) -> Array:
    return pixels + np.random.default_rng(0).normal(0, deviation, pixels.shape)


def doodle(paper: tuple[int, int, int] = PAPER, ink: tuple[int, int, int] = INK) -> Array:
    """A face in a few strokes, 480×400."""
    image = Image.new("RGB", (400, 480), paper)
    draw = ImageDraw.Draw(image)
    draw.ellipse((90, 80, 310, 400), outline=ink, width=6)
    for x in (150, 250):
        draw.ellipse((x - 25, 200, x + 25, 225), outline=ink, width=5)
        draw.arc((x - 35, 160, x + 35, 210), 200, 340, ink, 5)
    draw.arc((150, 280, 250, 340), 20, 160, ink, 6)
    for x in range(100, 300, 8):
        draw.line((x, 140, x + (x - 200) // 3, 60), ink, 3)
    return np.asarray(image).astype(np.float64)


def landscape(seed: int = 0) -> Array:
    """Sky, hills and a meadow with texture, in soft tones, 320×400."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:1:320j, 0:1:400j]
    texture = np.zeros(y.shape)
    for n in (4, 16, 64, 128):
        octave = Image.fromarray(random.normal(0, n**-0.5, (n, n)).astype(np.float32))
        texture += np.asarray(octave.resize((400, 320)))
    sky = np.stack([120 + 80 * y, 160 + 60 * y, 230 - 10 * y], -1)
    meadow = np.stack([70 + 60 * y, 90 + 50 * y, 40 + 20 * y], -1) + 40 * texture[..., None]
    hill = y > 0.45 + 0.1 * np.sin(5 * x)
    pixels: Array = np.where(hill[..., None], meadow, sky + 4 * texture[..., None])
    return pixels


def light(pixels: Array) -> Array:
    """As photographed: light from one side, and the soft shadow of a hand."""
    height, width = pixels.shape[:2]
    shadow = Image.new("L", (width, height), 255)
    ImageDraw.Draw(shadow).polygon([(0, height), (0, 200), (width, height)], fill=170)
    soft = np.asarray(shadow.filter(ImageFilter.GaussianBlur(12))) / 255
    return noisy(pixels * (soft * np.linspace(1, 0.7, width))[..., None], 3)


def shaded() -> Array:
    """Balls shaded softly in pencil, with their shadows, without a line."""
    y, x = np.mgrid[-1:1:300j, -1:1:300j]
    tone = np.full((300, 300), 248.0)
    for left, top in ((-0.5, -0.4), (0.1, 0.1), (0.6, -0.3), (-0.4, 0.5)):
        ball = (x - left) ** 2 + (y - top) ** 2 < 0.06
        cast = (x - left - 0.1) ** 2 + 8 * (y - top - 0.2) ** 2 < 0.05
        tone[cast] = 120
        tone[ball] = (200 - 400 * (x - left + y - top))[ball].clip(30, 245)
    grain = np.random.default_rng(0).normal(0, 1, tone.shape) * (tone < 246) * 12
    return np.repeat((tone + grain)[..., None], 3, 2)


def jpeg(pixels: Array, quality: int) -> Array:
    with io.BytesIO() as file:
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file)).astype(np.float64)


def grey(pixels: Array) -> Array:
    return np.repeat(pixels.mean(-1, keepdims=True), 3, 2)


def faded(pixels: Array) -> Array:
    return 0.65 * np.array([225, 205, 165]) + 0.35 * pixels


def scanned(pixels: Array) -> Array:
    """On a scanner's white lid."""
    return noisy(np.pad(pixels, ((40, 60), (50, 30), (0, 0)), constant_values=250), 1.5)


def noise(pixels: Array) -> Array:
    return noisy(pixels, 50)


def portrait() -> Array:
    """A face shaded softly with a pencil, 300×240: how much of the paper is left bare, 0–1."""
    y, x = np.mgrid[-1.25:1.25:300j, -1:1:240j]
    ink = np.zeros(y.shape)

    def shade(left: float, top: float, width: float, height: float, depth: float) -> None:
        away = ((x - left) / width) ** 2 + ((y - top) / height) ** 2
        ink[:] = np.maximum(ink, depth / (1 + np.exp((12 * (away - 1)).clip(max=50))))

    rim = ((x / 0.7) ** 2 + (y / 1) ** 2) ** 0.5
    ink += 0.5 * np.exp(-(((rim - 1) / 0.06) ** 2))
    ink = np.maximum(ink, 0.75 * (rim < 1.08) / (1 + np.exp(14 * (y + 0.55 + 0.2 * x**2))))
    for side in (-0.28, 0.28):
        shade(side, -0.1, 0.13, 0.06, 0.8)
        shade(side, -0.28, 0.2, 0.04, 0.6)
    shade(0, 0.28, 0.1, 0.05, 0.4)
    shade(0, 0.55, 0.25, 0.05, 0.7)
    face: Array = 1 - ink
    return face


def on_sheet(paper: Array, ink: tuple[int, int, int], top: int, left: int) -> Array:
    """The shaded face on a sheet, somewhere."""
    bare = np.ones(paper.shape[:2])
    face = portrait()
    bare[top : top + len(face), left : left + face.shape[1]] = face
    return noisy(paper * bare[..., None] + np.array(ink) * (1 - bare[..., None]), 2)


def sheet(*colour: int) -> Array:
    return np.full((900, 1200, 3), np.array(colour), float)


def ruled(across: bool) -> Array:
    """Lined, or squared, paper."""
    paper = sheet(247, 247, 244)
    for start in range(12, 1200, 30):
        paper[start : start + 2] *= (0.65, 0.75, 0.92)
        if across:
            paper[:, start : start + 2] *= (0.65, 0.75, 0.92)
    return paper


def in_shadow(pixels: Array) -> Array:
    """Half of it in the shadow of something, whose edge is soft."""
    x = np.linspace(-1, 1, pixels.shape[1])
    return pixels * (0.55 + 0.35 / (1 + np.exp(-x / 0.08)))[:, None]


DAMAGE: list[Callable[[Array], Array]] = [grey, faded, scanned, noise, lambda p: jpeg(p, 10)]


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        (doodle(), "strokes on a bright ground"),
        (doodle((38, 55, 48), (230, 230, 225)), "strokes on a dark ground"),
        (doodle((244, 232, 205), (210, 40, 50)), "strokes on a bright ground"),
        (light(doodle()), "strokes on a bright ground"),
        (jpeg(light(doodle()), 40), "strokes on a bright ground"),
        (shaded(), "strokes or shading on an even, bright ground"),
        (noisy(shaded() * np.linspace(1, 0.75, 300)[:, None], 2), "strokes or shading on an even"),
    ],
    ids=["pen", "chalk", "crayon", "by phone", "by phone, JPEG", "shaded", "shaded, by phone"],
)
def test_drawings_are_told_by_what_they_are_drawn_with(pixels: Array, why: str) -> None:
    medium = recognise(picture_of(pixels))
    assert medium.drawing
    assert medium.why.startswith(why)


GREY, CHALK = (70, 70, 72), (228, 226, 218)


@pytest.mark.parametrize(
    "pixels",
    [
        on_sheet(sheet(246, 246, 244), GREY, 500, 120),
        on_sheet(sheet(205, 180, 138), GREY, 80, 800),
        on_sheet(ruled(across=False), GREY, 300, 480),
        on_sheet(ruled(across=True), GREY, 300, 480),
        in_shadow(on_sheet(sheet(246, 246, 244), GREY, 300, 400)),
        on_sheet(sheet(38, 55, 48), CHALK, 400, 700),
    ],
    ids=["white", "toned", "lined", "squared", "shadow", "board"],
)
def test_a_shaded_face_somewhere_on_a_sheet_is_a_drawing(pixels: Array) -> None:
    assert recognise(picture_of(pixels)).drawing


@pytest.mark.parametrize("across", [False, True])
def test_ruling_alone_is_no_drawing(across: bool) -> None:
    assert not recognise(picture_of(ruled(across))).drawing


def test_a_photograph_glued_to_a_sheet_is_a_photograph() -> None:
    for seed in range(3):
        paper = sheet(246, 246, 244)
        paper[300:620, 200:600] = landscape(seed)
        assert not recognise(picture_of(noisy(paper, 2))).drawing


def test_a_bird_in_the_sky_is_a_photograph() -> None:
    y, x = np.mgrid[0:1:600j, 0:1:800j]
    sky = np.stack([120 + 60 * y, 160 + 50 * y, 220 - 10 * y], -1)
    wings = (abs(y - 0.4 - 0.5 * abs(x - 0.5)) < 0.02) & (abs(x - 0.5) < 0.12)
    body = ((x - 0.5) / 0.02) ** 2 + ((y - 0.41) / 0.05) ** 2 < 1
    texture = noisy(np.full(sky.shape, 60.0), 12) * np.array([1.1, 0.9, 0.6])
    pixels = np.where((wings | body)[..., None], texture, sky)
    assert not recognise(picture_of(pixels)).drawing


@pytest.mark.parametrize(("other", "painted"), [("#e03030", False), ("#f0c020", True)])
def test_a_drawing_of_filled_areas_is_one(other: str, painted: bool) -> None:
    image = Image.new("RGB", (500, 400), "#ffffff")
    draw = ImageDraw.Draw(image)
    draw.rectangle((60, 150, 260, 330), fill="#e03030")
    draw.ellipse((300, 60, 420, 180), fill=other)
    medium = recognise(picture_of(np.asarray(image).astype(np.float64)))
    assert medium == Medium(True, "areas of one colour each", painted)


@pytest.mark.parametrize("damage", [lambda p: p, *DAMAGE])
@pytest.mark.parametrize("seed", range(3))
def test_a_photograph_is_none_whatever_happened_to_it(
    damage: Callable[[Array], Array], seed: int
) -> None:
    assert not recognise(picture_of(damage(landscape(seed)))).drawing


@pytest.mark.parametrize("damage", [lambda p: p, *DAMAGE])
@pytest.mark.parametrize("name", ["collins", "hopper"])
def test_a_portrait_is_a_photograph_whatever_happened_to_it(
    damage: Callable[[Array], Array], name: str
) -> None:
    pixels = pixels_of(decode.read(EXAMPLES / "portraits" / f"{name}.jpg"))
    assert not recognise(picture_of(damage(pixels))).drawing


def test_a_night_with_coloured_lights_is_a_photograph() -> None:
    pixels = noisy(landscape() ** 3 / 255**2 * 0.2, 4)
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for x in range(20, 400, 45):
        draw.ellipse((x, 150 + x % 70, x + 9, 159 + x % 70), fill=(255, 200, 90))
    assert not recognise(picture_of(np.asarray(image).astype(np.float64))).drawing


def test_text_is_not_taken_for_a_drawing() -> None:
    image = Image.new("RGB", (800, 1000), (250, 250, 248))
    draw = ImageDraw.Draw(image)
    for y in range(60, 940, 24):
        draw.text((60, y), "the quick brown fox jumps over the lazy dog " * 2, fill=(20, 20, 20))
    assert not recognise(picture_of(np.asarray(image).astype(np.float64))).drawing


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (700, 3), (8, 8), (300, 200)])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_plain_picture_is_left_to_the_model_of_photographs(
    size: tuple[int, int], level: float
) -> None:
    medium = recognise(Picture(torch.full((1, *size), level)))
    assert medium == Medium(False, "nothing stands out from its ground")


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (700, 3), (3, 5), (40, 300), (64, 64)])
def test_noise_of_any_size_is_no_drawing(size: tuple[int, int]) -> None:
    levels = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    assert not recognise(Picture(levels)).drawing


def test_a_clear_sky_is_a_photograph() -> None:
    ramp = torch.linspace(0.3, 0.9, 300)[:, None].expand(300, 400)
    assert not recognise(Picture(torch.stack([ramp, ramp * 0.9 + 0.1, ramp * 0.3 + 0.6]))).drawing


@pytest.mark.parametrize("bright", [False, True])
def test_strokes_on_transparency_are_a_drawing(bright: bool) -> None:
    alpha = 1 - picture_of(doodle((255, 255, 255), (0, 0, 0))).colour[0]
    colour = torch.full((3, *alpha.shape), float(bright))
    assert recognise(Picture(colour, alpha)).drawing


def test_grey_and_colour_of_the_same_levels_are_told_alike() -> None:
    for pixels in (doodle((255, 255, 255), (0, 0, 0)), grey(landscape())):
        colour: Tensor = picture_of(pixels).colour
        assert recognise(Picture(colour)) == recognise(Picture(colour[:1]))


def test_nearly_all_the_drawn_examples_are_drawings() -> None:
    paths = sorted((EXAMPLES / "inputs").iterdir())
    told = [recognise(decode.read(path)).drawing for path in paths]
    assert len(told) == 20
    assert sum(told) >= 19


def test_drawn_clothes_are_drawings() -> None:
    for path in sorted((EXAMPLES / "clothes").glob("*.png")):
        assert recognise(decode.read(path)).drawing, path.name


@pytest.mark.skipif(not (DATA / "sketches").is_dir(), reason="needs the sketches")
def test_pencil_portraits_are_drawings() -> None:
    told = [recognise(decode.read(p)).drawing for p in sorted((DATA / "sketches").glob("*.jpg"))]
    assert sum(told) >= 0.95 * len(told)


@pytest.mark.skipif(not (DATA / "photos").is_dir(), reason="needs the photographs")
def test_photographs_are_photographs() -> None:
    with zipfile.ZipFile(DATA / "photos" / "val.zip") as file:
        names = [name for name in file.namelist() if name.endswith(".webp")]
        told = [recognise(decode.read(file.read(name))).drawing for name in names]
    assert len(told) == 60
    assert sum(told) <= 0.05 * len(told)
