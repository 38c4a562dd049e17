"""Files in folders and globs: one rule for every command."""

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from make_it_real.errors import one_line
from make_it_real.images.decode import SUFFIXES

if TYPE_CHECKING:
    from make_it_real.inference.jobs import Result

# Folders in which systems and cameras keep thumbnails and what was thrown away.
PASSED_OVER = frozenset(("@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information"))


def _expanded(item: str) -> list[str]:
    """A glob's matches, sorted; anything that exists, is "-" or matches nothing, itself."""
    if item == "-" or not glob.has_magic(item) or os.path.lexists(item):
        return [item]
    return sorted(glob.glob(item, recursive=True)) or [item]


def _walk(
    folder: Path,
    recursive: bool,
    output: Path,
    visited: set[tuple[int, int]],
    failed: "list[Result]",
) -> Iterator[tuple[Path, list[str]]]:
    """Each folder with the sorted names of its images, once, whatever links lead there.

    Hidden files and folders, lock files, thumbnails' folders, and the output are left out.
    """
    from make_it_real.inference.jobs import Result

    own = os.path.realpath(output)
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        names, folders = [], []
        try:
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.name.startswith((".", "~$")):
                        continue
                    is_image = os.path.splitext(entry.name)[1].lower() in SUFFIXES
                    if _is_dir(entry):
                        folders.append(entry.name)
                    elif is_image and _is_file(entry):
                        names.append(entry.name)
        except OSError as error:
            reason = f"can't be listed: {error.strerror or one_line(error)}"
            failed.append(Result(str(here), "", "failed", reason))
            continue
        yield here, sorted(names)
        if recursive:
            inner = (here / n for n in sorted(set(folders) - PASSED_OVER, reverse=True))
            waiting += [path for path in inner if os.path.realpath(path) != own]


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself: it fails when it is read, and alone.
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """A file, or a link that leads nowhere, which fails when it is read; no pipe or socket."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True
