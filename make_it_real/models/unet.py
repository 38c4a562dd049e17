"""The U-Net: f for photographs of any size, in colour, which it repairs where they need it.

Convolutions at 1/2, 1/4 and 1/8 of the resolution compute a change r(x) that is added to x. There
is no norm and nothing that sees the whole image, so a pixel's result depends on its surroundings
alone, and a large image can be worked off in parts (``inference/tiles.py``). The gate looks at a
neighbourhood of each pixel too: where the change is small, or where f has learned to see that
nothing is to be repaired, it leaves the pixels exactly as they are, whatever it does elsewhere.
What concerns the whole picture alone, its tone, is undone before (``tone.py``), and its sort
decides which weights the first and the last block have (``mixture.py``).
"""

from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.models.layers import PlainBlock
from make_it_real.models.mixture import SORTS, Reader, mixed, places
from make_it_real.models.tone import Tone, sample

# The image is split into squares of so many pixels a side, whose pixels become channels.
PATCH = 2


class Seen(NamedTuple):
    """What f has seen of whole images, and applies to all parts of them.

    curves: of tone, (N, 11), None for a model without. shares: of the deltas to the weights, as
    ``Reader`` tells them, (N, len(SORTS)) or (1, len(SORTS)), None for a model without deltas.
    """

    curves: Tensor | None
    shares: Tensor | None


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(PlainBlock(channels, torch.relu_) for _ in range(count)))


def _in_float32(conv: nn.Module, h: Tensor) -> Tensor:
    """Apply a layer in float32: what images and changes have in digits, bfloat16 would lose."""
    with torch.autocast(h.device.type, enabled=False):
        out: Tensor = conv(h.float())
        return out


