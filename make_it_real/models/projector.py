"""The projector: f of aligned images of one size, as digits, clothes and faces are.

An encoder and a decoder with skips, f(x) = clamp(x + shrink(r(x))). Between them a fully connected
bottleneck sees the whole image: it lets f invent what z lacks.
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


class Projector(IGN):
    """f as an adversarial projector, its sizes those that ``IGNConfig`` names."""

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
        # Convolutions can't tell where they are; digits and faces sit at known places.
        self.position = nn.Parameter(torch.zeros(1, top, side, side))
        half = config.blocks // 2
        self.encode = nn.Sequential(*(ResidualBlock(top) for _ in range(half)))
        if config.attention:
            self.encode.append(Attention(top))
        self.narrow = nn.Conv2d(top, code, 1) if config.code else nn.Identity()
        self.squeeze = nn.Linear(code * side * side, config.bottleneck)
        self.expand = nn.Linear(config.bottleneck, code * side * side)
        self.widen = nn.Conv2d(code, top, 1) if config.code else nn.Identity()
        self.decode = nn.Sequential(*(ResidualBlock(top) for _ in range(config.blocks - half)))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(b, a, 4, stride=2, padding=1)
            for a, b in zip(levels[-2::-1], levels[:0:-1], strict=True)
        )
        self.up_norm = nn.ModuleList(norm(a) for a in levels[-2::-1])
        self.merge = nn.ModuleList(nn.Conv2d(a, a, 3, padding=1) for a in levels[-2::-1])
        self.fine = nn.Sequential(*(ResidualBlock(config.stem) for _ in range(config.fine)))
        self.last = nn.Conv2d(config.stem, config.channels, 3, padding=1)
        self.seen = nn.Conv2d(config.channels, config.channels, 3, padding=1, bias=False)
        if config.filters:
            self.filters = AdaptiveFilters(config.stem)
        if config.patches:
            self.patches = Patches(config.stem, config.channels, config.patches)

    def propose(self, images: Tensor) -> Tensor:
        # Down to the lowest resolution, keeping what each level saw.
        h = self.stem(images)
        skips = [h]
        for conv, normed in zip(self.down, self.down_norm, strict=True):
            h = F.silu(normed(conv(h)))
            skips.append(h)
        h = self.encode(skips.pop() + self.position.to(h.dtype))
        # Through the bottleneck, beside which its input goes on as it is.
        narrow = self.narrow(h)
        code = F.silu(self.squeeze(narrow.flatten(1)))
        h = self.decode(h + self.widen(self.expand(code).view_as(narrow)))
        # Up again, each level merged with what it saw on the way down.
        for conv, normed, merge in zip(self.up, self.up_norm, self.merge, strict=True):
            h = F.silu(normed(conv(h)))
            h = F.silu(h + merge(h + skips.pop()))
        h = self.fine(h)
        # What is to change, by colours, filters and squares of pixels.
        proposed = (self.last(h) + self.seen(images)).float()
        if self.config.filters:
            proposed = proposed + self.filters(h, images)
        if self.config.patches:
            proposed = proposed + self.patches(h, images)
        change = DeadZone.apply(proposed, self.config.dead_zone)  # type: ignore[no-untyped-call]
        out: Tensor = BoundedOutput.apply(images + change)  # type: ignore[no-untyped-call]
        return out
