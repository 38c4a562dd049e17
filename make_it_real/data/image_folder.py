"""Folders and zips of images: list them, decode them, and bring them to one size."""

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import PIL
import torch
from PIL import Image
from torch import Tensor

from make_it_real import distributed
from make_it_real.data import cache
from make_it_real.errors import DataError, ImageError, one_line
from make_it_real.images import listing
from make_it_real.images.decode import HUSHED, Picture, read
from make_it_real.images.framing import Fit, Framing, fit_all
from make_it_real.images.pixels import to_pixels

# (file, None) for an image's own file, (zip, name of the member) for one in a zip.
Ref = tuple[Path, str | None]
# Number of images that are decoded before any are passed on.
CHUNK = 256
# Version of the pixels: to be counted up when decoding or framing gives others than before.
DECODING = 2


@dataclass(frozen=True)
class Listing:
    """The images of a folder or zip.

    refs: of the images, sorted. state: what changes when one of them does. failed:
    "path: reason" for each folder that can't be listed.
    """

    refs: list[Ref]
    state: list[object]
    failed: tuple[str, ...] = ()


def list_images(path: Path, visited: set[tuple[int, int]]) -> Listing:
    """List the images of a folder, with those of its subfolders, or of a zip.

    visited: as in ``listing.list_images``. Raises DataError for a zip that can't be read.
    """
    if path.is_dir():
        listed, failed = listing.list_images(path, None, visited, recursive=True)
        files = sorted((folder / name for folder, names in listed for name in names), key=str)
        reasons = tuple(f"{inner}: {reason}" for inner, reason in failed)
        return Listing([(file, None) for file in files], [_state(file) for file in files], reasons)
    with _open_zip(path) as archive:
        members = listing.list_members(archive.namelist())
    return Listing([(path, member) for member in members], _state(path))


def _state(file: Path) -> list[object]:
    """Return the name of a file, its size and its time of change; of a broken link the name."""
    try:
        status = file.stat()
    except OSError:
        return [str(file)]
    return [str(file), status.st_size, status.st_mtime_ns]


def list_sides(paths: Sequence[Path], most: int = 200) -> set[int]:
    """List the shorter sides, in pixels, of some of the images of folders and zips.

    They are read off the headers of up to ``most`` images spread over each path. Files that Pillow
    can't open by itself are left out, and so is anything that is no folder and no zip.
    """
    sides: set[int] = set()
    visited: set[tuple[int, int]] = set()
    for path in paths:
        if not path.is_dir() and not zipfile.is_zipfile(path):
            continue
        refs = list_images(path, visited).refs
        with ExitStack() as stack:
            archive = None if path.is_dir() else stack.enter_context(_open_zip(path))
            stack.enter_context(HUSHED)
            for file, member in refs[:: len(refs) // most + 1]:
                # Damage makes Pillow raise all sorts; what can't be decoded is told of later.
                with suppress(Exception):
                    opened = archive.open(member) if archive and member else file.open("rb")
                    with opened, Image.open(opened) as image:
                        sides.add(min(image.size))
    return sides


def _open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip. Raises DataError."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{path}: can't be read as a zip ({error})") from error


def _read_member(archive: zipfile.ZipFile, name: str) -> bytes | ImageError:
    """Read a member of a zip; return an error, rather than raise it, to be raised later."""
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError) as error:
        return ImageError(f"can't be read from the zip ({error})")


def fit_picture(picture: Picture, size: int, channels: int, faces: bool = False) -> Tensor:
    """Cut out and resize the images in a picture: uint8 (N, C, size, size).

    N is 1, or the number of faces. Raises ImageError where faces are wanted and there are none.
    """
    how: Fit = "auto" if faces else "crop"
    fitted = fit_all(picture, size, channels, Framing(faces=faces), how=how, drawings=False)
    return to_pixels(torch.stack([one.image for one in fitted]))


