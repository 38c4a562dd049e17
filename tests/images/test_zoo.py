"""Every kind of image file through one ``mir project``: right pixels, or a named reason.

f is the identity here, so that with --restore-size each result must be its input: the pixels
that plain formulas, written down in this file, say that the file holds.
"""

import io
import json
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from make_it_real.cli import app
from make_it_real.errors import ImageError
from make_it_real.images import decode
from make_it_real.images.icc import colour_profile
from make_it_real.models.ign import IGN
from tests.images.imagefiles import (
    ADOBE_TO_XYZ,
    D50,
    SRGB_TO_XYZ,
    SWAPPED_TO_XYZ,
    chunk,
    encoded,
    profile,
    restful,
)  # fmt: skip

Array = NDArray[Any]
WIDTH, HEIGHT = 20, 14
Y, X = np.mgrid[0:HEIGHT, 0:WIDTH]
ORIENTATION, ARTIST = 0x0112, 0x013B


@dataclass(frozen=True)
class Good:
    """A file and what it shows: rgb (H, W, 3) and alpha (H, W) in 0–255, within some levels."""

    data: bytes
    rgb: Array
    alpha: Array | None = None
    within: float = 0.51
    warning: str = ""


@dataclass(frozen=True)
class Bad:
    """A file and the reason why it is refused, as a pattern."""

    data: bytes
    reason: str


# What is in the pictures


COLOUR = np.stack([12 * X, 18 * Y, 255 - 7 * (X + Y)], -1).astype(np.uint8)
GREY = (5 + 8 * X + 6 * Y).astype(np.uint8)
LEVEL16 = (3000 * X + 400 * Y + 7).astype(np.uint16)
ALPHA = (255 - 12 * X).astype(np.uint8)
INDEX = ((X + 3 * Y) % 16).astype(np.uint8)
PALETTE = np.random.default_rng(0).integers(0, 256, (16, 3)).astype(np.uint8)
TABLE = np.arange(16, dtype=np.uint8) * 17
BITS = (X * Y % 3 == 0).astype(np.uint8) * 255


def grey(levels: Array) -> Array:
    """Levels (H, W) in 0–255 as (H, W, 3)."""
    return np.repeat(levels[..., None].astype(np.float64), 3, -1)


def srgb(linear: Array) -> Array:
    """Linear light in [0, 1] → sRGB in 0–255 (IEC 61966-2-1)."""
    linear = np.clip(linear, 0, 1)
    low, high = 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
    result: Array = np.where(linear <= 0.0031308, low, high) * 255
    return result


def shown(values: Array, matrix: Array, gamma: float) -> Array:
    """Values (H, W, 3) in 0–255 under a matrix profile → sRGB in 0–255."""
    xyz = (values / 255.0) ** gamma @ matrix.T
    return srgb(xyz @ np.linalg.inv(SRGB_TO_XYZ).T)


