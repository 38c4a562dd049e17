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
ORIENTATION = 0x0112
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
    data = source if isinstance(source, bytes) else _bytes(source)
    if not data:
        raise ImageError("the file is empty")
    heic = data[4:8] == b"ftyp" and data[8:12] in HEIC_BRANDS
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


def _bytes(path: Path) -> bytes:
    """The file's bytes, of a pipe too, but never without end."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_BYTES + 1 if not stat.S_ISREG(status.st_mode) else -1)
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error
    if len(data) > MAX_BYTES:
        raise ImageError("more than 2 GiB, and no end")
    return data


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
        return Picture(_levels(image), None, tuple(notes), tuple(cautions), metadata)
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
    """An EXIF block as it may be written again; None where there is none, or a damaged one."""
    if not exif:
        return None
    try:
        kept = Image.Exif()
        kept.load(exif.tobytes())
        kept.pop(ORIENTATION, None)
        return kept.tobytes() if len(kept) else None
    except Exception:
        # Written by cameras and phones of all kinds, and then cut by other tools.
        return None


def _levels(image: Image.Image) -> Tensor:
    """16- and 32-bit grey → float32 (1, H, W) in [0, 1], scaled by the full range in use."""
    values = np.asarray(image, dtype=np.float32)
    # Neither "I" nor "F" says what white is: the narrowest usual range that holds the peak.
    peak = float(values[np.isfinite(values)].max(initial=0))
    ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0, 2.0**31 - 1)
    full = next((r for r in ranges if peak <= r), peak)
    return torch.from_numpy(np.nan_to_num(values / full).clip(0, 1))[None]


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
            out = _converted(image, profile, colour_profile(None), "RGB").convert(target)
        except Exception as error:
            # Little CMS reports damaged and mismatched profiles by several types.
            cautions.append(f"its colour profile can't be used ({one_line(error)})")
        else:
            notes.append("colours converted to sRGB")
            return out
    if image.mode == "LAB":
        from PIL import ImageCms

        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        notes.append("colours converted to sRGB")
        return _converted(image, lab, colour_profile(None), "RGB")
    return image.convert(target)


def colour_profile(icc: bytes | None) -> Any:
    """An ImageCmsProfile of an ICC profile's bytes; None is sRGB. Raises OSError on damage."""
    # Little CMS is loaded for the few files that need it only.
    from PIL import ImageCms

    if icc is None:
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsProfile(io.BytesIO(icc))


def is_srgb(profile: Any) -> bool:
    """Whether a profile names itself sRGB, as nearly all that cameras write do."""
    return "srgb" in (profile.profile.profile_description or "").lower()


def _converted(image: Image.Image, source: Any, target: Any, mode: str) -> Image.Image:
    """Colours from one profile to another, by relative colorimetry with black kept black."""
    from PIL import ImageCms

    out = ImageCms.profileToProfile(
        image, source, target,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode=mode,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )  # fmt: skip
    assert out is not None, "profileToProfile returns an image unless told to work in place"
    return out


def from_srgb(image: Image.Image, icc: bytes) -> tuple[Image.Image, bytes | None]:
    """An L or RGB image in sRGB → its colours in the profile ``icc``, and that profile.

    Where it is no profile for such an image (CMYK, damaged), the image stays in sRGB and None
    is returned for the profile.
    """
    try:
        profile = colour_profile(icc)
        if is_srgb(profile):
            return image, icc
        return _converted(image.convert("RGB"), colour_profile(None), profile, image.mode), icc
    except Exception:
        # The picture matters more than the profile; readers take untagged files as sRGB.
        return image, None