class UNet(IGN):
    """f with the architecture "unet": images (N, 3, H, W) of any height and width from 1 on.

    A width for each of the resolutions 1/2, 1/4, …, with one residual block on the way down and
    one on the way up, and ``config.blocks`` of them at the lowest.
    """

    def __init__(self, config: IGNConfig) -> None:
        super().__init__(config)
        widths, pixels = config.widths, config.channels * PATCH**2
        self.first = nn.Conv2d(pixels, widths[0], 3, padding=1)
        counts = [1] * (len(widths) - 1) + [config.blocks]
        self.encoder = nn.ModuleList(map(_blocks, widths, counts))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(_blocks(width, 1) for width in widths[:-1])
        # The gate's logit is one channel more.
        out = pixels + config.learned_gate * PATCH**2
        self.last = nn.Conv2d(widths[0], out, 3, padding=1)
        if config.tone:
            self.tone = Tone()
        if config.mixed:
            # Deltas to the weights of the first block and of the last one.
            self.deltas = nn.ModuleDict({sort: _blocks(widths[0], 2) for sort in SORTS})
            for parameter in self.deltas.parameters():
                nn.init.zeros_(parameter)
            self.reader = Reader(config.channels)

    def forward(self, images: Tensor, sort: str = "") -> Tensor:
        """Compute f. In training, with a learned gate, its logits are a last channel, (N, 4, H, W).

        They are averaged over the square around each pixel, and read by ``split``. sort: what all
        images are taken for in training, one of ``SORTS``, or "" for the weights without deltas.
        """
        if self.training:
            shares = None
            if sort:
                shares = images.new_zeros(1, len(SORTS))
                shares[:, SORTS.index(sort)] = 1
            change, logits = self._layers(images, shares)
            proposed = images + change
            return proposed if logits is None else torch.cat([proposed, logits], 1)
        return self.with_change(images)[0]

    def split(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Split what ``forward`` gives in training: images (N, 3, H, W), logits (N, 1, H, W)."""
        return out[:, : self.config.channels], out[:, self.config.channels :]

    def with_change(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.within_with_change(images, self.see(*self.samples(images)))

    def samples(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Take what ``see`` looks at of whole images (N, 1 or 3, H, W), wherever they are."""
        return sample(images), places(images)

    def see(self, grid: Tensor, squares: Tensor) -> Seen:
        """See what is to be done to whole images, of which ``samples`` gives the grid and squares.

        grid: (N, 1 or 3, S, S). squares: (N, 1 or 3, T, T).
        """
        grid, squares = (each.expand(-1, self.config.channels, -1, -1) for each in (grid, squares))
        if not self.config.tone:
            return Seen(None, self._shares(squares))
        # The curves have more digits than bfloat16.
        with torch.autocast(grid.device.type, enabled=False):
            curves = self.tone.curves(grid)
        return Seen(curves, self._shares(self.tone.apply_curves(squares, curves)))

    def _shares(self, images: Tensor) -> Tensor | None:
        """Read the sorts of whole images, or of their places, which have themselves as places."""
        return self.reader(places(images)) if self.config.mixed else None

    def within(self, images: Tensor, seen: Seen) -> Tensor:
        """Compute f of images (N, C, H, W) that may be parts of those of which ``seen`` is."""
        return self.within_with_change(images, seen)[0]

    def within_with_change(self, images: Tensor, seen: Seen) -> tuple[Tensor, Tensor]:
        """Compute ``within``, and the change before the local gate, as ``with_change`` does."""
        toned = images
        if seen.curves is not None:
            toned = self.tone.apply_curves(images, seen.curves)
        change, logits = self._layers(toned, seen.shares)
        proposed = (toned + change).clamp(-1, 1)
        if logits is None:
            out = self._gated(toned, proposed)
        else:
            out = self.moved(toned, proposed - toned, self.opened(logits.sigmoid()))
        return out, proposed - images

    @property
    def stride(self) -> int:
        """Side of the squares of pixels that the lowest resolution has one place for."""
        return PATCH << (len(self.config.widths) - 1)

    @property
    def reach(self) -> int:
        """Distance in pixels from which a pixel can act on another one's result, at most."""
        counts = [2] * (len(self.config.widths) - 1) + [self.config.blocks]
        # Each block has two convolutions, which see one place more to every side.
        blocks = sum(2 * count * (PATCH << level) for level, count in enumerate(counts))
        # The first and the last convolution, and places of the lowest resolution are squares.
        return blocks + 2 * PATCH + self.stride - 1 + self.config.rest_radius

    def propose(self, images: Tensor) -> Tensor:
        return (images + self.change(images)).clamp(-1, 1)

    def change(self, images: Tensor) -> Tensor:
        """Compute r(x) for images (N, C, H, W): the same shape, float32, not bounded."""
        return self._layers(images, self._shares(images))[0]

    def _layers(self, images: Tensor, shares: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Compute r(x), and the logits (N, 1, H, W) of a learned gate, both in float32.

        The logits are averaged over the square around each pixel. shares: as in ``Seen``.
        """
        height, width = images.shape[2:]
        # Sides become multiples of the stride, written so that torch.export sees it; the edge is
        # repeated, and cut off at the end. A slice would bind an export to some of the sizes.
        last = self.stride - 1
        down = (height + last) // self.stride * self.stride - height
        right = (width + last) // self.stride * self.stride - width
        h = F.pad(images, (0, right, 0, down), mode="replicate")
        h = _in_float32(self.first, F.pixel_unshuffle(h, PATCH))
        if not self.training and torch.is_autocast_enabled(h.device.type):
            # Sums of float32 and bfloat16 would take a third of the time of all convolutions.
            h = h.to(torch.get_autocast_dtype(h.device.type))
        skips = []
        for level, (blocks, halve) in enumerate(zip(self.encoder, self.down, strict=False)):
            skips.append(blocks(h) if level or shares is None else self._mixed(0, h, shares))
            h = halve(skips[-1])
        h = self.encoder[-1](h)
        for up, blocks in zip(reversed(self.up), reversed(self.decoder), strict=True):
            h = up(h) + skips.pop()
            h = blocks(h) if skips or shares is None else self._mixed(1, h, shares)
        out = F.pad(F.pixel_shuffle(_in_float32(self.last, h), PATCH), (0, -right, 0, -down))
        if not self.config.learned_gate:
            return out, None
        change, logits = self.split(out)
        return change, self.around(logits)

    def _mixed(self, place: int, h: Tensor, shares: Tensor) -> Tensor:
        """Apply the first block (place 0) or the last one (1), with shares of its deltas."""
        first = (self.encoder, self.decoder)[place].get_submodule("0.0")
        deltas = [self.deltas.get_submodule(f"{sort}.{place}") for sort in SORTS]
        return mixed(cast(PlainBlock, first), cast(list[PlainBlock], deltas), h, shares)
