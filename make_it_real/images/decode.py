"""Image files → pictures: safe decoding by content, upright, in sRGB, transparency apart."""

import io
import os
import stat
import threading
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from make_it_real.errors import ImageError, one_line
from make_it_real.images.icc import colour_profile, converted, grey_curve, is_srgb, lab_profile

# MPO, the format of 3D cameras, is opened as the JPEG that it begins with.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM")
SUFFIXES = frozenset(
    (
        ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff",
        ".gif", ".avif", ".pgm", ".ppm", ".pnm", ".heic", ".heif",
    )
)  # fmt: skip
MAX_PIXELS = 200_000_000
MAX_BYTES = 2**31
ORIENTATION, PHOTOMETRIC = 0x0112, 0x0106
# TIFF's tags on size, samples, strips, tiles and palette (TIFF 6.0), ICC's and Photoshop's.
LAYOUT = frozenset(
    (
        ORIENTATION, PHOTOMETRIC, *range(254, 260), 263, 264, 265, 266, 273, 277, 278,
        279, 280, 281, 284, 288, 289, 290, 291, 292, 293, 301, 317, *range(320, 326), 330, 332, 334,
        336, *range(338, 344), 347, *range(512, 522), *range(529, 533), 34377, 34675,
    )
)  # fmt: skip
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@dataclass(frozen=True)
class Metadata:
    """What a file says besides its pixels.

    format: Pillow's name of its format. exif: its EXIF block without the orientation (which
    has been applied) and the embedded thumbnail, or None. icc: its colour profile, or None.
    """

    format: str = ""
    exif: bytes | None = None
    icc: bytes | None = None


@dataclass(frozen=True)
class Picture:
    """A decoded image file, upright, in sRGB.

    colour: float32 (C, H, W) in [0, 1], C 1 for grey or 3 for RGB, not premultiplied.
    alpha: float32 (H, W) in [0, 1], or None where everything is opaque.
    notes: what was done while reading ("turned upright", …), for reports. warnings: what of
    the file was not used ("3 frames: only the first is used"), for people.
    """

    colour: Tensor
    alpha: Tensor | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    metadata: Metadata = Metadata()


def read(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode one image by its content, whatever its name.

    EXIF orientation is applied, colour profiles are converted to sRGB, 16-bit grey is scaled
    (not clipped), transparency is split off, and of an animation the first frame is taken.
    Raises ImageError with a reason of one line for what is missing, empty, truncated, no
    image, or has over ``max_pixels`` pixels.
    """
    data = source if isinstance(source, bytes) else read_bytes(source)
    if not data:
        raise ImageError("the file is empty")
    heic = _is_heic(data)
    if heic and not _heic_opener():
        raise ImageError("HEIC needs an extra: pip install 'make-it-real[heic]'")
    try:
        formats = (*FORMATS, "HEIF") if heic else FORMATS
        with HUSHED, Image.open(io.BytesIO(data), formats=formats) as image:
            if image.width * image.height > max_pixels:
                raise ImageError(
                    f"{image.width}×{image.height} pixels are more than the limit of "
                    f"{max_pixels:,} (--max-pixels)"
                )
            image.load()
            return _picture(image)
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError("not an image of a known kind") from error
    except Exception as error:
        # Damage makes Pillow's decoders raise all sorts: struct.error, IndexError, TypeError, …
        raise ImageError(f"damaged image ({one_line(error)})") from error


def read_bytes(path: Path) -> bytes:
    """The file's bytes, of a pipe too, but never without end. Raises ImageError."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            # A pipe does not say how much is to come.
            regular = stat.S_ISREG(status.st_mode)
            if not (regular and status.st_size > MAX_BYTES):
                data = file.read(-1 if regular else MAX_BYTES + 1)
                if len(data) <= MAX_BYTES:
                    return data
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error
    raise ImageError("more than 2 GiB are no image to read")


def _is_heic(data: bytes) -> bool:
    """Whether data begin as HEIC does. AVIF may have the same brand, and then names its own too."""
    brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    return data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS and b"avif" not in brands


@lru_cache(maxsize=1)
def _heic_opener() -> bool:
    """Whether HEIC can be opened: teaches Pillow to, where the extra is installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


class _Hush:
    """Pillow's warnings and its own limit on pixels, off while any thread is inside.

    ``max_pixels`` speaks for that limit, and damaged EXIF is no news. Both settings are global:
    threads that each saved and restored them would leave them off for good.
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


def _picture(image: Image.Image) -> Picture:
    notes: list[str] = []
    cautions: list[str] = []
    if (frames := getattr(image, "n_frames", 1)) > 1:
        cautions.append(f"{frames} frames: only the first is used")
    # Read before anything is converted: Pillow's conversions lose one or the other.
    icc, exif = image.info.get("icc_profile") or None, image.getexif()
    metadata = Metadata(image.format or "", _kept(exif), icc)
    if exif.get(ORIENTATION) in range(2, 9):
        notes.append("turned upright")
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _deep(image, notes, cautions, metadata)
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("L", "1", "LA", "La") else "RGBA")
        alpha = _planes(image.getchannel("A"))[0]
        image = image.convert("L" if image.mode == "LA" else "RGB")
        alpha = None if bool((alpha == 1).all()) else alpha
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")
    image = _in_srgb(image, icc, notes, cautions)
    return Picture(_planes(image), alpha, tuple(notes), tuple(cautions), metadata)


