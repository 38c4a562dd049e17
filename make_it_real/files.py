"""Files that appear whole or not at all.

A file is written under another name in the same folder and gets its own when it is whole.
What a killed process leaves there is removed by ``sweep``.
"""

import os
import secrets
import socket
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from make_it_real.errors import ImageError, OutputExistsError

PART = ".part"
DAY = 24 * 60 * 60
_MARK = ".mir-"
_START = f"{_MARK}{socket.gethostname().replace('/', '_')[:64]}-"
# A process of the same number may have been killed here before.
_TOKEN = secrets.token_hex(4)
_NUMBERS = count()


def make_folder(path: Path) -> None:
    """Make a folder and its parents. Raises ImageError where that can't be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"can't make the folder {path}: {error.strerror or error}") from error


def free_path(path: Path, taken: Collection[Path] = (), *, overwrite: bool = False) -> Path:
    """The path, or the first of path_2, path_3, … that is not taken and does not exist.

    overwrite: the path may exist.
    """
    candidate, number = path, 1
    while candidate in taken or (not overwrite and os.path.lexists(candidate)):
        number += 1
        candidate = path.with_stem(f"{path.stem}_{number}")
    return candidate


@contextmanager
def write_whole(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield the name under which to write a file, which becomes ``path`` as the block ends.

    Where the block raises, what it wrote is removed and ``path`` stays as it was. Raises
    OSError where the file can't get its name: FileExistsError if ``path`` is there and
    ``overwrite`` is not given.
    """
    # Not after the path's own name, which may have all the 255 bytes that are allowed.
    temporary = path.parent / f"{_START}{os.getpid()}-{_TOKEN}-{next(_NUMBERS)}{PART}"
    try:
        yield temporary
        if overwrite:
            os.replace(temporary, path)
        else:
            _move(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file that appears whole or not at all.

    Raises OutputExistsError if it is there and ``overwrite`` is not given, ImageError if it
    can't be written.
    """
    try:
        with write_whole(path, overwrite=overwrite) as temporary, temporary.open("xb") as file:
            file.write(data)
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
    """Remove the unfinished files in a folder that nobody writes any more.

    These are files of processes that were killed on this machine, and files of any machine
    that have not changed for a day.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_MARK) and entry.name.endswith(PART):
                with suppress(OSError):
                    if _is_dead(entry.name) or time.time() - entry.stat().st_mtime > DAY:
                        os.unlink(entry.path)


def _is_dead(name: str) -> bool:
    """Whether the process that began a file ran on this machine and has ended."""
    parts = name.removeprefix(_START).removesuffix(PART).split("-")
    if not name.startswith(_START) or len(parts) != 3 or not parts[0].isdigit():
        return False
    process, token = int(parts[0]), parts[1]
    if process == os.getpid():
        return token != _TOKEN
    if os.name != "posix":
        # Elsewhere there is no harmless way to ask.
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
