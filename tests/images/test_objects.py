"""A thing on a plain background is cut out, keeps its grey levels, and is laid on the data's."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFilter
from torch import Tensor

from make_it_real.images.decode import Picture
from make_it_real.images.framing import Fitted, Framing, Whole, fit, measure
from make_it_real.images.objects import find_subject
from make_it_real.images.paste_back import restored
from make_it_real.images.pixels import to_images, to_pixels

CLOTHES = Framing(-1.0, 1.0, 0.16, objects=True, contrast=0.25)
ON_WHITE = Framing(1.0, 1.0, 0.16, objects=True, contrast=0.25)
SIZE = 28
Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
# A shirt with its sleeves, on a grid of 100 × 100, where its neck is in the middle of its top.
SHIRT = [
    (38, 10), (62, 10), (92, 26), (84, 44), (70, 38), (70, 90), (30, 90), (30, 38), (16, 44),
    (8, 26),
]  # fmt: skip


def shirt(
    fill: Colour | None,
    paper: Colour = WHITE,
    line: Colour | None = None,
    unit: float = 3,
    width: int = 3,
) -> Image.Image:
    image = Image.new("RGB", (round(100 * unit), round(110 * unit)), paper)
    points = [(x * unit, y * unit) for x, y in SHIRT]
    pen = ImageDraw.Draw(image)
    if fill is not None:
        pen.polygon(points, fill=fill)
    if line is not None:
        pen.line([*points, points[0]], fill=line, width=width, joint="curve")
    return image


def picture_of(image: Image.Image) -> Picture:
    levels = torch.from_numpy(np.asarray(image, dtype=np.float32) / 255)
    levels = levels[None] if levels.ndim == 2 else levels.permute(2, 0, 1)
    return Picture(levels[:3], levels[3] if len(levels) == 4 else None)


def fitted(image: Image.Image, framing: Framing = CLOTHES, invert: bool | None = None) -> Fitted:
    return fit(picture_of(image), SIZE, 1, framing, invert=invert)


def level(image: Tensor) -> float:
    """The median level of a shirt's breast, in [0, 1]."""
    return float((image[0, 10:24, 11:17].median() + 1) / 2)


def covered(image: Tensor, background: float = -1.0) -> Tensor:
    """Where an image (1, S, S) shows its subject."""
    return (image[0] - background).abs() > 0.2


@pytest.fixture
def silhouette() -> Tensor:
    """The pixels of a shirt that is as plain as can be: grey on black."""
    return covered(fitted(shirt((128, 128, 128), (0, 0, 0))).image)


def assert_same_shape(image: Tensor, silhouette: Tensor, most: int = 16) -> None:
    assert int((covered(image) != silhouette).sum()) <= most


# Filled things


@pytest.mark.parametrize(
    "paper", [WHITE, (0, 0, 0), (128, 128, 128), (250, 240, 210), (30, 90, 50)]
)
@pytest.mark.parametrize("grey", [80, 190])
def test_cloth_keeps_its_level_on_any_paper(paper: Colour, grey: int, silhouette: Tensor) -> None:
    result = fitted(shirt((grey,) * 3, paper))
    assert (result.inverted, result.gain) == (False, 1.0)
    assert level(result.image) == pytest.approx(grey / 255, abs=0.02)
    assert (result.image[0, -1, :3] == -1).all()
    assert_same_shape(result.image, silhouette)


def test_a_black_shirt_stays_dark_but_can_be_told_from_black() -> None:
    image = fitted(shirt((8, 8, 8))).image
    assert level(image) == pytest.approx(CLOTHES.contrast, abs=0.02)
    # A dark seam on it is darker still: it is lifted as a whole.
    seam = shirt((40, 40, 40))
    ImageDraw.Draw(seam).line((120, 200, 190, 200), fill=(0, 0, 0), width=14)
    lifted = fitted(seam)
    rows = (lifted.image[0, :, 11:16].mean(1) + 1) / 2
    assert level(lifted.image) == pytest.approx(CLOTHES.contrast, abs=0.02)
    assert rows[10:22].min() < CLOTHES.contrast - 0.04
    assert lifted.gain > 1