def _kept(exif: Image.Exif) -> bytes | None:
    """An EXIF block as it may be written again; None where there is none, or a damaged one.

    It goes without what is no longer so, or is kept elsewhere: the orientation, and of a TIFF
    how its pixels were stored, and its colour profile.
    """
    if not exif:
        return None
    try:
        kept = Image.Exif()
        kept.load(exif.tobytes())
        for tag in LAYOUT:
            kept.pop(tag, None)
        return kept.tobytes() if len(kept) else None
    except Exception:
        # Written by cameras and phones of all kinds, and then cut by other tools.
        return None


def _deep(image: Image.Image, notes: list[str], cautions: list[str], metadata: Metadata) -> Picture:
    """The picture of 16- and 32-bit grey, which Pillow can't convert."""
    levels, alpha = _levels(image), None
    if image.info.get("transparency") is not None:
        alpha = (np.asarray(image) != image.info["transparency"]).astype(np.float32)
    if metadata.icc:
        try:
            profile = colour_profile(metadata.icc)
            if not is_srgb(profile):
                curve = grey_curve(profile)
                levels = np.interp(levels, np.linspace(0, 1, 256), curve / 255).astype(np.float32)
                notes.append("colours converted to sRGB")
        except Exception as error:
            cautions.append(f"its colour profile can't be used ({one_line(error)})")
    opaque = None if alpha is None or bool(alpha.all()) else torch.from_numpy(alpha)
    return Picture(torch.from_numpy(levels)[None], opaque, tuple(notes), tuple(cautions), metadata)


def _levels(image: Image.Image) -> Any:
    """16- and 32-bit grey → float32 array (H, W) in [0, 1], scaled by the full range in use."""
    values = np.asarray(image, dtype=np.float32)
    if image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0:
        # Pillow turns TIFF's "white is zero" round for 1 and 8 bits only.
        values = 65535 - values
    # Neither "I" nor "F" says what white is: the narrowest usual range that holds the peak.
    peak = float(values[np.isfinite(values)].max(initial=0))
    ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0, 2.0**31 - 1)
    full = next((r for r in ranges if peak <= r), peak)
    return np.nan_to_num(values / full).clip(0, 1)


def _planes(image: Image.Image) -> Tensor:
    """An 8-bit Pillow image → float32 (C, H, W) in [0, 1]."""
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return (pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)).float() / 255


def _in_srgb(
    image: Image.Image, icc: bytes | None, notes: list[str], cautions: list[str]
) -> Image.Image:
    """An L, RGB, CMYK or LAB image → L or RGB, its colour profile converted to sRGB."""
    target = "L" if image.mode == "L" else "RGB"
    if icc and image.mode != "LAB":
        try:
            profile = colour_profile(icc)
            if is_srgb(profile):
                return image.convert(target)
            if image.mode == "L":
                out = image.point([round(level) for level in grey_curve(profile)])
            else:
                out = converted(image, profile, colour_profile(None), "RGB")
        except Exception as error:
            # Little CMS reports damaged and mismatched profiles by several types.
            cautions.append(f"its colour profile can't be used ({one_line(error)})")
        else:
            notes.append("colours converted to sRGB")
            return out
    if image.mode == "LAB":
        notes.append("colours converted to sRGB")
        return converted(image, lab_profile(), colour_profile(None), "RGB", exact=True)
    return image.convert(target)
