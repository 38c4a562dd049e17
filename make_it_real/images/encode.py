"""Images → the bytes of PNG, JPEG and WebP files; which files may be copied instead."""

import io
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from make_it_real._version import __version__
from make_it_real.errors import ImageError
from make_it_real.images import deep
from make_it_real.images.container import MAX_BYTES
from make_it_real.images.decode import Picture
from make_it_real.images.icc import from_srgb, is_srgb
from make_it_real.images.pixels import bands, levels

QUALITY = 95
# PNGs of more pixels are packed by their runs of equal bytes alone: 80 ms a megapixel on one core
# instead of 280 at level 6, for files of photographs that are 1 to 5 % larger. Level 2 takes 110
# ms, for 5 to 12 %.
LARGE, LEVEL = 1_000_000, 6
# What a JPEG has room for: one segment of EXIF, 255 of a colour profile.
JPEG_EXIF, JPEG_PROFILE = 65_533, 255 * 65_519


def to_samples(image: Tensor, bits: int = 8) -> NDArray[Any]:
    """Convert one image (C, H, W) in [−1, 1] to uint8 or uint16 samples (H, W, C)."""
    channels, height, width = image.shape
    samples = np.empty((height, width, channels), np.uint8 if bits == 8 else np.uint16)
    for rows in bands(image):
        samples[rows] = levels(image[:, rows], bits).permute(1, 2, 0).cpu().numpy()
    return samples


def to_pillow(image: Tensor) -> Image.Image:
    """Convert one image (C, H, W) in [−1, 1] to an 8-bit Pillow image, grey or RGB."""
    samples = to_samples(image)
    return Image.fromarray(samples[..., 0] if samples.shape[2] == 1 else samples)


def encode(
    image: Tensor,
    format: str = "PNG",
    text: Mapping[str, str] | None = None,
    *,
    alpha: Tensor | None = None,
    quality: int | None = None,
    level: int | None = None,
    exif: bytes | None = None,
    icc: bytes | None = None,
    bits: int = 8,
) -> bytes:
    """Encode one image (C, H, W) in [−1, 1], in sRGB, as the bytes of a PNG, JPEG or WEBP file.

    text: a PNG's text chunks; not written to other formats. alpha: (H, W) in [0, 1]; a JPEG
    has none, so the image is laid on white. quality: 1–100, of JPEG (95 by default) and WEBP
    (lossless by default). level: 0–9, at which a PNG is compressed; more is smaller and slower.
    None: 6, and of large images only runs, which is fastest. exif, icc: metadata, written where
    the format has room for them; colours are converted to the profile. bits: of a PNG's samples, 8
    or 16; with 16 colours stay in sRGB, and other profiles are left out. Raises ImageError if the
    image is too large for the format.
    """
    if bits > 8 and format == "PNG":
        return _deep(image, alpha, _text(text or {}), exif, icc, _packing(image, level))
    picture = to_pillow(image)
    if alpha is not None:
        levels = Image.fromarray((alpha.clamp(0, 1) * 255).round().byte().cpu().numpy())
        if format == "JPEG":
            paper = Image.new(picture.mode, picture.size, "white")
            picture = Image.composite(picture, paper, levels)
    if icc:
        picture, icc = _in_profile(picture, icc, JPEG_PROFILE if format == "JPEG" else MAX_BYTES)
    if alpha is not None and format != "JPEG":
        picture.putalpha(levels)
    options: dict[str, Any] = {}
    if exif and (format != "JPEG" or len(exif) <= JPEG_EXIF):
        options["exif"] = exif
    if icc:
        options["icc_profile"] = icc
    if format == "PNG":
        options |= {"pnginfo": _text(text or {})}
        options["compress_level"], options["compress_type"] = _packing(image, level)
    elif format == "WEBP" and quality is None:
        options |= {"lossless": True, "exact": True}
    else:
        options["quality"] = quality or QUALITY
    with io.BytesIO() as file:
        try:
            picture.save(file, format, **options)
        except (OSError, ValueError) as error:
            # JPEG's limit is 65,535 pixels a side, WEBP's 16,383.
            raise ImageError(f"can't be written as {format}: {error}") from error
        return file.getvalue()


def _text(text: Mapping[str, str]) -> PngInfo:
    """Make a PNG's text chunks."""
    info = PngInfo()
    for key, value in text.items():
        # File names need not be text, and PNG takes nothing else.
        info.add_text(key, value.encode(errors="backslashreplace").decode())
    return info


def _packing(image: Tensor, level: int | None) -> tuple[int, int]:
    """Choose zlib's level and strategy for a PNG. level: as it was asked for."""
    if level is None and image[0].numel() > LARGE:
        return LEVEL, zlib.Z_RLE
    return LEVEL if level is None else level, zlib.Z_DEFAULT_STRATEGY


