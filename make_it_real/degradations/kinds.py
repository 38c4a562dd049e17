"""Degradations A by name: images → damaged images, each with a level in a stated unit.

Images are float (N, C, H, W) in [−1, 1]. Each image has one level. Noise is not clipped to
[−1, 1], as in the paper. All random numbers come from the generator that is passed.
"""

import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from make_it_real.degradations import (
    blur,
    colour,
    compression,
    drawing,
    marks,
    noise,
    painting,
    printing,
    resolution,
    sensor,
)

Corruption = Callable[[Tensor, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Degradation:
    """One kind of degradation: ``apply(images, levels, generator)`` and what its level means.

    unit: of the level. default: the level where none is given. levels: the range (low, high)
    that training draws from, uniformly or, with ``log``, log-uniformly. valid: the range of
    levels that make sense.
    """

    apply: Corruption
    unit: str
    default: float
    levels: tuple[float, float]
    log: bool = False
    valid: tuple[float, float] = (0.0, math.inf)


DEGRADATIONS: Mapping[str, Degradation] = {
    "noise": Degradation(noise.noise, "standard deviation", 0.15, (0.1, 2.5), log=True),
    "coarse-noise": Degradation(
        noise.coarse_noise, "standard deviation", 0.4, (0.1, 1.0), log=True
    ),
    "low-resolution": Degradation(
        resolution.low_resolution, "factor", 4, (2, 5), valid=(1, math.inf)
    ),
    "mask": Degradation(noise.mask, "share of the image", 0.25, (0.05, 0.5), valid=(0, 1)),
    "block": Degradation(noise.block, "share of the image", 0.14, (0.03, 0.3), valid=(0, 1)),
    "central-block": Degradation(
        noise.central_block, "share of the height", 0.4375, (0.4375, 0.4375), valid=(0, 1)
    ),
    "blur": Degradation(blur.blur, "standard deviation in pixels", 1.5, (0.4, 2.0)),
    "anisotropic-blur": Degradation(
        blur.anisotropic_blur, "largest standard deviation in pixels", 2.0, (0.8, 3.0)
    ),
    "plateau-blur": Degradation(blur.plateau_blur, "half width in pixels", 3.0, (1.0, 4.5)),
    "defocus": Degradation(blur.defocus, "radius in pixels", 2.5, (0.7, 4.0)),
    "crystals": Degradation(resolution.crystals, "pixels across", 4, (1.5, 5), valid=(1, math.inf)),
    "contrast": Degradation(colour.contrast, "share kept", 0.3, (0.15, 0.9), valid=(0, 1)),
    "light": Degradation(colour.light, "brightness at the edge", 0.5, (0.1, 0.9)),
    "thin": Degradation(resolution.thin, "share", 1.0, (0.3, 1.0), valid=(0, 1)),
    "glass": Degradation(blur.glass, "pixels", 1.5, (0.5, 2.5)),
    "scan": Degradation(colour.scan, "standard deviation in pixels", 0.8, (0.3, 1.4)),
    "lines": Degradation(resolution.lines, "rows", 3, (2, 4), valid=(1, math.inf)),
    "grayscale": Degradation(colour.grayscale, "share", 1.0, (1.0, 1.0), valid=(0, 1)),
    "sketch": Degradation(
        colour.sketch, "side of the Gaussian in pixels", 21, (21, 21), valid=(3, 255)
    ),
    "pencil": Degradation(
        drawing.pencil, "how far from the photograph", 1.0, (1.0, 1.5), valid=(0, 3)
    ),
    "dodge-and-burn": Degradation(
        drawing.dodge_and_burn, "standard deviation in pixels", 3.0, (1.5, 4.0), valid=(0.1, 100)
    ),
    "edges": Degradation(
        drawing.edges, "least slope, of the steepest", 0.3, (0.1, 0.5), valid=(0, 1)
    ),
    "colour-blocks": Degradation(
        painting.colour_blocks, "how far from the photograph", 1.0, (1.0, 1.5), valid=(0, 3)
    ),
    "noisy-drawing": Degradation(
        painting.noisy_drawing, "standard deviation", 0.5, (0.05, 1.5), log=True
    ),
    "scribbles": Degradation(noise.scribbles, "strokes", 3, (1, 5), valid=(0, 1000)),
    "salt-and-pepper": Degradation(
        noise.salt_and_pepper, "share of pixels", 0.2, (0.05, 0.4), valid=(0, 1)
    ),
    "jpeg": Degradation(compression.jpeg, "quality", 5, (5, 50), log=True, valid=(1, 95)),
    "pixelate": Degradation(resolution.pixelate, "pixels a side", 4, (2, 4), valid=(1, math.inf)),
    "cast": Degradation(colour.cast, "largest change of a channel", 0.5, (0.1, 0.8)),
    "saturation": Degradation(colour.saturation, "factor", 0.3, (0.1, 2.0)),
    "gamma": Degradation(colour.gamma, "exponent", 2.0, (0.4, 2.5), log=True, valid=(0.01, 100)),
    "motion-blur": Degradation(
        blur.motion_blur, "length in pixels", 7, (3, 9), valid=(1, math.inf)
    ),
    "poisson": Degradation(
        sensor.poisson, "photons a pixel of white", 30, (5, 300), log=True, valid=(0.01, 1e6)
    ),
    "phone-noise": Degradation(sensor.phone_noise, "standard deviation", 0.1, (0.02, 0.25)),
    "downscale": Degradation(resolution.downscale, "factor", 2, (1.5, 4), valid=(1, 1000)),
    "webp": Degradation(compression.webp, "quality", 20, (5, 80), valid=(0, 100)),
    "jpeg-twice": Degradation(
        compression.jpeg_twice, "quality", 20, (8, 80), log=True, valid=(1, 95)
    ),
    "sharpen": Degradation(blur.sharpen, "amount", 1.0, (0.3, 1.5)),
    "fading": Degradation(colour.fading, "share", 0.6, (0.2, 0.9), valid=(0, 1)),
    "scratches": Degradation(marks.scratches, "how many", 3, (1, 3), valid=(0, 1000)),
    "dust": Degradation(marks.dust, "how many", 20, (1, 20), valid=(0, 10_000)),
    "creases": Degradation(marks.creases, "how many", 2, (1, 2), valid=(0, 1000)),
    "holes": Degradation(marks.holes, "how many", 3, (1, 3), valid=(0, 1000)),
    "banding": Degradation(printing.banding, "values a channel", 12, (6, 24), valid=(2, 256)),
    "dither": Degradation(printing.dither, "values a channel", 4, (2, 8), valid=(2, 256)),
    "half-tone": Degradation(printing.half_tone, "pixels a dot", 4, (3, 8), valid=(2, 1000)),
}

# Kinds that training never uses, by channels: figures on them are of damage f was not taught.
_KEPT_OUT = {
    1: ("scribbles", "salt-and-pepper", "jpeg", "pixelate", "edges"),
    3: ("pixelate", "motion-blur", "glass", "edges"),
}

_PHOTOGRAPHS_KEPT_OUT = ("banding", "dither", "half-tone", "motion-blur")

# What f is taught to repair: a weight for each kind, by which it is drawn.
GREY_DAMAGE: Mapping[str, float] = {
    "noise": 7, "coarse-noise": 5, "low-resolution": 6, "mask": 2, "blur": 2, "contrast": 1,
    "light": 1, "thin": 1, "glass": 1, "scan": 1, "lines": 2,
}  # fmt: skip
COLOUR_DAMAGE: Mapping[str, float] = {
    "noise": 6, "coarse-noise": 1, "low-resolution": 14, "blur": 3, "anisotropic-blur": 4,
    "plateau-blur": 4, "defocus": 2, "crystals": 8, "lines": 2, "mask": 3, "contrast": 1,
    "light": 1, "cast": 1, "grayscale": 3, "sketch": 6, "jpeg": 2, "salt-and-pepper": 1,
    "scribbles": 1,
}  # fmt: skip
PHOTOGRAPH_DAMAGE: Mapping[str, float] = {
    "noise": 26, "poisson": 3, "phone-noise": 3.5, "salt-and-pepper": 4.5, "jpeg": 24, "webp": 2.5,
    "jpeg-twice": 2, "blur": 11, "low-resolution": 3, "downscale": 6, "scratches": 3.5, "dust": 2,
    "creases": 0.5, "holes": 0.5, "sharpen": 0.5,
}  # fmt: skip
# Of photographs seen whole, for what undoes it by curves.
TONE_DAMAGE: Mapping[str, float] = {"fading": 4, "cast": 1, "contrast": 1}


def kept_out(channels: int, *, any_size: bool = False) -> tuple[str, ...]:
    """The kinds that training never uses: on grey (1) or colour (3) images, or on photographs.

    any_size: whether it is on photographs of any size, and not on images of one.
    """
    return _PHOTOGRAPHS_KEPT_OUT if any_size else _KEPT_OUT[channels]


def damage_weights(damage: Mapping[str, float] | Iterable[str]) -> dict[str, float]:
    """Kinds with their weights; of names alone, each counts as often as it is there.

    Raises ValueError for a kind that is not in ``DEGRADATIONS`` and a weight that is not over 0.
    """
    weights = dict(damage if isinstance(damage, Mapping) else Counter(damage))
    if unknown := [kind for kind in weights if kind not in DEGRADATIONS]:
        raise ValueError(f"no such damage: {', '.join(unknown)}")
    if not weights or not all(0 < weight < math.inf for weight in weights.values()):
        raise ValueError("damage has kinds, each of a weight over 0")
    return weights


def check_damage(kinds: Iterable[str], channels: int, *, any_size: bool = False) -> None:
    """Raise ValueError if one of the kinds is kept out of such training (``kept_out``)."""
    if found := sorted(set(kept_out(channels, any_size=any_size)) & set(kinds)):
        raise ValueError(f"kept out of training on purpose: {', '.join(found)}")


def degraded(
    images: Tensor, kind: str, level: float | None = None, *, generator: torch.Generator
) -> Tensor:
    """Degrade images (N, C, H, W) by one kind at one level, its default if None.

    Raises KeyError for a kind that is not in ``DEGRADATIONS``.
    """
    damage = DEGRADATIONS[kind]
    value = damage.default if level is None else level
    levels = torch.full((len(images),), value, device=images.device, dtype=images.dtype)
    return damage.apply(images, levels, generator)


def generator_of(seed: int, name: str) -> torch.Generator:
    """Seed the random choices of damage to a file: each name has its own, whatever its folder."""
    mixed = (zlib.crc32(name.encode("utf-8", "surrogateescape")) << 31) + seed
    return torch.Generator().manual_seed(mixed % 2**63)


def draw_kinds(n: int, weights: Mapping[str, float], *, generator: torch.Generator) -> Tensor:
    """Draw a kind for each of n images by its weight: its number among ``weights``, (n,)."""
    shares = torch.tensor(list(weights.values()), dtype=torch.float32, device=generator.device)
    return torch.multinomial(shares, n, replacement=True, generator=generator)


def randomly_degraded(
    images: Tensor,
    weights: Mapping[str, float],
    *,
    generator: torch.Generator,
    drawn: Tensor | None = None,
) -> Tensor:
    """Degrade each image (N, C, H, W) by a kind drawn by its weight, at a level from its range.

    drawn: the kinds as ``draw_kinds`` gave them, where they are known already.
    """
    out = images.clone()
    if drawn is None:
        drawn = draw_kinds(len(images), weights, generator=generator)
    kinds = list(weights)
    for number, chosen in noise.groups(drawn):
        damage = DEGRADATIONS[kinds[int(number)]]
        low, high = damage.levels
        if damage.log:
            levels = (low * (high / low) ** noise.uniform(len(chosen), 0, 1, generator)).to(images)
        else:
            levels = noise.uniform(len(chosen), low, high, generator).to(images)
        out[chosen] = damage.apply(images[chosen], levels, generator)
    return out