@pytest.mark.parametrize("paper", [WHITE, (0, 0, 0)])
def test_data_on_white_get_their_things_on_white(paper: Colour) -> None:
    image = fitted(shirt((128, 60, 60), paper), ON_WHITE).image
    assert (image[0, -1, :3] == 1).all()
    assert level(image) == pytest.approx((0.299 * 128 + 0.701 * 60) / 255, abs=0.02)


def test_a_colour_model_gets_the_colours() -> None:
    image = fit(picture_of(shirt((200, 40, 90))), SIZE, 3, CLOTHES).image
    assert to_pixels(image[:, 18, 14]).tolist() == pytest.approx([200, 40, 90], abs=3)


@pytest.mark.parametrize("invert", [True, False])
def test_inverting_swaps_the_things_own_levels(invert: bool, silhouette: Tensor) -> None:
    result = fitted(shirt((60, 60, 60)), invert=invert)
    assert result.inverted is invert
    assert ("inverted" in result.done) is invert
    assert level(result.image) == pytest.approx(195 / 255 if invert else 0.25, abs=0.02)
    assert_same_shape(result.image, silhouette)


@pytest.mark.parametrize("how", ["pad", "crop", "stretch"])
def test_the_whole_picture_is_taken_where_that_is_asked_for(how: Whole) -> None:
    picture = picture_of(shirt((60, 60, 60)))
    whole = fit(picture, SIZE, 1, CLOTHES, how=how)
    assert torch.equal(whole.image, fit(picture, SIZE, 1, Framing(), how=how).image)


def test_light_grain_and_a_soft_shadow_are_not_cut_out_with_it(silhouette: Tensor) -> None:
    drawn = shirt((35, 40, 70), unit=12)
    mask = shirt((0, 0, 0), unit=12).convert("L")
    shadow = mask.filter(ImageFilter.GaussianBlur(40)).transform(
        mask.size, Image.Transform.AFFINE, (1, 0, -30, 0, 1, -30), fillcolor=255
    )
    h, w = mask.height, mask.width
    inside = (np.asarray(mask) < 128)[..., None]
    dim = 0.65 + 0.35 * np.asarray(shadow)[..., None] / 255
    dimmed = np.asarray(drawn) * np.where(inside, 1, dim)
    light = 0.95 - 0.3 * np.arange(w)[:, None] / w - 0.1 * np.arange(h)[:, None, None] / h
    photo = dimmed * light + np.random.default_rng(0).normal(0, 5, (h, w, 1))
    image = fitted(Image.fromarray(photo.clip(0, 255).astype(np.uint8))).image
    assert_same_shape(image, silhouette, most=30)
    assert level(image) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("size", [(60, 66), (1200, 1320)])
def test_any_size_gives_the_same(size: tuple[int, int], silhouette: Tensor) -> None:
    image = shirt((90, 90, 90), unit=12).resize(size, Image.Resampling.LANCZOS)
    assert_same_shape(fitted(image).image, silhouette)


def test_it_is_as_large_as_the_image_and_in_the_middle() -> None:
    tall = Image.new("RGB", (400, 300), WHITE)
    ImageDraw.Draw(tall).rectangle((20, 100, 119, 289), fill=(120, 120, 120))
    shown = covered(fitted(tall).image)
    assert shown.any(1).all()
    columns = shown.any(0).nonzero()
    left, right = int(columns.min()), SIZE - 1 - int(columns.max())
    assert abs(left - right) <= 1
    assert SIZE - left - right == pytest.approx(SIZE * 100 / 190, abs=1.5)


def test_what_lies_on_transparency_is_cut_out_by_that(silhouette: Tensor) -> None:
    # White on transparency: by its colours nothing could be told from white paper.
    image = shirt(WHITE, WHITE)
    image.putalpha(shirt(WHITE, (0, 0, 0)).convert("L"))
    result = fitted(image)
    assert level(result.image) > 0.97
    assert_same_shape(result.image, silhouette)


# Enclosed paper


