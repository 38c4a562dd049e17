"""A model's probe: what f makes of a few seeds, kept in its file so that anyone can check it.

It is proof against other machines' last bits, for pixels are averaged to a coarse image and
compared with a tolerance, and against nothing cleverer: whoever can change a file can change
its probe. That a file is the one that was published is told by its SHA-256.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.errors import WeightsError
from make_it_real.images.pixels import to_pixels
from make_it_real.models.ign import IGN, evaluation_mode
from make_it_real.weights import model_file
from make_it_real.weights.safetensors_file import read_tensors

SEEDS = (0, 1, 2, 3)
SIDE = 8
TOLERANCE = 4


@torch.inference_mode()
def sample(f: IGN, seeds: Iterable[int]) -> Tensor:
    """f(z) of a few seeds in evaluation mode, (N, C, S, S), on the CPU; f's mode stays."""
    with evaluation_mode(f):
        images: Tensor = f(f.source.from_seeds(seeds))
    return images.cpu()


def pixels(f: IGN, seeds: Iterable[int] = SEEDS) -> Tensor:
    """``sample`` as 8-bit pixels averaged to 8×8: (N, C, 8, 8)."""
    return to_pixels(F.adaptive_avg_pool2d(sample(f, seeds), SIDE))


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over all tensors as they are stored: name, type, shape and bytes, by name."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def measure(f: IGN, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """f's probe for its file's header. tensors: what is stored, where that is not f's state."""
    return {
        "seeds": list(SEEDS),
        "pixels": bytes(pixels(f).flatten().tolist()).hex(),
        "tensors": digest(f.state_dict() if tensors is None else tensors),
    }


def check(f: IGN, path: Path) -> dict[str, Any]:
    """Hold f, as loaded from ``path``, against its file's probe; what was found.

    That it loaded says that the file is whole, its shapes those of its config and all values
    finite. "difference": the largest of the probe's pixels, in 8-bit levels. Raises
    WeightsError where the file has no probe, or is not what its probe says.
    """
    info = model_file.inspect(path)
    if not info.probe:
        raise WeightsError(f"{path}: loads, but has no probe to be checked against")
    try:
        seeds = tuple(int(seed) for seed in info.probe["seeds"][:64])
        if not seeds or not all(0 <= seed < 2**63 for seed in seeds):
            raise ValueError("no seeds, or one out of range")
        stored = torch.tensor(list(bytes.fromhex(info.probe["pixels"])))
        tensors = str(info.probe["tensors"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: a damaged probe in its header") from error
    if digest(read_tensors(path)) != tensors:
        raise WeightsError(f"{path}: its tensors are not those it was saved with; get it again")
    made = pixels(f, seeds).flatten()
    if made.shape != stored.shape:
        raise WeightsError(f"{path}: a damaged probe in its header")
    difference = int((made.int() - stored.int()).abs().max())
    if difference > TOLERANCE:
        raise WeightsError(
            f"{path}: f makes other images than when it was saved, by {difference} of 255 levels "
            f"where {TOLERANCE} are allowed"
        )
    return {"seeds": len(seeds), "difference": difference, "tensors": tensors}


def add(f: IGN, path: Path) -> None:
    """Write the probe of f into the header of the file that it was loaded from.

    The file's tensors stay as they are.
    """
    probe = measure(f, read_tensors(path))
    model_file.describe(replace(model_file.inspect(path), probe=probe), path)


def save(f: IGN, info: model_file.ModelInfo, path: Path) -> None:
    """Write f with its header and its probe as one file, whole or not at all."""
    model_file.save(f, replace(info, config=asdict(f.config), probe=measure(f)), path)
