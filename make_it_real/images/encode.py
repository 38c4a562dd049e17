"""Images → the bytes of PNG, JPEG and WebP files."""

import io
from collections.abc import Mapping
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from make_it_real._version import __version__
from make_it_real.errors import ImageError
from make_it_real.images.container import MAX_BYTES
from make_it_real.images.icc import from_srgb
from make_it_real.images.pixels import to_pixels

QUALITY = 95
# What a JPEG has room for: one segment of EXIF, 255 of a colour profile.
JPEG_EXIF, JPEG_PROFILE = 65_533, 255 * 65_519


def to_pillow(image: Tensor) -> Image.Image:
    """Convert one image (C, H, W) in [−1, 1] to an 8-bit Pillow image, grey or RGB."""
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
    """Encode one image (C, H, W) in [−1, 1], in sRGB, as the bytes of a PNG, JPEG or WEBP file.

    text: a PNG's text chunks; not written to other formats. alpha: (H, W) in [0, 1]; a JPEG
    has none, so the image is laid on white. quality: 1–100, of JPEG (95 by default) and WEBP
    (lossless by default). exif, icc: metadata, written where the format has room for them;
    colours are converted to the profile. Raises ImageError if the image is too large for the
    format.
    """
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
        options["pnginfo"] = info = PngInfo()
        for key, value in (text or {}).items():
            info.add_text(key, value)
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


def _in_profile(picture: Image.Image, icc: bytes, room: int) -> tuple[Image.Image, bytes | None]:
    """Convert a picture to a profile; it stays in sRGB if there is no room for the profile."""
    tagged, written = from_srgb(picture, icc)
    return (tagged, written) if written and len(written) <= room else (picture, None)


def provenance(model: str, fingerprint: str, steps: int) -> dict[str, str]:
    """Text chunks that say how an image was made: software, model, hash of its weights, k."""
    return {
        "Software": f"make-it-real {__version__}",
        "model": model,
        "model-sha256": fingerprint,
        "steps": str(steps),
    }
