"""f of any size over a large image: in overlapping tiles, with the memory that one of them takes.

What f makes of a pixel depends on its surroundings alone. So f is shown tiles with a margin, of
whose results the margins are dropped, and the rest is the same as that of the whole image.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# Images up to so many pixels are not cut.
WHOLE_PIXELS = 1_500_000
# Side of the tiles of larger ones, without the margin, in pixels.
SIDE = 1024
# Pixels that f sees beyond a tile. It can look further (``UNet.reach``), but what lies there moves
# no result by as much as an 8-bit level.
MARGIN = 48


class Span(NamedTuple):
    """A part of an image's rows or columns.

    shown: what f is shown. kept: those of the image whose results are kept. within: the same,
    counted from the first one shown.
    """

    shown: slice
    kept: slice
    within: slice


def spans(length: int, side: int, margin: int, stride: int) -> list[Span]:
    """Cut a length into spans of about equal size, at most ``side``, rounded up to the stride.

    What is shown begins at a multiple of the stride, as f's own squares of pixels do.
    """
    margin = -(-margin // stride) * stride
    step = -(-length // (-(-length // side)) // stride) * stride
    parts = []
    for start in range(0, length, step):
        stop, first = min(start + step, length), max(0, start - margin)
        shown = slice(first, min(stop + margin, length))
        parts.append(Span(shown, slice(start, stop), slice(start - first, stop - first)))
    return parts


def cut(
    height: int, width: int, side: int, margin: int, stride: int
) -> Iterator[tuple[Span, Span]]:
    """Yield the tiles of an image, row by row: the rows and the columns of each."""
    for rows in spans(height, side, margin, stride):
        for columns in spans(width, side, margin, stride):
            yield rows, columns


def over(
    work: Callable[[Tensor], tuple[Tensor, ...]],
    images: Tensor,
    *,
    stride: int,
    margin: int = MARGIN,
    side: int | None = None,
) -> tuple[Tensor, ...]:
    """Compute work(images) of images (N, C, H, W) tile by tile: each result (N, c, H, W).

    work: maps images to images of the same size, on any device; the results are on the device of
    ``images``. side: of the tiles, in pixels; None to take images whole if they are small enough.
    """
    n, _, height, width = images.shape
    if side is None:
        side = max(height, width) if height * width <= WHOLE_PIXELS else SIDE
    out: list[Tensor] = []
    for rows, columns in cut(height, width, side, margin, stride):
        results = work(images[..., rows.shown, columns.shown])
        if not out:
            shapes = [(n, part.shape[1], height, width) for part in results]
            out = [images.new_empty(shape, dtype=torch.float32) for shape in shapes]
        for whole, part in zip(out, results, strict=True):
            whole[..., rows.kept, columns.kept] = part[..., rows.within, columns.within]
    return tuple(out)