def test_a_print_as_white_as_the_paper_is_part_of_the_shirt(silhouette: Tensor) -> None:
    image = shirt((60, 60, 160))
    ImageDraw.Draw(image).ellipse((135, 130, 165, 170), fill=WHITE)
    result = fitted(image).image
    assert_same_shape(result, silhouette)
    assert float(result[0, 8:16, 12:16].max()) > 0.8


@pytest.mark.parametrize("grey", [20, 190])
def test_what_is_seen_through_a_handle_is_background(grey: int) -> None:
    bag = Image.new("RGB", (300, 300), WHITE)
    pen = ImageDraw.Draw(bag)
    pen.rectangle((50, 130, 250, 270), fill=(grey,) * 3)
    pen.arc((100, 40, 200, 240), 180, 360, fill=(grey,) * 3, width=14)
    image = fitted(bag).image
    assert (image[0, 4:8, 13:15] < -0.99).all()
    assert covered(image)[0:3, 12:16].any()


# Outlines


@pytest.mark.parametrize(
    ("paper", "line"),
    [
        (WHITE, (0, 0, 0)), (WHITE, (190, 190, 190)), (WHITE, (180, 40, 90)),
        ((45, 60, 55), (240, 240, 235)),
    ],
)  # fmt: skip
def test_an_outline_is_filled(paper: Colour, line: Colour, silhouette: Tensor) -> None:
    result = fitted(shirt(None, paper, line))
    assert "outline filled" in result.done
    assert 0.5 < level(result.image) < 0.7
    assert_same_shape(result.image, silhouette, most=24)


def test_seams_inside_an_outline_are_kept() -> None:
    image = shirt(None, line=(0, 0, 0))
    ImageDraw.Draw(image).line((95, 200, 205, 200), fill=(0, 0, 0), width=10)
    rows = fitted(image).image[0, 8:24, 11:17].mean(1)
    assert float(rows.min()) < float(rows.median()) - 0.4


@pytest.mark.parametrize("gap", [8, 24])
def test_an_outline_with_gaps_is_filled_too(gap: int, silhouette: Tensor) -> None:
    image = shirt(None, line=(0, 0, 0))
    ImageDraw.Draw(image).rectangle((150, 250, 150 + gap, 290), fill=WHITE)
    assert_same_shape(fitted(image).image, silhouette, most=40)


def test_an_outlined_part_of_a_filled_thing_belongs_to_it(silhouette: Tensor) -> None:
    image = shirt((50, 90, 170), line=(0, 0, 0))
    ImageDraw.Draw(image).polygon(
        [(90, 218), (210, 218), (210, 270), (90, 270)], fill=WHITE, outline=(0, 0, 0), width=3
    )
    result = fitted(image)
    assert "outline filled" not in result.done
    assert_same_shape(result.image, silhouette)
    assert float(result.image[0, 24:26, 12:16].mean()) > 0.8


def test_an_outline_on_transparency_is_filled(silhouette: Tensor) -> None:
    image = Image.new("RGBA", (300, 330), (0, 0, 0, 0))
    image.putalpha(shirt(None, (0, 0, 0), WHITE).convert("L"))
    result = fitted(image)
    assert "outline filled" in result.done
    assert_same_shape(result.image, silhouette, most=24)


# Pictures that are left whole


def checkered() -> Image.Image:
    tiles = np.indices((300, 300)).sum(0) // 20 % 2 * 200
    return Image.fromarray(tiles.astype(np.uint8))


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (300, 200), 255), Image.new("L", (300, 200), 0), checkered(),
        Image.effect_noise((300, 300), 90), Image.new("RGB", (3, 2), WHITE),
        Image.new("L", (1, 1), 9),
    ],
    ids=["white", "black", "checkered", "noise", "3×2", "one pixel"],
)  # fmt: skip
def test_without_a_plain_background_or_a_subject_all_is_as_for_full_pictures(
    image: Image.Image,
) -> None:
    assert find_subject(picture_of(image).colour) is None
    result, whole = fitted(image), fitted(image, Framing())
    assert torch.equal(result.image, whole.image)
    assert (result.done, result.padded) == (whole.done, whole.padded)


