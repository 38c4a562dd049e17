"""Data sets: IDX files, image folders and zips of images → pixels."""

import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import PIL
import torch
from torch import Tensor

from make_it_real import cache, distributed, idx, images
from make_it_real.errors import DataError, ImageError, one_line
from make_it_real.faces import available
from make_it_real.framing import Fit, Framing, fit_all
from make_it_real.images import Picture


@dataclass(frozen=True)
class ImageSet:
    """pixels: uint8 (N, C, S, S); labels: int64 (N,) where the data has them, else None.

    name: of the file or folder; skipped: "path: reason" of files that could not be used; note:
    why there is no cache of them, where one was wanted. Pixels may be mapped from a file.
    """

    pixels: Tensor
    labels: Tensor | None
    name: str
    skipped: tuple[str, ...] = ()
    note: str = ""

    def __len__(self) -> int:
        return len(self.pixels)


def load(
    path: Path | Sequence[Path],
    split: str = "train",
    *,
    size: int | None = None,
    channels: int | None = None,
    faces: bool = False,
    cached: bool = True,
) -> ImageSet:
    """The images at ``path``: a folder of IDX files (MNIST's names, gzipped or not), one IDX
    file, a zip of images, or a folder of images, searched through. Of several, all as one set.

    split: train or test, for folders of IDX files; images have none. size, channels: what to
    bring images to, by a central square crop and resizing; None takes an IDX file's own, and
    64 pixels in colour for images. faces: each face in an image of another size is one, aligned
    as CelebA's are. cached: images of folders and zips are decoded once, into
    ``cache.folder()``, and mapped from there. Processes that train together each decode a part
    of the images and pass it on. Raises DataError where there is nothing usable.
    """
    if faces and not available():
        raise DataError("finding faces needs an extra: pip install 'make-it-real[faces]'")
    paths = [path] if isinstance(path, Path) else list(path)
    for one in paths:
        if not one.exists():
            raise DataError(f"{one}: no such file or folder")
    plain = [_idx(one, split, size, channels) for one in paths]
    into = size or 64, channels or 3, faces, cached
    if not any(plain):
        return _load_images(paths, *into)
    sets = [found or _load_images([one], *into) for one, found in zip(paths, plain, strict=True)]
    return sets[0] if len(sets) == 1 else _joined(sets)


def _idx(path: Path, split: str, size: int | None, channels: int | None) -> ImageSet | None:
    """The images of an IDX file or a folder of such; None for a folder or zip of images."""
    if path.is_dir():
        found = idx.find(path, split, "images")
        if found is not None:
            labels = idx.find(path, split, "labels")
            return _load_idx(path.resolve().name, found, labels, size, channels)
        if idx.find(path, "test" if split == "train" else "train", "images") is not None:
            raise DataError(f"{path}: no {split} images among its IDX files")
        return None
    return None if zipfile.is_zipfile(path) else _load_idx(path.stem, path, None, size, channels)


def _joined(sets: list[ImageSet]) -> ImageSet:
    """Several sets as one, in memory; labels where all have them."""
    shapes = {tuple(one.pixels.shape[1:]): one.name for one in sets}
    if len(shapes) > 1:
        said = ", ".join(f"{name} {'×'.join(map(str, shape))}" for shape, name in shapes.items())
        raise DataError(f"not of one shape: {said}; --size and --channels bring them to one")
    labels = [one.labels for one in sets if one.labels is not None]
    return ImageSet(
        torch.cat([one.pixels for one in sets]),
        torch.cat(labels) if len(labels) == len(sets) else None,
        " + ".join(one.name for one in sets),
        tuple(reason for one in sets for reason in one.skipped),
        next((one.note for one in sets if one.note), ""),
    )


def has_splits(path: Path) -> bool:
    """Whether ``path`` is a folder of IDX files, train and test."""
    return path.is_dir() and all(idx.find(path, split, "images") for split in idx.PREFIX)


def _load_idx(
    name: str, path: Path, labels_path: Path | None, size: int | None, channels: int | None
) -> ImageSet:
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
        pixels = torch.cat([_fitted(Picture(p.float() / 255), size, channels) for p in pixels])
    return ImageSet(pixels, labels, name)


# An image's file, or a zip and its member in it.
Ref = tuple[Path, str | None]
CHUNK = 256
# To be counted up when decoding or framing gives other pixels than before.
DECODING = 1


def _is_image(name: Path) -> bool:
    """True for an image's suffix with nothing hidden on the way (thumbnails, a Mac's extras)."""
    hidden = any(part.startswith(".") for part in name.parts)
    return name.suffix.lower() in images.SUFFIXES and not hidden


