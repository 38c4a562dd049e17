"""Image files → pictures: safely, by content, upright, in sRGB, transparency apart."""

import io
import os
import stat
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from make_it_real.errors import ImageError, one_line
from make_it_real.images import container, deep, exif, icc, tiff

Array = NDArray[Any]
T = TypeVar("T", Image.Image, Array)
# An MPO file, which 3D cameras write, is read as the JPEG that it begins with.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM")
SUFFIXES = frozenset(
    (
        ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff",
        ".gif", ".avif", ".pgm", ".ppm", ".pnm", ".heic", ".heif",
    )
)  # fmt: skip
MAX_PIXELS = 200_000_000
# Size of a file.
MAX_BYTES = 2**31
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@dataclass(frozen=True)
class Metadata:
    """A file's metadata that can be written again.

    exif: the EXIF block, without the orientation (which has been applied) and the thumbnail;
    None if there is none that can be read. icc: the colour profile, or None.
    """

    exif: bytes | None = None
    icc: bytes | None = None


@dataclass(frozen=True)
class Picture:
    """A decoded image file, upright, in sRGB.

    colour: float32 (C, H, W) in [0, 1], C 1 for grey or 3 for RGB, not premultiplied.
    alpha: float32 (H, W) in [0, 1]; None if everything is opaque.
    bits: of the file's samples: 8, or 16 for more than 8.
    notes: what reading did ("turned upright", …), for reports. warnings: what of the file was
    not used ("3 frames: only the first is used"), for people.
    """

    colour: Tensor
    alpha: Tensor | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    metadata: Metadata = Metadata()
    bits: int = 8


