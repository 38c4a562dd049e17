"""Images → the bytes of PNG, JPEG and WebP files."""

import io
import re
from collections.abc import Iterator, Mapping
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from make_it_real._version import __version__
from make_it_real.errors import ImageError
from make_it_real.images.container import MAX_BYTES
from make_it_real.images.decode import Picture
from make_it_real.images.icc import from_srgb
from make_it_real.images.pixels import to_pixels

QUALITY = 95
# What a JPEG has room for: one segment of EXIF, 255 of a colour profile.
JPEG_EXIF, JPEG_PROFILE = 65_533, 255 * 65_519


def to_pillow(image: Tensor) -> Image.Image:
    """One image (C, H, W) in [−1, 1] → an 8-bit Pillow image, grey or RGB."""
    pixels = to_pixels(image).cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def encode(
    image: Tensor,
    format: str = "PNG",
    text: Mapping[str, str] | None = None,
    *,
    alpha: Tensor | None = None,
    quality: int | None = None,
    exif: bytes | None = None,
    icc: bytes | None = None,
) -> bytes:
    """One image (C, H, W) in [−1, 1] → the bytes of a PNG, JPEG or WEBP file.

    text: for a PNG's text chunks; the other formats leave it out. alpha: (H, W) in [0, 1];
    JPEG has none, so the image is laid on white. quality: 1–100 of JPEG (95 by default) and
    WEBP (lossless by default). exif, icc: written with it, where the format has room for them;
    colours are converted from sRGB to that profile. Raises ImageError for an image that is too
    large for the format.
    """
    picture = to_pillow(image)
    if alpha is not None:
        levels = Image.fromarray((alpha.clamp(0, 1) * 255).round().byte().cpu().numpy())
        if format == "JPEG":
            paper = Image.new(picture.mode, picture.size, "white")
            picture = Image.composite(picture, paper, levels)
    if icc:
        tagged, icc = from_srgb(picture, icc)
        if icc and len(icc) <= (JPEG_PROFILE if format == "JPEG" else MAX_BYTES):
            picture = tagged
        else:
            icc = None
    if alpha is not None and format != "JPEG":
        picture.putalpha(levels)
    options: dict[str, Any] = {}
    if exif and (format != "JPEG" or len(exif) <= JPEG_EXIF):
        options["exif"] = exif
    if icc:
        options["icc_profile"] = icc
    if format == "PNG":
        options["pnginfo"] = info = PngInfo()
        for key, value in (text or {}).items():
            # File names need not be text, and PNG takes nothing else.
            info.add_text(key, value.encode(errors="backslashreplace").decode())
    elif format == "WEBP" and quality is None:
        options |= {"lossless": True, "exact": True}
    else:
        options["quality"] = quality or QUALITY
    with io.BytesIO() as file:
        try:
            picture.save(file, format, **options)
        except (OSError, ValueError) as error:
            # JPEG ends at 65,535 pixels a side, WEBP at 16,383.
            raise ImageError(f"can't be written as {format}: {error}") from error
        return file.getvalue()


# What a file of nothing but pixels may consist of: PNG's and WebP's chunks, JPEG's markers (JFIF's
# header, Adobe's on colours, tables, frames, scans, the end).
BARE = {
    "PNG": {"IHDR", "PLTE", "tRNS", "IDAT", "IEND", "sRGB", "gAMA", "cHRM", "sBIT", "pHYs"},
    "WEBP": {"VP8 ", "VP8L", "VP8X", "ALPH"},
    "JPEG": {"JFIF", "EE", "DB", "DD", "DA", "D9", *(f"C{digit}" for digit in "0123456789ABCDEF")},
}
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)


def format_of(data: bytes) -> str:
    """PNG, JPEG or WEBP, by how a file begins; empty for any other."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    return "WEBP" if data.startswith(b"RIFF") and data[8:12] == b"WEBP" else ""


def may_copy(
    data: bytes, picture: Picture, format: str, *, quality: int | None, keep_metadata: bool
) -> bool:
    """Whether a picture's file serves as a result in a format as well as its pixels written anew.

    It does in the format asked for, if no other quality is, where it holds no metadata, or these
    are to be kept: as they are, and not damaged nor with an orientation that does not hold for
    results.
    """
    if format_of(data) != format or picture.warnings:
        return False
    if quality is not None and format != "PNG":
        return False
    if is_bare(data, format):
        return True
    # EXIF of which nothing can be kept is damaged.
    has_exif = any(mark in data for mark in (b"Exif\0\0", b"eXIf", b"EXIF"))
    whole = bool(picture.metadata.exif) or not has_exif
    return keep_metadata and whole and "turned upright" not in picture.notes


def is_bare(data: bytes, format: str) -> bool:
    """Whether a PNG, JPEG or WEBP file holds nothing but pixels: no text, EXIF, profile or preview.

    False where anything follows after its end.
    """
    parts = _segments(data) if format == "JPEG" else _chunks(data, format)
    return all(name in BARE[format] for name in parts)


def _chunks(data: bytes, format: str) -> Iterator[str]:
    """The names of a PNG's or a WEBP's chunks, and "" for what does not fit in."""
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
    """The markers of a JPEG in hexadecimal, "JFIF" for its plain header, "" for what follows D9."""
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


def provenance(model: str, fingerprint: str, steps: int) -> dict[str, str]:
    """The text that says how an image was made: Software, and the model, its hash and k."""
    return {
        "Software": f"make-it-real {__version__}",
        "model": model,
        "model-sha256": fingerprint,
        "steps": str(steps),
    }
