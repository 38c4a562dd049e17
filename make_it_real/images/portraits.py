"""Faces in drawings: the paper made white, and a face found by the detector or by its strokes.

A detector of faces in photographs finds shaded portraits, and few line drawings. What a drawn face
has for certain is dark eyes, brows and a mouth in their places, with bare skin between them, and a
dark outline or hair around it. Two templates of these are compared with the drawing at every place
and size, by normalised cross-correlation, which a thick pen and a faint pencil pass alike.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images.alignment import Similarity, cut_out
from make_it_real.images.face_check import SIDE, log_odds
from make_it_real.images.faces import LANDMARKS, Face, search
from make_it_real.images.pixels import to_channels
from make_it_real.images.strokes import find_ink, local_median, reduced

# Longer side of the copy that the paper's brightness is taken from. What is dark and narrower than
# a share of it lies on the paper; dark hair is, the edge of a shadow is not.
COARSE_SIDE, WIDE = 48, 0.3
# Side of the templates, in pixels, and step from one size of face to the next.
TEMPLATE, STEP = 16, 1.1
# Least and largest side of a face's square, as shares of the shorter side of what is drawn: of a
# portrait down to the chest, the head is half; of a bare head, the width is 0.66 of the square.
LEAST, LARGEST = 0.45, 1.8
# What varies by less, in shares of full black, has no features.
FAINT = 0.02
# Least correlation of a place that is looked at, and least log-odds that it shows a face. With
# these a face is found in 60 of 60 pencil portraits, and in 1 of 264 drawings of other things.
ALIKE, SURE = 0.38, 9.0
# The square that is most alike is smaller than the aligned one by so much, about this point of it.
SMALLER, ABOUT = 0.93, 0.5 + 0.64j
# The first template, in percent of black: the mean of 400 CelebA validation images as a pencil
# would draw them (grey over its blur of 3 pixels), each with its mirror image. Left half, without
# the two outermost columns, where there is hair or none.
MEAN = (
    (14, 17, 19, 20, 21, 21),
    (18, 22, 24, 26, 28, 29),
    (21, 24, 26, 29, 31, 32),
    (22, 25, 25, 22, 18, 17),
    (23, 26, 20, 11, 7, 7),
    (26, 26, 15, 8, 5, 4),
    (29, 25, 14, 8, 5, 3),
    (29, 23, 18, 23, 28, 9),
    (25, 19, 21, 40, 31, 11),
    (23, 18, 7, 4, 5, 6),
    (21, 19, 8, 2, 6, 9),
    (22, 21, 11, 6, 8, 16),
    (23, 23, 13, 10, 20, 18),
    (23, 25, 18, 8, 10, 12),
    (21, 25, 26, 17, 6, 6),
    (21, 22, 22, 25, 18, 10),
)
# The second: features as blobs. Centre, height and width (standard deviations) as shares of the
# square's side, and weight. Brows lie above the eyes; a nose may be drawn or not.
BROW, NOSE, MOUTH = 0.075j, 0.5 + 0.665j, 0.5 + 0.79j
FEATURES = (
    *((eye, 0.03, 0.055, 1.0) for eye in LANDMARKS[:2]),
    *((eye - BROW, 0.02, 0.07, 0.5) for eye in LANDMARKS[:2]),
    (NOSE, 0.022, 0.045, 0.5),
    (MOUTH, 0.025, 0.09, 1.0),
)
# The part of a face that they are compared in, an ellipse: centre, half its height and width.
INSIDE = (0.5 + 0.63j, 0.33, 0.28)


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
    """Take lines that cross all of a picture (C, H, W) away, along rows and columns."""
    paper = local_median(colour)
    departure = colour - paper
    for axis in (2, 1):
        departure = departure - departure.median(axis, keepdim=True).values
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

    It is upright, or lies on a side or upside down. Writing, plans and drawings of other things are
    like a face in some places, too. So only those places count which ``face_check`` is sure of; of
    the ways to turn it that one with the surest, and of its places the one most alike.
    """
    sure: list[tuple[float, int, Face]] = []
    for quarters in range(4):
        turned = drawing.turned(quarters)
        if faces := candidates(turned):
            odds = log_odds(torch.stack([face_of(turned, face) for face in faces])).tolist()
            both = zip(odds, faces, strict=True)
            sure += [(one, quarters, face) for one, face in both if one >= SURE]
    if not sure:
        return None
    _, way, _ = max(sure, key=lambda look: look[0])
    best = max((face for _, quarters, face in sure if quarters == way), key=lambda face: face.score)
    return replace(best, points=drawing.back(best.points, way))


