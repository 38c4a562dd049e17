"""Files that appear whole or not at all."""

import os
import secrets
import socket
from contextlib import suppress
from itertools import count
from pathlib import Path

from make_it_real.errors import ImageError, OutputExistsError


def make_folder(path: Path) -> None:
    """Make a folder and its parents. Raises ImageError where that can't be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"can't make the folder {path}: {error.strerror or error}") from error


PART = ".part"
_START = f".mir-{socket.gethostname().replace('/', '_')[:64]}-"
# A process of the same number may have been killed here before.
_TOKEN = secrets.token_hex(4)
_PARTS = count()


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file that appears whole or not at all.

    Raises OutputExistsError if it is there and ``overwrite`` is not given, ImageError if it
    can't be written.
    """
    # Not after the path's own name, which may have all the 255 bytes that are allowed.
    temporary = path.parent / f"{_START}{os.getpid()}-{_TOKEN}-{next(_PARTS)}{PART}"
    try:
        try:
            with temporary.open("xb") as file:
                file.write(data)
            if overwrite:
                os.replace(temporary, path)
            else:
                _move(temporary, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
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
    """Remove the unfinished files that processes killed on this machine left in a folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_START) and entry.name.endswith(PART):
                process, _, rest = entry.name[len(_START) :].partition("-")
                if process.isdigit() and not _writing(int(process), rest.split("-")[0]):
                    with suppress(OSError):
                        os.unlink(entry.path)


def _writing(process: int, token: str) -> bool:
    """Whether the process that began a file may still be at it."""
    if process == os.getpid():
        return token == _TOKEN
    if os.name != "posix":
        # Elsewhere there is no harmless way to ask.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
