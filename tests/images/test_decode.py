"""Reading any image file, or saying in one line why not."""

import io
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from make_it_real.errors import ImageError
from make_it_real.images import decode, encode
from make_it_real.images.pixels import to_images, to_pixels

ORIENTATION = 0x0112


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    with io.BytesIO() as file:
        image.save(file, format, **options)
        return file.getvalue()


def pixels_of(picture: decode.Picture) -> list[Any]:
    """Colour in 0–255 as nested lists, channel by channel."""
    return to_pixels(picture.colour * 2 - 1).tolist()


def gradient(width: int = 8, height: int = 6) -> Image.Image:
    """A grey picture in which no two pixels are the same."""
    levels = np.arange(width * height, dtype=np.uint8).reshape(height, width) * 5
    return Image.fromarray(levels)


# What can't be read


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(ImageError, match=r"^the file is empty$"):
        decode.read(b"")


def test_a_missing_file_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^No such file or directory$"):
        decode.read(tmp_path / "nowhere.png")


def test_a_folder_named_like_an_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    with pytest.raises(ImageError, match="directory"):
        decode.read(tmp_path / "x.png")


@pytest.mark.parametrize("data", [b"x", b"not an image\n" * 100, bytes(1000), b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_image_is_refused_in_one_line(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"^[^\n]*image[^\n]*$"):
        decode.read(path)


def test_a_format_that_is_not_among_ours_is_refused() -> None:
    # Pillow reads more than is safe to hand a stranger's file to: EPS runs Ghostscript.
    eps = encoded(Image.new("RGB", (8, 8)), "EPS")
    with pytest.raises(ImageError, match="not an image of a known kind"):
        decode.read(eps)


def test_a_truncated_png_is_refused(truncated_png: bytes) -> None:
    with pytest.raises(ImageError, match=r"^damaged image \([^\n]+\)$"):
        decode.read(truncated_png)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "AVIF"])
