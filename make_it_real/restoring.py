"""Putting what f changed back into the picture at the picture's own size.

f works at its own, small size. What it changed there, f(x) − x, is enlarged and added to the
picture, so that whatever f left alone stays as sharp as it was.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

# Rec. 601 luma, as Pillow's convert("L") weighs the channels.
LUMA = (0.299, 0.587, 0.114)
BAND_PIXELS = 1_000_000


@dataclass(frozen=True)
class Frame:
    """Where a picture lies in the model's image: u = scale · x + offset for each axis (y, x).

    x runs over the picture's edges (0 to its height or width), u over the model's (0 to its
    size), both in pixels; where it is cropped, u leaves that range.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def shown(self, shape: tuple[int, ...], size: int) -> tuple[slice, slice]:
        """Rows and columns of the model's image (size, size) that show a picture (H, W)."""
        edges = []
        for scale, offset, length in zip(self.scale, self.offset, shape, strict=True):
            start = min(max(round(offset), 0), size - 1)
            end = min(max(round(offset + scale * length), start + 1), size)
            edges.append(slice(start, end))
        return edges[0], edges[1]


def put_back(colour: Tensor, change: Tensor, frame: Frame) -> Tensor:
    """A picture (C, H, W) in [0, 1] plus a change (c, S, S) made in its frame, in [0, 1].

    The change is enlarged bicubically, goes on to the picture's edges from where the picture is
    shown (padding has no part in it), and is nothing outside of the model's image. A change of
    one channel goes into all; a grey picture (one channel, or three equal ones) takes on the
    change's colour and keeps its own luminance.
    """
    _, height, width = colour.shape
    size = change.shape[-1]
    tinted = len(change) == 3 and bool((colour == colour[:1]).all())
    if tinted:
        luma = torch.tensordot(torch.tensor(LUMA), change, 1)
        change, colour = change - luma, colour[:1].expand(3, -1, -1)
    out = torch.empty(max(len(colour), len(change)), height, width)
    u, v = (
        scale * (torch.arange(length) + 0.5) + offset
        for scale, offset, length in zip(frame.scale, frame.offset, (height, width), strict=True)
    )
    inside_u, inside_v = ((w >= 0) & (w <= size) for w in (u, v))
    shown = frame.shown((height, width), size)
    change = change[:, shown[0], shown[1]]
    y_grid, x_grid = (
        (w - part.start) * 2 / length - 1
        for w, part, length in zip((u, v), shown, change.shape[1:], strict=True)
    )
    # In bands, since the sampling grid of a large photo would be larger than the photo.
    rows = max(1, BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = slice(top, top + rows)
        y, x = torch.meshgrid(y_grid[band], x_grid, indexing="ij")
        enlarged = F.grid_sample(
            change[None], torch.stack([x, y], -1)[None],
            mode="bicubic", padding_mode="border", align_corners=False,
        )[0]  # fmt: skip
        enlarged *= inside_u[band, None] & inside_v
        if tinted:
            # Near black and white there is room for pale colours only: cut to fit, channel by
            # channel, they would take the luminance along.
            room = torch.where(enlarged > 0, 1 - colour[:, band], colour[:, band])
            enlarged *= (room / enlarged.abs().clamp_min(1e-6)).amin(0).clamp(max=1)
        out[:, band] = (colour[:, band] + enlarged).clamp(0, 1)
    return out
