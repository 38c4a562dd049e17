"""The features of many images, in which f's images are compared with real ones as a whole.

Critics judge one image at a time. f, which has one answer to an input, can please them with nearly
the same colours for everybody; that real images differ more from one another shows only where many
are compared. The energy distance between two distributions (Székely & Rizzo 2013, "Energy
statistics") does that: 2·E|y − x| − E|y − y'| − E|x − x'|, with y and y' drawn from one of them and
x and x' from the other, is 0 only where they are the same.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# Numbers of real images, and of f's images of each kind of damage, whose features are kept.
REAL, MADE = 2048, 256
# f's images of a kind are compared with those before them once there are so many.
LEAST = 24
# Decay of the features' averages, by which they are brought to one scale.
DECAY = 0.99


def pooled(features: Sequence[Tensor]) -> Tensor:
    """Mean and deviation over positions of features (N, c, h, w) of each resolution, (N, D)."""
    pairs = ((h.float().mean((2, 3)), h.float().flatten(2).std(2)) for h in features)
    return torch.cat([part for pair in pairs for part in pair], 1)


class FeatureBank(nn.Module):
    """The features of the last real images, and of f's last images of each of K kinds.

    channels: of the features at each resolution. sides: number of sides at which images are seen
    in turn: features at each are brought to the real images' mean 0 and deviation 1 there. Nothing
    in it is trained. All of its state is of fixed shapes, so that no device waits for its host.
    """

    real: Tensor
    made: Tensor
    count: Tensor
    counts: Tensor
    mean: Tensor
    power: Tensor
    weight: Tensor

    def __init__(self, channels: Sequence[int], kinds: int, sides: int) -> None:
        super().__init__()
        size = 2 * sum(channels)
        self.register_buffer("real", torch.zeros(REAL, size))
        self.register_buffer("made", torch.zeros(kinds, MADE, size))
        self.register_buffer("count", torch.zeros((), dtype=torch.long))
        self.register_buffer("counts", torch.zeros(kinds, dtype=torch.long))
        # Averages of the real features and of their squares, and what the averages sum up to.
        self.register_buffer("mean", torch.zeros(sides, size))
        self.register_buffer("power", torch.zeros(sides, size))
        self.register_buffer("weight", torch.zeros(sides, 1))

    def scaled(self, features: Sequence[Tensor], side: int) -> Tensor:
        """Pool features and bring them to the scale of those that were added, (N, D)."""
        return self._scaled(pooled(features), side)

    def _scaled(self, h: Tensor, side: int) -> Tensor:
        weight = self.weight[side].clamp_min(1e-6)
        mean = self.mean[side] / weight
        deviation = (self.power[side] / weight - mean.square()).clamp_min(0).sqrt() + 1e-3
        return (h - mean) / deviation

    @torch.no_grad()
    def add_real(self, features: Sequence[Tensor], side: int) -> None:
        """Keep the features of real images, as many as ``REAL`` at most."""
        h = pooled(features)
        for kept, new in ((self.mean, h), (self.power, h.square())):
            kept[side].lerp_(new.mean(0), 1 - DECAY)
        self.weight[side].lerp_(torch.ones_like(self.weight[side]), 1 - DECAY)
        places = (self.count + torch.arange(len(h), device=h.device)) % REAL
        self.real.index_copy_(0, places, self._scaled(h, side))
        self.count += len(h)

    @torch.no_grad()
    def add_made(self, y: Tensor, kinds: Tensor) -> None:
        """Keep scaled features (N, D) of f's images, of the kinds (N,)."""
        of_kind = kinds[:, None] == torch.arange(len(self.counts), device=kinds.device)
        before = (of_kind.cumsum(0) - 1).gather(1, kinds[:, None]).squeeze(1)
        self.made[kinds, (self.counts[kinds] + before) % MADE] = y
        self.counts += of_kind.sum(0)

    def distance(self, y: Tensor, kinds: Tensor) -> Tensor:
        """Compute E|y − x| − E|y − y'| of scaled features (N, D) of the kinds (N,), a scalar.

        Its gradient is that of the energy distance. Images of kinds of which there are few count 0.
        """
        filled = (torch.arange(REAL, device=y.device) < self.count).float()
        to_real = (torch.cdist(y, self.real) * filled).sum(1) / filled.sum().clamp_min(1)
        counts = self.counts[kinds]
        there = (torch.arange(MADE, device=y.device) < counts[:, None]).float()
        apart = torch.cdist(y[:, None], self.made[kinds]).squeeze(1)
        to_made = (apart * there).sum(1) / there.sum(1).clamp_min(1)
        enough = (counts >= LEAST).float()
        distance: Tensor = ((to_real - to_made) * enough).mean() / y.shape[1] ** 0.5
        return distance