def test_half_a_file_is_refused(format: str) -> None:
    data = encoded(Image.effect_noise((64, 64), 80).convert("RGB"), format)
    assert decode.read(data).colour.shape[1:] == (64, 64)
    with pytest.raises(ImageError, match=r"^[^\n]*image[^\n]*$"):
        decode.read(data[: len(data) // 2])


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "AVIF", "BMP"])
def test_damage_anywhere_in_the_header_never_raises_anything_else(format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    options = {"exif": exif} if format in ("PNG", "JPEG", "WEBP", "TIFF", "AVIF") else {}
    whole = encoded(Image.effect_noise((16, 12), 80).convert("RGB"), format, **options)
    read, reasons = 0, ""
    for place in range(min(len(whole), 200)):
        for byte in (0, 1, 0xFF):
            damaged = whole[:place] + bytes([byte]) + whole[place + 1 :]
            try:
                decode.read(damaged, max_pixels=1_000_000)
                read += 1
            except ImageError as error:
                reasons += str(error)
    assert read
    assert reasons
    assert "\n" not in reasons


def test_a_header_that_promises_too_many_pixels_is_refused(huge_png: bytes) -> None:
    with pytest.raises(ImageError, match="80000×80000 pixels are more than the limit of 200,000,0"):
        decode.read(huge_png)


def test_the_limit_on_pixels_is_inclusive() -> None:
    data = encoded(gradient(8, 6))
    assert decode.read(data, max_pixels=48).colour.shape == (1, 6, 8)
    with pytest.raises(ImageError, match="8×6 pixels are more than the limit of 47"):
        decode.read(data, max_pixels=47)


def test_pillows_own_limit_does_not_speak_before_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode.read(encoded(gradient(8, 6)), max_pixels=48).colour.shape == (1, 6, 8)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_reading_in_threads_hides_warnings_and_leaves_their_filters_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encoded(gradient())
    opened = Image.open
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def slow(*args: Any, **kwargs: Any) -> Image.Image:
        if not first_is_in.is_set():
            first_is_in.set()
            assert second_is_in.wait(10)
        else:
            second_is_in.set()
            assert first_is_out.wait(10)
            warnings.warn("damaged EXIF", stacklevel=1)
        return opened(*args, **kwargs)

    monkeypatch.setattr(Image, "open", slow)
    before = list(warnings.filters)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(decode.read, data)
        assert first_is_in.wait(10)
        second = pool.submit(decode.read, data)
        first.result()
        first_is_out.set()
        second.result()
    assert list(warnings.filters) == before


# What can


@pytest.mark.parametrize(
    ("orientation", "stored_from"),
    [
        (1, lambda upright: upright),
        (2, lambda upright: upright[:, ::-1]),
        (3, lambda upright: upright[::-1, ::-1]),
        (4, lambda upright: upright[::-1]),
        (5, lambda upright: upright.T),
        (6, lambda upright: upright[:, ::-1].T),
        (7, lambda upright: upright[::-1, ::-1].T),
        (8, lambda upright: upright[::-1].T),
    ],
)
def test_every_exif_orientation_is_turned_upright(
    orientation: int, stored_from: Callable[[Any], Any]
) -> None:
    # EXIF 2.3, tag 274: which side of the picture the stored first row and column are.
    upright = np.asarray(gradient())
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = Image.fromarray(np.ascontiguousarray(stored_from(upright)))
    picture = decode.read(encoded(stored, exif=exif))
    assert pixels_of(picture) == [upright.tolist()]
    assert picture.notes == (("turned upright",) if orientation > 1 else ())


def test_an_impossible_exif_orientation_is_ignored() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 9
    picture = decode.read(encoded(gradient(), exif=exif))
    assert pixels_of(picture) == [np.asarray(gradient()).tolist()]
    assert picture.notes == ()


def test_grey_stays_one_channel() -> None:
    picture = decode.read(encoded(gradient()))
    assert picture.colour.dtype == torch.float32
    assert pixels_of(picture) == [np.asarray(gradient()).tolist()]
    assert picture.alpha is None


def test_grey_with_transparency_is_split() -> None:
    image = Image.new("LA", (2, 1))
    image.putdata([(40, 255), (200, 51)])
    picture = decode.read(encoded(image))
    assert pixels_of(picture) == [[[40, 200]]]
    assert picture.alpha is not None
    assert torch.allclose(picture.alpha, torch.tensor([[1.0, 0.2]]))


def test_colour_channels_keep_their_order() -> None:
    image = Image.new("RGB", (2, 1))
    image.putdata([(10, 20, 30), (40, 50, 60)])
    picture = decode.read(encoded(image))
    assert pixels_of(picture) == [[[10, 40]], [[20, 50]], [[30, 60]]]
    assert picture.alpha is None


def test_colour_with_transparency_is_split_and_not_premultiplied() -> None:
    image = Image.new("RGBA", (2, 1))
    image.putdata([(250, 0, 100, 255), (200, 100, 50, 51)])
    picture = decode.read(encoded(image))
    assert pixels_of(picture) == [[[250, 200]], [[0, 100]], [[100, 50]]]
    assert picture.alpha is not None
    assert torch.allclose(picture.alpha, torch.tensor([[1.0, 0.2]]))


def test_transparency_that_is_opaque_everywhere_is_dropped() -> None:
    assert decode.read(encoded(Image.new("RGBA", (3, 2), (1, 2, 3, 255)))).alpha is None
    assert decode.read(encoded(Image.new("LA", (3, 2), (1, 255)))).alpha is None


def test_a_palette_becomes_its_colours() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([2, 0, 1])
    picture = decode.read(encoded(image))
    assert pixels_of(picture) == [[[0, 255, 0]], [[0, 0, 255]], [[255, 0, 0]]]
    assert picture.alpha is None


@pytest.mark.parametrize("transparency", [1, bytes([255, 0, 255])])
def test_a_palette_with_a_transparent_entry_gets_transparency(transparency: int | bytes) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([2, 0, 1])
    picture = decode.read(encoded(image, transparency=transparency))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[1, 1, 0]]
    assert pixels_of(picture)[2] == [[255, 0, 0]]


@pytest.mark.parametrize(
    ("mode", "values", "transparent"),
    [("L", [7, 99], 99), ("RGB", [(7, 7, 7), (9, 8, 7)], (9, 8, 7)), ("1", [0, 255], 255)],
)
def test_a_colour_that_is_named_transparent_is_so(
    mode: str, values: list[Any], transparent: Any
) -> None:
    image = Image.new(mode, (2, 1))
    image.putdata(values)
    picture = decode.read(encoded(image, transparency=transparent))
    assert picture.alpha is not None
    assert picture.alpha.tolist() == [[1, 0]]


@pytest.mark.parametrize("format", ["PNG", "TIFF", "PPM", "BMP"])
def test_one_bit_is_black_and_white(format: str) -> None:
    image = Image.new("1", (3, 1))
    image.putdata([0, 255, 0])
    assert pixels_of(decode.read(encoded(image, format))) == [[[0, 255, 0]]]


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_not_clipped(format: str) -> None:
    levels = np.array([[0, 1, 255, 256, 30_000, 65_535]], dtype=np.uint16)
    picture = decode.read(encoded(Image.fromarray(levels), format))
    assert torch.allclose(picture.colour[0], torch.from_numpy(levels.astype(np.float32)) / 65_535)


def test_sixteen_bit_grey_is_turned_upright_too() -> None:
    levels = np.array([[1, 30_000], [65_535, 400], [7, 9]], dtype=np.uint16)
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    picture = decode.read(encoded(Image.fromarray(levels), exif=exif))
    assert (picture.colour[0] * 65_535).round().tolist() == levels[::-1, ::-1].tolist()