def test_an_image_of_the_models_size_on_black_is_taken_as_it_is() -> None:
    image = shirt((200, 200, 200), (0, 0, 0)).resize((SIZE, SIZE)).convert("L")
    pixels = to_pixels(fitted(image).image)
    assert torch.equal(pixels[0], torch.from_numpy(np.array(image)))


def test_an_image_of_the_models_size_on_white_is_laid_on_black() -> None:
    image = shirt((90, 90, 90)).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    result = fitted(image).image
    assert (result[0, -1, :3] == -1).all()
    assert level(result) == pytest.approx(90 / 255, abs=0.03)


@pytest.mark.parametrize(
    "size", [(1, 2), (1, 50), (50, 1), (3, 3), (5000, 2), (2, 5000), (900, 31)]
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [True, False])
def test_pictures_of_any_shape_come_to_the_models_size(
    size: tuple[int, int], channels: int, alpha: bool
) -> None:
    generator = torch.Generator().manual_seed(0)
    colour = (torch.rand(3, size[1], size[0], generator=generator) > 0.9).float()
    picture = Picture(colour, colour[0] if alpha else None)
    image = fit(picture, 32, channels, CLOTHES).image
    assert image.shape == (channels, 32, 32)
    assert image.isfinite().all()
    assert image.abs().max() <= 1


# Back into the picture


@pytest.mark.parametrize("invert", [True, False])
@pytest.mark.parametrize("fill", [(90, 90, 90), (10, 10, 10)])
def test_a_change_goes_back_to_its_place_at_its_strength(fill: Colour, invert: bool) -> None:
    picture = picture_of(shirt(fill, unit=6))
    result = fit(picture, SIZE, 1, CLOTHES, invert=invert)
    # Make what lies where the breast is 0.1 brighter in the picture.
    changed = result.image.clone()
    changed[0, 12:18, 11:17] += (-0.2 if invert else 0.2) / result.gain
    image, _ = restored(picture, [(result, changed)])
    difference = (image + 1) / 2 - picture.colour
    # The breast's middle, at 15 of 28 pixels, is at 300 of 600, and a third of the way down.
    assert float(difference[:, 290, 300].mean()) == pytest.approx(0.1, abs=0.02)
    assert float(difference[:, :, :40].abs().max()) < 0.01


# Measuring


def things(n: int, low: float, margin: int = 0) -> Tensor:
    """Images (n, 1, 28, 28) of boxes of brightness ``low`` to 1 on black, ``margin`` from above."""
    images = torch.full((n, 1, SIZE, SIZE), -1.0)
    for i, grey in enumerate(torch.linspace(low, 1, n)):
        images[i, 0, margin : SIZE - margin, 8:20] = grey * 2 - 1
    return images


@pytest.mark.parametrize("margin", [0, 4])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_things_of_different_brightness_are_objects(margin: int, sign: float) -> None:
    framing = measure(sign * things(200, 0.2, margin))
    assert framing.objects
    assert framing.background == -sign
    assert framing.extent == pytest.approx((SIZE - 2 * margin) / SIZE, abs=0.001)
    # The 5th percentile of 0.2 … 1.
    assert framing.contrast == pytest.approx(0.24, abs=0.01)


def test_full_strokes_are_no_objects() -> None:
    inset = measure(things(50, 0.9, margin=4))
    assert (inset.background, inset.objects, inset.contrast) == (-1.0, False, 0.0)
    assert measure(things(50, 0.9, margin=0)) == Framing()


def test_dark_pictures_with_subjects_all_along_their_border_are_full_pictures() -> None:
    images = things(200, 0.2)
    images[:, :, 0] = images[:, :, 14, 14:15]
    images[:, :, :, 0] = images[:, :, 14, 14:15]
    assert measure(images) == Framing()


def test_what_is_fitted_is_what_is_measured() -> None:
    greys = [int(g) for g in torch.linspace(70, 250, 30)]
    images = torch.stack([fitted(shirt((g,) * 3, (0, 0, 0))).image for g in greys])
    framing = measure(to_images(to_pixels(images)))
    assert framing.objects
    assert (framing.background, framing.extent) == (-1.0, 1.0)
