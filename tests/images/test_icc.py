"""Colour profiles are judged by what they do to colours, not by their names."""

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from make_it_real.images import decode, icc
from tests.images.imagefiles import (
    ADOBE_TO_XYZ,
    SRGB_TO_XYZ,
    SWAPPED_TO_XYZ,
    chunk,
    encoded,
    profile,
    with_chunks,
)  # fmt: skip

Array = NDArray[Any]
NAMES = ("sRGB IEC61966-2.1", "Linear sRGB", "another")
LEVELS = np.arange(256) / 255


def srgb_to_light(levels: Array) -> Array:
    """sRGB in [0, 1] → linear light (IEC 61966-2-1)."""
    low, high = levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4
    light: Array = np.where(levels <= 0.04045, low, high)
    return light


def table(light: Array) -> bytes:
    """A curve of a profile, as a table."""
    values = (light * 65535).round().astype(">u2")
    return b"curv" + bytes(4) + struct.pack(">I", len(values)) + values.tobytes()


def parametric(kind: int, *numbers: float) -> bytes:
    fixed = [round(n * 65536) for n in numbers]
    return b"para" + bytes(4) + struct.pack(f">HH{len(fixed)}i", kind, 0, *fixed)


SRGB_CURVES = {
    "a table of 1024": table(srgb_to_light(np.linspace(0, 1, 1024))),
    "a table of 4096": table(srgb_to_light(np.linspace(0, 1, 4096))),
    "kind 3": parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045),
    "kind 4": parametric(4, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0, 0),
}
# Each with its light by a plain formula.
OTHER_CURVES: dict[str, tuple[bytes, Array]] = {
    "linear": (b"curv" + bytes(8), LEVELS),
    "gamma": (b"curv" + bytes(4) + struct.pack(">IH", 1, 448), LEVELS**1.75),
    "a table": (table(np.linspace(0, 1, 513) ** 1.5), LEVELS**1.5),
    "kind 0": (parametric(0, 2.2), LEVELS**2.2),
    "kind 1": (parametric(1, 2, 1.25, -0.25), np.maximum(1.25 * LEVELS - 0.25, 0) ** 2),
    "kind 2": (
        parametric(2, 2, 1.25, -0.25, 0.1),
        (np.maximum(1.25 * LEVELS - 0.25, 0) ** 2 + 0.1).clip(0, 1),
    ),
    "kind 3": (
        parametric(3, 2, 1, 0, 0.25, 0.25), np.where(LEVELS >= 0.25, LEVELS**2, LEVELS / 4)
    ),
    "kind 4": (
        parametric(4, 2, 0.9, 0, 0.3, 0.25, 0.1, 0.02),
        np.where(LEVELS >= 0.25, (0.9 * LEVELS) ** 2 + 0.1, 0.3 * LEVELS + 0.02),
    ),
}  # fmt: skip


@pytest.mark.parametrize("curve", SRGB_CURVES.values(), ids=SRGB_CURVES)
@pytest.mark.parametrize("matrix", [None, SRGB_TO_XYZ], ids=["grey", "colour"])
@pytest.mark.parametrize("name", NAMES)
def test_a_profile_with_the_curve_of_srgb_is_srgb(
    name: str, matrix: Array | None, curve: bytes
) -> None:
    assert icc.is_srgb(profile(0, matrix, name=name, curve=curve))


