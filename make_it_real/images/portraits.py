"""Faces in drawings: the paper made white, and a face found by the detector or by its strokes.

A detector of faces in photographs finds shaded portraits, and few line drawings. So a small network
that was trained on drawn faces, too, looks at the drawing at every place and size.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images.alignment import Similarity
from make_it_real.images.face_check import SIDE, log_odds
from make_it_real.images.faces import LANDMARKS, Face, search
from make_it_real.images.strokes import find_ink, local_median, reduced

# Longer side of the copy that the paper's brightness is taken from. What is dark and narrower than
# a share of it lies on the paper; dark hair is, the edge of a shadow is not.
COARSE_SIDE, WIDE = 48, 0.3
# Share of a ruled line's pixels that may not show it. Dark hair crosses three quarters of a
# portrait.
ACROSS = 0.15
# Least and largest side of a face's square, as shares of the shorter side of what is drawn, and the
# step from one to the next: of a portrait down to the chest, the head is half.
LEAST, LARGEST, STEP = 0.5, 1.9, 1.2
# Places that are looked at are so many pixels of the network's apart.
STRIDE = 4
# Least log-odds of a face: 60 of 60 pencil portraits have more, and 2 of 264 drawings of other
# things. And the difference by which a neighbour counts less by a factor of e.
SURE, WARMTH = 11.0, 2.0


@dataclass(frozen=True)
class Drawing:
    """A drawing on white paper, or a painting on its own ground.

    colour: (C, H, W) in [0, 1], what was drawn. ink: (H, W) in [0, 1], its strokes.
    inverted: dark and bright were swapped. scale: pixels of this copy per pixel of the picture.
    """

    colour: Tensor
    ink: Tensor
    inverted: bool
    scale: float

    def within(self, place: Similarity) -> Similarity:
        """Where this copy lies, by where the picture does."""
        return Similarity(place.turn / self.scale, place.shift)

    def turned(self, quarters: int) -> "Drawing":
        """Turn it counterclockwise by so many right angles."""
        colour, ink = (
            torch.rot90(planes, quarters, (-2, -1)) for planes in (self.colour, self.ink)
        )
        return replace(self, colour=colour, ink=ink)

    def back(self, points: tuple[complex, ...], quarters: int) -> tuple[complex, ...]:
        """Where points of a picture, turned so, are in the picture itself."""
        # The middle stays, seen from which points turn clockwise.
        height, width = (side / self.scale for side in self.ink.shape)
        here, there = complex(width, height) / 2, complex(height, width) / 2
        middle = there if quarters % 2 else here
        return tuple(here + (point - middle) * 1j**quarters for point in points)


def on_white(
    colour: Tensor, invert: bool | None = None, *, painted: bool = False
) -> Drawing | None:
    """Lay what is drawn in a picture (C, H, W) in [0, 1] on white; None where nothing stands out.

    Light, shadow, the paper's colour, and ruling along rows and columns go away. What is
    ``painted`` keeps its colours, and its ground. invert: swap dark and bright; None to do so where
    strokes are brighter than what they are drawn on.
    """
    longer = max(colour.shape[1:])
    colour = reduced(colour) if painted else _unruled(reduced(colour))
    ink = find_ink(colour)
    if ink is None:
        return None
    inverted = ink.bright and not painted if invert is None else invert
    if inverted:
        colour = 1 - colour
    if not painted:
        colour = (colour / _paper(colour).clamp_min(0.05)).clamp(0, 1)
    return Drawing(colour, ink.amount, inverted, max(colour.shape[1:]) / longer)


def _paper(colour: Tensor) -> Tensor:
    """The paper's brightness in each channel (C, H, W): a closing, which fills what is dark."""
    height, width = colour.shape[1:]
    ratio = min(1, COARSE_SIDE / max(height, width))
    size = [max(1, round(length * ratio)) for length in (height, width)]
    level = F.interpolate(colour[None], size, mode="area")
    side = 2 * int(WIDE * max(size) / 2) + 1
    for sign in (1, -1):
        level = sign * F.max_pool2d(sign * level, side, stride=1, padding=side // 2)
    level = F.avg_pool2d(F.pad(level, (2, 2, 2, 2), mode="replicate"), 5, stride=1)
    return F.interpolate(level, (height, width), mode="bilinear")[0]


def _unruled(colour: Tensor) -> Tensor:
    """Take lines that cross all of a picture (C, H, W) away, along rows and columns.

    A line is darker, or brighter, than what is around it but for ``ACROSS`` of its pixels at most.
    """
    paper = local_median(colour)
    departure = colour - paper
    for axis in (2, 1):
        count = departure.shape[axis]
        few = 1 + int(ACROSS * count)
        low, high = (
            departure.kthvalue(place, axis, keepdim=True).values for place in (few, count + 1 - few)
        )
        departure = departure - low.clamp_min(0) - high.clamp_max(0)
    return (paper + departure).clamp(0, 1)


def search_drawing(drawing: Drawing, colour: Tensor) -> tuple[list[Face], int] | None:
    """Find the faces in a drawing, the largest first, and count rejected ones, as ``search`` does.

    colour: the picture (C, H, W) in [0, 1] that it is of; faces are in its pixels. Where the
    detector finds none, or is not there, one face may be found by its strokes. Returns None if none
    is found, and there is no detector.
    """
    clean = search(drawing.colour)
    if clean and clean[0]:
        ratio = 1 / drawing.scale
        return [Face(tuple(p * ratio for p in f.points), f.score) for f in clean[0]], clean[1]
    both = search(colour)
    if both and both[0]:
        return both
    face = locate(drawing)
    return ([face], 0) if face else both


def locate(drawing: Drawing) -> Face | None:
    """Find the face in a drawing by its strokes, in pixels of the picture.

    It is upright, or lies on a side or upside down. Of the ways to turn the drawing that one
    counts with the likeliest place. Its neighbours are as likely, so their mean is taken.
    """
    found = []
    for quarters in range(4):
        squares, odds = looks(drawing.turned(quarters))
        if len(odds):
            found.append((float(odds.max()), quarters, squares, odds))
    if not found:
        return None
    most, quarters, squares, odds = max(found, key=lambda look: look[0])
    if most < SURE:
        return None
    x, y, side = _middle(squares, odds)
    corner = complex(x - side / 2, y - side / 2)
    points = tuple((corner + side * point) / drawing.scale for point in LANDMARKS)
    return Face(drawing.back(points, quarters), most)


def looks(drawing: Drawing, check: Callable[[Tensor], Tensor] = log_odds) -> tuple[Tensor, Tensor]:
    """Look for a face at every place and size: squares (N, 3), and log-odds of a face there, (N,).

    A square is x and y of its middle, and its side, in pixels of the drawing. check: computes the
    log-odds, as ``log_odds`` does.
    """
    strokes = drawing.ink > 0.3
    squares, odds = [torch.empty(0, 3)], [torch.empty(0)]
    if not strokes.any():
        return squares[0], odds[0]
    ends = [strokes.any(1 - axis).nonzero().flatten()[[0, -1]].tolist() for axis in (0, 1)]
    shorter = min(last + 1 - first for first, last in ends)
    image = drawing.colour.mean(0)[None, None] * 2 - 1
    # A face of fewer pixels is none: enlarging a thin line to a face's size takes any memory.
    side, reach = max(LEAST * shorter, SIDE / 2), SIDE // 2
    while side <= LARGEST * shorter:
        ratio = SIDE / side
        size = [max(1, round(length * ratio)) for length in image.shape[2:]]
        small = F.interpolate(image, size, mode="bilinear", antialias=True)
        # Half of a face's square may lie outside of what is drawn.
        small = F.pad(small, (reach,) * 4, mode="replicate")
        (top, bottom), (left, right) = (
            (int(first * ratio), ceil((last + 1) * ratio) + 2 * reach) for first, last in ends
        )
        windows = (
            small[0, 0, top:bottom, left:right].unfold(0, SIDE, STRIDE).unfold(1, SIDE, STRIDE)
        )
        rows, columns = (torch.arange(count) * STRIDE for count in windows.shape[:2])
        y, x = torch.meshgrid((rows + top) / ratio, (columns + left) / ratio, indexing="ij")
        squares.append(torch.stack([x, y, torch.full_like(x, side)], -1).flatten(0, 1))
        odds.append(check(windows.reshape(-1, 1, SIDE, SIDE)))
        side *= STEP
    return torch.cat(squares), torch.cat(odds)


def _middle(squares: Tensor, odds: Tensor) -> list[float]:
    """Take the mean of the squares (N, 3) around the likeliest, by how likely they are."""
    best = squares[odds.argmax()]
    near = (squares[:, :2] - best[:2]).norm(dim=1) < best[2] / 3
    weights = (odds / WARMTH).masked_fill(~near, -torch.inf).softmax(0)
    x, y, _ = (weights @ squares).tolist()
    return [x, y, float((weights @ squares[:, 2].log()).exp())]
