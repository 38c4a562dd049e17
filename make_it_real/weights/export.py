"""Exports of f for other programs: ONNX and torch.export. Drawing z is left to these programs.

The exported network has one input, ``images`` (N, C, S, S), float32 in about [−1, 1], which may be
z or any images, and one output, ``made`` (N, C, S, S) in [−1, 1]; N is free. The results of each
file are compared with torch's before it gets its name.
"""

import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from make_it_real import files
from make_it_real.errors import ExportError, MirError, one_line
from make_it_real.models.ign import IGN

# Largest absolute difference to torch that is allowed.
TOLERANCE = 1e-4
SEEDS = range(64)
EXTRA = "pip install 'make-it-real[export]'"


def to_onnx(f: IGN, path: Path) -> float:
    """Write f as an ONNX file; return the largest absolute difference to torch over 64 seeds.

    f: on the CPU, in evaluation mode, else ValueError is raised. The file is run in onnxruntime.
    Raises ExportError where the extra ``export`` is not installed, f can't be exported, or the
    difference is over ``TOLERANCE``.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(f"ONNX needs onnx, onnxscript and onnxruntime: {EXTRA}") from error

    def write(temporary: Path) -> None:
        torch.onnx.export(
            f, (_example(f),), temporary, dynamo=True, dynamic_shapes=_shapes(),
            input_names=["images"], output_names=["made"], external_data=False, verbose=False,
        )  # fmt: skip

    def run(temporary: Path, z: Tensor) -> Tensor:
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(None, {"images": z.numpy()})[0])

    return _export(f, path, write, run)


def to_pt2(f: IGN, path: Path) -> float:
    """Write f for torch.export.load; return the largest absolute difference over 64 seeds.

    A .pt2 file is an archive in torch's own format; load only those that you trust. Raises
    errors as ``to_onnx`` does.
    """

    def write(temporary: Path) -> None:
        exported = torch.export.export(f, (_example(f),), dynamic_shapes=_shapes())
        # Given a name, torch would warn of the suffix that the file has until it is whole.
        with temporary.open("wb") as file:
            torch.export.save(exported, file)

    def run(temporary: Path, z: Tensor) -> Tensor:
        with temporary.open("rb") as file:
            images: Tensor = torch.export.load(file).module()(z)
        return images

    return _export(f, path, write, run)


FORMATS = {"onnx": to_onnx, "pt2": to_pt2}


def _example(f: IGN) -> Tensor:
    return f.source.from_seeds([0, 1])


def _shapes() -> tuple[dict[int, object]]:
    return ({0: torch.export.Dim("n", min=1, max=65_536)},)


@torch.no_grad()
def _export(
    f: IGN, path: Path, write: Callable[[Path], None], run: Callable[[Path, Tensor], Tensor]
) -> float:
    """Write a file and compare it with f; return the largest absolute difference."""
    if f.device.type != "cpu" or f.training:
        raise ValueError("f is exported from the CPU, in evaluation mode")
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        files.sweep(path.parent)
        with warnings.catch_warnings(), files.write_whole(path, overwrite=True) as temporary:
            # The exporters warn of things inside themselves.
            warnings.simplefilter("ignore")
            write(temporary)
            z = f.source.from_seeds(SEEDS).contiguous()
            # All images at once, and one alone: the number of images must be free.
            difference = max(
                float((run(temporary, part) - f(part)).abs().max()) for part in (z, z[:1])
            )
            if not difference <= TOLERANCE:
                raise ExportError(
                    f"{path}: off by {difference:.2g} from torch; nothing was written"
                )
    except MirError:
        raise
    except Exception as error:
        raise ExportError(f"{path}: can't be exported ({one_line(error)})") from error
    finally:
        exporter.setLevel(level)
    return difference
