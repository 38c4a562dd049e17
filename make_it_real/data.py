"""Data sets: IDX files, image folders and zips of images → pixels in memory."""

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from make_it_real import images
from make_it_real.distributed import gathered, mine
from make_it_real.errors import DataError, ImageError
from make_it_real.framing import Framing, fit
from make_it_real.images import Picture

IDX_PREFIX = {"train": "train", "test": "t10k"}


@dataclass(frozen=True)
class ImageSet:
    """pixels: uint8 (N, C, S, S); labels: int64 (N,) where the data has them, else None.

    name: of the file or folder; skipped: "path: reason" of files that could not be used.
    """

    pixels: Tensor
    labels: Tensor | None
    name: str
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pixels)


def load(
    path: Path, split: str = "train", *, size: int | None = None, channels: int | None = None
) -> ImageSet:
    """The images at ``path``: a folder of IDX files (MNIST's names, gzipped or not), one IDX
    file, a zip of images, or a folder of images, searched through.

    split: train or test, for folders of IDX files; images have none. size, channels: what to
    bring images to, by a central square crop and resizing; None takes an IDX file's own, and
    64 pixels in colour for images. Processes that train together each decode a part of the
    images and pass it on. Raises DataError where there is nothing usable.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir():
        found = _find_idx(path, split, "images")
        if found is not None:
            labels = _find_idx(path, split, "labels")
            return _load_idx(path.resolve().name, found, labels, size, channels)
        if _find_idx(path, "test" if split == "train" else "train", "images") is not None:
            raise DataError(f"{path}: no {split} images among its IDX files")
        return _load_images(path.resolve().name, _folder(path), size or 64, channels or 3)
    if zipfile.is_zipfile(path):
        return _load_images(path.stem, _zip(path), size or 64, channels or 3)
    return _load_idx(path.stem, path, None, size, channels)


def has_splits(path: Path) -> bool:
    """Whether ``path`` is a folder of IDX files, train and test."""
    return path.is_dir() and all(_find_idx(path, split, "images") for split in IDX_PREFIX)


def read_idx(path: Path) -> Tensor:
    """One IDX file of unsigned bytes, gzipped or not: uint8 of the shape that it states.

    The format is described on MNIST's page, http://yann.lecun.com/exdb/mnist/. Raises
    DataError for anything else, and for a file cut short.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            zero, kind, rank = struct.unpack(">HBB", file.read(4))
            shape = struct.unpack(f">{rank}I", file.read(4 * rank))
            if zero or kind != 8 or not rank:
                raise DataError(f"{path}: not an IDX file of unsigned bytes, a zip or a folder")
            length = math.prod(shape)
            data = file.read(length + 1)
            if len(data) != length:
                raise DataError(f"{path}: not the {length:,} bytes that its header promises")
            return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(shape).copy())
    except MemoryError as error:
        raise DataError(f"{path}: its header promises {length:,} bytes") from error
    except (OSError, EOFError, struct.error, zlib.error, OverflowError, ValueError) as error:
        raise DataError(f"{path}: not a readable IDX file ({error})") from error


def _find_idx(folder: Path, split: str, what: str) -> Path | None:
    """A split's ``images`` or ``labels`` file, as MNIST and its kin name them."""
    rank = 3 if what == "images" else 1
    stem = f"{IDX_PREFIX[split]}-{what}"
    for name in (f"{stem}-idx{rank}-ubyte", f"{stem}.idx{rank}-ubyte"):
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    return None


def _load_idx(
    name: str, path: Path, labels_path: Path | None, size: int | None, channels: int | None
) -> ImageSet:
    pixels = read_idx(path)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    shape = tuple(pixels.shape)
    if len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3] or 0 in shape:
        raise DataError(f"{path}: holds no square images, its shape is {shape}")
    labels = read_idx(labels_path).long() if labels_path else None
    if labels is not None and len(labels) != len(pixels):
        raise DataError(f"{labels_path}: {len(labels)} labels for {len(pixels)} images")
    size, channels = size or shape[2], channels or shape[1]
    if shape[1:] != (channels, size, size):
        pixels = torch.stack([_fitted(Picture(p.float() / 255), size, channels) for p in pixels])
    return ImageSet(pixels, labels, name)


# Where an image comes from, and its file, its bytes, or why there are none.
Item = tuple[str, Path | bytes | ImageError]


def _is_image(name: Path) -> bool:
    """True for an image's suffix with nothing hidden on the way (thumbnails, a Mac's extras)."""
    hidden = any(part.startswith(".") for part in name.parts)
    return name.suffix.lower() in images.SUFFIXES and not hidden


def _folder(path: Path) -> Iterator[Item]:
    files = [f for f in path.rglob("*") if _is_image(f.relative_to(path)) and f.is_file()]
    for name in mine([str(file) for file in sorted(files)]):
        yield name, Path(name)


def _zip(path: Path) -> Iterator[Item]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: can't be read as a zip ({error})") from error
    with archive:
        members = [name for name in archive.namelist() if _is_image(Path(name))]
        for member in mine(sorted(members)):
            yield f"{path}:{member}", _member(archive, member)


def _member(archive: zipfile.ZipFile, name: str) -> bytes | ImageError:
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        return ImageError(f"can't be read from the zip ({error})")


def _fitted(picture: Picture, size: int, channels: int) -> Tensor:
    return images.to_pixels(fit(picture, size, channels, Framing(), how="crop").image)


def _load_images(name: str, items: Iterator[Item], size: int, channels: int) -> ImageSet:
    def decode(item: Item) -> Tensor | str:
        label, source = item
        try:
            if isinstance(source, ImageError):
                raise source
            return _fitted(images.read(source), size, channels)
        except ImageError as error:
            return f"{label}: {error}"

    decoded: list[Tensor | str] = []
    with ThreadPoolExecutor() as pool:
        # A chunk at a time: the bytes of a whole zip need not fit into memory at once.
        while chunk := list(islice(items, 256)):
            decoded += pool.map(decode, chunk)
    decoded = gathered(decoded)
    usable = [pixels for pixels in decoded if isinstance(pixels, Tensor)]
    skipped = tuple(reason for reason in decoded if isinstance(reason, str))
    if len(usable) < 2:
        reason = f"; {skipped[0]}" if skipped else ""
        raise DataError(
            f"{name}: at least two readable images are needed; {len(usable)} found{reason}"
        )
    return ImageSet(torch.stack(usable), None, name, skipped)
