"""Folders and zips of images → pixels."""

import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import torch
from torch import Tensor

from make_it_real import distributed
from make_it_real.data import cache
from make_it_real.errors import DataError, ImageError, one_line
from make_it_real.images.decode import SUFFIXES, Picture, read
from make_it_real.images.framing import Fit, Framing, fit_all
from make_it_real.images.pixels import to_pixels

# An image's file, or a zip and its member in it.
Ref = tuple[Path, str | None]
CHUNK = 256
# To be counted up when decoding or framing gives other pixels than before.
DECODING = 2


def _is_image(name: Path) -> bool:
    """True for an image's suffix with nothing hidden on the way (thumbnails, a Mac's extras)."""
    hidden = any(part.startswith(".") for part in name.parts)
    return name.suffix.lower() in SUFFIXES and not hidden


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
    return to_pixels(torch.stack([one.image for one in fitted]))


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
            return list(_fitted(read(source), size, channels, faces))
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
