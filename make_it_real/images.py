"""Pixels ⇄ images, grids, encoding, and whole-file writing. Files are read by ``decoding``."""

import io
import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

import make_it_real
from make_it_real.decoding import MAX_PIXELS as MAX_PIXELS
from make_it_real.decoding import SUFFIXES as SUFFIXES
from make_it_real.decoding import Picture as Picture
from make_it_real.decoding import read as read
from make_it_real.errors import ImageError, OutputExistsError
from make_it_real.profiles import from_srgb

QUALITY = 95


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


def on_white(picture: Picture) -> Tensor:
    """A picture at its own size as an image (C, H, W) in [−1, 1], laid on white."""
    colour = picture.colour
    if picture.alpha is not None:
        colour = colour * picture.alpha + (1 - picture.alpha)
    return colour * 2 - 1


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
    WEBP (lossless by default). exif, icc: written with it, the colours converted from sRGB to
    that profile.
    """
    picture = to_pillow(image)
    if alpha is not None:
        levels = Image.fromarray((alpha.clamp(0, 1) * 255).round().byte().cpu().numpy())
        if format == "JPEG":
            paper = Image.new(picture.mode, picture.size, "white")
            picture = Image.composite(picture, paper, levels)
    if icc:
        picture, icc = from_srgb(picture, icc)
    if alpha is not None and format != "JPEG":
        picture.putalpha(levels)
    options: dict[str, Any] = {}
    if exif:
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
            # JPEG ends at 65,535 pixels a side, WEBP at 16,383, an EXIF block at 64 KiB.
            raise ImageError(f"can't be written as {format}: {error}") from error
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


PART = ".part"
_START = f".mir-{socket.gethostname().replace('/', '_')[:64]}-"
# A process of the same number may have been killed here before.
_TOKEN = secrets.token_hex(4)
_PARTS = count()


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file that appears whole or not at all.

    Raises OutputExistsError if it is there and ``overwrite`` is not given, ImageError if it
    can't be written.
    """
    # Not after the path's own name, which may have all the 255 bytes that are allowed.
    temporary = path.parent / f"{_START}{os.getpid()}-{_TOKEN}-{next(_PARTS)}{PART}"
    try:
        try:
            with temporary.open("xb") as file:
                file.write(data)
            if overwrite:
                os.replace(temporary, path)
            else:
                _move(temporary, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
    except FileExistsError as error:
        raise OutputExistsError(f"{path} exists; give --overwrite to replace it") from error
    except OSError as error:
        raise ImageError(f"can't write {path}: {error.strerror or error}") from error


def _move(temporary: Path, path: Path) -> None:
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


def sweep(folder: Path) -> None:
    """Remove the unfinished files that processes killed on this machine left in a folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_START) and entry.name.endswith(PART):
                process, _, rest = entry.name[len(_START) :].partition("-")
                if process.isdigit() and not _writing(int(process), rest.split("-")[0]):
                    with suppress(OSError):
                        os.unlink(entry.path)


def _writing(process: int, token: str) -> bool:
    """Whether the process that began a file may still be at it."""
    if process == os.getpid():
        return token == _TOKEN
    if os.name != "posix":
        # Elsewhere there is no harmless way to ask.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
