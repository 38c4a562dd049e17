"""What happens to photographs, drawn at random for training: one kind of damage, or a life of some.

Images are float (N, C, H, W) in [−1, 1], and of 8-bit values afterwards, as files hold them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from make_it_real.degradations.kinds import DEGRADATIONS
from make_it_real.degradations.noise import uniform


@dataclass(frozen=True)
class Range:
    """Levels of a kind from the mildest to the strongest, of which some are drawn more often.

    Levels are mild + (strong − mild)·u^bend with u uniform in [0, 1], or mild·(strong / mild)^u
    with ``log``.
    """

    mild: float
    strong: float
    bend: float = 1.0
    log: bool = False

    def levels(self, u: Tensor) -> Tensor:
        """Compute levels for numbers u in [0, 1]."""
        if self.log:
            return self.mild * (self.strong / self.mild) ** u
        return self.mild + (self.strong - self.mild) * u**self.bend


# Levels for photographs; other kinds have those of ``DEGRADATIONS``. Deviations of noise are in
# image units, of which 2 is black against white: 1/127.5 is an 8-bit level.
RANGES: Mapping[str, Range] = {
    "noise": Range(2 / 127.5, 55 / 127.5), "poisson": Range(316, 5, log=True),
    "phone-noise": Range(3 / 127.5, 28 / 127.5), "salt-and-pepper": Range(0.005, 0.155, bend=1.5),
    "jpeg": Range(95, 8), "jpeg-twice": Range(95, 12), "webp": Range(95, 8),
    "blur": Range(0.5, 1.8), "anisotropic-blur": Range(0.6, 2.5), "defocus": Range(0.7, 2.5),
    "low-resolution": Range(1.5, 4, bend=2), "downscale": Range(1.5, 4, bend=2),
    "dust": Range(1, 12), "sharpen": Range(0.3, 1.3),
}  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """A part of a life: with a probability it does one of its kinds, up to a strength in [0, 1]."""

    probability: float
    kinds: tuple[str, ...]
    strength: float


# Kinds that make a photograph noisy, compressed, blurred and enlarged.
NOISE = ("noise", "poisson", "phone-noise")
COMPRESSION = ("jpeg", "webp", "jpeg-twice")
BLUR = ("blur", "anisotropic-blur", "defocus")
ENLARGED = ("low-resolution", "downscale")
# In the order in which it happens: the lens, the size, the sensor, the print, the colours, the
# retouching, the file.
LIFE = (
    Stage(0.3, BLUR, 0.5),
    Stage(0.3, ENLARGED, 0.5),
    Stage(0.6, (*NOISE, "salt-and-pepper"), 0.5),
    Stage(0.35, ("scratches", "dust", "creases", "holes"), 1.0),
    Stage(0.1, ("fading", "cast", "saturation", "contrast", "light", "gamma"), 0.5),
    Stage(0.15, ("sharpen",), 1.0),
    Stage(0.8, COMPRESSION, 1.0),
)


def damaged(
    images: Tensor,
    weights: Mapping[str, float],
    life: float,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Damage each image (N, C, H, W) by one kind drawn by its weight, or by a life.

    weights: of the kinds, of which a life has those that it names. life: the share of images that
    get a life. Results have 8-bit values.
    """
    coins = uniform(len(images), 0, 1, generator).tolist()
    lives = [i for i, coin in enumerate(coins) if coin < life]
    others = [i for i, coin in enumerate(coins) if coin >= life]
    out = images.clone()
    _apply(out, others, weights, 1.0, generator)
    for stage in LIFE:
        named = {kind: weights[kind] for kind in stage.kinds if kind in weights}
        if named:
            coins = uniform(len(lives), 0, 1, generator).tolist()
            rows = [i for i, coin in zip(lives, coins, strict=True) if coin < stage.probability]
            _apply(out, rows, named, stage.strength, generator)
    return rounded(out)


def _apply(
    images: Tensor,
    rows: Sequence[int],
    weights: Mapping[str, float],
    strength: float,
    generator: torch.Generator,
) -> None:
    """Damage some of the images, in place, each by a kind drawn by its weight."""
    if not rows:
        return
    kinds, device = list(weights), generator.device
    shares = torch.tensor(list(weights.values()), dtype=torch.float32, device=device)
    drawn = torch.multinomial(shares, len(rows), replacement=True, generator=generator).tolist()
    u = uniform(len(rows), 0, strength, generator).to(images)
    for number in sorted(set(drawn)):
        at = [i for i, one in enumerate(drawn) if one == number]
        chosen, damage = [rows[i] for i in at], DEGRADATIONS[kinds[number]]
        levels = RANGES.get(kinds[number], Range(*damage.levels, log=damage.log)).levels(u[at])
        images[chosen] = damage.apply(images[chosen], levels, generator)


def rounded(images: Tensor) -> Tensor:
    """Round images to the values that 8 bits have, and clip them to [−1, 1]."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
