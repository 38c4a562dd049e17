"""Putting what f changed back into the picture at the picture's own size.

f works at its own, small size. What it changed there, f(x) − x, is enlarged and added to the
picture, so that whatever f left alone stays as sharp as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

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

    def reached(self, shape: tuple[int, ...], size: int) -> tuple[slice, slice]:
        """Rows and columns of a picture (H, W) that a change may reach: any."""
        return slice(0, shape[0]), slice(0, shape[1])

    def look(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """(v, u), (H, 1) and (W): where the picture's points at these rows and columns lie."""
        v, u = (
            scale * at + offset
            for scale, offset, at in zip(self.scale, self.offset, (rows, columns), strict=True)
        )
        return v[:, None], u

    def weight(self, v: Tensor, u: Tensor, size: int) -> Tensor:
        """1 at points of the model's image, 0 beyond it."""
        return ((v >= 0) & (v <= size) & (u >= 0) & (u <= size)).float()


class Place(Protocol):
    """Where a picture lies in the model's image: a ``Frame``, or a turned square."""

    def shown(self, shape: tuple[int, ...], size: int) -> tuple[slice, slice]: ...
    def reached(self, shape: tuple[int, ...], size: int) -> tuple[slice, slice]: ...
    def look(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]: ...
    def weight(self, v: Tensor, u: Tensor, size: int) -> Tensor: ...


def put_back(colour: Tensor, changes: Sequence[tuple[Tensor, Place]]) -> Tensor:
    """A picture (C, H, W) in [0, 1] plus changes (c, S, S) made in their places, in [0, 1].

    A change is enlarged bicubically, goes on to the picture's edges from where the picture is
    shown (padding has no part in it), and is nothing outside of the model's image. A change of
    one channel goes into all; a grey picture (one channel, or three equal ones) takes on the
    change's colour and keeps its own luminance.
    """
    channels = max(len(colour), *(len(change) for change, _ in changes))
    tinted = channels == 3 and bool((colour == colour[:1]).all())
    out = colour.expand(channels, -1, -1).clone()
    for change, place in changes:
        _add(out, change, place, tinted and len(change) == 3)
    return out


def _add(out: Tensor, change: Tensor, place: Place, tinted: bool) -> None:
    """Add one change to the picture (C, H, W), in place."""
    shape, size = tuple(out.shape[1:]), change.shape[-1]
    if tinted:
        change = change - torch.tensordot(torch.tensor(LUMA), change, 1)
    shown = place.shown(shape, size)
    change = change[:, shown[0], shown[1]]
    rows, columns = place.reached(shape, size)
    x_points = torch.arange(columns.start, columns.stop) + 0.5
    # In bands, since the sampling grid of a large photo would be larger than the photo.
    step = max(1, BAND_PIXELS // len(x_points))
    for top in range(rows.start, rows.stop, step):
        bottom = min(top + step, rows.stop)
        v, u = place.look(torch.arange(top, bottom) + 0.5, x_points)
        y, x = (
            (w - part.start) * 2 / length - 1
            for w, part, length in zip((v, u), shown, change.shape[1:], strict=True)
        )
        enlarged = F.grid_sample(
            change[None], torch.stack(torch.broadcast_tensors(x, y), -1)[None],
            mode="bicubic", padding_mode="border", align_corners=False,
        )[0]  # fmt: skip
        enlarged *= place.weight(v, u, size)
        band = out[:, top:bottom, columns]
        if tinted:
            # Near black and white there is room for pale colours only: cut to fit, channel by
            # channel, they would take the luminance along.
            room = torch.where(enlarged > 0, 1 - band, band)
            enlarged *= (room / enlarged.abs().clamp_min(1e-6)).amin(0).clamp(max=1)
        band += enlarged
        band.clamp_(0, 1)