def _listed(path: Path) -> tuple[list[Ref], list[object]]:
    """The images of a folder or zip in order, and what changes when one of them does."""
    if path.is_dir():
        files = [f for f in path.rglob("*") if _is_image(f.relative_to(path)) and f.is_file()]
        files.sort(key=str)
        stats = [(str(f), f.stat()) for f in files]
        return [(f, None) for f in files], [[n, s.st_size, s.st_mtime_ns] for n, s in stats]
    with _opened(path) as archive:
        members = sorted(name for name in archive.namelist() if _is_image(Path(name)))
    stat = path.stat()
    return [(path, member) for member in members], [str(path), stat.st_size, stat.st_mtime_ns]


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: can't be read as a zip ({error})") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes | ImageError:
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        return ImageError(f"can't be read from the zip ({error})")


def _fitted(picture: Picture, size: int, channels: int, faces: bool = False) -> Tensor:
    """The images that a picture comes to, uint8 (N, C, size, size)."""
    how: Fit = "auto" if faces else "crop"
    fitted = fit_all(picture, size, channels, Framing(faces=faces), how=how)
    if fitted[0].warnings:
        raise ImageError("no face was found")
    return images.to_pixels(torch.stack([one.image for one in fitted]))


def _decoded(
    refs: list[Ref], size: int, channels: int, faces: bool
) -> Iterator[list[Tensor | str]]:
    """Images' pixels (C, S, S), or the reason why there are none, a chunk at a time.

    Each of several processes decodes a share of each chunk, and all get the whole.
    """

    def decode(item: tuple[str, Path | bytes | ImageError]) -> list[Tensor] | list[str]:
        label, source = item
        try:
            if isinstance(source, ImageError):
                raise source
            return list(_fitted(images.read(source), size, channels, faces))
        except ImageError as error:
            return [f"{label}: {error}"]

    with ThreadPoolExecutor() as pool, ExitStack() as stack:
        archives: dict[Path, zipfile.ZipFile] = {}

        def source(ref: Ref) -> tuple[str, Path | bytes | ImageError]:
            path, member = ref
            if member is None:
                return str(path), path
            if path not in archives:
                archives[path] = stack.enter_context(_opened(path))
            return f"{path}:{member}", _member(archives[path], member)

        chunk = CHUNK * distributed.size()
        for start in range(0, len(refs), chunk):
            share = distributed.mine(refs[start : start + chunk])
            decoded = pool.map(decode, [source(ref) for ref in share])
            yield distributed.gathered([row for rows in decoded for row in rows])


def _load_images(
    paths: Sequence[Path], size: int, channels: int, faces: bool, cached: bool
) -> ImageSet:
    """Image folders and zips as one set, out of its cache where that is whole and allowed."""
    name = " + ".join(p.stem if p.is_file() else p.resolve().name for p in paths)
    refs, states = [], []
    for path in paths:
        found, state = _listed(path)
        refs += found
        states.append(state)
    what = [*(str(path.resolve()) for path in paths), size, channels, faces]
    file = cache.place(what, [states, DECODING, PIL.__version__])
    note, held = "", None
    if cached and refs:
        held, note = _through_cache(file, refs, size, channels, faces)
    if held is None:
        rows = [row for chunk in _decoded(refs, size, channels, faces) for row in chunk]
        usable = [row for row in rows if isinstance(row, Tensor)]
        skipped = tuple(row for row in rows if isinstance(row, str))
        pixels = torch.stack(usable) if usable else torch.empty(0, channels, size, size)
    else:
        pixels, skipped = held
    if len(pixels) < 2:
        reason = f"; {skipped[0]}" if skipped else ""
        raise DataError(
            f"{name}: at least two readable images are needed; {len(pixels)} found{reason}"
        )
    return ImageSet(pixels, None, name, skipped, note)


def _through_cache(
    file: Path, refs: list[Ref], size: int, channels: int, faces: bool
) -> tuple[tuple[Tensor, tuple[str, ...]] | None, str]:
    """(what the cache holds, written first if need be; why that could not be)."""
    held, problem = None, ""
    try:
        held = cache.read(file)
    except (OSError, RuntimeError) as error:
        problem = one_line(error)
    # Processes decode together or not at all, and then one on each machine writes.
    if not distributed.agreed(held is None):
        return held, ""
    chunks = _decoded(refs, size, channels, faces)
    if distributed.leads_machine():
        try:
            cache.write(file, chunks, len(refs) * channels * size * size)
        except OSError as error:
            problem = error.strerror or one_line(error)
    # What the writer left, where writing failed, or all of it where another writes.
    if distributed.size() > 1:
        deque(chunks, maxlen=0)
    if not distributed.agreed(bool(problem)):
        with suppress(OSError, RuntimeError):
            held = cache.read(file)
    if distributed.agreed(held is None):
        reason = problem or "it can't be mapped"
        return None, f"decoded into memory, not cached in {file.parent}: {reason}"
    return held, ""
