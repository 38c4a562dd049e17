"""Decoded data sets, kept in the user's cache folder and mapped into memory from there.

A cache is one file: the pixels (N, C, S, S), a byte each; a JSON footer with their shape and the
reasons why files were left out; the length of the footer and a mark. It is written a chunk at a
time, under another name until it is whole.
"""

import hashlib
import json
import math
import os
import shutil
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from make_it_real import files

MARK = b"mir-data"
END = struct.Struct("<Q8s")
SUFFIX = ".pixels"


def folder() -> Path:
    """Return the folder of caches.

    It is MIR_CACHE, or ``make_it_real`` in XDG_CACHE_HOME or in the system's folder of caches.
    Raises OSError where there is no home folder to keep it in, as in some containers.
    """
    if own := os.environ.get("MIR_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    if not shared and sys.platform == "darwin":
        shared = "~/Library/Caches"
    if not shared and sys.platform == "win32":
        shared = os.environ.get("LOCALAPPDATA")
    try:
        return Path(shared or "~/.cache").expanduser() / "make_it_real"
    except RuntimeError as error:
        raise OSError("there is no home folder; MIR_CACHE names another") from error


def place(what: object, state: object) -> Path:
    """Return the cache's path for data.

    what: identifies the data. state: changes whenever the data does. Both are JSON. Raises OSError
    as ``folder`` does.
    """
    names = (hashlib.sha256(json.dumps(part).encode()).hexdigest()[:24] for part in (what, state))
    return folder() / ("-".join(names) + SUFFIX)


def read(path: Path) -> tuple[Tensor, tuple[str, ...]] | None:
    """Map a cache into memory: (pixels, reasons why files were left out).

    Returns None where there is no whole cache. The pixels, uint8 (N, C, S, S), are not copied, and
    what is written to them does not reach the file. Raises OSError or RuntimeError where the
    system can't map the file.
    """
    try:
        with path.open("rb") as file:
            total = file.seek(0, os.SEEK_END)
            file.seek(max(0, total - END.size))
            length, mark = END.unpack(file.read())
            pixels = total - END.size - length
            if mark != MARK or pixels <= 0:
                return None
            file.seek(pixels)
            footer = json.loads(file.read(length))
        shape = [int(side) for side in footer["shape"]]
        skipped = tuple(map(str, footer["skipped"]))
    except (OSError, struct.error, ValueError, LookupError, TypeError):
        return None
    if len(shape) != 4 or math.prod(shape) != pixels:
        return None
    flat = torch.from_file(str(path), shared=False, size=pixels, dtype=torch.uint8)
    return flat.view(shape), skipped


def write(path: Path, chunks: Iterable[list[Tensor | str]], most: int) -> None:
    """Write images as they come, and remove caches of the same data in an earlier state.

    chunks: of rows, each an image, uint8 (C, S, S), or the reason why there is none. most: largest
    size of the pixels in bytes. Raises OSError where the file can't be written, before anything
    is written if there is too little room on the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    files.sweep(path.parent)
    if (free := shutil.disk_usage(path.parent).free) < most:
        raise OSError(f"{most / 1e9:.1f} GB are needed there and {free / 1e9:.1f} GB free")
    with files.write_whole(path, overwrite=True) as temporary, temporary.open("xb") as file:
        count, shape, skipped = 0, [0, 0, 0], list[str]()
        for rows in chunks:
            skipped += [row for row in rows if isinstance(row, str)]
            for row in (row for row in rows if isinstance(row, Tensor)):
                file.write(row.contiguous().numpy().data)
                count, shape = count + 1, list(row.shape)
        if not count:
            raise OSError("none of the images can be read")
        footer = json.dumps({"shape": [count, *shape], "skipped": skipped}).encode()
        file.write(footer + END.pack(len(footer), MARK))
        file.flush()
        # Without fsync, a crash soon afterwards may leave a file of the right size, full of zeros.
        os.fsync(file.fileno())
    for other in path.parent.glob(f"{path.stem.split('-')[0]}-*{SUFFIX}"):
        if other != path:
            with suppress(OSError):
                other.unlink()
