"""A model's probe: what f makes of a few seeds or images, kept in its file for later checks.

A probe allows for the rounding of other machines: it is compared with a tolerance. It finds
damage, not forgery: whoever can change a file can change its probe. Compare the SHA-256 to make
sure that a file is the published one.

Of an f that makes images, the probe is f(z) of a few seeds, averaged to a coarse size. An f that
repairs images of any size has no z. Its probe is made of small damaged images, which are kept
too, and of f of them pixel by pixel: averaged, noise that f has ceased to remove would not show.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations.kinds import degraded
from make_it_real.errors import WeightsError
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.models.ign import IGN, evaluation_mode
from make_it_real.weights import model_file
from make_it_real.weights.safetensors_file import read_tensors

SEEDS = (0, 1, 2, 3)
# Side of the coarse images of f(z) in pixels, and the largest difference of a coarse pixel that is
# allowed, in 8-bit levels.
SIDE = 8
TOLERANCE = 4
# The same of repaired images. In single precision, machines differ by one level, where a value
# lies between two.
DAMAGED_SIDE = 32
FINER = 4
DAMAGED_TOLERANCE = 2
# A kind and its level for each of the images; the last is whole, and f should leave it so.
DAMAGE = (("noise", 0.2), ("jpeg", 10.0), ("salt-and-pepper", 0.04), None)
MAX_IMAGES = 64


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


def damaged(channels: int) -> Tensor:
    """Draw small scenes, a sun above hills, and damage them: 8-bit pixels (4, C, 32, 32)."""
    # Drawn finer and averaged, edges are soft as a photograph's.
    side = torch.linspace(-1, 1, DAMAGED_SIDE * FINER)
    y, x = torch.meshgrid(side, side, indexing="ij")
    scenes = []
    for seed, damage in enumerate(DAMAGE):
        generator = torch.Generator().manual_seed(seed)
        paint = 1.6 * torch.rand(3, channels, 1, 1, generator=generator) - 0.8
        sky, sun, land = ((paint + paint.mean(1, keepdim=True)) / 2).unbind()
        left, phase = (torch.rand(2, generator=generator) - 0.5).tolist()
        scene = sky + 0.2 * y
        scene = torch.where((x - left) ** 2 + (y + 0.4) ** 2 < 0.1, sun, scene)
        scene = torch.where(y > 0.3 + 0.2 * (4 * x + 6 * phase).sin(), land, scene)[None]
        scene = F.avg_pool2d(scene, FINER)
        if damage is not None:
            scene = degraded(scene, *damage, generator=generator)
        scenes.append(scene)
    return to_pixels(torch.cat(scenes))


@torch.inference_mode()
def repaired(f: IGN, given: Tensor) -> Tensor:
    """Compute f in evaluation mode of 8-bit pixels (N, C, H, W), as such pixels, on the CPU.

    f is left in the mode that it was in.
    """
    with evaluation_mode(f):
        images: Tensor = f(to_images(given).to(f.device))
    return to_pixels(images.cpu())


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
    state = digest(f.state_dict() if tensors is None else tensors)
    if f.config.source == "none":
        given = damaged(f.config.channels)
        return {"images": _hex(given), "pixels": _hex(repaired(f, given)), "tensors": state}
    return {"seeds": list(SEEDS), "pixels": _hex(pixels(f)), "tensors": state}


def check(f: IGN, path: Path) -> dict[str, Any]:
    """Compare f, as it was loaded from ``path``, with the probe in that file.

    Loading has checked already that the file is whole, has the shapes of its config and is
    finite. Returns "images", their number; "difference", the largest of a pixel in 8-bit levels;
    and "tensors", their digest. Raises WeightsError where the file has no probe or differs from
    it.
    """
    probe = model_file.inspect(path).probe
    if not probe:
        raise WeightsError(f"{path}: loads, but has no probe to be checked against")
    repairs = f.config.source == "none"
    allowed = DAMAGED_TOLERANCE if repairs else TOLERANCE
    try:
        given = _images(probe, f.config.channels) if repairs else _seeds(probe)
        stored = torch.tensor(list(bytes.fromhex(probe["pixels"])))
        tensors = str(probe["tensors"])
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: a damaged probe in its header") from error
    if digest(read_tensors(path)) != tensors:
        raise WeightsError(f"{path}: its tensors are not those it was saved with; get it again")
    actual = repaired(f, given) if isinstance(given, Tensor) else pixels(f, given)
    if actual.numel() != len(stored):
        raise WeightsError(f"{path}: a damaged probe in its header")
    difference = int((actual.flatten().int() - stored.int()).abs().max())
    if difference > allowed:
        raise WeightsError(
            f"{path}: f makes other images than when it was saved, by {difference} of 255 levels "
            f"where {allowed} are allowed"
        )
    return {"images": len(given), "difference": difference, "tensors": tensors}


def _seeds(probe: Mapping[str, Any]) -> tuple[int, ...]:
    """Read the seeds of a probe. Raises ValueError, TypeError or KeyError where it is damaged."""
    seeds = tuple(int(seed) for seed in probe["seeds"][:MAX_IMAGES])
    if not seeds or not all(0 <= seed < 2**63 for seed in seeds):
        raise ValueError("no seeds, or one out of range")
    return seeds


def _images(probe: Mapping[str, Any], channels: int) -> Tensor:
    """Read the images of a probe, 8-bit pixels (N, C, 32, 32). Raises errors as ``_seeds``."""
    given = torch.tensor(list(bytes.fromhex(probe["images"])), dtype=torch.uint8)
    shape = channels, DAMAGED_SIDE, DAMAGED_SIDE
    if not len(given) or len(given) % math.prod(shape):
        raise ValueError("no images, or a part of one")
    return given.view(-1, *shape)[:MAX_IMAGES]


def _hex(images: Tensor) -> str:
    return bytes(images.flatten().tolist()).hex()


def add(f: IGN, path: Path) -> None:
    """Write the probe of f into the header of ``path``, the file that it was loaded from.

    The tensors in the file stay as they are. Raises WeightsError.
    """
    probe = measure(f, read_tensors(path))
    model_file.describe(replace(model_file.inspect(path), probe=probe), path)


def save(f: IGN, info: model_file.ModelInfo, path: Path) -> None:
    """Write f, its header and its probe as one file, whole or not at all. Raises WeightsError."""
    model_file.save(f, replace(info, config=asdict(f.config), probe=measure(f)), path)
