"""Files that appear whole or not at all, and locks.

A file is written under a temporary name in the same folder, and gets its own name when it is
whole. ``sweep`` removes the temporary files of processes that were killed.
"""

import errno
import os
import secrets
import socket
import sys
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
# Tells this process from a killed one that had the same number.
_TOKEN = secrets.token_hex(4)
_NUMBERS = count()


def make_folder(path: Path) -> None:
    """Make a folder and its parents. Raises ImageError where it can't be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"can't make the folder {path}: {error.strerror or error}") from error


def free_path(path: Path, taken: Collection[Path] = (), *, overwrite: bool = False) -> Path:
    """Return the path, or the first of path_2, path_3, … that is free.

    A path is free if it is not among ``taken`` and, unless ``overwrite`` is given, does not exist.
    """
    candidate, number = path, 1
    while candidate in taken or (not overwrite and os.path.lexists(candidate)):
        number += 1
        candidate = path.with_stem(f"{path.stem}_{number}")
    return candidate


@contextmanager
def write_whole(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary name to write a file under; it becomes ``path`` when the block ends.

    Where the block raises an error, the temporary file is removed and ``path`` stays as it was.
    Raises OSError where the file can't get its name, FileExistsError if ``path`` exists and
    ``overwrite`` is not given.
    """
    # The name does not contain the path's own, which may already have the 255 bytes allowed.
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

    Raises OutputExistsError if it exists and ``overwrite`` is not given, ImageError if it can't be
    written.
    """
    try:
        with write_whole(path, overwrite=overwrite) as temporary, temporary.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        raise OutputExistsError(f"{path} exists; give --overwrite to replace it") from error
    except OSError as error:
        raise ImageError(f"can't write {path}: {error.strerror or error}") from error


def _move(temporary: Path, path: Path) -> None:
    """Rename a file to ``path``. Raises FileExistsError where that exists."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:
        # Memory cards and some network folders have no hard links.
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        os.replace(temporary, path)
    else:
        os.unlink(temporary)


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Hold a lock, a file at ``path`` that is removed at the end, and keep other processes out.

    The system ends the lock when the process ends, however that comes about. Where the file system
    knows no locks, nobody is kept out. Raises BlockingIOError where another process holds it, and
    OSError where the file can't be written.
    """
    handle = _locked(path)
    # The holder before may have removed the file after it was opened here.
    while not (path.exists() and os.path.samestat(os.fstat(handle), path.stat())):
        os.close(handle)
        handle = _locked(path)
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(path)
        os.close(handle)


def _locked(path: Path) -> int:
    """Open a file and lock it. Raises BlockingIOError where another process has locked it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            os.close(handle)
            raise BlockingIOError(errno.EAGAIN, "locked by another process", str(path)) from error
    return handle


def sweep(folder: Path) -> None:
    """Remove the temporary files in a folder that no process writes any more.

    These are files of processes that were killed on this machine, and files of any machine that
    have not changed for a day.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_MARK) and entry.name.endswith(PART):
                with suppress(OSError):
                    if _is_dead(entry.name) or time.time() - entry.stat().st_mtime > DAY:
                        os.unlink(entry.path)


def _is_dead(name: str) -> bool:
    """Tell whether the process that began a file ran on this machine and has ended."""
    parts = name.removeprefix(_START).removesuffix(PART).split("-")
    if not name.startswith(_START) or len(parts) != 3 or not parts[0].isdigit():
        return False
    process, token = int(parts[0]), parts[1]
    if process == os.getpid():
        return token != _TOKEN
    if os.name != "posix":
        # On other systems os.kill with 0 does not only ask.
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
