"""Image files ⇄ tensors: safe decoding, whole-file writing, pixels ⇄ images, grids."""

import io
import os
import tempfile
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

import make_it_real
from make_it_real.errors import ImageError, one_line

# MPO, the format of 3D cameras, is opened as the JPEG that it begins with.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM")
SUFFIXES = frozenset(
    (
        ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff",
        ".gif", ".avif", ".pgm", ".ppm", ".pnm",
    )
)  # fmt: skip
MAX_PIXELS = 200_000_000


@dataclass(frozen=True)
class Picture:
    """A decoded image file, upright.

    colour: float32 (C, H, W) in [0, 1], C 1 for grey or 3 for RGB, not premultiplied.
    alpha: float32 (H, W) in [0, 1], or None where everything is opaque.
    notes: what was done while reading ("turned upright", …), for reports.
    """

    colour: Tensor
    alpha: Tensor | None = None
    notes: tuple[str, ...] = ()


def read(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode one image by its content, whatever its name.

    EXIF orientation is applied, 16-bit grey is scaled (not clipped), transparency is split
    off, and of an animation the first frame is taken. Raises ImageError with a reason of one
    line for what is missing, empty, truncated, no image, or has over ``max_pixels`` pixels.
    """
    try:
        data = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from error
    if not data:
        raise ImageError("the file is empty")
    try:
        with _HUSH, Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > max_pixels:
                raise ImageError(
                    f"{image.width}×{image.height} pixels are more than the limit of {max_pixels:,}"
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


_HUSH = _Hush()


def _picture(image: Image.Image) -> Picture:
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append("first frame taken")
    upright = ImageOps.exif_transpose(image)
    if image.getexif().get(0x0112) in range(2, 9):
        notes.append("turned upright")
    image = upright
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float32)
        # "I" is how Pillow opens 16-bit grey of some formats; floats come as 0–1 or 0–255.
        peak = float(values[np.isfinite(values)].max(initial=0))
        full = 65535.0 if image.mode != "F" else 1.0 if peak <= 1 else 255.0
        values = np.nan_to_num(values / full).clip(0, 1)
        return Picture(torch.from_numpy(values)[None], None, tuple(notes))
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("L", "1", "LA", "La") else "RGBA")
        alpha = _planes(image.getchannel("A"))[0]
        image = image.convert("L" if image.mode == "LA" else "RGB")
        alpha = None if bool((alpha == 1).all()) else alpha
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    else:
        image = image.convert("RGB")
    return Picture(_planes(image), alpha, tuple(notes))


def _planes(image: Image.Image) -> Tensor:
    """An 8-bit Pillow image → float32 (C, H, W) in [0, 1]."""
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return (pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)).float() / 255


def to_images(pixels: Tensor) -> Tensor:
    """uint8 (…) in 0–255 → float32 images (…) in [−1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """Images (…) in [−1, 1] (clipped to it) → uint8 (…), rounded to nearest."""
    return ((images.detach().clamp(-1, 1) + 1) * 127.5).round().byte()


def to_pillow(image: Tensor) -> Image.Image:
    """One image (C, H, W) in [−1, 1] → an 8-bit Pillow image, grey or RGB."""
    pixels = to_pixels(image).cpu().permute(1, 2, 0).numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def grid(images: Tensor, columns: int | None = None, gap: int = 2) -> Tensor:
    """Images (N, C, H, W) → one (C, rows·(H+gap)−gap, columns·(W+gap)−gap), row by row.

    Columns default to the square root of N, rounded up; gaps and missing cells are black.
    """
    n, c, h, w = images.shape
    columns = columns or int(np.ceil(n**0.5))
    rows = -(-n // columns)
    sheet = images.new_full((c, rows * (h + gap) - gap, columns * (w + gap) - gap), -1.0)
    for i, image in enumerate(images):
        y, x = i // columns * (h + gap), i % columns * (w + gap)
        sheet[:, y : y + h, x : x + w] = image
    return sheet


def encode(image: Tensor, format: str = "PNG", text: Mapping[str, str] | None = None) -> bytes:
    """One image (C, H, W) in [−1, 1] → the bytes of a PNG, JPEG or (lossless) WEBP file.

    ``text`` goes into a PNG's text chunks; the other formats leave it out.
    """
    options: dict[str, Any] = {"lossless": True} if format == "WEBP" else {"quality": 95}
    if format == "PNG":
        info = PngInfo()
        for key, value in (text or {}).items():
            info.add_text(key, value)
        options = {"pnginfo": info}
    with io.BytesIO() as file:
        to_pillow(image).save(file, format, **options)
        return file.getvalue()


def provenance(model: str, fingerprint: str, steps: int) -> dict[str, str]:
    """The text that says how an image was made: Software, and the model, its hash and k."""
    return {
        "Software": f"make-it-real {make_it_real.__version__}",
        "model": model,
        "model-sha256": fingerprint,
        "steps": str(steps),
    }


def make_folder(path: Path) -> None:
    """Make a folder and its parents. Raises ImageError where that can't be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"can't make the folder {path}: {error.strerror or error}") from error


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file that appears whole or not at all.

    Raises ImageError if it exists and ``overwrite`` is not given, or can't be written.
    """
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".mir-", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            # mkstemp makes private files; a picture gets the permissions of any new file.
            os.chmod(temporary, 0o666 & ~_UMASK)
            if overwrite:
                os.replace(temporary, path)
            else:
                _move(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except FileExistsError as error:
        raise ImageError(f"{path} exists; give --overwrite to replace it") from error
    except OSError as error:
        raise ImageError(f"can't write {path}: {error.strerror or error}") from error


def _move(temporary: str, path: Path) -> None:
    """Give a file its name if that is free, else raise FileExistsError."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # Memory cards and some network folders know no hard links.
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.replace(temporary, path)
    else:
        os.unlink(temporary)


def _read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _read_umask()
