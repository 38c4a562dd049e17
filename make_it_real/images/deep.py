"""Pixels of more than 8 bits per sample: reading them, also in colour, and scaling to [0, 1]."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

Array = NDArray[Any]
BITS = 258


@dataclass(frozen=True)
class Samples:
    """Pixels as a file stores them, integers or floating-point numbers.

    colour: (H, W, C), C 1 for grey or 3 for RGB; larger is lighter. alpha: (H, W), or None.
    premultiplied: whether colours are multiplied by alpha.
    """

    colour: Array
    alpha: Array | None = None
    premultiplied: bool = False

    def levels(self) -> tuple[Array, Array | None]:
        """Scale (colour, alpha) to float32 in [0, 1], and divide premultiplied colours by alpha."""
        colour = _scaled(self.colour)
        alpha = None if self.alpha is None else _scaled(self.alpha)
        if self.premultiplied and alpha is not None:
            colour = (colour / np.maximum(alpha, 1e-6)[..., None]).clip(0, 1)
        return colour, alpha


def _scaled(values: Array) -> Array:
    """Scale samples to float32 in [0, 1] by the range in use."""
    if values.dtype == np.uint16:
        return values.astype(np.float32) / 65535
    with np.errstate(over="ignore"):
        numbers = values.astype(np.float32)
    # Neither 32-bit integers nor floats say what white is, so it is the end of the narrowest
    # usual range that holds the largest sample.
    peak = float(numbers[np.isfinite(numbers)].max(initial=0))
    ranges = (1.0, 255.0, 65535.0) if values.dtype.kind == "f" else (65535.0, 2.0**31 - 1)
    full = next((r for r in ranges if peak <= r), peak)
    result: Array = np.nan_to_num(numbers / full).clip(0, 1)
    return result


def of_grey(image: Image.Image) -> Samples:
    """Take the samples of a grey Pillow image of mode I;16, I or F."""
    values = np.asarray(image)
    # Pillow does not scale a TIFF's 12 bits to the 16 of the mode.
    if getattr(image, "tag_v2", {}).get(BITS) == (12,):
        values = values << 4 | values >> 8
    transparent = image.info.get("transparency")
    alpha = None if transparent is None else (values != transparent).astype(np.float32)
    return Samples(values[..., None], alpha)


def of_png(image: ImageFile.ImageFile, data: bytes) -> Samples | None:
    """Read the samples of a PNG of 16-bit colours, or of 16-bit grey with alpha; None for others.

    Pillow keeps the upper byte of each. With the raw mode of the other byte order it keeps the
    lower one.
    """
    kind = image.tile[0].args if image.tile else None
    if kind == "LA;16B":
        # A pixel has four bytes, as in 8-bit RGBA.
        values = _unpacked(data, "RGBA").view(">u2")
    elif kind in ("RGB;16B", "RGBA;16B"):
        upper, lower = _unpacked(data, kind), _unpacked(data, kind[:-1] + "L")
        values = upper.astype(np.uint16) << 8 | lower
    else:
        return None
    values = values.astype(np.uint16)
    if kind != "RGB;16B":
        return Samples(values[..., :-1], values[..., -1])
    transparent = image.info.get("transparency")
    alpha = None if transparent is None else (values != transparent).any(-1).astype(np.float32)
    return Samples(values, alpha)


def _unpacked(data: bytes, kind: str) -> Array:
    """Decode a PNG with another raw mode of Pillow's: uint8 (H, W, C)."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.tile = [image.tile[0]._replace(args=kind)]
        return np.asarray(image)
