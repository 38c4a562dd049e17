"""Safetensors files: checked before they are read, and written whole or not at all.

The format is 8 bytes of length, a JSON header, then the bytes of the tensors
(https://huggingface.co/docs/safetensors). The header of a file from a stranger may lie. So it is
checked against the size of the file before memory is allocated for the tensors, and nothing is
ever unpickled.
"""

import json
import math
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from make_it_real import files
from make_it_real.errors import WeightsError, one_line

if TYPE_CHECKING:
    from torch import Tensor


MAX_HEADER_BYTES = 1_000_000
MAX_TENSORS = 10_000
MAX_DIMENSIONS = 8
# Bytes of a number by the format's name for its type.
BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1,
}  # fmt: skip
FLOATS = ("F64", "F32", "F16", "BF16")
# Ends the name of what an int8 tensor's rows are to be multiplied by.
SCALE = ".scale"

Table = dict[str, dict[str, Any]]


def read_header(path: Path) -> tuple[dict[str, str], Table]:
    """Read the metadata, and dtype, shape and data_offsets of each tensor by name.

    Needs no torch. Raises WeightsError where this is no safetensors file, and unless the tensors
    fill it without gaps or overlaps.
    """
    try:
        with path.open("rb") as file:
            total = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            if not 2 <= length <= min(MAX_HEADER_BYTES, total - 8):
                raise WeightsError(f"{path}: not a safetensors file, or cut off in its header")
            table = json.loads(file.read(length))
        metadata = table.pop("__metadata__", {})
        if not isinstance(metadata, dict):
            raise TypeError("its metadata is no object")
        if not all(isinstance(text, str) for text in metadata.values()):
            raise TypeError("its metadata holds more than text")
        spans = sorted(_span(name, entry) for name, entry in table.items())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise WeightsError(
            f"{path}: not a readable safetensors file ({one_line(error)})"
        ) from error
    except RecursionError as error:
        raise WeightsError(f"{path}: its header is nested too deep") from error
    if len(spans) > MAX_TENSORS:
        raise WeightsError(f"{path}: {len(spans):,} tensors are over the limit of {MAX_TENSORS:,}")
    end = max((end for _, end in spans), default=0)
    if 8 + length + end != total:
        raise WeightsError(
            f"{path}: {total:,} bytes where its header promises {_digits(8 + length + end)}; "
            "get the file again"
        )
    previous_end = 0
    for begin, end in spans:
        if begin != previous_end:
            raise WeightsError(f"{path}: tensors that overlap or leave gaps; get the file again")
        previous_end = end
    return metadata, table


def _span(name: str, entry: dict[str, Any]) -> tuple[int, int]:
    """Return where a tensor's bytes begin and end.

    Raises ValueError, LookupError or TypeError unless these fit its dtype and shape.
    """
    kind, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    if kind not in BYTES:
        raise ValueError(f"a tensor of type {str(kind)[:20]!r}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("a shape that is no short list")
    if not all(type(n) is int and n >= 0 for n in (*shape, begin, end)):
        raise TypeError("a shape or offset that is not of whole numbers")
    if end - begin != math.prod(shape) * BYTES[kind]:
        raise ValueError(f"{name[:40]!r} has not the bytes that its shape takes")
    return begin, end


def _digits(number: int) -> str:
    """Write a number for people. A hostile one can have more digits than Python prints."""
    return f"{number:,}" if number < 10**18 else "far more"


def check_tensors(path: Path, table: Table, expected: "Mapping[str, Tensor]") -> None:
    """Raise WeightsError unless the tensors have the names, shapes and kinds that are expected.

    table: from ``read_header``. expected: the state of a network, which may be on the meta
    device. The kind is whether a tensor has floats.
    """
    if missing := sorted(expected.keys() - table.keys()):
        raise WeightsError(f"{path}: {len(missing)} tensors missing, the first {missing[0]}")
    if extra := sorted(table.keys() - expected.keys()):
        raise WeightsError(f"{path}: {len(extra)} tensors too many, the first {extra[0][:80]!r}")
    for name, tensor in expected.items():
        entry, shape = table[name], list(tensor.shape)
        if entry["shape"] != shape:
            raise WeightsError(f"{path}: {name} has shape {entry['shape']}, not {shape}")
        if tensor.is_floating_point() is not (entry["dtype"] in FLOATS):
            raise WeightsError(f"{path}: {name} is of {entry['dtype']}, not of {tensor.dtype}")


def read_tensors(path: Path) -> "dict[str, Tensor]":
    """Read all tensors as they are stored, onto the CPU. Raises WeightsError, also for NaN and ∞.

    Call ``read_header`` first: this function trusts the shapes in the file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: can't be read ({one_line(error)})") from error
    if bad := [name for name, t in state.items() if not bool(t.isfinite().all())]:
        raise WeightsError(f"{path}: {bad[0]} holds values that are not finite")
    return state


def halved(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Convert floating-point tensors to float16; those of whole numbers stay as they are."""
    return {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}


def quantize(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Convert weights (out, …) of two dimensions and more to int8, with a float32 scale a row.

    A row is rounded to 255 levels of its largest absolute value; the scales (out,) are called
    after their tensors, with ``SCALE`` at the end. Tensors of fewer dimensions become float16.
    """
    out: dict[str, Tensor] = {}
    for name, t in tensors.items():
        if t.ndim < 2:
            out[name] = t.half()
            continue
        scale = t.float().flatten(1).abs().amax(1).clamp_min(1e-12) / 127
        out[name] = (t / scale.view(-1, *[1] * (t.ndim - 1))).round().char()
        out[name + SCALE] = scale
    return out


def dequantize(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Undo ``quantize``, up to rounding: float32 tensors, without the scales."""
    out: dict[str, Tensor] = {}
    for name, t in tensors.items():
        if not name.endswith(SCALE):
            scale = tensors.get(name + SCALE)
            out[name] = t.float() if scale is None else t * scale.view(-1, *[1] * (t.ndim - 1))
    return out


def save_tensors(tensors: "Mapping[str, Tensor]", metadata: dict[str, str], path: Path) -> None:
    """Write tensors and metadata as one file, whole or not at all. Raises WeightsError."""
    from safetensors.torch import save

    contiguous = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    _write(path, save(contiguous, metadata))


def rewrite(path: Path, metadata: dict[str, str]) -> None:
    """Replace the metadata of a file; the bytes of its tensors stay. Raises WeightsError."""
    _, table = read_header(path)
    text = json.dumps({"__metadata__": metadata, **table}).encode()
    # The tensors begin at a multiple of 8 bytes.
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER_BYTES:
        raise WeightsError(f"{path}: a header of {len(text):,} bytes would be too long")
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            file.seek(length, os.SEEK_CUR)
            body = file.read()
    except OSError as error:
        raise WeightsError(f"can't read {path}: {error.strerror or error}") from error
    _write(path, struct.pack("<Q", len(text)) + text + body)


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, in a folder that is made if need be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.sweep(path.parent)
        with files.write_whole(path, overwrite=True) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise WeightsError(f"can't write {path}: {error.strerror or error}") from error