def face_of(drawing: Drawing, face: Face) -> Tensor:
    """Cut a face out of a drawing, aligned, as ``face_check`` sees it: (C, S, S) in [−1, 1]."""
    return cut_out(drawing.colour, drawing.within(face.place(SIDE)), SIDE) * 2 - 1


def candidates(drawing: Drawing) -> list[Face]:
    """Find the place of each size that is most alike a face, where one is, as ``locate`` does.

    Their scores are correlations.
    """
    strokes = drawing.ink > 0.3
    if not strokes.any():
        return []
    rows, columns = (strokes.any(axis).nonzero() for axis in (1, 0))
    top, left = int(rows.min()), int(columns.min())
    dark = 1 - to_channels(drawing.colour, 1)[0]
    part = dark[top : int(rows.max()) + 1, left : int(columns.max()) + 1]
    shorter, templates = min(part.shape), (_mean_face(), _features())
    found, side = [], LEAST * shorter
    while side <= LARGEST * shorter:
        score, corner = _correlate(part, side, templates)
        if score > ALIKE:
            corner += complex(left, top) + side * ABOUT * (1 - 1 / SMALLER)
            points = [(corner + side / SMALLER * p) / drawing.scale for p in LANDMARKS]
            found.append(Face(tuple(points), score))
        side *= STEP
    return found


def _correlate(
    dark: Tensor, side: float, templates: tuple[tuple[Tensor, Tensor], ...]
) -> tuple[float, complex]:
    """Compare darkness (H, W) with a face of a side: the best score, and its upper left corner."""
    ratio, reach = TEMPLATE / side, TEMPLATE // 2
    size = [max(1, round(length * ratio)) for length in dark.shape]
    small = F.interpolate(dark[None, None], size, mode="bilinear", antialias=True)
    # Part of a face's square may lie outside of what is drawn.
    small = F.pad(small, (reach,) * 4)
    scores = torch.zeros(())
    for template, inside in templates:
        count = inside.sum()
        total, squares = F.conv2d(small, inside), F.conv2d(small.square(), inside)
        spread = (squares - total.square() / count).clamp_min(0) + FAINT**2 * count
        scores = scores + F.conv2d(small, template)[0, 0] / spread[0, 0].sqrt() / len(templates)
    row, column = divmod(int(scores.argmax()), scores.shape[1])
    y, x = (
        (at - reach) * length / new
        for at, length, new in zip((row, column), dark.shape, size, strict=True)
    )
    return float(scores.max()), complex(x, y)


def _mean_face() -> tuple[Tensor, Tensor]:
    """The mean face as a template, and the part of it that is compared, (1, 1, S, S) each."""
    half = torch.tensor(MEAN) / 100
    margin = TEMPLATE // 2 - half.shape[1]
    inside = F.pad(torch.ones(TEMPLATE, 2 * half.shape[1]), (margin, margin))
    return _normalised(F.pad(torch.cat([half, half.flip(1)], 1), (margin, margin)), inside)


def _features() -> tuple[Tensor, Tensor]:
    """The features of a face as a template, and the part that is compared, (1, 1, S, S) each."""
    dark = torch.zeros(TEMPLATE, TEMPLATE)
    for centre, height, width, weight in FEATURES:
        dark += weight * (-_away(centre, height, width) / 2).exp()
    return _normalised(dark, (_away(*INSIDE) < 1).float())


def _away(centre: complex, height: float, width: float) -> Tensor:
    """Squared distance from a centre, in units of a height and a width, (S, S)."""
    at = (torch.arange(TEMPLATE) + 0.5) / TEMPLATE
    return ((at[:, None] - centre.imag) / height).square() + ((at - centre.real) / width).square()


def _normalised(dark: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """Bring darkness (S, S) to mean 0 and length 1 inside; both as filters, (1, 1, S, S)."""
    dark = (dark - (dark * inside).sum() / inside.sum()) * inside
    return (dark / dark.norm())[None, None], inside[None, None]
