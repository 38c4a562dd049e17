"""Any picture comes into the model's frame: polarity, light, place and size."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from make_it_real.errors import WeightsError
from make_it_real.images.decode import Picture
from make_it_real.images.framing import Framing, Whole, described, fit, measure
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.images.strokes import stroke_width

MNIST = Framing(background=-1.0, extent=0.714, stroke=0.084)
DARK_ON_WHITE = Framing(background=1.0, extent=0.714, stroke=0.084)
PHOTOS = Framing()
SIZE = 28

Draw = Callable[[ImageDraw.ImageDraw, int | tuple[int, ...]], None]


def picture_of(image: Image.Image) -> Picture:
    """An opaque Pillow image as ``images.read`` would give it."""
    levels = np.asarray(image, dtype=np.float32) / 255
    return Picture(
        torch.from_numpy(levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1))
    )


def seven(left: int, top: int, height: int, width: int = 0) -> Draw:
    """What draws a 7 with a stroke of ``width`` pixels, by default an eighth of its height."""

    def draw(pen: ImageDraw.ImageDraw, ink: int | tuple[int, ...]) -> None:
        right, bottom = left + height * 2 // 3, top + height
        points = [(left, top), (right, top), (left + height // 4, bottom)]
        pen.line(points, fill=ink, width=width or height // 8, joint="curve")

    return draw


def drawn(
    draw: Draw, size: tuple[int, int] = (300, 200), paper: int = 255, ink: int = 0
) -> Image.Image:
    image = Image.new("L", size, paper)
    draw(ImageDraw.Draw(image), ink)
    return image


def photographed(image: Image.Image, light: tuple[float, float], grain: float = 4) -> Image.Image:
    """The drawing under light that falls off to the right and to the bottom, with grain."""
    h, w = image.height, image.width
    y, x = np.mgrid[0:h, 0:w]
    lit = 0.95 - light[0] * x / w - light[1] * y / h
    noise = np.random.default_rng(0).normal(0, grain, (h, w))
    levels = np.asarray(image, dtype=np.float64) * lit + noise
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


def subject(image: Tensor, background: float = -1.0) -> Tensor:
    """How far each pixel of an image (1, S, S) stands out from the background, 0–1."""
    return (image[0] - background).abs() / 2


def box(shown: Tensor) -> tuple[int, int]:
    """Height and width of what stands out, faint edges left aside."""
    rows, columns = (shown > 0.1).any(1).nonzero(), (shown > 0.1).any(0).nonzero()
    return int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1


def centre(shown: Tensor) -> tuple[float, float]:
    """The centre of mass, in pixels from the top and from the left."""
    places = torch.arange(len(shown)) + 0.5
    total = shown.sum()
    return float((shown.sum(1) * places).sum() / total), float(
        (shown.sum(0) * places).sum() / total
    )


def alike(a: Tensor, b: Tensor) -> float:
    """Correlation of two images, moved by up to a pixel: 1 for the same drawing."""
    shifts = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    moved = torch.stack([a[0].roll(shift, (0, 1)).flatten() for shift in shifts])
    return float(torch.corrcoef(torch.cat([b[0].flatten()[None], moved]))[0, 1:].max())


@pytest.fixture
def clean_seven() -> Tensor:
    """A large black 7 in the middle of white paper, in MNIST's frame."""
    return fit(picture_of(drawn(seven(120, 50, 100))), SIZE, 1, MNIST).image


# Pictures that are framed already


@pytest.mark.parametrize("how", ["auto", "pad", "crop", "stretch"])
def test_a_picture_of_the_models_size_is_taken_as_it_is(how: Whole) -> None:
    image = drawn(seven(2, 3, 12), (SIZE, SIZE), paper=0, ink=255)
    image.putpixel((27, 27), 90)
    fitted = fit(picture_of(image), SIZE, 1, MNIST, how=how)
    assert torch.equal(to_pixels(fitted.image)[0], torch.from_numpy(np.array(image)))
    assert (fitted.inverted, fitted.done) == (False, ())


def test_a_picture_of_the_models_size_is_inverted_where_its_border_is_bright() -> None:
    image = drawn(seven(2, 3, 12), (SIZE, SIZE))
    fitted = fit(picture_of(image), SIZE, 1, MNIST)
    assert torch.equal(to_pixels(fitted.image)[0], 255 - torch.from_numpy(np.array(image)))
    assert (fitted.inverted, fitted.done) == (True, ("inverted",))


