"""Which images folders and globs name: one rule for every command."""

import glob
import os
from pathlib import Path

from make_it_real.errors import one_line
from make_it_real.images.decode import SUFFIXES

# Folders in which systems and cameras keep thumbnails and what was thrown away.
PASSED_OVER = frozenset(("@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information"))


def expand(item: str) -> list[str]:
    """Expand a glob into its sorted matches. What exists, is "-" or has none stays as it is."""
    if item == "-" or not glob.has_magic(item) or os.path.lexists(item):
        return [item]
    return sorted(glob.glob(item, recursive=True)) or [item]


def fixed_part(item: str) -> Path:
    """Return the folder in which a glob begins to search: photos of photos/**/*.jpg."""
    parts = Path(item).parts[:-1]
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:fixed])


def is_within(path: Path, folder: Path) -> bool:
    """Tell whether a path leads to a folder or into it."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def list_images(
    folder: Path, output: Path, visited: set[tuple[int, int]], *, recursive: bool
) -> tuple[list[tuple[Path, list[str]]], list[tuple[Path, str]]]:
    """List images: [(folder, sorted names), …] and [(path, why it can't be listed), …].

    output: a folder to leave out. visited: (device, inode) of folders listed before. They are left
    out, whatever links lead there, and the folders listed now are added. recursive: list
    subfolders too, each as a folder of its own. Hidden files and folders, lock files and folders
    of thumbnails are left out.
    """
    listed: list[tuple[Path, list[str]]] = []
    failed: list[tuple[Path, str]] = []
    own = os.path.realpath(output)
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            status = os.stat(here)
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            names, folders = _entries(here)
        except OSError as error:
            failed.append((here, f"can't be listed: {error.strerror or one_line(error)}"))
            continue
        listed.append((here, names))
        if recursive:
            inner = (here / name for name in reversed(folders))
            waiting += [path for path in inner if os.path.realpath(path) != own]
    return listed, failed


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """List a folder: sorted names of its images, and of the folders in it. Raises OSError."""
    names, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "~$")):
                continue
            is_image = os.path.splitext(entry.name)[1].lower() in SUFFIXES
            if _is_dir(entry):
                folders.append(entry.name)
            elif is_image and _is_file(entry):
                names.append(entry.name)
    return sorted(names), sorted(set(folders) - PASSED_OVER)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself: it fails when it is read, and alone.
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a file, or a broken link, which fails later; no pipe or socket."""
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True
