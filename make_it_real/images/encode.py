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
            info.add_text(key, value)
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


def provenance(model: str, fingerprint: str, steps: int) -> dict[str, str]:
    """The text that says how an image was made: Software, and the model, its hash and k."""
    return {
        "Software": f"make-it-real {__version__}",
        "model": model,
        "model-sha256": fingerprint,
        "steps": str(steps),
    }