def test_a_colour_picture_of_the_models_size_becomes_grey() -> None:
    fitted = fit(picture_of(Image.new("RGB", (SIZE, SIZE), (100, 0, 0))), SIZE, 1, MNIST)
    # Rec. 601: red weighs 0.299.
    assert fitted.image.shape == (1, SIZE, SIZE)
    assert (to_pixels(fitted.image) == 30).all()


# Polarity


@pytest.mark.parametrize("framing", [MNIST, DARK_ON_WHITE])
@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255), (200, 60), (30, 140)])
def test_polarity_becomes_that_of_the_data(framing: Framing, paper: int, ink: int) -> None:
    fitted = fit(picture_of(drawn(seven(120, 50, 100), paper=paper, ink=ink)), SIZE, 1, framing)
    assert framing.background is not None
    assert fitted.inverted == ((ink > paper) != framing.bright)
    assert ("inverted" in fitted.done) == fitted.inverted
    assert (fitted.image[0, 0] == framing.background).all()
    assert subject(fitted.image, framing.background).max() > 0.9


def test_polarity_does_not_change_the_drawing(clean_seven: Tensor) -> None:
    bright = fit(picture_of(drawn(seven(120, 50, 100), paper=0, ink=255)), SIZE, 1, MNIST).image
    assert (bright - clean_seven).abs().max() < 0.02