def shown_lab(lab: Array) -> Array:
    """CIE L*a*b* (D50) (H, W, 3) → sRGB in 0–255."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = D50 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return srgb(xyz @ np.linalg.inv(SRGB_TO_XYZ).T)


# Files


def picture(*bands: Array, mode: str) -> Image.Image:
    """A Pillow image of 8-bit bands."""
    return Image.merge(mode, [Image.fromarray(band.astype(np.uint8)) for band in bands])


def indexed() -> Image.Image:
    image = Image.fromarray(INDEX)
    image.putpalette(PALETTE.tobytes())
    assert image.mode == "P"
    return image


def png(kind: int, depth: int, rows: Array, *more: bytes) -> bytes:
    """A PNG of a colour type and depth that Pillow does not write; rows (H, bytes) as stored."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, kind, 0, 0, 0)
    stored = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    chunks = [chunk(b"IHDR", header), *more, chunk(b"IDAT", stored), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def tiff(width: int, height: int, bits: list[int], photometric: int, data: bytes) -> bytes:
    """A TIFF of one strip; two samples are grey with associated (premultiplied) alpha."""
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, bits), 259: (3, [1])}
    tags |= {262: (3, [photometric]), 277: (3, [len(bits)]), 278: (4, [height])}
    tags |= {279: (4, [len(data)])} | ({338: (3, [1])} if len(bits) == 2 else {})
    tags[273] = (4, [8 + 2 + 12 * (len(tags) + 1) + 4])
    out = b"II*\0" + struct.pack("<IH", 8, len(tags))
    for tag, (kind, values) in sorted(tags.items()):
        raw = b"".join(struct.pack("<H" if kind == 3 else "<I", value) for value in values)
        out += struct.pack("<HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    return out + bytes(4) + data


def deep_tiff(samples: Array) -> bytes:
    """A TIFF of one strip of RGB samples (H, W, 3) of 16 or 32 bits, in their byte order."""
    order = samples.dtype.str[0]
    bits, kind = 8 * samples.dtype.itemsize, {"u": 1, "f": 3}[samples.dtype.kind]
    rows = [(256, 4, WIDTH), (257, 4, HEIGHT), (259, 3, 1), (262, 3, 2), (277, 3, 3)]
    rows += [
        (273, 4, 8),
        (278, 4, HEIGHT),
        (279, 4, samples.nbytes),
        (258, 3, bits),
        (339, 3, kind),
    ]
    start = 8 + samples.nbytes
    out = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, start)
    out += samples.tobytes() + struct.pack(order + "H", len(rows))
    for tag, form, value in sorted(rows):
        raw = struct.pack(order + ("H2x" if form == 3 else "I"), value)
        out += struct.pack(order + "HHI4s", tag, form, 1, raw)
    return out + bytes(4)


