"""Pixels of more than 8 bits per sample: reading them, also in colour, scaling to [0, 1]; PNGs."""

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngInfo, putchunk

Array = NDArray[Any]
BITS = 258
# A PNG's colour type by the number of channels, and its filter of differences within a row.
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
SUB = 1
# Rows of a PNG that are compressed at a time.
ROWS = 64


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


def to_png(
    samples: Array, info: PngInfo, exif: bytes | None, icc: bytes | None, level: int = 6,
    strategy: int = zlib.Z_DEFAULT_STRATEGY,
) -> bytes:  # fmt: skip
    """Encode uint16 samples (H, W, C), the last channel of two or four being alpha, as a PNG.

    level, strategy: of zlib. Pillow writes 16 bits of grey only.
    """
    height, width, channels = samples.shape
    with io.BytesIO() as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        kind = COLOUR_TYPES[channels]
        putchunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
        if icc:
            putchunk(file, b"iCCP", b"ICC Profile\0\0", zlib.compress(icc))
        for name, content, *_ in info.chunks:
            putchunk(file, name, content)
        if exif:
            putchunk(file, b"eXIf", exif.removeprefix(b"Exif\0\0"))
        packer = zlib.compressobj(level, strategy=strategy)
        for top in range(0, height, ROWS):
            putchunk(file, b"IDAT", packer.compress(_filtered(samples[top : top + ROWS])))
        putchunk(file, b"IDAT", packer.flush())
        putchunk(file, b"IEND")
        return file.getvalue()


def _filtered(samples: Array) -> bytes:
    """Lay rows of uint16 samples (H, W, C) out as a PNG does: each less the pixel to its left."""
    height, _, channels = samples.shape
    stored = np.ascontiguousarray(samples.astype(">u2")).view(np.uint8).reshape(height, -1)
    rows = np.empty((height, 1 + stored.shape[1]), np.uint8)
    rows[:, 0] = SUB
    rows[:, 1:] = stored
    rows[:, 1 + 2 * channels :] -= stored[:, : -2 * channels]
    return rows.tobytes()