def test_sixteen_bit_pgm_is_scaled() -> None:
    picture = decode.read(b"P5 3 1 65535\n" + np.array([0, 32_768, 65_535], ">u2").tobytes())
    assert torch.allclose(picture.colour[0], torch.tensor([[0, 32_768 / 65_535, 1]]))


@pytest.mark.parametrize("full", [65_535, 2**31 - 1])
def test_integer_tiff_is_scaled_by_the_range_that_holds_it(full: int) -> None:
    levels = np.array([[-5, 0, full // 2, full]], dtype=np.int32)
    picture = decode.read(encoded(Image.fromarray(levels), "TIFF"))
    assert torch.allclose(picture.colour[0], torch.tensor([[0, 0, 0.5, 1]]), atol=1e-5)


@pytest.mark.parametrize("peak", [1.0, 255.0])
def test_float_tiff_is_scaled_by_its_range(peak: float) -> None:
    levels = np.array([[0, 0.25, 1]], dtype=np.float32) * peak
    picture = decode.read(encoded(Image.fromarray(levels), "TIFF"))
    assert torch.allclose(picture.colour[0], torch.tensor([[0, 0.25, 1]]))


def test_float_tiff_with_values_that_are_not_finite_stays_within_bounds() -> None:
    levels = np.array([[0.5, np.nan, np.inf, -np.inf, 1]], dtype=np.float32)
    picture = decode.read(encoded(Image.fromarray(levels), "TIFF"))
    assert picture.colour[0].tolist() == [[0.5, 0, 1, 0, 1]]


def test_cmyk_jpeg_becomes_rgb() -> None:
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    colour = decode.read(encoded(image, "JPEG", quality=100)).colour
    assert torch.allclose(colour.mean((1, 2)), torch.tensor([0.0, 1.0, 1.0]), atol=0.02)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_frames_the_first_is_taken(format: str) -> None:
    red, green = (Image.new("RGB", (8, 8), name) for name in ("#f00", "#0f0"))
    options = {"lossless": True} if format == "WEBP" else {}
    data = encoded(red, format, save_all=True, append_images=[green], **options)
    picture = decode.read(data)
    assert picture.colour.mean((1, 2)).tolist() == [1, 0, 0]
    assert picture.warnings == ("2 frames: only the first is used",)


def test_two_pictures_of_a_3d_camera_are_read_as_one() -> None:
    red, green = (Image.new("RGB", (16, 16), name) for name in ("#f00", "#0f0"))
    data = encoded(red, "MPO", save_all=True, append_images=[green])
    colour = decode.read(data).colour.mean((1, 2))
    assert torch.allclose(colour, torch.tensor([1.0, 0, 0]), atol=0.02)


@pytest.mark.parametrize("format", ["JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "PPM"])
def test_the_content_counts_not_the_name(format: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(Image.new("RGB", (16, 8), "#fff"), format))
    assert decode.read(path).colour.min() > 0.98
    assert decode.read(path).colour.shape == (3, 8, 16)


# Pixels and images


def test_all_256_levels_survive_the_way_to_images_and_back() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    there = to_images(levels)
    assert there.dtype == torch.float32
    assert [float(there.min()), float(there.max())] == [-1, 1]
    assert torch.equal(to_pixels(there), levels)


def test_images_are_clipped_and_rounded_to_pixels() -> None:
    values = torch.tensor([-3.0, -1, 1, 7, 0.4 / 127.5 - 1, 0.6 / 127.5 - 1])
    assert to_pixels(values).tolist() == [0, 0, 255, 255, 0, 1]


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_all_256_levels_survive_a_file(format: str, channels: int) -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    pixels = torch.cat([levels, levels.flip(1), levels.flip(2)])[:channels]
    picture = decode.read(encode.encode(to_images(pixels), format))
    back = to_pixels(picture.colour * 2 - 1)
    assert torch.equal(back, pixels.expand_as(back))


def test_jpeg_is_close() -> None:
    image = torch.linspace(-1, 1, 1024).view(1, 32, 32)
    picture = decode.read(encode.encode(image, "JPEG"))
    assert (picture.colour * 2 - 1 - image).abs().max() < 0.1


def test_a_png_holds_its_text() -> None:
    text = encode.provenance("tiny", "0123abcd", 3)
    data = encode.encode(torch.zeros(1, 4, 4), text=text)
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        assert image.info == text
    assert text["model"] == "tiny"
    assert text["model-sha256"] == "0123abcd"
    assert text["steps"] == "3"
    assert text["Software"].startswith("make-it-real ")


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
def test_other_formats_leave_the_text_out(format: str) -> None:
    image = torch.zeros(3, 4, 4)
    assert encode.encode(image, format, {"seed": "5"}) == encode.encode(image, format)
