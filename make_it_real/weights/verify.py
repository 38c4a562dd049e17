"""A model's probe: images that f makes from a few seeds, kept in its file for later checks.

A probe allows for the rounding of other machines: the images are averaged to a coarse size and
compared with a tolerance. It finds damage, not forgery: whoever can change a file can change its
probe. Compare the SHA-256 to make sure that a file is the published one.
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
# Side of the coarse images in pixels.
SIDE = 8
# Largest difference of a coarse pixel that is allowed, in 8-bit levels.
TOLERANCE = 4


@torch.inference_mode()
def sample(f: IGN, seeds: Iterable[int]) -> Tensor:
    """Compute f(z) of a few seeds in evaluation mode: (N, C, S, S) in [−1, 1], on the CPU.

    f is left in the mode that it was in.
    """
    with evaluation_mode(f):
        images: Tensor = f(f.source.from_seeds(seeds))
    return images.cpu()


def pixels(f: IGN, seeds: Iterable[int] = SEEDS) -> Tensor:
    """Compute the images of ``sample``, averaged to 8×8, as 8-bit pixels (N, C, 8, 8)."""
    return to_pixels(F.adaptive_avg_pool2d(sample(f, seeds), SIDE))


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of all tensors, sorted by name: their names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def measure(f: IGN, tensors: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """Compute the probe of f for the header of its file.

    tensors: those in the file, where they are not the state of f.
    """
    return {
        "seeds": list(SEEDS),
        "pixels": bytes(pixels(f).flatten().tolist()).hex(),
        "tensors": digest(f.state_dict() if tensors is None else tensors),
    }


def check(f: IGN, path: Path) -> dict[str, Any]:
    """Compare f, as it was loaded from ``path``, with the probe in that file.

    Loading has checked already that the file is whole, has the shapes of its config and is
    finite. Returns "seeds", their number; "difference", the largest of a pixel in 8-bit levels;
    and "tensors", their digest. Raises WeightsError where the file has no probe or differs from
    it.
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
    actual = pixels(f, seeds).flatten()
    if actual.shape != stored.shape:
        raise WeightsError(f"{path}: a damaged probe in its header")
    difference = int((actual.int() - stored.int()).abs().max())
    if difference > TOLERANCE:
        raise WeightsError(
            f"{path}: f makes other images than when it was saved, by {difference} of 255 levels "
            f"where {TOLERANCE} are allowed"
        )
    return {"seeds": len(seeds), "difference": difference, "tensors": tensors}


def add(f: IGN, path: Path) -> None:
    """Write the probe of f into the header of ``path``, the file that it was loaded from.

    The tensors in the file stay as they are. Raises WeightsError.
    """
    probe = measure(f, read_tensors(path))
    model_file.describe(replace(model_file.inspect(path), probe=probe), path)


def save(f: IGN, info: model_file.ModelInfo, path: Path) -> None:
    """Write f, its header and its probe as one file, whole or not at all. Raises WeightsError."""
    model_file.save(f, replace(info, config=asdict(f.config), probe=measure(f)), path)
