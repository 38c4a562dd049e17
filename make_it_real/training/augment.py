"""What a step draws: the damage that f is to repair, and the changes that the critic is shown.

A critic that has few real images learns them by heart and then teaches f to copy them. Shown
every image, real or made, under the same law of random changes, it can't, and because the law
holds for both, f has no reason to imitate the changes themselves (Karras et al. 2020,
"Training Generative Adversarial Networks with Limited Data"; Zhao et al. 2020, DiffAugment).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from make_it_real.degradations.kinds import randomly_degraded
from make_it_real.training.config import AdversarialConfig

REACH = 0.125
HOLE = 0.5
LIGHT = 0.5
# From Karras et al. 2020, figure 8: the fewer images, the larger the share; under 0.8 nothing
# leaks into what is generated.
SHARES = ((10_000, 0.0), (2_000, 0.3), (0, 0.6))


def share_for(n: int) -> float:
    """The share of the critic's images to change where there are n to train on: 0 to 0.6."""
    return next(share for least, share in SHARES if n >= least)


@dataclass(frozen=True)
class Augmentation:
    """One drawn change for each of n images, the same whenever it is applied.

    shift (n, 2): rows and columns, as shares of the side, up to ``REACH``; hole (n, 2): the
    centre of a square of half the side that is painted grey, in shares of the side, or 9 for
    none; light (n,): what is added to the image, up to ``LIGHT``.
    """

    shift: Tensor
    hole: Tensor
    light: Tensor

    @classmethod
    def draw(cls, n: int, share: float, generator: torch.Generator) -> "Augmentation":
        """Each of the three changes is made with probability ``share``, independently."""
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
        """Images (n, C, H, W) → the same shape. What is moved in repeats the image's edge."""
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


@dataclass(frozen=True)
class Draw:
    """What an adversarial step, numbered from 0, draws.

    x and z (B, C, S, S), Ax of the first of x (up to B, C, S, S). change: of what the critic
    sees; rest: how often f is applied to fz before it is disturbed by ``sigma`` (B/4,) times
    ``white`` (B/4, C, S, S).
    """

    step: int
    x: Tensor
    z: Tensor
    Ax: Tensor
    change: Augmentation | None
    rest: int
    sigma: Tensor
    white: Tensor

    def shown(self, images: Tensor) -> Tensor:
        """What the critic sees of images (n ≤ B, C, S, S)."""
        return images if self.change is None else self.change[slice(len(images))](images)


def degraded(x: Tensor, z: Tensor, config: AdversarialConfig, generator: torch.Generator) -> Tensor:
    """Ax (N, C, S, S): each image of x damaged in one drawn way, some in two, some mixed with z."""
    coins = torch.rand(3, len(x), 1, 1, 1, generator=generator, device=generator.device)
    once = randomly_degraded(x, config.damage, generator=generator)
    once = torch.where(coins[0] < config.blend, torch.lerp(x, z, coins[1]), once)
    twice = randomly_degraded(once, config.damage, generator=generator)
    return torch.where(coins[2] < config.twice, twice, once)
