"""Files of data sets that several tests make."""

import io
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor


def idx(values: Tensor, kind: int = 8) -> bytes:
    """The bytes of an IDX file."""
    header = struct.pack(f">HBB{values.ndim}I", 0, kind, values.ndim, *values.shape)
    return header + values.to(torch.uint8).numpy().tobytes()


def png(level: int, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    with io.BytesIO() as file:
        Image.new("L", size, level).convert(mode).save(file, "PNG")
        return file.getvalue()


def zip_of(path: Path, members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return path