def _deep(
    image: Tensor, alpha: Tensor | None, info: PngInfo, exif: bytes | None, icc: bytes | None,
    packing: tuple[int, int],
) -> bytes:  # fmt: skip
    """Encode an image as a PNG of 16 bits; arguments are those of ``encode``."""
    samples = to_samples(image, 16)
    if icc:
        # The same test as for 8 bits, on one pixel. Little CMS would convert 8 bits only.
        _, icc = from_srgb(Image.new("RGB" if samples.shape[2] == 3 else "L", (1, 1)), icc)
        icc = icc if icc and is_srgb(icc) else None
    if alpha is not None:
        samples = np.concatenate([samples, to_samples(alpha[None] * 2 - 1, 16)], 2)
    return deep.to_png(samples, info, exif, icc, *packing)


def _in_profile(picture: Image.Image, icc: bytes, room: int) -> tuple[Image.Image, bytes | None]:
    """Convert a picture to a profile; it stays in sRGB if there is no room for the profile."""
    tagged, written = from_srgb(picture, icc)
    return (tagged, written) if written and len(written) <= room else (picture, None)


# Parts of a file without metadata: chunks of a PNG or WebP, markers of a JPEG (JFIF, Adobe's on
# colours, tables, frames, scans, the end).
BARE = {
    "PNG": {"IHDR", "PLTE", "tRNS", "IDAT", "IEND", "sRGB", "gAMA", "cHRM", "sBIT", "pHYs"},
    "WEBP": {"VP8 ", "VP8L", "VP8X", "ALPH"},
    "JPEG": {"JFIF", "EE", "DB", "DD", "DA", "D9", *(f"C{digit}" for digit in "0123456789ABCDEF")},
}
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def format_of(data: bytes) -> str:
    """Tell a file's format by its first bytes: PNG, JPEG or WEBP; empty for any other."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    return "WEBP" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else ""


def may_copy(
    data: bytes, picture: Picture, format: str, *, quality: int | None, keep_metadata: bool,
    level: int | None = None,
) -> bool:  # fmt: skip
    """Whether a picture's file can be copied, instead of encoding its pixels in a format.

    It can if it has that format, no quality is asked for (of JPEG, WEBP) and no level (of PNG),
    and it holds no metadata, or metadata is kept, and none of it is damaged. A picture that is
    stored lying on its side says so in its metadata, and is shown upright.
    """
    if format_of(data) != format or picture.warnings:
        return False
    if (level if format == "PNG" else quality) is not None:
        return False
    if is_bare(data, format):
        return True
    # If nothing of the EXIF block can be kept, not even how to turn the picture, it is damaged.
    has_exif = any(mark in data for mark in (b"Exif\0\0", b"eXIf", b"EXIF"))
    known = bool(picture.metadata.exif) or "turned upright" in picture.notes
    whole = known or not has_exif
    return keep_metadata and whole


def is_bare(data: bytes, format: str) -> bool:
    """Whether a PNG, JPEG or WEBP file has no metadata: no text, EXIF, profile or preview.

    False if bytes follow after its end.
    """
    parts = _segments(data) if format == "JPEG" else _chunks(data, format)
    return all(name in BARE[format] for name in parts)


def _chunks(data: bytes, format: str) -> Iterator[str]:
    """Yield the names of a PNG's or WEBP's chunks; "" for a chunk that goes beyond the end."""
    at, end = 8 if format == "PNG" else 12, len(data)
    while at < end:
        if format == "PNG":
            name, size = data[at + 4 : at + 8], int.from_bytes(data[at : at + 4], "big")
            at += 12 + size
        else:
            name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
            at += 8 + size + size % 2
        fits = at == end if name == b"IEND" else at <= end
        yield name.decode("latin-1") if fits else ""


def _segments(data: bytes) -> Iterator[str]:
    """Yield a JPEG's markers in hexadecimal; "JFIF" for that header, "" for bytes after the end."""
    at = 2
    while found := MARKER.search(data, at):
        name, at = f"{found[0][1]:X}", found.end()
        if name == "D9":
            yield name if at == len(data) else ""
            return
        size = int.from_bytes(data[at : at + 2], "big")
        plain = name == "E0" and size == 16 and data[at + 2 : at + 7] == b"JFIF\0"
        yield "JFIF" if plain else name
        at += size


def provenance(
    model: str, fingerprint: str, steps: int, precision: torch.dtype = torch.float32
) -> dict[str, str]:
    """Text chunks that say how an image was made: software, model, hash of its weights, k.

    precision: what f computed in, which is named if it is not float32.
    """
    text = {
        "Software": f"make-it-real {__version__}",
        "model": model,
        "model-sha256": fingerprint,
        "steps": str(steps),
    }
    if precision != torch.float32:
        text["precision"] = str(precision).removeprefix("torch.")
    return text
