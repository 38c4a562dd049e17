"""What a step draws: the damage for f to repair, and the augmentation of the critic's images.

A critic with few real images memorises them, and then teaches f to copy them. Random changes of
all its images, real and generated, prevent that. Both get changes of the same distribution, so f
has no reason to imitate the changes (Karras et al. 2020, "Training Generative Adversarial
Networks with Limited Data"; Zhao et al. 2020, DiffAugment).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from make_it_real.degradations.kinds import draw_kinds, randomly_degraded
from make_it_real.training.config import AdversarialConfig

# Largest shift and side of the hole, in shares of the image's side; largest change of brightness.
REACH = 0.125
HOLE = 0.5
LIGHT = 0.5
# (least number of images, share). From Karras et al. 2020, figure 8: fewer images need a larger
# share; below 0.8, no change appears in generated images.
SHARES = ((10_000, 0.0), (2_000, 0.3), (0, 0.6))


def share_for(n: int) -> float:
    """Choose the share of the critic's images to change, by the number of training images n."""
    return next(share for least, share in SHARES if n >= least)


@dataclass(frozen=True)
class Augmentation:
    """A random change for each of n images, the same each time that it is applied.

    shift: rows and columns, in shares of the side up to ``REACH``, (n, 2). hole: centre of a grey
    square of half the side, in shares of the side, or 9 for none, (n, 2). light: value that is
    added to all pixels, up to ``LIGHT``, (n,).
    """

    shift: Tensor
    hole: Tensor
    light: Tensor

    @classmethod
    def draw(cls, n: int, share: float, generator: torch.Generator) -> "Augmentation":
        """Draw the three kinds of changes independently, each with probability ``share``."""
        drawn = torch.rand(8, n, generator=generator, device=generator.device)
        made = (drawn[:3] < share).float()
        return cls(
            ((2 * drawn[3:5] - 1) * REACH * made[0]).T,
            torch.where(made[1] > 0, drawn[5:7], 9.0).T,
            (2 * drawn[7] - 1) * LIGHT * made[2],
        )

    def __getitem__(self, index: slice) -> "Augmentation":
        return Augmentation(self.shift[index], self.hole[index], self.light[index])

    def __call__(self, images: Tensor) -> Tensor:
        """Change images (n, C, H, W). A shift fills in with the pixels at the edge."""
        n, c, h, w = images.shape
        rows, columns = (torch.arange(s, device=images.device)[None] for s in (h, w))
        up, left = (self.shift * images.new_tensor([h, w])).round().long().T[..., None]
        taken = (rows - up).clamp(0, h - 1)[:, None, :, None].expand(n, c, h, w)
        images = images.gather(2, taken)
        taken = (columns - left).clamp(0, w - 1)[:, None, None, :].expand(n, c, h, w)
        images = images.gather(3, taken)
        y, x = self.hole.T[..., None]
        hidden_rows = ((rows + 0.5) / h - y).abs() < HOLE / 2
        hidden_columns = ((columns + 0.5) / w - x).abs() < HOLE / 2
        hidden = hidden_rows[:, None, :, None] & hidden_columns[:, None, None, :]
        return images.masked_fill(hidden, 0) + self.light[:, None, None, None]


class Shown:
    """What the draws of steps with critics have in common: how the critics' images are changed."""

    change: Augmentation | None

    def shown(self, images: Tensor) -> Tensor:
        """Augment images (n, C, S, S), as many as changes were drawn at most, for the critic."""
        return images if self.change is None else self.change[slice(len(images))](images)


@dataclass(frozen=True)
class Draw(Shown):
    """What an adversarial step draws.

    step: its number, from 0. x, z: (B, C, S, S). Ax: the first images of x, damaged (up to B,
    C, S, S). fidelity: the weight of L_restore of each, as many. change: augmentation of the
    critic's images. rest: how often f is applied to f(z) before noise ε is added, which is
    ``sigma`` (B/4,) times ``white`` (B/4, C, S, S).
    """

    step: int
    x: Tensor
    z: Tensor
    Ax: Tensor
    fidelity: Tensor
    change: Augmentation | None
    rest: int
    sigma: Tensor
    white: Tensor


class Degraded(NamedTuple):
    """Damaged images (N, C, S, S).

    fidelity: what the config asks of each, (N,): the lesser one of an image that is damaged twice.
    kinds: the number of the damage of each in the config, (N,): the first one's.
    """

    images: Tensor
    fidelity: Tensor
    kinds: Tensor


def degraded(
    x: Tensor, z: Tensor, config: AdversarialConfig, generator: torch.Generator
) -> Degraded:
    """Damage images x (N, C, S, S), each in a random way, some in two; some are mixed with z."""
    fidelity = torch.tensor([config.fidelity.get(kind, 1.0) for kind in config.damage])
    fidelity = fidelity.to(x)
    coins = torch.rand(3, len(x), 1, 1, 1, generator=generator, device=generator.device)
    kinds = draw_kinds(len(x), config.damage, generator=generator)
    once = randomly_degraded(x, config.damage, generator=generator, drawn=kinds)
    blended = coins[0] < config.blend
    once = torch.where(blended, torch.lerp(x, z, coins[1]), once)
    asked = torch.where(blended.flatten(), 1.0, fidelity[kinds])
    drawn = draw_kinds(len(x), config.damage, generator=generator)
    twice = randomly_degraded(once, config.damage, generator=generator, drawn=drawn)
    again = coins[2] < config.twice
    asked = torch.where(again.flatten(), torch.minimum(asked, fidelity[drawn]), asked)
    return Degraded(torch.where(again, twice, once), asked, kinds)
