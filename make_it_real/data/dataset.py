"""Data sets of pixels: loaded from IDX files, image folders and zips of images."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from make_it_real.data import idx
from make_it_real.data.image_folder import Decoding, decode, fit_picture
from make_it_real.errors import DataError
from make_it_real.images.decode import Picture
from make_it_real.images.faces import available


@dataclass(frozen=True)
class ImageSet:
    """A data set.

    pixels: uint8 (N, C, S, S), which may be mapped from a file. labels: int64 (N,), or None where
    the data has none. name: of the file or folder. skipped: "path: reason" for each file that
    could not be used. note: why there is no cache, where one was wanted.
    """

    pixels: Tensor
    labels: Tensor | None
    name: str
    skipped: tuple[str, ...] = ()
    note: str = ""

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, index: Tensor | slice) -> "ImageSet":
        """Select the images of an index (M,), which copies them, or of a slice, which does not."""
        labels = None if self.labels is None else self.labels[index]
        return replace(self, pixels=self.pixels[index], labels=labels)


def load(
    path: Path | Sequence[Path],
    split: str = "train",
    *,
    size: int | None = None,
    channels: int | None = None,
    faces: bool = False,
    cached: bool = True,
) -> ImageSet:
    """Load the images at ``path``, or at several paths as one set.

    path: a folder of IDX files (with MNIST's names, gzipped or not), an IDX file, a zip of images,
    or a folder of images and of folders with images. split: train or test, for folders of IDX
    files. size, channels: those that images are brought to, by a central square crop and
    resizing; None takes those of an IDX file, and 64 pixels in colour for other images. faces:
    take each face of an image as an image, aligned as in CelebA, unless it has the size already.

    cached: decode images of folders and zips once, into ``cache.folder()``, and map them from
    there. Of processes that train together the first of each machine does so for all; without a
    cache each decodes for itself. Raises DataError where there is nothing usable.
    """
    if faces and not available():
        raise DataError("finding faces needs an extra: pip install 'make-it-real[faces]'")
    paths = [path] if isinstance(path, Path) else list(path)
    for one in paths:
        if not one.exists():
            raise DataError(f"{one}: no such file or folder")
    idx_sets = [_load_if_idx(one, split, size, channels) for one in paths]
    into = size or 64, channels or 3, faces, cached
    if not any(idx_sets):
        return _load_images(paths, *into)
    sets = [own or _load_images([one], *into) for one, own in zip(paths, idx_sets, strict=True)]
    return sets[0] if len(sets) == 1 else _join(sets)


def _load_if_idx(path: Path, split: str, size: int | None, channels: int | None) -> ImageSet | None:
    """Load an IDX file or a folder of such; return None for a folder or zip of images."""
    if path.is_dir():
        images = idx.find(path, split, "images")
        if images is not None:
            labels = idx.find(path, split, "labels")
            return _load_idx(path.resolve().name, images, labels, size, channels)
        if idx.find(path, "test" if split == "train" else "train", "images") is not None:
            raise DataError(f"{path}: no {split} images among its IDX files")
        return None
    return None if zipfile.is_zipfile(path) else _load_idx(path.stem, path, None, size, channels)


def _join(sets: list[ImageSet]) -> ImageSet:
    """Join sets into one, in memory, with labels where all have them. Raises DataError."""
    shapes = {tuple(one.pixels.shape[1:]): one.name for one in sets}
    if len(shapes) > 1:
        text = ", ".join(f"{name} {'×'.join(map(str, shape))}" for shape, name in shapes.items())
        raise DataError(f"not of one shape: {text}; --size and --channels bring them to one")
    labels = [one.labels for one in sets if one.labels is not None]
    return ImageSet(
        torch.cat([one.pixels for one in sets]),
        torch.cat(labels) if len(labels) == len(sets) else None,
        " + ".join(one.name for one in sets),
        tuple(reason for one in sets for reason in one.skipped),
        next((one.note for one in sets if one.note), ""),
    )


def has_splits(path: Path) -> bool:
    """Tell whether ``path`` is a folder of IDX files with both splits, train and test."""
    return path.is_dir() and all(idx.find(path, split, "images") for split in idx.PREFIX)


def _load_idx(
    name: str, path: Path, labels_path: Path | None, size: int | None, channels: int | None
) -> ImageSet:
    """Load an IDX file of images, and one of labels. Raises DataError."""
    pixels = idx.read(path)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    shape = tuple(pixels.shape)
    if len(shape) != 4 or shape[1] not in (1, 3) or shape[2] != shape[3] or 0 in shape:
        raise DataError(f"{path}: holds no square images, its shape is {shape}")
    labels = idx.read(labels_path).long() if labels_path else None
    if labels is not None and len(labels) != len(pixels):
        raise DataError(f"{labels_path}: {len(labels)} labels for {len(pixels)} images")
    size, channels = size or shape[2], channels or shape[1]
    if shape[1:] != (channels, size, size):
        pixels = torch.cat([fit_picture(Picture(p.float() / 255), size, channels) for p in pixels])
    return ImageSet(pixels, labels, name)


def _load_images(
    paths: Sequence[Path], size: int, channels: int, faces: bool, cached: bool
) -> ImageSet:
    """Load image folders and zips as one set, from its cache where that is whole and allowed.

    Raises DataError where fewer than two images can be read.
    """
    name = " + ".join(p.stem if p.is_file() else p.resolve().name for p in paths)
    fit = partial(fit_picture, size=size, channels=channels, faces=faces)
    how = Decoding(fit, [size, channels, faces], channels * size**2)
    decoded = decode(paths, how, cached)
    pixels, skipped = decoded.images, decoded.skipped
    if len(pixels) < 2:
        reason = f"; {skipped[0]}" if skipped else ""
        raise DataError(
            f"{name}: at least two readable images are needed; {len(pixels)} found{reason}"
        )
    assert isinstance(pixels, Tensor)
    return ImageSet(pixels, None, name, skipped, decoded.note)