@pytest.mark.parametrize("size", [(SIZE, SIZE), (300, 200)])
@pytest.mark.parametrize(("paper", "ink"), [(255, 0), (0, 255)])
@pytest.mark.parametrize("invert", [True, False])
def test_polarity_can_be_forced(size: tuple[int, int], paper: int, ink: int, invert: bool) -> None:
    image = drawn(seven(size[0] // 3, size[1] // 4, size[1] // 2), size, paper, ink)
    fitted = fit(picture_of(image), SIZE, 1, MNIST, invert=invert)
    assert fitted.inverted == invert
    assert ("inverted" in fitted.done) == invert
    paper_is_bright = (paper == 255) != invert
    assert to_pixels(fitted.image[0, SIZE // 2, 0]) == (255 if paper_is_bright else 0)


@pytest.mark.parametrize("invert", [True, False])
def test_a_forced_polarity_that_is_the_pictures_own_changes_nothing(invert: bool) -> None:
    paper, ink = (255, 0) if invert else (0, 255)
    picture = picture_of(drawn(seven(20, 30, 90), paper=paper, ink=ink))
    free, forced = fit(picture, SIZE, 1, MNIST), fit(picture, SIZE, 1, MNIST, invert=invert)
    assert torch.equal(free.image, forced.image)
    assert free.done == forced.done


# Transparency


@pytest.mark.parametrize(("ink", "paper"), [(0.1, "white"), (0.95, "black")])
@pytest.mark.parametrize("size", [(SIZE, SIZE), (300, 200)])
def test_transparent_ink_is_laid_on_what_shows_it(
    ink: float, paper: str, size: tuple[int, int]
) -> None:
    draw = seven(size[0] // 3, size[1] // 4, size[1] // 2)
    alpha = picture_of(drawn(draw, size, paper=0, ink=255)).colour[0]
    # What lies hidden where nothing shows must not count: here noise.
    hidden = torch.rand(3, *alpha.shape, generator=torch.Generator().manual_seed(0))
    colour = torch.where(alpha > 0, torch.full_like(hidden, ink), hidden)
    fitted = fit(Picture(colour, alpha), SIZE, 1, MNIST)
    assert f"laid on {paper}" in fitted.done
    assert fitted.inverted == (paper == "white")
    assert (fitted.image[0, 0] == -1).all()
    assert subject(fitted.image).max() > 0.85
    opaque = fit(picture_of(drawn(draw, size, paper=0, ink=255)), SIZE, 1, MNIST)
    assert alike(fitted.image, opaque.image) > 0.99


def test_a_picture_that_is_transparent_everywhere_is_blank() -> None:
    fitted = fit(Picture(torch.rand(3, 40, 40), torch.zeros(40, 40)), SIZE, 1, MNIST)
    assert (to_pixels(fitted.image) == 0).all()


# Photos


@pytest.mark.parametrize("light", [(0.0, 0.0), (0.5, 0.2), (-0.0, 0.6), (0.3, 0.3)])
@pytest.mark.parametrize(
    ("left", "top", "height"), [(100, 80, 600), (800, 450, 300), (60, 700, 90)]
)
def test_a_big_photo_with_uneven_light_shows_the_drawing_alone(
    light: tuple[float, float], left: int, top: int, height: int, clean_seven: Tensor
) -> None:
    photo = photographed(drawn(seven(left, top, height), (1200, 900), paper=240, ink=40), light)
    fitted = fit(picture_of(photo), SIZE, 1, MNIST)
    assert fitted.inverted
    assert alike(fitted.image, clean_seven) > 0.9
    assert abs(max(box(subject(fitted.image))) - MNIST.extent * SIZE) <= 1


def test_chalk_on_a_board_is_found_too(clean_seven: Tensor) -> None:
    board = drawn(seven(500, 300, 400), (1200, 900), paper=70, ink=230)
    fitted = fit(picture_of(photographed(board, (0.3, 0.2))), SIZE, 1, MNIST)
    assert not fitted.inverted
    assert alike(fitted.image, clean_seven) > 0.9


@pytest.mark.parametrize("ink", [(200, 30, 30), (30, 60, 200), (240, 220, 60)])
def test_coloured_ink_is_found(ink: tuple[int, int, int], clean_seven: Tensor) -> None:
    image = Image.new("RGB", (300, 200), (250, 250, 245))
    seven(40, 20, 120)(ImageDraw.Draw(image), ink)
    fitted = fit(picture_of(image), SIZE, 1, MNIST)
    assert alike(fitted.image, clean_seven) > 0.95
    assert subject(fitted.image).max() > 0.9


# Place and size


@pytest.mark.parametrize(
    "points",
    [
        [(20, 20), (20, 90)],
        [(180, 150), (290, 150)],
        [(10, 180), (90, 120), (60, 190)],
        [(250, 10), (290, 10), (260, 60), (290, 60)],
        [(100, 5), (200, 195)],
    ],
)
def test_a_stroke_is_brought_to_the_datas_extent_and_centred_by_mass(
    points: list[tuple[int, int]],
) -> None:
    def draw(pen: ImageDraw.ImageDraw, ink: int | tuple[int, ...]) -> None:
        pen.line(points, fill=ink, width=8)

    shown = subject(fit(picture_of(drawn(draw)), SIZE, 1, MNIST).image)
    assert abs(max(box(shown)) - MNIST.extent * SIZE) <= 1
    assert all(abs(c - SIZE / 2) <= 0.51 for c in centre(shown))


@pytest.mark.parametrize("size", [28, 64])
def test_the_frame_that_is_measured_is_the_frame_that_is_fitted(size: int) -> None:
    places = [(10, 10, 60), (150, 20, 150), (90, 60, 100), (30, 120, 40)]
    pictures = [picture_of(drawn(seven(*place))) for place in places]
    images = torch.stack([fit(picture, size, 1, MNIST).image for picture in pictures])
    found = measure(images)
    assert found.background == -1
    assert found.extent == pytest.approx(MNIST.extent, abs=1 / size)
    assert found.stroke == pytest.approx(MNIST.stroke, abs=1.5 / size)


@pytest.mark.parametrize("width", [1, 2])
def test_a_fine_pen_is_widened_and_stays_visible(width: int) -> None:
    fine = fit(picture_of(drawn(seven(120, 30, 140, width))), SIZE, 1, MNIST)
    assert "strokes widened" in fine.done
    width_in_pixels = stroke_width(subject(fine.image))
    assert width_in_pixels == pytest.approx(MNIST.stroke * SIZE, abs=1)


def test_a_broad_brush_is_left_as_it_is() -> None:
    broad = fit(picture_of(drawn(seven(120, 50, 100, 20))), SIZE, 1, MNIST)
    assert "strokes widened" not in broad.done


def test_a_speck_far_away_is_dropped(clean_seven: Tensor) -> None:
    image = drawn(seven(30, 30, 120))
    ImageDraw.Draw(image).ellipse((280, 180, 283, 183), fill=0)
    fitted = fit(picture_of(image), SIZE, 1, MNIST)
    assert alike(fitted.image, clean_seven) > 0.97


def test_a_second_stroke_of_some_size_is_kept() -> None:
    image = drawn(seven(30, 30, 120))
    ImageDraw.Draw(image).line((180, 30, 180, 150), fill=0, width=15)
    height, width = box(subject(fit(picture_of(image), SIZE, 1, MNIST).image))
    assert width > height


# Nothing drawn


def blank(level: int) -> Image.Image:
    return Image.new("L", (200, 150), level)


def noise(kind: str) -> Image.Image:
    levels = np.random.default_rng(0)
    grain = (
        levels.normal(128, 40, (150, 200))
        if kind == "normal"
        else levels.uniform(0, 255, (150, 200))
    )
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "image",
    [
        blank(255), blank(0), blank(128), noise("normal"), noise("uniform"),
        photographed(blank(240), (0.5, 0.3)), photographed(blank(60), (0.3, 0.5)),
    ],
    ids=["white", "black", "grey", "noise", "uniform noise", "lit paper", "lit board"],
)  # fmt: skip
def test_where_nothing_is_drawn_the_whole_picture_is_padded(image: Image.Image) -> None:
    fitted = fit(picture_of(image), SIZE, 1, MNIST)
    padded = fit(picture_of(image), SIZE, 1, MNIST, how="pad")
    assert torch.equal(fitted.image, padded.image)
    assert fitted.done == padded.done
    assert "padded" in fitted.done


# Sizes


@pytest.mark.parametrize("how", ["auto", "pad", "crop", "stretch"])
@pytest.mark.parametrize("framing", [MNIST, PHOTOS])
@pytest.mark.parametrize(
    "size", [(1, 1), (2, 2), (1, 2), (1, 50), (50, 1), (3, 3), (5000, 2), (2, 5000), (900, 31)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_any_shape_come_to_the_models_size(
    how: Whole, framing: Framing, size: tuple[int, int], channels: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    colour = torch.rand(3, size[1], size[0], generator=generator)
    image = fit(Picture(colour), 32, channels, framing, how=how).image
    assert image.shape == (channels, 32, 32)
    assert image.isfinite().all()
    assert image.abs().max() <= 1


def test_a_drawing_on_a_long_strip_is_found(clean_seven: Tensor) -> None:
    strip = drawn(seven(1500, 10, 60), (2400, 80))
    assert alike(fit(picture_of(strip), SIZE, 1, MNIST).image, clean_seven) > 0.9


def halves(size: tuple[int, int]) -> Image.Image:
    """Left half red, right half green."""
    image = Image.new("RGB", size, (255, 0, 0))
    image.paste((0, 255, 0), (size[0] // 2, 0, *size))
    return image


def test_padding_keeps_all_of_the_picture_and_its_shape() -> None:
    fitted = fit(picture_of(halves((80, 40))), 32, 3, PHOTOS, how="pad")
    assert fitted.done == ("resized from 80×40", "padded")
    pixels = to_pixels(fitted.image)
    assert (pixels[0, 8:24, :14] == 255).all()
    assert (pixels[1, 8:24, -14:] == 255).all()
    # Red and green weigh the same along the border: what surrounds them is a grey.
    assert len({*pixels[:, :8].flatten().tolist(), *pixels[:, 24:].flatten().tolist()}) == 1


def test_padding_is_of_the_datas_background_where_it_has_one() -> None:
    fitted = fit(picture_of(halves((40, 80))), 32, 1, DARK_ON_WHITE, how="pad")
    pixels = to_pixels(fitted.image)
    assert (pixels[:, :, :8] == 255).all()
    assert (pixels[:, :, 24:] == 255).all()
    assert (pixels[:, :, 8:24] < 255).all()


def test_cropping_takes_the_central_square() -> None:
    image = Image.new("L", (64, 32), 0)
    image.paste(255, (16, 0, 48, 32))
    fitted = fit(picture_of(image), 32, 1, PHOTOS, how="crop")
    assert (to_pixels(fitted.image) == 255).all()
    assert fitted.done[0] == "cropped to the central square"


def test_stretching_fills_the_square() -> None:
    fitted = fit(picture_of(halves((64, 8))), 32, 3, PHOTOS, how="stretch")
    assert fitted.done == ("resized from 64×8",)
    pixels = to_pixels(fitted.image)
    assert (pixels[0, :, :14] == 255).all()
    assert (pixels[1, :, -14:] == 255).all()


# Models of full pictures


def test_models_of_full_pictures_only_resize() -> None:
    image = drawn(seven(5, 5, 20), (64, 64))
    fitted = fit(picture_of(image), 32, 1, PHOTOS)
    small = to_images(torch.from_numpy(np.array(image.resize((32, 32), Image.Resampling.BICUBIC))))
    assert (fitted.image[0] - small).abs().max() < 0.1
    assert (fitted.inverted, fitted.done) == (False, ("resized from 64×64",))


def test_models_of_full_pictures_invert_only_where_told() -> None:
    picture = picture_of(halves((32, 32)))
    plain, swapped = (fit(picture, 32, 3, PHOTOS, invert=invert) for invert in (None, True))
    assert (plain.inverted, swapped.inverted) == (False, True)
    assert torch.allclose(plain.image, -swapped.image)


def test_grey_pictures_become_colour_where_the_model_is_colour() -> None:
    grey = picture_of(drawn(seven(5, 5, 20), (32, 32)))
    image = fit(grey, 32, 3, PHOTOS).image
    assert torch.equal(image, (grey.colour * 2 - 1).expand(3, -1, -1))


def test_a_framed_colour_model_gets_three_equal_channels() -> None:
    image = fit(picture_of(drawn(seven(120, 50, 100))), 32, 3, MNIST).image
    assert image.shape == (3, 32, 32)
    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])
    assert image.max() > 0.9


# Measuring


def bars(n: int, height: int, width: int, background: float, channels: int = 1) -> Tensor:
    """Images (n, channels, 28, 28) of one upright bar each, at changing places."""
    images = torch.full((n, channels, SIZE, SIZE), background)
    for i in range(n):
        top, left = 2 + i % (SIZE - height - 3), 2 + i % (SIZE - width - 3)
        images[i, :, top : top + height, left : left + width] = -background
    return images


@pytest.mark.parametrize("background", [-1.0, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(20, 2), (18, 3), (12, 4)])
def test_the_frame_of_bars_is_measured(
    background: float, channels: int, height: int, width: int
) -> None:
    framing = measure(bars(40, height, width, background, channels))
    assert framing.background == background
    assert framing.bright == (background < 0)
    assert framing.extent == pytest.approx(height / SIZE, abs=0.001)
    # Twice the area over the outline is a little under the width of a bar that ends.
    assert 0.7 * width <= framing.stroke * SIZE <= 1.05 * width


def test_full_pictures_have_no_frame() -> None:
    generator = torch.Generator().manual_seed(0)
    assert measure(torch.rand(40, 3, 32, 32, generator=generator) * 2 - 1) == Framing()


def test_a_grey_surround_is_no_background() -> None:
    images = torch.zeros(40, 1, SIZE, SIZE)
    images[:, :, 8:20, 8:20] = 1
    assert measure(images) == Framing()


@pytest.mark.parametrize("level", [-1.0, 1.0])
def test_blank_images_have_no_frame(level: float) -> None:
    images = torch.full((40, 1, SIZE, SIZE), level)
    images[:10] = bars(10, 18, 3, level)
    assert measure(images) == Framing()


@pytest.mark.parametrize(("touching", "framed"), [(4, True), (5, False)])
def test_at_most_one_in_ten_images_may_touch_the_border(touching: int, framed: bool) -> None:
    images = bars(40, 18, 3, -1.0)
    images[:touching, :, 0, 10] = 1
    assert (measure(images).background is not None) == framed


def test_a_frame_survives_as_plain_numbers() -> None:
    framing = measure(bars(40, 18, 3, -1.0))
    assert Framing(**asdict(framing)) == framing
    assert all(isinstance(value, float | bool) for value in asdict(framing).values())


def test_a_header_that_knows_nothing_of_objects_goes_on_loading() -> None:
    earlier = {"background": -1.0, "extent": 0.714, "stroke": 0.084, "faces": False}
    assert described(earlier) == MNIST
    assert not MNIST.objects


@pytest.mark.parametrize(
    "fields",
    [
        {"nonsense": 1}, {"extent": 2.0}, {"background": "dark"}, {"stroke": -1.0},
        {"faces": "yes"}, {"objects": True}, {"objects": "yes", "background": -1.0},
        {"contrast": 1.5},
    ],
)  # fmt: skip
def test_a_headers_framing_of_another_kind_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match="a framing that this mir does not know"):
        described(fields)
