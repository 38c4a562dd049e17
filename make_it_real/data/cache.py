"""Decoded data sets, kept in the user's cache folder and mapped into memory from there.

A cache is one file: the pixels (N, C, S, S), a byte each, or those of images of their own shapes;
a JSON footer with the shape or shapes, and the reasons why files were left out; the length of the
footer and a mark. It is written a chunk at a
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
from typing import Any, TypeGuard

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

    Returns None where there is no whole cache of images of one shape. The pixels, uint8
    (N, C, S, S), are not copied, and what is written to them does not reach the file. Raises
    OSError or RuntimeError where the system can't map the file.
    """
    footer, pixels = _read_footer(path)
    shape, skipped = footer.get("shape"), footer.get("skipped")
    if not _is_shape(shape, 4) or not isinstance(skipped, list) or math.prod(shape) != pixels:
        return None
    return _map(path, pixels).view(shape), tuple(map(str, skipped))


def read_each(path: Path) -> tuple[list[Tensor], tuple[str, ...]] | None:
    """Map a cache of images of any shapes into memory, each uint8 (C, H, W); else as ``read``."""
    footer, pixels = _read_footer(path)
    shapes, skipped = footer.get("shapes"), footer.get("skipped")
    if not isinstance(shapes, list) or not isinstance(skipped, list):
        return None
    if not all(_is_shape(shape, 3) for shape in shapes) or sum(map(math.prod, shapes)) != pixels:
        return None
    parts = _map(path, pixels).split([math.prod(shape) for shape in shapes])
    images = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
    return images, tuple(map(str, skipped))


def _read_footer(path: Path) -> tuple[dict[str, Any], int]:
    """Read a cache's footer, and how many bytes of pixels lie before it; ({}, 0) if it is none."""
    try:
        with path.open("rb") as file:
            total = file.seek(0, os.SEEK_END)
            file.seek(max(0, total - END.size))
            length, mark = END.unpack(file.read())
            pixels = total - END.size - length
            if mark != MARK or pixels <= 0:
                return {}, 0
            file.seek(pixels)
            footer = json.loads(file.read(length))
    except (OSError, struct.error, ValueError):
        return {}, 0
    return (footer, pixels) if isinstance(footer, dict) else ({}, 0)


def _is_shape(sides: Any, rank: int) -> TypeGuard[list[int]]:
    return (
        isinstance(sides, list)
        and len(sides) == rank
        and all(isinstance(side, int) and side > 0 for side in sides)
    )


def _map(path: Path, size: int) -> Tensor:
    return torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)


def write(
    path: Path, chunks: Iterable[list[Tensor | str]], most: int, *, each: bool = False
) -> None:
    """Write images as they come, and remove caches of the same data in an earlier state.

    chunks: of rows, each an image, uint8 (C, H, W), or the reason why there is none. each: whether
    images have shapes of their own. most: largest size of the pixels in bytes. Raises OSError where
    the file can't be written, before anything is written if there is too little room on the disk.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    files.sweep(path.parent)
    if (free := shutil.disk_usage(path.parent).free) < most:
        raise OSError(f"{most / 1e9:.1f} GB are needed there and {free / 1e9:.1f} GB free")
    with files.write_whole(path, overwrite=True) as temporary, temporary.open("xb") as file:
        shapes, skipped = list[list[int]](), list[str]()
        for rows in chunks:
            skipped += [row for row in rows if isinstance(row, str)]
            for row in (row for row in rows if isinstance(row, Tensor)):
                file.write(row.contiguous().numpy().data)
                shapes.append(list(row.shape))
        if not shapes:
            raise OSError("none of the images can be read")
        shape = {"shapes": shapes} if each else {"shape": [len(shapes), *shapes[0]]}
        footer = json.dumps({**shape, "skipped": skipped}).encode()
        file.write(footer + END.pack(len(footer), MARK))
        file.flush()
        # Without fsync, a crash soon afterwards may leave a file of the right size, full of zeros.
        os.fsync(file.fileno())
    for other in path.parent.glob(f"{path.stem.split('-')[0]}-*{SUFFIX}"):
        if other != path:
            with suppress(OSError):
                other.unlink()