def test_the_srgb_of_little_cms_is_srgb() -> None:
    assert icc.is_srgb(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("matrix", [None, SRGB_TO_XYZ], ids=["grey", "colour"])
@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_a_profile_with_another_curve_is_not(gamma: float, matrix: Array | None, name: str) -> None:
    assert not icc.is_srgb(profile(gamma, matrix, name=name))


@pytest.mark.parametrize("matrix", [ADOBE_TO_XYZ, SWAPPED_TO_XYZ], ids=["Adobe", "swapped"])
def test_a_profile_with_other_primaries_is_not(matrix: Array) -> None:
    curve = SRGB_CURVES["kind 3"]
    assert not icc.is_srgb(profile(0, matrix, name="sRGB IEC61966-2.1", curve=curve))


def test_a_profile_is_looked_into_once(monkeypatch: pytest.MonkeyPatch) -> None:
    profiles = [profile(0, SRGB_TO_XYZ, curve=SRGB_CURVES["kind 3"]), profile(1.7, SRGB_TO_XYZ)]
    before = [icc.is_srgb(data) for data in profiles]
    monkeypatch.setattr(icc, "shaper", lambda icc: pytest.fail("looked into again"))
    assert [icc.is_srgb(bytes(bytearray(data))) for data in profiles] == before == [True, False]


@pytest.mark.parametrize("kind", OTHER_CURVES)
def test_curves_are_those_of_the_standard(kind: str) -> None:
    curve, light = OTHER_CURVES[kind]
    shaper = icc.shaper(profile(0, curve=curve))
    assert shaper is not None
    assert shaper.matrix is None
    read = np.interp(LEVELS, np.linspace(0, 1, shaper.curves.shape[1]), shaper.curves[0])
    # Rounding to the file's 16 bits.
    assert np.abs(read - light).max() < 1e-4
    # Little CMS agrees; with it black stays black.
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    with_cms = icc.converted(
        ramp, icc.colour_profile(profile(0, curve=curve)), icc.colour_profile(None), "RGB",
        exact=True,
    )  # fmt: skip
    ours = shaper.to_srgb(LEVELS[:, None])[:, 0] * 255
    assert np.abs(np.asarray(with_cms)[0, :, 0] - ours).max() < 1.01


@pytest.mark.parametrize("matrix", [SRGB_TO_XYZ, ADOBE_TO_XYZ, SWAPPED_TO_XYZ])
@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
def test_colours_are_converted_as_little_cms_does(gamma: float, matrix: Array) -> None:
    data = profile(gamma, matrix)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    with_cms = icc.converted(
        Image.fromarray(pixels), icc.colour_profile(data), icc.colour_profile(None), "RGB",
        exact=True,
    )  # fmt: skip
    ours = icc.to_srgb(pixels.astype(np.float32) / 255, data) * 255
    assert np.abs(np.asarray(with_cms) - ours).max() < 1.01


@pytest.mark.parametrize(
    "data",
    [
        b"", b"no profile", profile(1.0)[:150], profile(1.0, SRGB_TO_XYZ)[:-70],
        profile(0, curve=b"none" + bytes(20)), profile(0, curve=parametric(1, 2, 0, 1)),
        profile(0, curve=b"para" + bytes(4) + b"\0\x09" + bytes(40)),
        profile(0, curve=b"curv" + bytes(4) + b"\xff" * 8),
        # Of tables, which count more.
        profile(1.0, SRGB_TO_XYZ, more={b"A2B0": b"mft1" + bytes(60)}),
    ],
)  # fmt: skip
def test_a_profile_without_usable_curves_is_no_shaper_and_not_srgb(data: bytes) -> None:
    assert icc.shaper(data) is None
    assert not icc.is_srgb(data)


# The pictures


def stored(levels: Array) -> Array:
    """sRGB in [0, 1] → what a file with a linear profile stores for it."""
    return srgb_to_light(levels)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_linear_picture_of_8_bits_looks_the_same_under_any_name(name: str, mode: str) -> None:
    # From where 8 linear bits tell neighbouring levels apart.
    levels = np.arange(96, 256).reshape(10, 16) / 255
    image = Image.fromarray((stored(levels) * 255).round().astype(np.uint8)).convert(mode)
    data = profile(1.0, None if mode == "L" else SRGB_TO_XYZ, name=name)
    picture = decode.read(encoded(image, "PNG", icc_profile=data))
    assert picture.notes == ("colours converted to sRGB",)
    assert np.abs(picture.colour.numpy() - levels).max() < 1.51 / 255


def png16(values: Array, data: bytes) -> bytes:
    """A PNG of 16 bits, (H, W) grey or (H, W, 3) colours in [0, 1], with a profile."""
    import zlib

    numbers = (values * 65535).round().astype(">u2")
    height, width = numbers.shape[:2]
    kind = 2 if numbers.ndim == 3 else 0
    rows = b"".join(b"\0" + row.tobytes() for row in numbers)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    body = chunk(b"iCCP", b"profile\0\0" + zlib.compress(data))
    return with_chunks(b"\x89PNG\r\n\x1a\n" + head + end, body)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_linear_picture_of_16_bits_keeps_its_shadows(name: str, mode: str) -> None:
    levels = np.arange(256).reshape(16, 16) / 255
    shown = np.stack([levels, levels.T, levels[::-1]], -1) if mode == "RGB" else levels[..., None]
    matrix = SRGB_TO_XYZ if mode == "RGB" else None
    data = png16(stored(shown if mode == "RGB" else levels), profile(1.0, matrix, name=name))
    picture = decode.read(data)
    assert picture.notes == ("colours converted to sRGB",)
    assert np.abs(picture.colour.permute(1, 2, 0).numpy() - shown).max() < 0.2 / 255


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_in_srgb_comes_through_bit_for_bit(mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    data = profile(0, SRGB_TO_XYZ, name="mine", curve=SRGB_CURVES["kind 3"])
    picture = decode.read(encoded(image, "PNG", icc_profile=data))
    assert picture.notes == ()
    read = (picture.colour.permute(1, 2, 0).numpy() * 255).round().reshape(np.asarray(image).shape)
    assert np.array_equal(read, np.asarray(image))
