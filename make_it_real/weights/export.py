"""Exports of f for other programs: ONNX and torch.export. Drawing z is left to these programs.

The exported network has one input, ``images`` (N, C, S, S), float32 in about [−1, 1], which may be
z or any images, and one output, ``made`` (N, C, S, S) in [−1, 1]; N is free. Of an f for images of
any size both are (N, C, H, W), and H and W are free from 9 on; N is 1 where f mixes its weights for
each image (``models/mixture.py``). The results of each file are compared with torch's before it
gets its name.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from make_it_real import files
from make_it_real.errors import ExportError, MirError, one_line
from make_it_real.models.ign import IGN

# Largest absolute difference to torch that is allowed.
TOLERANCE = 1e-4
SEEDS = range(64)
# N (or 1), height and width of the images that an f of any size is compared with torch on.
SIZES = ((2, 45, 36), (1, 9, 9), (3, 64, 48), (1, 10, 101), (1, 130, 77))
LEAST_SIDE, MOST = 9, 65_536

Network = Callable[[Tensor], Tensor]
EXTRA = "pip install 'make-it-real[export]'"


def to_onnx(f: IGN, path: Path) -> float:
    """Write f as an ONNX file; return the largest absolute difference to torch.

    It is measured on z of 64 seeds, for an f of any size on images of several sizes. f: on the
    CPU, in evaluation mode, else ValueError is raised. The file is run in onnxruntime. Raises
    ExportError where the extra ``export`` is not installed, f can't be exported, or the difference
    is over ``TOLERANCE``.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ExportError(f"ONNX needs onnx, onnxscript and onnxruntime: {EXTRA}") from error

    def write(temporary: Path) -> None:
        torch.onnx.export(
            f, (next(_trials(f)),), temporary, dynamo=True, dynamic_shapes=_shapes(f),
            input_names=["images"], output_names=["made"], external_data=False, verbose=False,
        )  # fmt: skip

    def read(temporary: Path) -> Network:
        session = onnxruntime.InferenceSession(temporary, providers=["CPUExecutionProvider"])
        return lambda x: torch.from_numpy(session.run(None, {"images": x.numpy()})[0])

    return _export(f, path, write, read)


def to_pt2(f: IGN, path: Path) -> float:
    """Write f for torch.export.load; return the largest absolute difference as ``to_onnx`` does.

    A .pt2 file is an archive in torch's own format; load only those that you trust. Raises
    errors as ``to_onnx`` does.
    """

    def write(temporary: Path) -> None:
        exported = torch.export.export(f, (next(_trials(f)),), dynamic_shapes=_shapes(f))
        # Given a name, torch would warn of the suffix that the file has until it is whole.
        with temporary.open("wb") as file:
            torch.export.save(exported, file)

    def read(temporary: Path) -> Network:
        with temporary.open("rb") as file:
            return torch.export.load(file).module()

    return _export(f, path, write, read)


FORMATS = {"onnx": to_onnx, "pt2": to_pt2}


def _trials(f: IGN) -> Iterator[Tensor]:
    """Yield the images that an export is compared with torch on; the first are its example.

    Their numbers differ, since the number of images must be free, as must their sizes if f's are.
    """
    if f.config.image_size:
        z = f.source.from_seeds(SEEDS).contiguous()
        yield from (z, z[:1])
        return
    generator = torch.Generator().manual_seed(0)
    for n, height, width in SIZES:
        n = 1 if f.config.mixed else n
        noise = 0.4 * torch.randn(n, f.config.channels, height, width, generator=generator)
        # Noise on the right alone: the gate has something to leave as it is.
        yield torch.linspace(-1, 1, width).clamp_min(0) * noise


def _shapes(f: IGN) -> tuple[dict[int, object]]:
    """Name the dimensions of the images that are free."""
    free: dict[int, object] = {}
    if not f.config.mixed:
        free[0] = torch.export.Dim("n", min=1, max=MOST)
    if not f.config.image_size:
        names = ((2, "height"), (3, "width"))
        free |= {i: torch.export.Dim(name, min=LEAST_SIDE, max=MOST) for i, name in names}
    return (free,)


@torch.no_grad()
def _export(
    f: IGN, path: Path, write: Callable[[Path], None], read: Callable[[Path], Network]
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
            g = read(temporary)
            difference = max(float((g(x) - f(x)).abs().max()) for x in _trials(f))
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
