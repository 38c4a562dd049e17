"""Where a picture lies in the model's image: stretched over it, or by a square that may be tilted.

A model of faces knows them upright, at one place of its small image; in a photo they have any
place, size and tilt. A similarity (rotation, one scale, shift) maps one to the other. Points are
complex numbers x + iy, x to the right and y down, in pixels from the upper left corner, so that a
similarity is u = turn · p + shift.
"""

import cmath
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images.pixels import border, scaled

# Samples per pixel of the model's image, on each axis, where the picture has that many.
FINER = 4
# Width of the soft edge of a change, as a share of the square's side.
EDGE = 1 / 8


@dataclass(frozen=True)
class Similarity:
    """Where a picture lies in the model's image: u = turn · p + shift.

    |turn| is the scale: pixels of the model's image per pixel of the picture.
    """

    turn: complex
    shift: complex

    @classmethod
    def between(cls, points: Sequence[complex], targets: Sequence[complex]) -> "Similarity":
        """Fit the similarity that maps points to targets, by least squares.

        Solves the normal equations of Umeyama (1991), which in complex numbers are those of a
        line. Raises ValueError if all points coincide.
        """
        p, u = np.array(points, complex), np.array(targets, complex)
        spread = float(np.vdot(p - p.mean(), p - p.mean()).real)
        if not spread:
            raise ValueError("points that coincide have no direction")
        turn = complex(np.vdot(p - p.mean(), u - u.mean())) / spread
        return cls(turn, complex(u.mean()) - turn * complex(p.mean()))

    def back(self, u: complex) -> complex:
        """Map u back to its point of the picture."""
        return (u - self.shift) / self.turn

    def side(self, size: int) -> float:
        """Side of the model's image (size, size), in pixels of the picture."""
        return size / abs(self.turn)

    @property
    def tilt(self) -> float:
        """Tilt of the square in the picture, in degrees clockwise, −180 to 180."""
        return -math.degrees(cmath.phase(self.turn))

    def described(self, size: int) -> str:
        """Say where the square lies in the picture, for reports. size: of the model's image."""
        middle, side = self.back(complex(size, size) / 2), round(self.side(size))
        return (
            f"at {middle.real:.0f}, {middle.imag:.0f}, turned by {-round(self.tilt)}°, "
            f"resized from {side}×{side}"
        )

    def resized(self, size: int, to: int) -> "Similarity":
        """Describe the same square for a model's image of another size."""
        return Similarity(self.turn * to / size, self.shift * to / size)

    def shown(self, shape: tuple[int, ...], size: int) -> tuple[slice, slice]:
        """Rows and columns of the model's image that show the picture: all of them."""
        return slice(0, size), slice(0, size)

    def reached(self, shape: tuple[int, ...], size: int, margin: float = 0) -> tuple[slice, slice]:
        """Rows and columns of a picture (H, W) that the square covers, at least one of each.

        margin: further pixels of the picture on every side.
        """
        corners = [self.back(u) for u in (0, size, size * 1j, size * (1 + 1j))]
        edges = []
        for ends, length in zip(
            ([p.imag for p in corners], [p.real for p in corners]), shape, strict=True
        ):
            start = min(max(math.floor(min(ends) - margin), 0), length - 1)
            stop = min(max(math.ceil(max(ends) + margin), start + 1), length)
            edges.append(slice(start, stop))
        return edges[0], edges[1]

    def look(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Map rows (H) and columns (W) of the picture to (v, u), each (H, W)."""
        y, x = rows[:, None], columns
        a, b = self.turn.real, self.turn.imag
        return b * x + a * y + self.shift.imag, a * x - b * y + self.shift.real

    def weight(self, v: Tensor, u: Tensor, size: int) -> Tensor:
        """Weight of a change at (v, u): 1 inside, 0 outside, with a soft edge between them."""
        inner = torch.minimum(torch.minimum(u, size - u), torch.minimum(v, size - v))
        share = (inner / (EDGE * size)).clamp(0, 1)
        # Smoothstep, since the eye sees the kinks of a linear edge.
        return share * share * (3 - 2 * share)


def cut_out(picture: Tensor, place: Similarity, size: int) -> Tensor:
    """Cut a square out of a picture (C, H, W), upright and resampled to (C, size, size).

    Resampling is antialiased. Beyond the picture's edges its border pixels are repeated.
    """
    # Less 0.01, since a fitted scale of 1 is off in its last digits.
    finer = min(max(math.ceil(1 / abs(place.turn) - 0.01), 1), FINER)
    # Distance between samples, in pixels of the picture.
    step = max(1.0, 1 / abs(place.turn) / finer)
    rows, columns = place.reached(tuple(picture.shape[1:]), size, 4 * step)
    part = picture[:, rows, columns]
    height, width = part.shape[1:]
    part = scaled(part, max(1, round(height / step)), max(1, round(width / step)))
    u = (torch.arange(size * finer, dtype=torch.float64) + 0.5) / finer
    inverse = Similarity(1 / place.turn, -place.shift / place.turn)
    y, x = inverse.look(u, u)
    grid = [(x - columns.start) * 2 / width - 1, (y - rows.start) * 2 / height - 1]
    sampled = F.grid_sample(
        part[None], torch.stack(grid, -1).to(part.dtype)[None],
        mode="bicubic", padding_mode="border", align_corners=False,
    )[0]  # fmt: skip
    return scaled(sampled, size, size)


@dataclass(frozen=True)
class Frame:
    """Where a picture lies in the model's image: u = scale · x + offset for each axis (y, x).

    x goes from 0 to the picture's height or width, u from 0 to the model's size, both in pixels.
    Where the picture is cropped, u goes beyond that range.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    def rescaled(self, shape: tuple[int, ...], to: tuple[int, ...]) -> "Frame":
        """The same place, for a picture of shape ``to`` instead of one of ``shape`` (H, W)."""
        y, x = (scale * a / b for scale, a, b in zip(self.scale, shape, to, strict=True))
        return Frame((y, x), self.offset)

    def shown(self, shape: tuple[int, ...], size: int) -> tuple[slice, slice]:
        """Rows and columns of the model's image (size, size) that show the picture (H, W)."""
        edges = []
        for scale, offset, length in zip(self.scale, self.offset, shape, strict=True):
            start = min(max(round(offset), 0), size - 1)
            end = min(max(round(offset + scale * length), start + 1), size)
            edges.append(slice(start, end))
        return edges[0], edges[1]

    def reached(self, shape: tuple[int, ...], size: int) -> tuple[slice, slice]:
        """Rows and columns of a picture (H, W) that a change may alter: all of them."""
        return slice(0, shape[0]), slice(0, shape[1])

    def look(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Map rows (H) and columns (W) of the picture to (v, u), (H, 1) and (W)."""
        v, u = (
            scale * at + offset
            for scale, offset, at in zip(self.scale, self.offset, (rows, columns), strict=True)
        )
        return v[:, None], u

    def weight(self, v: Tensor, u: Tensor, size: int) -> Tensor:
        """Weight of a change at (v, u): 1 inside the model's image, 0 outside."""
        return ((v >= 0) & (v <= size) & (u >= 0) & (u <= size)).float()


class Place(Protocol):
    """Where a picture lies in the model's image: a ``Frame`` or a ``Similarity``."""

    def shown(self, shape: tuple[int, ...], size: int) -> tuple[slice, slice]: ...
    def reached(self, shape: tuple[int, ...], size: int) -> tuple[slice, slice]: ...
    def look(self, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]: ...
    def weight(self, v: Tensor, u: Tensor, size: int) -> Tensor: ...


def resize(
    image: Tensor, size: int, how: str, background: float | None, done: list[str]
) -> tuple[Tensor, Frame]:
    """Resize (C, H, W) in [−1, 1] to (C, size, size), and say where it lies there.

    Where it is not square: stretched, cropped (``how``), or else padded with the background,
    where that is None with the median of its border. What was done is added to ``done``.
    """
    _, h, w = image.shape
    if (h, w) == (size, size):
        return image, Frame()
    top = left = 0
    if how == "crop" and h != w:
        side = min(h, w)
        top, left = (h - side) // 2, (w - side) // 2
        image = image[:, top : top + side, left : left + side]
        done.append("cropped to the central square")
    _, h, w = image.shape
    ratio = size / max(h, w)
    if how == "stretch":
        new_h, new_w = size, size
    else:
        new_h, new_w = max(1, round(h * ratio)), max(1, round(w * ratio))
    done.append(f"resized from {w}×{h}")
    image = scaled(image, new_h, new_w).clamp(-1, 1)
    above, before = (size - new_h) // 2, (size - new_w) // 2
    if (new_h, new_w) != (size, size):
        level = float(border(image[None]).median()) if background is None else background
        canvas = image.new_full((len(image), size, size), level)
        canvas[:, above : above + new_h, before : before + new_w] = image
        image = canvas
        done.append("padded")
    scale = (new_h / h, new_w / w)
    return image, Frame(scale, (above - scale[0] * top, before - scale[1] * left))
