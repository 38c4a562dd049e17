"""Weights of their own for noisy pictures, mixed in as far as a picture is noisy.

To take noise away is unlike all else that photographs need, and layers that learn both do each less
well. So the layers that see the most pixels have a second set of weights. A small network looks at
some places of the whole picture, tells how likely it is noisy, and the two sets are averaged with
that share. Layers are linear in their weights, so a picture has one set in the end, and the mix
costs no time. This is B. Yang, G. Bender, Q. V. Le, J. Ngiam, *CondConv: Conditionally
Parameterized Convolutions for Efficient Inference*, NeurIPS 2019, with one mix for all layers.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.models.layers import PlainBlock

# The places are squares of so many pixels a side, so many of them each way.
SIDE = 32
GRID = 6
WIDTHS = (16, 24, 32)
# Noise is in the fine detail, which is shown so many times as strong, without the brightness.
DETAIL = 8


class NoiseReader(nn.Module):
    """Tells noisy pictures from others: (N, C, GRID · SIDE, GRID · SIDE) → (N,) in [0, 1].

    The input is what ``places`` takes of pictures.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, a, 3), nn.ReLU(),
            nn.Conv2d(a, b, 3, stride=2), nn.ReLU(), nn.Conv2d(b, c, 3), nn.ReLU(),
        )  # fmt: skip
        self.last = nn.Linear(c, 1)

    def forward(self, places: Tensor) -> Tensor:
        return self.logits(places).sigmoid()

    def logits(self, places: Tensor) -> Tensor:
        """Compute the logits (N,) of what ``forward`` tells, for training."""
        n, c = places.shape[:2]
        # No place sees its neighbour in the grid, which may lie anywhere in the picture.
        squares = places.unflatten(2, (GRID, SIDE)).unflatten(4, (GRID, SIDE))
        squares = squares.permute(0, 2, 4, 1, 3, 5).reshape(-1, c, SIDE, SIDE)
        # bfloat16 would lose what tells mild noise from none.
        with torch.autocast(places.device.type, enabled=False):
            squares = squares.float()
            detail = squares - F.avg_pool2d(squares, 3, 1, 1, count_include_pad=False)
            seen = self.layers(DETAIL * detail).mean((2, 3)).unflatten(0, (n, -1)).mean(1)
            out: Tensor = self.last(seen)[:, 0]
        return out


def places(images: Tensor) -> Tensor:
    """Take the places of images (N, C, H, W) of any size: (N, C, GRID · SIDE, GRID · SIDE).

    They are spread evenly. Of images with shorter sides they overlap, or repeat the edge.
    """
    for axis in (2, 3):
        length = images.shape[axis]
        number = torch.arange(GRID, device=images.device)
        first = (number * (length - SIDE)).clamp_min(0) // (GRID - 1)
        at = first[:, None] + torch.arange(SIDE, device=images.device)
        images = images.index_select(axis, at.flatten().clamp_max(length - 1))
    return images


def mixed(first: PlainBlock, second: PlainBlock, h: Tensor, share: Tensor) -> Tensor:
    """Apply the mix of two blocks to h (N, C, H, W): the same shape.

    share: of the second block, (N,) in [0, 1], or (1,) for all images alike.
    """
    r = first.act(_mixed(first.conv1, second.conv1, h, share))
    return h + _mixed(first.conv2, second.conv2, r, share)


def _mixed(first: nn.Conv2d, second: nn.Conv2d, h: Tensor, share: Tensor) -> Tensor:
    # What is compiled or exported takes any number of images, and computes both.
    if not torch.compiler.is_compiling() and len(share) == 1:
        assert first.bias is not None
        assert second.bias is not None
        weight = first.weight.lerp(second.weight, share[0])
        return F.conv2d(h, weight, first.bias.lerp(second.bias, share[0]), padding=1)
    one: Tensor = first(h)
    return one.lerp(second(h), share.to(one.dtype)[:, None, None, None])