def read(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode one image file, a path or its bytes, by its content, whatever its name.

    Applies the EXIF orientation, converts colour profiles to sRGB, scales 16-bit and floating
    point pixels to [0, 1], splits transparency off, and takes the first frame of an animation.
    Metadata that can't be read costs a warning at most. Raises ImageError, with a reason of one
    line, for a file that is missing, empty, truncated or no image, or has more than
    ``max_pixels`` pixels.
    """
    data = source if isinstance(source, bytes) else read_bytes(source)
    if not data:
        raise ImageError("the file is empty")
    heic = _is_heic(data)
    if heic and not _heic_opener():
        raise ImageError("HEIC needs an extra: pip install 'make-it-real[heic]'")
    try:
        with HUSHED:
            return _decoded(data, (*FORMATS, "HEIF") if heic else FORMATS, max_pixels)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError("not an image of a known kind") from error
    except Exception as error:
        # Damage makes Pillow's decoders raise anything: struct.error, IndexError, TypeError, …
        raise ImageError(f"damaged image ({one_line(error)})") from error


def read_bytes(path: Path) -> bytes:
    """Read a file or pipe, up to MAX_BYTES. Raises ImageError."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            # A pipe does not know its length.
            regular = stat.S_ISREG(status.st_mode)
            if not (regular and status.st_size > MAX_BYTES):
                data = file.read(-1 if regular else MAX_BYTES + 1)
                if len(data) <= MAX_BYTES:
                    return data
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error
    raise ImageError("the file has more than 2 GiB")


def _is_heic(data: bytes) -> bool:
    """Whether data begin as a HEIC file does. AVIF may share its brand, but lists its own too."""
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS and b"avif" not in brands


@lru_cache(maxsize=1)
def _heic_opener() -> bool:
    """Register Pillow's plugin for HEIC; False if the extra ``heic`` is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


class _Hush:
    """Turn Pillow's warnings and its limit on pixels off while any thread is inside.

    ``max_pixels`` takes that limit's place. Both settings are global: if each thread saved and
    restored them by itself, they could stay off for good.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore")
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filters.__exit__(None, None, None)
                Image.MAX_IMAGE_PIXELS = self._limit


HUSHED = _Hush()


def _decoded(data: bytes, formats: tuple[str, ...], max_pixels: int) -> Picture:
    """Decode a file. Raises ImageError, or whatever Pillow raises for damage."""
    file = container.split(data)
    if file.tiff and (layout := tiff.layout(file.tiff)):
        check_size(layout.size[1], layout.size[0], max_pixels)
        return _deep(tiff.read(file.tiff, layout), file)
    try:
        return _opened(file, formats, max_pixels)
    except UnidentifiedImageError as error:
        if kind := _tiff_kind(file.tiff):
            raise ImageError(f"can't read TIFFs {kind}") from error
        raise


def _tiff_kind(tags: exif.Directory | None) -> str:
    """Describe a TIFF's pixels in words; empty if its directory does not say."""
    if tags is None or not tags.integer(tiff.WIDTH) or not (bits := tags.integers(tiff.BITS)):
        return ""
    samples, compression = tags.integer(tiff.SAMPLES, 1), tags.integer(tiff.COMPRESSION, 1)
    return f"of {samples} × {bits[0]} bits with compression {compression}"


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raise ImageError for a picture of more than ``max_pixels`` pixels."""
    if width * height > max_pixels:
        raise ImageError(
            f"{width}×{height} pixels are more than the limit of {max_pixels:,} (--max-pixels)"
        )


def _opened(file: container.Parts, formats: tuple[str, ...], max_pixels: int) -> Picture:
    """Decode a file that Pillow opens."""
    with Image.open(io.BytesIO(file.pixels), formats=formats) as image:
        check_size(image.width, image.height, max_pixels)
        if image.format == "PNG" and (samples := deep.of_png(image, file.pixels)):
            return _deep(samples, file)
        image.load()
        file.frames = file.frames or getattr(image, "n_frames", 1)
        # Before anything is converted: Pillow's conversions lose one or the other.
        for name, key in (("exif", "exif"), ("icc", "icc_profile"), ("xmp", "xmp")):
            if getattr(file, name) is None and isinstance(image.info.get(key), bytes):
                setattr(file, name, image.info[key])
        if image.mode.startswith("I") or image.mode == "F":
            return _deep(deep.of_grey(image), file)
        return _shallow(image, file)


def _shallow(image: Image.Image, file: container.Parts) -> Picture:
    """Make a picture of an image of at most 8 bits per sample."""
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("L", "1", "LA", "La") else "RGBA")
        alpha = np.asarray(image.getchannel("A"))
        image = image.convert("L" if image.mode == "LA" else "RGB")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")
    if image.mode == "LAB":
        # L*a*b* values need no profile, and one that comes with them is not used.
        to = icc.colour_profile(None)
        shown: Image.Image | None = icc.converted(image, icc.lab_profile(), to, "RGB", exact=True)
    else:
        shown = _in_srgb(image, file, icc.image_to_srgb)
    pixels = np.asarray(shown or image.convert("L" if image.mode == "L" else "RGB"))
    return _upright(file, pixels.reshape(*pixels.shape[:2], -1), alpha, converted=shown is not None)


def _deep(samples: deep.Samples, file: container.Parts) -> Picture:
    """Make a picture of samples of more than 8 bits."""
    colour, alpha = samples.levels()
    shown = _in_srgb(colour, file, icc.to_srgb)
    return _upright(file, colour if shown is None else shown, alpha, converted=shown is not None)


def _in_srgb(pixels: T, file: container.Parts, convert: Callable[[T, bytes], T]) -> T | None:
    """Convert pixels from the file's colour profile to sRGB; None if that changes nothing.

    Pixels without a profile count as sRGB, and so do those whose profile can't be used, for
    which ``file.warnings`` gets a line.
    """
    try:
        if not file.icc or icc.is_srgb(file.icc):
            return None
        return convert(pixels, file.icc)
    except Exception as error:
        # Little CMS raises several types of exceptions for damaged and mismatched profiles.
        file.warnings.append(f"its colour profile can't be used ({one_line(error)})")
        return None


def _upright(
    file: container.Parts, colour: Array, alpha: Array | None, *, converted: bool
) -> Picture:
    """Make a picture of pixels as they are stored, colour (H, W, C) and alpha (H, W).

    Each is uint8, or float32 in [0, 1]. converted: whether colours were converted to sRGB.
    """
    way, block = exif.orientation(file.exif, file.xmp), file.exif
    if file.whole is not None:
        block = _exif_of(file.whole)
    notes = ["turned upright"] * (way > 1) + ["colours converted to sRGB"] * converted
    if file.frames > 1:
        file.warnings.insert(0, f"{file.frames} frames: only the first is used")
    planes = _levels(_turned(colour, way)).permute(2, 0, 1)
    opacity = None if alpha is None else _levels(_turned(alpha, way))
    if opacity is not None and bool((opacity == 1).all()):
        opacity = None
    metadata = Metadata(exif.kept(block), file.icc or None)
    bits = 8 if colour.dtype == np.uint8 else 16
    return Picture(planes, opacity, tuple(notes), tuple(file.warnings), metadata, bits)


def _exif_of(data: bytes) -> bytes | None:
    """Read the EXIF block of an AVIF or HEIC file; None if its library can't read it."""
    try:
        with Image.open(io.BytesIO(data), formats=("AVIF", "HEIF")) as image:
            return image.info.get("exif")
    except Exception:
        return None


def _turned(pixels: Array, way: int) -> Array:
    """Turn pixels (H, W, …) upright, which are stored in one of EXIF's 8 orientations."""
    if way >= 5:
        pixels = pixels.swapaxes(0, 1)
    if way in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if way in (3, 4, 7, 8) else pixels


def _levels(pixels: Array) -> Tensor:
    """Convert uint8 in 0–255, or float32 in [0, 1], to float32 in [0, 1]."""
    # A copy, since torch takes neither read-only memory nor negative strides.
    levels = torch.from_numpy(np.array(pixels, order="C"))
    return levels.float().div_(255) if levels.dtype == torch.uint8 else levels
