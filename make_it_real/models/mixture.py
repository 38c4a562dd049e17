"""Weights of their own for some sorts of pictures, mixed in as far as a picture is of a sort.

To take noise away, to undo compression and to sharpen are unlike each other, and layers that learn
them all do each less well; and compressed noise is unlike either. So for each sort of pictures
there is a delta to the weights of the layers that see the most pixels. A small network looks at
some places of the whole picture and tells of which sort it is, and that share of the delta is
added. A picture has one set of weights in the end, so the mix costs no time. This is B. Yang,
G. Bender, Q. V. Le, J. Ngiam, *CondConv: Conditionally Parameterized Convolutions for Efficient
Inference*, NeurIPS 2019, with one mix for all layers.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.models.layers import PlainBlock

# The sorts of pictures that have weights of their own. What is enlarged was small before; what is
# sent was noisy and then compressed, as many a photograph of a phone is; what is of the web was
# blurred or enlarged and then compressed.
SORTS = ("noisy", "compressed", "blurred", "enlarged", "sent", "web")
# The places are squares of so many pixels a side, so many of them each way.
SIDE = 32
GRID = 6
WIDTHS = (16, 24, 32)
# They are told by the fine detail, which is shown so many times as strong, without the brightness.
DETAIL = 8


class Reader(nn.Module):
    """Tells the sorts of pictures: (N, C, GRID · SIDE, GRID · SIDE) → (N, len(SORTS)).

    The input is what ``places`` takes of pictures. The output is how likely a picture is of each
    sort, of 1 at most in all: the rest is the probability that it is of none.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, a, 3), nn.ReLU(),
            nn.Conv2d(a, b, 3, stride=2), nn.ReLU(), nn.Conv2d(b, c, 3), nn.ReLU(),
        )  # fmt: skip
        self.hidden, self.last = nn.Linear(2 * c, c), nn.Linear(c, 1 + len(SORTS))

    def forward(self, places: Tensor) -> Tensor:
        return self.logits(places).softmax(1)[:, 1:]

    def logits(self, places: Tensor) -> Tensor:
        """Compute the logits (N, 1 + len(SORTS)) of no sort and of each, for training."""
        n, c = places.shape[:2]
        # No place sees its neighbour in the grid, which may lie anywhere in the picture.
        squares = places.unflatten(2, (GRID, SIDE)).unflatten(4, (GRID, SIDE))
        squares = squares.permute(0, 2, 4, 1, 3, 5).reshape(-1, c, SIDE, SIDE)
        # bfloat16 would lose what tells mild damage from none.
        with torch.autocast(places.device.type, enabled=False):
            squares = squares.float()
            detail = squares - F.avg_pool2d(squares, 3, 1, 1, count_include_pad=False)
            seen = self.layers(DETAIL * detail)
            # Noise is everywhere, and a scratch is not: its place tells of it by its peak.
            both = torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], 1)
            seen = both.unflatten(0, (n, -1)).mean(1)
            out: Tensor = self.last(F.relu(self.hidden(seen)))
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


def mixed(first: PlainBlock, deltas: Sequence[PlainBlock], h: Tensor, shares: Tensor) -> Tensor:
    """Apply a block with its weights plus shares of deltas to h (N, C, H, W): the same shape.

    shares: of the deltas, (N, len(SORTS)), or (1, len(SORTS)) for all images alike.
    """
    r = first.act(_mixed([first.conv1, *(delta.conv1 for delta in deltas)], h, shares))
    return h + _mixed([first.conv2, *(delta.conv2 for delta in deltas)], r, shares)


def _mixed(convs: Sequence[nn.Conv2d], h: Tensor, shares: Tensor) -> Tensor:
    if shares.shape[0] == 1:
        weight = _sum([conv.weight for conv in convs], shares[0])
        bias = _sum([conv.get_parameter("bias") for conv in convs], shares[0])
        return F.conv2d(h, weight, bias, padding=1)
    return _sum([conv(h) for conv in convs], shares[:, :, None, None, None].unbind(1))


def _sum(tensors: Sequence[Tensor], shares: Iterable[Tensor]) -> Tensor:
    """Add shares of all tensors but the first to the first."""
    total, *others = tensors
    for tensor, share in zip(others, shares, strict=True):
        total = total + tensor * share.to(tensor.dtype)
    return total
