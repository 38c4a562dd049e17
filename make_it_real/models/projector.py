"""The projector: f for aligned images of one size, such as digits, clothes and faces.

An encoder and a decoder with skip connections compute a change r(x), and a proposal is
clamp(x + shrink(r(x))). Between them a fully connected bottleneck sees the whole image, which lets
f invent what z lacks.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.models.layers import (
    AdaptiveFilters,
    Attention,
    BoundedOutput,
    DeadZone,
    Patches,
    ResidualBlock,
    norm,
)
from make_it_real.models.winograd import Conv3x3


class Projector(IGN):
    """f with the architecture "projector". The names of its layers are those in weights files."""

    def __init__(self, config: IGNConfig) -> None:
        super().__init__(config)
        widths, top = config.widths, config.widths[-1]
        side = config.image_size // 2 ** len(widths)
        code = config.code or top

        self.stem = nn.Conv2d(config.channels, config.stem, 3, padding=1)
        levels = (config.stem, *widths)
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(levels)
        )
        self.down_norm = nn.ModuleList(norm(b) for b in levels[1:])
        # Convolutions can't tell where they are, but digits and faces lie at known places.
        self.position = nn.Parameter(torch.zeros(1, top, side, side))
        half = config.blocks // 2
        # The bottleneck, with residual blocks before and after it.
        self.encode = nn.Sequential(*(ResidualBlock(top) for _ in range(half)))
        if config.attention:
            self.encode.append(Attention(top))
        self.narrow = nn.Conv2d(top, code, 1) if config.code else nn.Identity()
        self.squeeze = nn.Linear(code * side * side, config.bottleneck)
        self.expand = nn.Linear(config.bottleneck, code * side * side)
        self.widen = nn.Conv2d(code, top, 1) if config.code else nn.Identity()
        self.decode = nn.Sequential(*(ResidualBlock(top) for _ in range(config.blocks - half)))
        # Up to full resolution, and the layers that make a change of the features there.
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 4, stride=2, padding=1)
            for a, b in zip(levels[-2::-1], levels[:0:-1], strict=True)
        )
        self.up_norm = nn.ModuleList(norm(a) for a in levels[-2::-1])
        self.merge = nn.ModuleList(Conv3x3(a, a) for a in levels[-2::-1])
        self.fine = nn.Sequential(*(ResidualBlock(config.stem) for _ in range(config.fine)))
        self.last = nn.Conv2d(config.stem, config.channels, 3, padding=1)
        self.seen = nn.Conv2d(config.channels, config.channels, 3, padding=1, bias=False)
        if config.filters:
            self.filters = AdaptiveFilters(config.stem)
        if config.patches:
            self.patches = Patches(config.stem, config.channels, config.patches)

    def propose(self, images: Tensor) -> Tensor:
        return self._bounded(images, self._change(images))

    def propose_with_change(self, images: Tensor) -> tuple[Tensor, Tensor]:
        change = self._change(images)
        return self._bounded(images, change), (images + change).clamp(-1, 1) - images

    def _change(self, images: Tensor) -> Tensor:
        """Compute the change that the layers propose, before dead zone and bounds, in float32."""
        # Down to the lowest resolution, keeping the features of each level.
        h = self.stem(images)
        skips = [h]
        for conv, normed in zip(self.down, self.down_norm, strict=True):
            h = F.silu(normed(conv(h)))
            skips.append(h)
        h = self.encode(skips.pop() + self.position.to(h.dtype))
        # Through the bottleneck, whose output is added to its input.
        narrow = self.narrow(h)
        code = F.silu(self.squeeze(narrow.flatten(1)))
        h = self.decode(h + self.widen(self.expand(code).view_as(narrow)))
        # Up again, merging each level with its features from the way down.
        for conv, normed, merge in zip(self.up, self.up_norm, self.merge, strict=True):
            h = F.silu(normed(conv(h)))
            h = F.silu(h + merge(h + skips.pop()))
        h = self.fine(h)
        # The change, in three parts: by convolutions, by filters and by patches.
        proposed: Tensor = (self.last(h) + self.seen(images)).float()
        if self.config.filters:
            proposed = proposed + self.filters(h, images)
        if self.config.patches:
            proposed = proposed + self.patches(h, images)
        return proposed

    def _bounded(self, images: Tensor, proposed: Tensor) -> Tensor:
        """Add a proposed change to images, without what lies in the dead zone, within bounds."""
        change = DeadZone.apply(proposed, self.config.dead_zone)  # type: ignore[no-untyped-call]
        out: Tensor = BoundedOutput.apply(images + change)  # type: ignore[no-untyped-call]
        return out
