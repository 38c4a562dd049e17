"""Files that several tests make: images, colour profiles, and weights that change nothing."""

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from make_it_real.models.ign import IGN
from make_it_real.weights import model_file

Array = NDArray[Any]

# Columns: the CIE XYZ (D50) of red, green and blue, as ICC profiles store them.
SRGB_TO_XYZ = np.array(
    [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
)
ADOBE_TO_XYZ = np.array(
    [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
)
# One whose red is sRGB's green, and so on: a reader that ignores it is far off.
SWAPPED_TO_XYZ = SRGB_TO_XYZ[:, [1, 2, 0]]
# Their white.
D50 = np.array([0.9642, 1.0, 0.8249])


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    with io.BytesIO() as file:
        image.save(file, format, **options)
        return file.getvalue()


def chunk(kind: bytes, body: bytes, *, wrong: bool = False) -> bytes:
    """A chunk of a PNG, with the right checksum or a wrong one."""
    crc = zlib.crc32(kind + body) ^ wrong
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """A PNG with further chunks after its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def profile(
    gamma: float,
    matrix: Array | None = None,
    *,
    name: str = "a profile of the tests",
    curve: bytes = b"",
    more: Mapping[bytes, bytes] = MappingProxyType({}),
) -> bytes:
    """An ICC profile (version 2), written out: for RGB with a matrix, else for grey.

    curve: the tag of its curves, instead of one of gamma. more: further tags.
    """

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    label = name.encode() + b"\0"
    curve = curve or b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(label)) + label + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": b"XYZ " + bytes(4) + fixed(*D50),
    }
    if matrix is None:
        tags[b"kTRC"] = curve
    else:
        for letter, column in zip((b"r", b"g", b"b"), matrix.T, strict=True):
            tags[letter + b"XYZ"] = b"XYZ " + bytes(4) + fixed(*column)
            tags[letter + b"TRC"] = curve
    tags |= more
    table, body = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    space = b"GRAY" if matrix is None else b"RGB "
    head = bytes(4) + struct.pack(">I", 0x02100000) + b"mntr" + space + b"XYZ "
    head += bytes(12) + b"acsp" + bytes(28) + fixed(*D50) + bytes(48)
    return struct.pack(">I", 128 + len(table) + len(body)) + head + table + body


def restful(f: IGN, path: Path) -> Path:
    """Weights of f made such that f(x) = x, saved as a model of full pictures."""
    for name in ("last.weight", "last.bias", "seen.weight"):
        f.get_parameter(name).zero_()
    model_file.save(f, model_file.ModelInfo(name="rest", config=asdict(f.config)), path)
    return path
