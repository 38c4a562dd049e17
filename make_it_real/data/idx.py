"""IDX, the file format of MNIST, and the names of the files of such data sets."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from make_it_real.errors import DataError

PREFIX = {"train": "train", "test": "t10k"}


def read(path: Path) -> Tensor:
    """Read an IDX file of unsigned bytes, gzipped or not: uint8 with the shape in its header.

    The format is described on MNIST's page, http://yann.lecun.com/exdb/mnist/. Raises
    DataError for any other file, and for one that is cut short.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            zero, kind, rank = struct.unpack(">HBB", file.read(4))
            shape = struct.unpack(f">{rank}I", file.read(4 * rank))
            if zero or kind != 8 or not rank:
                raise DataError(f"{path}: not an IDX file of unsigned bytes, a zip or a folder")
            length = math.prod(shape)
            data = file.read(length + 1)
            if len(data) != length:
                raise DataError(f"{path}: not the {length:,} bytes that its header promises")
            return torch.from_numpy(np.frombuffer(data, np.uint8).reshape(shape).copy())
    except MemoryError as error:
        raise DataError(f"{path}: its header promises {length:,} bytes") from error
    except (OSError, EOFError, struct.error, zlib.error, OverflowError, ValueError) as error:
        raise DataError(f"{path}: not a readable IDX file ({error})") from error


def find(folder: Path, split: str, what: str) -> Path | None:
    """Find the file of a split, or return None.

    split: train or test. what: images or labels. The names are those that MNIST, Fashion-MNIST
    and similar data sets use.
    """
    rank = 3 if what == "images" else 1
    stem = f"{PREFIX[split]}-{what}"
    for name in (f"{stem}-idx{rank}-ubyte", f"{stem}.idx{rank}-ubyte"):
        for candidate in (folder / name, folder / f"{name}.gz"):
            if candidate.is_file():
                return candidate
    return None
