"""Data sets: IDX files, image folders and zips of images → pixels in memory."""

import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from make_it_real import images
from make_it_real.errors import DataError, ImageError
from make_it_real.framing import Framing, fit

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
    64 pixels in colour for images. Raises DataError where there is nothing usable.
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    if path.is_dir():
        found = _find_idx(path, split, "images")
        if found is not None:
            return _load_idx(found, _find_idx(path, split, "labels"), path.resolve().name)
        if _find_idx(path, "test" if split == "train" else "train", "images") is not None:
            raise DataError(f"{path}: no {split} images among its IDX files")
        return _load_images(path.resolve().name, _folder(path), size or 64, channels or 3)
    if zipfile.is_zipfile(path):
        return _load_images(path.stem, _zip(path), size or 64, channels or 3)
    return _load_idx(path, None, path.stem)


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
    except (OSError, EOFError, struct.error, zlib.error, OverflowError) as error:
        raise DataError(f"{path}: not a readable IDX file ({error})") from error
    if len(data) != length:
        raise DataError(f"{path}: not the {length:,} bytes that its header promises")
    return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(shape).copy())


def _find_idx(folder: Path, split: str, what: str) -> Path | None:
    """A split's ``images`` or ``labels`` file, as MNIST and its kin name them."""
    rank = 3 if what == "images" else 1
    stem = f"{IDX_PREFIX[split]}-{what}"
    for name in (f"{stem}-idx{rank}-ubyte", f"{stem}.idx{rank}-ubyte"):
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    return None


def _load_idx(path: Path, labels_path: Path | None, name: str) -> ImageSet:
    pixels = read_idx(path)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim != 4 or pixels.shape[2] != pixels.shape[3] or not len(pixels):
        raise DataError(f"{path}: holds no square images, its shape is {tuple(pixels.shape)}")
    labels = read_idx(labels_path).long() if labels_path else None
    if labels is not None and len(labels) != len(pixels):
        raise DataError(f"{labels_path}: {len(labels)} labels for {len(pixels)} images")
    return ImageSet(pixels, labels, name)


Item = tuple[str, Path | bytes]


def _folder(path: Path) -> Iterator[Item]:
    for file in sorted(path.rglob("*")):
        if file.suffix.lower() in images.SUFFIXES and not file.name.startswith("."):
            yield str(file), file


def _zip(path: Path) -> Iterator[Item]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in sorted(archive.namelist()):
                if Path(member).suffix.lower() in images.SUFFIXES:
                    yield f"{path}:{member}", archive.read(member)
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError) as error:
        raise DataError(f"{path}: can't be read as a zip ({error})") from error


def _load_images(name: str, items: Iterator[Item], size: int, channels: int) -> ImageSet:
    def decode(item: Item) -> Tensor | str:
        label, source = item
        try:
            picture = images.read(source)
        except ImageError as error:
            return f"{label}: {error}"
        return images.to_pixels(fit(picture, size, channels, Framing(), how="crop").image)

    with ThreadPoolExecutor() as pool:
        decoded = list(pool.map(decode, items))
    usable = [pixels for pixels in decoded if isinstance(pixels, Tensor)]
    skipped = tuple(reason for reason in decoded if isinstance(reason, str))
    if len(usable) < 2:
        raise DataError(f"{name}: at least two readable images are needed; {len(usable)} found")
    return ImageSet(torch.stack(usable), None, name, skipped)