def bmp_with_alpha() -> bytes:
    """A BMP whose header (version 4) names masks for red, green, blue and alpha."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    info = struct.pack("<IiiHHIIiiII", 108, WIDTH, HEIGHT, 1, 32, 3, 0, 0, 0, 0, 0)
    info += masks + b"BGRs" + bytes(48)
    stored = np.concatenate([COLOUR[..., ::-1], ALPHA[..., None]], -1)[::-1].tobytes()
    return struct.pack("<2sIHHI", b"BM", 14 + 108 + len(stored), 0, 0, 122) + info + stored


def turned(orientation: int) -> Image.Image:
    """COLOUR as a camera that was held like this stores it (EXIF 2.3, tag 274)."""
    stored = COLOUR
    if orientation in (5, 6, 7, 8):
        stored = stored.swapaxes(0, 1)
    if orientation in (2, 3, 7, 8):
        stored = stored[:, ::-1]
    if orientation in (3, 4, 6, 7):
        stored = stored[::-1]
    return Image.fromarray(np.ascontiguousarray(stored))


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


# The JPEG encoder must not blur what the reference keeps sharp.
JPEG = {"quality": 100, "subsampling": 0}
WEBP = {"lossless": True, "exact": True}
AVIF = {"quality": 100, "subsampling": "4:4:4"}


def good() -> dict[str, Good]:
    """Files by the names that they get."""
    rgb, levels = Image.fromarray(COLOUR), Image.fromarray(GREY)
    other = Image.fromarray(255 - COLOUR)
    rgba = picture(*np.moveaxis(COLOUR, -1, 0), ALPHA, mode="RGBA")
    files: dict[str, Good] = {}

    for suffix, kind, options, within in (
        ("png", "PNG", {}, 0.51), ("jpg", "JPEG", JPEG, 4), ("webp", "WEBP", WEBP, 0.51),
        ("bmp", "BMP", {}, 0.51), ("tif", "TIFF", {}, 0.51), ("ppm", "PPM", {}, 0.51),
        ("avif", "AVIF", AVIF, 4),
    ):  # fmt: skip
        files[f"rgb.{suffix}"] = Good(encoded(rgb, kind, **options), COLOUR, within=within)
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        data = encoded(rgb, "TIFF", compression=compression)
        files[f"rgb {compression}.tiff"] = Good(data, COLOUR)
    files["progressive.jpg"] = Good(
        encoded(rgb, "JPEG", progressive=True, **JPEG), COLOUR, within=4
    )

    for suffix, kind, options, within in (
        ("png", "PNG", {}, 0.51), ("jpg", "JPEG", JPEG, 4), ("webp", "WEBP", WEBP, 0.51),
        ("bmp", "BMP", {}, 0.51), ("tif", "TIFF", {}, 0.51), ("pgm", "PPM", {}, 0.51),
        ("gif", "GIF", {}, 0.51), ("avif", "AVIF", AVIF, 4),
    ):  # fmt: skip
        files[f"grey.{suffix}"] = Good(encoded(levels, kind, **options), grey(GREY), None, within)
    for suffix, kind in (("png", "PNG"), ("tif", "TIFF"), ("bmp", "BMP"), ("pbm", "PPM")):
        bits = Image.fromarray(BITS).convert("1")
        # PBM is no name that is looked for; its content counts.
        name = f"bits.{suffix}".replace("pbm", "pnm")
        files[name] = Good(encoded(bits, kind), grey(BITS))

    la = picture(GREY, ALPHA, mode="LA")
    for suffix, kind, options in (
        ("png", "PNG", {}),
        ("webp", "WEBP", WEBP),
        ("tif", "TIFF", {}),
    ):
        files[f"la.{suffix}"] = Good(encoded(la, kind, **options), grey(GREY), ALPHA)
        files[f"rgba.{suffix}"] = Good(encoded(rgba, kind, **options), COLOUR, ALPHA)
    files["rgba.avif"] = Good(encoded(rgba, "AVIF", **AVIF), COLOUR, ALPHA, 4)
    files["rgba.bmp"] = Good(bmp_with_alpha(), COLOUR, ALPHA)
    half = np.full_like(GREY, 128)
    stored = np.stack([GREY // 2, half], -1)
    files["la premultiplied.tif"] = Good(
        tiff(WIDTH, HEIGHT, [8, 8], 1, stored.tobytes()), grey(GREY // 2 * (255 / 128)), half, 1.01
    )

    in_colour = PALETTE[INDEX]
    for suffix, kind in (("png", "PNG"), ("bmp", "BMP"), ("tif", "TIFF"), ("gif", "GIF")):
        files[f"palette.{suffix}"] = Good(encoded(indexed(), kind), in_colour)
    clear = np.where(INDEX == 3, 0, 255)
    for suffix, kind in (("png", "PNG"), ("gif", "GIF")):
        data = encoded(indexed(), kind, transparency=3)
        files[f"palette with a clear entry.{suffix}"] = Good(data, in_colour, clear)
    data = encoded(indexed(), "PNG", transparency=TABLE.tobytes())
    files["palette with a table.png"] = Good(data, in_colour, TABLE[INDEX])
    pa = indexed()
    pa.putalpha(Image.fromarray(ALPHA))
    assert pa.mode == "PA"
    files["pa.tif"] = Good(encoded(pa, "TIFF"), in_colour, ALPHA)

    one = tuple(int(v) for v in COLOUR[2, 3])
    data = encoded(rgb, "PNG", transparency=one)
    files["rgb with a clear colour.png"] = Good(
        data, COLOUR, np.where(np.equal(one, COLOUR).all(-1), 0, 255)
    )
    data = encoded(levels, "PNG", transparency=int(GREY[2, 3]))
    files["grey with a clear level.png"] = Good(
        data, grey(GREY), np.where(GREY[2, 3] == GREY, 0, 255)
    )

    cyan, magenta, yellow, black = (np.full_like(X, v) + 5 * X for v in (20, 60, 90, 10))
    cmyk = picture(cyan, magenta, yellow, black, mode="CMYK")
    ink = np.stack([(255 - v) * (255 - black) / 255 for v in (cyan, magenta, yellow)], -1)
    files["cmyk.jpg"] = Good(encoded(cmyk, "JPEG", **JPEG), ink, within=5)
    files["cmyk.tif"] = Good(encoded(cmyk, "TIFF"), ink, within=1.01)
    luma, cb, cr = 40 + 8 * X, 100 + 3 * Y, 140 + 2 * X
    # ITU-T T.871, the formulas of JFIF.
    from_ycc = np.stack(
        [
            luma + 1.402 * (cr - 128),
            luma - 0.344136 * (cb - 128) - 0.714136 * (cr - 128),
            luma + 1.772 * (cb - 128),
        ],
        -1,
    )
    files["ycbcr.tif"] = Good(
        encoded(picture(luma, cb, cr, mode="YCbCr"), "TIFF"), from_ycc.clip(0, 255), within=1.01
    )
    lightness, a, b = 60 + 8 * X, 10 * (X % 3) - 10, 4 * Y - 28
    stored = np.stack([lightness, a & 255, b & 255], -1).astype(np.uint8)
    lab = Image.frombytes("LAB", (WIDTH, HEIGHT), stored.tobytes())
    files["lab.tif"] = Good(
        encoded(lab, "TIFF"), shown_lab(np.stack([lightness / 2.55, a, b], -1)), within=2
    )

    deep = grey(LEVEL16 / 257.0)
    files["grey16.png"] = Good(encoded(Image.fromarray(LEVEL16), "PNG"), deep)
    files["grey16.tif"] = Good(encoded(Image.fromarray(LEVEL16), "TIFF"), deep)
    big_endian = Image.frombytes("I;16B", (WIDTH, HEIGHT), LEVEL16.astype(">u2").tobytes())
    files["grey16 big-endian.tif"] = Good(encoded(big_endian, "TIFF"), deep)
    files["grey16 where zero is white.tif"] = Good(
        tiff(WIDTH, HEIGHT, [16], 0, (65535 - LEVEL16).tobytes()), deep
    )
    files["grey8 where zero is white.tif"] = Good(
        tiff(WIDTH, HEIGHT, [8], 0, (255 - GREY).tobytes()), grey(GREY)
    )
    files["grey16.pgm"] = Good(
        f"P5 {WIDTH} {HEIGHT} 65535\n".encode() + LEVEL16.astype(">u2").tobytes(), deep
    )
    files["grey16 with a clear level.png"] = Good(
        encoded(Image.fromarray(LEVEL16), "PNG", transparency=int(LEVEL16[5, 5])),
        deep,
        np.where(LEVEL16[5, 5] == LEVEL16, 0, 255),
    )
    files["integers.tif"] = Good(encoded(Image.fromarray(LEVEL16.astype(np.int32)), "TIFF"), deep)
    shares = (X + Y).astype(np.float32) / (WIDTH + HEIGHT)
    files["floats.tif"] = Good(encoded(Image.fromarray(shares), "TIFF"), grey(shares * 255))
    rgb16 = np.stack([LEVEL16, LEVEL16[::-1], LEVEL16[:, ::-1]], -1)
    deep_rgb = rgb16 / 257.0
    files["rgb16.png"] = Good(png(2, 16, rgb16.astype(">u2").reshape(HEIGHT, -1)), deep_rgb)
    rgba16 = np.concatenate([rgb16, LEVEL16[..., None]], -1)
    files["rgba16.png"] = Good(
        png(6, 16, rgba16.astype(">u2").reshape(HEIGHT, -1)), deep_rgb, LEVEL16 / 257.0
    )
    la16 = np.stack([LEVEL16, LEVEL16[::-1]], -1)
    files["la16.png"] = Good(
        png(4, 16, la16.astype(">u2").reshape(HEIGHT, -1)), deep, LEVEL16[::-1] / 257.0
    )
    see_through = struct.pack(">3H", *(int(n) for n in rgb16[5, 5]))
    files["rgb16 with a clear colour.png"] = Good(
        png(2, 16, rgb16.astype(">u2").reshape(HEIGHT, -1), chunk(b"tRNS", see_through)),
        deep_rgb,
        np.where((rgb16 == rgb16[5, 5]).all(-1), 0, 255),
    )
    floats = (COLOUR / 255).astype("<f4")
    for name, samples, expected in (
        ("rgb16", rgb16.astype("<u2"), deep_rgb), ("rgb floats", floats, COLOUR),
        ("big-endian rgb floats", floats.astype(">f4"), COLOUR),
    ):  # fmt: skip
        files[f"{name}.tif"] = Good(deep_tiff(samples), expected)
    nibbles = INDEX[:, 0::2] << 4 | INDEX[:, 1::2]
    files["grey4.png"] = Good(png(0, 4, nibbles), grey(INDEX * 17.0))

    for name, gamma, matrix in (("wide", 2.2, ADOBE_TO_XYZ), ("swapped", 1.8, SWAPPED_TO_XYZ)):
        icc, expected = profile(gamma, matrix), shown(COLOUR, matrix, gamma)
        for suffix, kind, options in (
            ("png", "PNG", {}), ("tif", "TIFF", {}), ("webp", "WEBP", WEBP),
        ):  # fmt: skip
            data = encoded(rgb, kind, icc_profile=icc, **options)
            files[f"{name} profile.{suffix}"] = Good(data, expected, within=2)
        data = encoded(rgb, "JPEG", icc_profile=icc, **JPEG)
        files[f"{name} profile.jpg"] = Good(data, expected, within=14)
    data = encoded(rgba, "PNG", icc_profile=profile(1.8, SWAPPED_TO_XYZ))
    files["profile and alpha.png"] = Good(data, shown(COLOUR, SWAPPED_TO_XYZ, 1.8), ALPHA, 2)
    data = encoded(indexed(), "PNG", icc_profile=profile(1.8, SWAPPED_TO_XYZ))
    files["profile and palette.png"] = Good(data, shown(in_colour, SWAPPED_TO_XYZ, 1.8), within=2)
    linear = profile(1.0)
    files["grey profile.png"] = Good(
        encoded(levels, "PNG", icc_profile=linear), grey(srgb(GREY / 255)), within=2
    )
    files["grey16 profile.png"] = Good(
        encoded(Image.fromarray(LEVEL16), "PNG", icc_profile=linear),
        grey(srgb(LEVEL16 / 65535)), within=2,
    )  # fmt: skip
    for name in ("sRGB IEC61966-2.1", "Linear"):
        data = encoded(rgb, "PNG", icc_profile=profile(1.0, SRGB_TO_XYZ, name=name))
        files[f"linear, called {name}.png"] = Good(data, srgb(COLOUR / 255), within=2)
    large = profile(1.8, SWAPPED_TO_XYZ) + bytes(3_000_000)
    files["large profile.png"] = Good(
        encoded(rgb, "PNG", icc_profile=large), shown(COLOUR, SWAPPED_TO_XYZ, 1.8), within=2
    )
    for name, icc in (("damaged", linear[:150]), ("made up", b"no profile"), ("of grey", linear)):
        files[f"profile {name}.png"] = Good(
            encoded(rgb, "PNG", icc_profile=icc), COLOUR, warning="its colour profile can't be used"
        )

    for orientation in range(1, 9):
        for suffix, kind, options, within in (
            ("jpg", "JPEG", JPEG, 4), ("png", "PNG", {}, 0.51), ("webp", "WEBP", WEBP, 0.51),
            ("tif", "TIFF", {}, 0.51),
        ):  # fmt: skip
            data = encoded(turned(orientation), kind, exif=oriented(orientation), **options)
            files[f"turned {orientation}.{suffix}"] = Good(data, COLOUR, within=within)

    odd = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HHHIi", 1, 0x11A, 9, 1, -72) + bytes(4)
    for name, exif in (("odd", odd), ("made up", b"Exif\0\0none of the kind")):
        for suffix, kind, options, within in (
            ("jpg", "JPEG", JPEG, 4), ("png", "PNG", {}, 0.51), ("webp", "WEBP", WEBP, 0.51),
        ):  # fmt: skip
            data = encoded(rgb, kind, exif=exif, **options)
            files[f"exif {name}.{suffix}"] = Good(data, COLOUR, within=within)
    packed = zlib.compress(bytes(80_000_000), 9)
    for tag, content in (
        (b"zTXt", b"key\0\0" + packed), (b"iTXt", b"key\0\1\0\0\0" + packed),
        (b"tEXt", b"key\0" + bytes(2_000_000)),
    ):  # fmt: skip
        files[f"text bomb {tag.decode()}.png"] = Good(
            png(0, 8, GREY, chunk(tag, content)), grey(GREY)
        )
        files[f"wrong checksum {tag.decode()}.png"] = Good(
            png(0, 8, GREY, chunk(tag, content[:20], wrong=True)), grey(GREY)
        )

    for suffix, kind, options in (
        ("webp", "WEBP", WEBP),
        ("tif", "TIFF", {}),
        ("png", "PNG", {}),
    ):
        data = encoded(rgb, kind, save_all=True, append_images=[other, rgb], **options)
        files[f"three frames.{suffix}"] = Good(data, COLOUR, warning="3 frames: only the first")
    flipped = indexed().transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    data = encoded(indexed(), "GIF", save_all=True, append_images=[flipped])
    files["two frames.gif"] = Good(data, in_colour, warning="2 frames: only the first")

    files["a jpeg called.png"] = Good(encoded(rgb, "JPEG", **JPEG), COLOUR, within=4)
    files["a png called.jpg"] = Good(encoded(rgb, "PNG"), COLOUR)
    files["a webp called.GIF"] = Good(encoded(rgb, "WEBP", **WEBP), COLOUR)
    for name in (
        " spaces  within .png", "[brackets] {a,b} (1).png", "*?.png", "🦜 ünï¢ødé 図.png",
        "-leading dash.png", "--output.png", "new\nline.png", "n" * 200 + ".png", "%41%.png",
        "'quotes\".png", "two.dots.png", "UPPER.PNG", "back\\slash.png", "\x1b[31mred.png",
    ):  # fmt: skip
        files[name] = Good(encoded(rgb, "PNG"), COLOUR)
    return files


def bad() -> dict[str, Bad]:
    """Files by the names that they get."""
    noise = Image.effect_noise((64, 64), 90)
    noise_rgb = Image.merge("RGB", [noise, noise.rotate(90), noise.rotate(180)])
    damaged = r"(damaged image \(.+\)|not an image of a known kind)"
    files: dict[str, Bad] = {
        "empty.png": Bad(b"", "the file is empty"),
        "empty.jpg": Bad(b"", "the file is empty"),
        "text.png": Bad(b"just some text\n" * 9, "not an image of a known kind"),
        "page.jpg": Bad(b"<!doctype html><p>404", "not an image of a known kind"),
        "zeros.tif": Bad(bytes(4096), "not an image of a known kind"),
        "broken\nname.png": Bad(b"text", "not an image of a known kind"),
    }
    for suffix, kind, options in (
        ("png", "PNG", {}), ("jpg", "JPEG", {}), ("webp", "WEBP", {}), ("gif", "GIF", {}),
        ("bmp", "BMP", {}), ("tif", "TIFF", {}), ("ppm", "PPM", {}), ("avif", "AVIF", {}),
        ("lzw.tif", "TIFF", {"compression": "tiff_lzw"}),
        ("deflate.tif", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("jpeg.tif", "TIFF", {"compression": "jpeg"}),
        ("lossless.webp", "WEBP", {"lossless": True}),
        ("progressive.jpg", "JPEG", {"progressive": True}),
    ):  # fmt: skip
        whole = encoded(noise_rgb, kind, **options)
        for percent in (1, 10, 50, 75, 90):
            cut = whole[: max(3, len(whole) * percent // 100)]
            files[f"cut at {percent}.{suffix}"] = Bad(cut, damaged)

    huge = r"{} pixels are more than the limit of 200,000,000 \(--max-pixels\)"
    header = struct.pack(">IIBBBBB", 80_000, 80_000, 8, 0, 0, 0, 0)
    some = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    files["bomb.png"] = Bad(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + some, huge.format("80000×80000")
    )
    gif = bytearray(encoded(indexed(), "GIF"))
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    files["bomb.gif"] = Bad(bytes(gif), huge.format("65535×65535"))
    bmp = bytearray(encoded(noise, "BMP"))
    bmp[18:26] = struct.pack("<ii", 90_000, 90_000)
    files["bomb.bmp"] = Bad(bytes(bmp), huge.format("90000×90000"))
    files["bomb.tif"] = Bad(tiff(70_000, 70_000, [8], 1, bytes(99)), huge.format("70000×70000"))
    files["bomb.pgm"] = Bad(b"P5 99999 99999 255\n", huge.format("99999×99999"))
    jpeg = encoded(noise, "JPEG")
    at = jpeg.index(b"\xff\xc0") + 5
    files["bomb.jpg"] = Bad(
        jpeg[:at] + struct.pack(">HH", 65_000, 65_000) + jpeg[at + 4 :], huge.format("65000×65000")
    )
    # A strip that claims to lie beyond the end, and a picture of no size.
    files["strip elsewhere.tif"] = Bad(
        tiff(64, 64, [8], 1, bytes(10)), r"damaged image \(.*truncated.*\)"
    )
    none = struct.pack(">IIBBBBB", 0, 5, 8, 0, 0, 0, 0)
    files["no width.png"] = Bad(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", none) + some, damaged)
    eps = encoded(noise_rgb, "EPS")
    files["postscript.png"] = Bad(eps, "not an image of a known kind")
    return files


@pytest.fixture
def models(tiny_f: IGN, tiny_colour_f: IGN, tmp_path: Path) -> dict[str, Path]:
    return {
        "grey": restful(tiny_f, tmp_path / "grey.safetensors"),
        "colour": restful(tiny_colour_f, tmp_path / "colour.safetensors"),
    }


@pytest.fixture
def zoo(here: Path) -> Path:
    (here / "zoo").mkdir()
    for name, file in (good() | bad()).items():
        (here / "zoo" / name).write_bytes(file.data)
    return here / "zoo"


def pixels(path: Path) -> tuple[Array, Array | None]:
    """(rgb, alpha) in 0–255 of an output; the 8-bit PNGs that are written have four modes only."""
    if path.read_bytes()[24] == 16:
        # Pillow drops the lower half of 16 bits.
        picture = decode.read(path)
        colours = picture.colour.expand(3, -1, -1).permute(1, 2, 0).double().numpy() * 255
        return colours, None if picture.alpha is None else picture.alpha.double().numpy() * 255
    with Image.open(path, formats=["PNG"]) as image:
        assert image.mode in ("L", "LA", "RGB", "RGBA")
        values = np.asarray(image).astype(np.float64).reshape(image.height, image.width, -1)
    alpha = values[..., -1] if values.shape[-1] in (2, 4) else None
    colours = values[..., :1] if values.shape[-1] < 3 else values[..., :3]
    return np.broadcast_to(colours, (*colours.shape[:2], 3)), alpha


def wrong(path: Path, file: Good) -> str:
    """What is wrong with an output; empty where nothing is."""
    rgb, alpha = pixels(path)
    if rgb.shape != file.rgb.shape:
        return f"shape {rgb.shape}, not {file.rgb.shape}"
    visible = np.ones(rgb.shape[:2], bool) if file.alpha is None else file.alpha > 0
    far = np.abs(rgb - file.rgb)[visible].max()
    if far > file.within:
        return f"colours are {far:.2f} levels off"
    if (alpha is None) != (file.alpha is None):
        return "alpha is " + ("lost" if alpha is None else "made up")
    if alpha is not None and file.alpha is not None:
        far = np.abs(alpha - file.alpha).max()
        if far > max(file.within, 0.51):
            return f"alpha is {far:.2f} levels off"
    return ""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
@pytest.mark.parametrize("kind", ["colour", "grey"])
def test_the_zoo(
    zoo: Path, models: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A copy of an unchanged file would say nothing about how it was read.
    monkeypatch.setattr("make_it_real.images.encode.may_copy", lambda *_, **__: False)
    good_ones, bad_ones = good(), bad()
    assert len(good_ones) > 40
    assert len(bad_ones) > 40
    line = ["project", "-m", str(models[kind]), "-d", "cpu", "--restore-size", "--json"]
    result = CliRunner().invoke(app, [*line, str(zoo), "-o", "out"])
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    lines = {Path(x["input"]).name: x for x in map(json.loads, result.stdout.splitlines())}
    assert set(lines) == set(good_ones) | set(bad_ones)

    problems = {}
    for name, file in good_ones.items():
        said = lines[name]
        if said["status"] != "unchanged":
            problems[name] = said["reason"]
        elif problem := wrong(Path(said["output"]), file):
            problems[name] = problem
        elif not any(file.warning in w for w in said["warnings"] or [""]) or (
            said["warnings"] and not file.warning
        ):
            problems[name] = f"warnings {said['warnings']}"
    for name, broken in bad_ones.items():
        said = lines[name]
        if said["status"] != "failed" or not re.fullmatch(broken.reason, said["reason"]):
            problems[name] = f"{said['status']}: {said['reason']}"
    assert problems == {}
    outputs = {Path(lines[name]["output"]) for name in good_ones}
    assert len(outputs) == len(good_ones)
    assert set(Path("out").iterdir()) == {Path("out") / path.name for path in outputs}
    # One line a bad file or warning, whatever is in its name, beside the model and the summary.
    warned = sum(len(said["warnings"]) for said in lines.values())
    said = result.stderr.splitlines()
    assert len(said) == len(bad_ones) + warned + 2
    assert said[-1] == f"{len(good_ones)} unchanged, {len(bad_ones)} failed"
    assert not any(ord(c) < 32 for text in said for c in text)


def test_every_orientation_stores_another_picture() -> None:
    # Else the zoo's files would show nothing.
    assert len({(turned(o).size, turned(o).tobytes()) for o in range(1, 9)}) == 8


def test_profiles_are_what_little_cms_takes_and_matter() -> None:
    for matrix, gamma in ((ADOBE_TO_XYZ, 2.2), (SWAPPED_TO_XYZ, 1.8)):
        assert np.abs(shown(COLOUR, matrix, gamma) - COLOUR).max() > 20
    assert np.abs(srgb(GREY / 255) - GREY).max() > 20
    same = shown(COLOUR, SRGB_TO_XYZ, 2.2)
    assert np.abs(same - COLOUR).max() < 10
    for icc in (profile(1.0), profile(2.2, ADOBE_TO_XYZ)):
        assert colour_profile(icc).profile.profile_description


# HEIC


@pytest.fixture
def heic() -> Iterator[Callable[[int], bytes]]:
    """Makes a HEIC file whose picture is COLOUR, stored in one of the 8 ways."""
    pillow_heif = pytest.importorskip("pillow_heif", reason="the heic extra is not installed")

    def make(orientation: int) -> bytes:
        file = pillow_heif.from_pillow(turned(orientation))
        with io.BytesIO() as out:
            exif = oriented(orientation).tobytes()
            file.save(out, quality=-1, chroma=444, matrix_coefficients=0, exif=exif)
            return out.getvalue()

    yield make
    decode._heic_opener.cache_clear()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_read(heic: Callable[[int], bytes], orientation: int) -> None:
    read = decode.read(heic(orientation))
    found = read.colour.permute(1, 2, 0).numpy() * 255
    assert found.shape == COLOUR.shape
    assert np.abs(found - COLOUR).max() <= 4


def test_heic_goes_through_a_job_and_damage_of_it_fails_alone(
    heic: Callable[[int], bytes], here: Path, models: dict[str, Path]
) -> None:
    whole = heic(1)
    (here / "p").mkdir()
    (here / "p/phone.HEIC").write_bytes(whole)
    (here / "p/cut.heic").write_bytes(whole[: len(whole) // 2])
    line = ["project", "-m", str(models["colour"]), "-d", "cpu", "--restore-size", "p", "-o", "out"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 1
    assert wrong(here / "out/phone.png", Good(whole, COLOUR, within=4)) == ""
    assert re.search(r"^mir: p/cut\.heic: damaged image \(.+\)$", result.stderr, re.MULTILINE)


def test_heic_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    decode._heic_opener.cache_clear()
    try:
        with pytest.raises(ImageError, match=r"^HEIC needs an extra: pip install .*\[heic\]'$"):
            decode.read(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(99))
        # AVIF may carry the brand that HEIC has in common with it.
        avif = encoded(Image.fromarray(COLOUR), "AVIF", **AVIF)
        read = decode.read(avif[:8] + b"mif1" + avif[12:])
        assert read.colour.shape == (3, HEIGHT, WIDTH)
    finally:
        decode._heic_opener.cache_clear()