def decode_images(
    refs: list[Ref], fit: Callable[[Picture], Iterable[Tensor]]
) -> Iterator[list[Tensor | str]]:
    """Decode images a chunk at a time: each uint8 (C, H, W), or the reason why there is none.

    fit: makes images of a picture; it raises ImageError where there are none in it.
    """

    def decode(item: tuple[str, Path | bytes | ImageError]) -> list[Tensor] | list[str]:
        label, source = item
        try:
            if isinstance(source, ImageError):
                raise source
            return list(fit(read(source)))
        except ImageError as error:
            return [f"{label}: {error}"]

    with ThreadPoolExecutor() as pool, _Sources() as source:
        for start in range(0, len(refs), CHUNK):
            # Members of a zip are read in this thread; only decoding runs in the others.
            decoded = pool.map(decode, [source(ref) for ref in refs[start : start + CHUNK]])
            yield [row for rows in decoded for row in rows]


def decode_pictures(refs: Sequence[Ref]) -> Iterator[Picture | str]:
    """Decode images one by one at their own size: each a picture, or why there is none."""
    with _Sources() as source:
        for ref in refs:
            label, data = source(ref)
            try:
                if isinstance(data, ImageError):
                    raise data
                yield read(data)
            except ImageError as error:
                yield f"{label}: {error}"


class _Sources(ExitStack):
    """Finds what to decode for a ref, (label, source), and keeps zips open while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.archives: dict[Path, zipfile.ZipFile] = {}

    def __call__(self, ref: Ref) -> tuple[str, Path | bytes | ImageError]:
        path, member = ref
        if member is None:
            return str(path), path
        if path not in self.archives:
            self.archives[path] = self.enter_context(_open_zip(path))
        return f"{path}:{member}", _read_member(self.archives[path], member)


@dataclass(frozen=True)
class Decoding:
    """How the images of folders and zips are decoded.

    fit: as in ``decode_images``. what: tells these images from others of the same files. most:
    largest size of an image in bytes. each: whether images have shapes of their own.
    """

    fit: Callable[[Picture], Iterable[Tensor]]
    what: list[object]
    most: int
    each: bool = False


@dataclass(frozen=True)
class Decoded:
    """What was decoded.

    images: uint8 (N, C, S, S), or a list of (C, H, W); there may be none. skipped: "path: reason"
    for each file that could not be used. note: why there is no cache, where one was wanted.
    """

    images: Tensor | list[Tensor]
    skipped: tuple[str, ...]
    note: str


def decode(paths: Sequence[Path], how: Decoding, cached: bool) -> Decoded:
    """Decode the images of folders and zips, or map them from their cache, where that is wanted.

    Raises DataError for a zip that can't be read.
    """
    visited: set[tuple[int, int]] = set()
    listings = [list_images(path, visited) for path in paths]
    refs = [ref for listing in listings for ref in listing.refs]
    what = [*(str(path.resolve()) for path in paths), *how.what]
    state = [[listing.state for listing in listings], DECODING, PIL.__version__]
    note, contents = "", None
    if cached and refs:
        try:
            file = cache.place(what, state)
        except OSError as error:
            note = f"decoded into memory, not cached: {error}"
        else:
            contents, note = _decode_cached(file, refs, how)
    if contents is None:
        rows = [row for chunk in decode_images(refs, how.fit) for row in chunk]
        usable = [row for row in rows if isinstance(row, Tensor)]
        images = torch.stack(usable) if usable and not how.each else usable
        contents = images, tuple(row for row in rows if isinstance(row, str))
    images, skipped = contents
    failed = [reason for listing in listings for reason in listing.failed]
    return Decoded(images, (*failed, *skipped), note)


def _decode_cached(
    file: Path, refs: list[Ref], how: Decoding
) -> tuple[tuple[Tensor | list[Tensor], tuple[str, ...]] | None, str]:
    """Read the images from the cache ``file``, which is written first where there is none.

    Returns (images, reasons why files were left out), or None where there can be no cache, and a
    note that says why. Of several processes the first of each machine writes, and the others
    wait for it.
    """
    read = cache.read_each if how.each else cache.read
    problem = "it can't be mapped"
    if distributed.leads_machine():
        try:
            if read(file) is None:
                chunks = decode_images(refs, how.fit)
                cache.write(file, chunks, len(refs) * how.most, each=how.each)
        except OSError as error:
            problem = error.strerror or one_line(error)
        except RuntimeError as error:
            problem = one_line(error)
    distributed.meet()
    contents = None
    with suppress(OSError, RuntimeError):
        contents = read(file)
    note = f"decoded into memory, not cached in {file.parent}: {problem}"
    return contents, "" if contents is not None else note
