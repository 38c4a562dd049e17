"""Which images folders, zips and globs name: one rule for every command."""

import glob
import os
from pathlib import Path, PurePosixPath

from make_it_real.errors import one_line
from make_it_real.images.decode import SUFFIXES

# Folders in which systems and cameras keep thumbnails and what was thrown away.
PASSED_OVER = frozenset(("@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information"))


def expand(item: str) -> list[str]:
    """List a glob's matches, sorted; anything that exists, is "-" or matches nothing, itself."""
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


def is_left_out(name: str) -> bool:
    """Tell whether a file or folder of this name is left out.

    That is so of hidden ones, lock files of office programs and folders of thumbnails.
    """
    return name.startswith((".", "~$")) or name in PASSED_OVER


def has_image_suffix(name: str) -> bool:
    """Tell whether a file's name has the suffix of an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def list_members(names: list[str]) -> list[str]:
    """List the members of a zip that are images, sorted, by the rule for files in folders.

    names: of all its members, such as photos/a.jpg.
    """
    return sorted(
        name
        for name in names
        if has_image_suffix(name)
        and not name.endswith("/")
        and not any(map(is_left_out, PurePosixPath(name).parts))
    )


def list_images(
    folder: Path, output: Path | None, visited: set[tuple[int, int]], *, recursive: bool
) -> tuple[list[tuple[Path, list[str]]], list[tuple[Path, str]]]:
    """List the images of a folder, following links.

    Returns [(folder, sorted names of its images), …] and [(path, why it can't be listed), …].
    output: a folder to leave out, if any. visited: (device, inode) of folders that were listed
    before, which are left out, whatever links lead there; those listed now are added. recursive:
    list subfolders too, each as a folder of its own. What ``is_left_out`` names is left out.
    """
    listed: list[tuple[Path, list[str]]] = []
    failed: list[tuple[Path, str]] = []
    own = None if output is None else os.path.realpath(output)
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
    """List the sorted names of a folder's images, and of the folders in it. Raises OSError."""
    names, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_left_out(entry.name):
                continue
            if _is_dir(entry):
                folders.append(entry.name)
            elif has_image_suffix(entry.name) and _is_file(entry):
                names.append(entry.name)
    return sorted(names), sorted(folders)


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link that leads to itself: it fails when it is read, and alone.
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a file, or a link that leads nowhere, which fails when read.

    Pipes and sockets are neither.
    """
    try:
        return entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:
        return True
