"""A photograph or a drawing: told from the ground, and from what stands out from it.

A drawing has a ground, paper or a board or a screen, which is even but for the light on it; what
is drawn differs from it on one side only, darker or brighter, and leaves more than half of it
bare, also in between. Photographs have neither. Where unsure, a picture counts as a photograph.

On a sheet that is nearly empty, what is drawn may be small: it is looked at again, from close by.
"""

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images.decode import Picture
from make_it_real.images.ground import FAINT, Relief, View, largest, look_at, share, shrunk
from make_it_real.images.objects import components
from make_it_real.images.pixels import to_channels

# Least share of bare ground, in a shaded drawing and in one of strokes. Photographs have 0.36 of
# something like it, a sky or a wall.
BARE, BARE_STROKES = 0.5, 0.7
# Least steepness of strokes: change of brightness from one pixel to the next, as a share of the
# contrast, in the median. Photographs have 0.1, strokes 0.3 and more.
STEEP = 0.2
# Most that the ground's tint varies, as a share of its brightness (of DARKEST if that is more). On
# paper and boards it varies by 0.03 at most, over a sky and what is under it by 0.05 and more.
TINTED, DARKEST = 0.05, 0.25
# Least share that the largest connected mark has of all. Text and points of light have less.
LARGEST = 0.2
# A shaded drawing's paper is of one brightness, or lies in light that changes evenly across it: the
# most that nine tenths of it may be off, as a share of the contrast. Photographs have 0.07 and
# more. And the most that what is drawn is off from any mixture of the ground and one ink.
UNEVEN, OFF_INK = 0.05, 0.05
# What is bluer than this, blue less red, is no paper but the sky, with something dark before it.
SKY = 0.1
# Least share of bare ground of a nearly empty sheet, which 5 % of the photographs have. A drawing
# on it may be a shaded one on a board, or in the edge of a shadow, if this share of it, seen from
# close by, is bare. What is less far apart than JOINED, a share of the longer side, is one drawing;
# it is seen with a margin of so much of its own side.
SHEET, BARE_CLOSE, UNEVEN_CLOSE = 0.75, 0.6, 0.2
JOINED, MARGIN = 0.03, 0.12
# Longer side of the copy that is looked at from close by.
CLOSE_SIDE = 768
# A drawing on a screen fills areas with a colour each: least share of pixels within such areas, in
# all and of what is drawn. Neighbours that differ by less than SAME are one area. Most of these
# pixels have a few of so many levels: a clear sky passes through all of them.
FILLED, FILLED_MARKS, SAME = 0.8, 0.3, 2.5 / 255
LEVELS, FEW, MOST = 128, 12, 0.9


@dataclass(frozen=True)
class Medium:
    """What a picture is made in.

    drawing: it is a drawing, else a photograph. why: the reason, in a few words. painted: of a
    drawing: it is in several colours, and that of its ground is one of them.
    """

    drawing: bool
    why: str
    painted: bool = False


def recognise(picture: Picture) -> Medium:
    """Tell whether a picture is a photograph or a drawing, and why."""
    if picture.alpha is None:
        # Many megapixels are averaged once.
        picture = Picture(shrunk(picture.colour, CLOSE_SIDE))
    view = look_at(picture)
    medium = _tell(view)
    if medium.drawing or share(view.fine.bare) < SHEET:
        return medium
    close = look_at(_close_by(picture, view.coarse.marks))
    uneven = UNEVEN if close.coarse.dark else UNEVEN_CLOSE
    if not close.tiny and (_shading(close, BARE_CLOSE, uneven) or _strokes(close)):
        return Medium(True, f"strokes or shading on a nearly empty, {close.coarse.tone} sheet")
    return medium


def _tell(view: View) -> Medium:
    fine, coarse = view.fine, view.coarse
    if max(fine.contrast, coarse.contrast) < FAINT:
        return Medium(False, "nothing stands out from its ground")
    if share(fine.bare) < BARE and share(coarse.bare) < BARE:
        return Medium(False, "it has no even ground, such as paper")
    if _filled(view):
        painted = not _one_ink(coarse, view.colour)
        return Medium(True, "areas of one colour each", painted)
    if _strokes(view):
        return Medium(True, f"strokes on a {fine.tone} ground")
    if (view.tiny or not coarse.dark) and _shading(view, BARE, UNEVEN):
        return Medium(True, f"strokes or shading on an even, {coarse.tone} ground")
    return Medium(False, "it has neither strokes nor shading on bare ground")


def _close_by(picture: Picture, marks: Tensor) -> Picture:
    """The part of a picture with the marks that most lie near each other, and a margin.

    marks: where they are in a small copy, (H, W).
    """
    if not marks.any():
        return picture
    side = 2 * round(JOINED * max(marks.shape) / 2) + 1
    labels = components(largest(marks.float(), side) > 0) * marks
    counts = labels.flatten().bincount()
    counts[0] = 0
    drawn = labels == counts.argmax()
    ends = [drawn.any(1 - axis).nonzero().flatten()[[0, -1]].tolist() for axis in (0, 1)]
    ratios = [new / old for new, old in zip(picture.colour.shape[1:], marks.shape, strict=True)]
    margin = MARGIN * max(last + 1 - first for first, last in ends)
    rows, columns = (
        slice(int(max(0, first - margin) * ratio), ceil((last + 1 + margin) * ratio))
        for (first, last), ratio in zip(ends, ratios, strict=True)
    )
    alpha = None if picture.alpha is None else picture.alpha[rows, columns]
    return Picture(picture.colour[:, rows, columns], alpha)


def _strokes(view: View) -> bool:
    """Whether what stands out is steep at its edges, as strokes are, and hangs together."""
    relief, colour = view.fine, view.colour
    if view.tiny or not relief.bare_by(BARE_STROKES) or not _one_tint(relief, colour):
        return False
    # Coloured lights in the dark are no strokes.
    if relief.dark and not _one_ink(relief, colour):
        return False
    level = relief.ground - relief.height
    dy, dx = level.diff(dim=0)[:, :-1], level.diff(dim=1)[:-1]
    slope = F.pad((dy.square() + dx.square()).sqrt(), (0, 1, 0, 1))
    steepness = float(largest(slope, 3)[relief.marks].median()) / relief.contrast
    return steepness >= STEEP and _connected(relief)


def _one_tint(relief: Relief, colour: Tensor) -> bool:
    """Whether the ground has one tint, whatever the light."""
    grey = to_channels(colour, 1)
    tint = ((colour - grey) / grey.clamp_min(DARKEST))[:, relief.bare]
    return float(tint.std(1).norm()) <= TINTED


def _connected(relief: Relief) -> bool:
    """Whether much of what stands out, its faint edges included, is one piece."""
    sizes = components(~relief.bare).flatten().bincount()[1:]
    return float(sizes.max()) >= LARGEST * float(sizes.sum())


def _shading(view: View, bare: float, uneven: float) -> bool:
    """Whether the marks, of any tone and one ink, lie on paper that is even but for the light.

    bare: least share of bare paper. uneven: the most that it is off, as a share of the contrast.
    """
    relief = view.coarse
    if not relief.bare_by(bare) or not _one_ink(relief, view.colour):
        return False
    off = _beside_plane(relief.ground).abs().flatten().quantile(0.9)
    return float(off) <= uneven * relief.contrast and _connected(relief)


def _beside_plane(values: Tensor) -> Tensor:
    """What is left of (H, W) without its mean and its slopes, by least squares."""
    left = values - values.mean()
    for axis in (0, 1):
        ramp = torch.arange(values.shape[axis], dtype=values.dtype).unsqueeze(1 - axis)
        ramp = ramp - ramp.mean()
        left = left - ramp * (left * ramp).mean() / ramp.square().mean().clamp_min(1e-6)
    return left


def _one_ink(relief: Relief, colour: Tensor) -> bool:
    """Whether the marks mix the colour of the ground, which is no sky, with one other."""
    grey = to_channels(colour, 1)[0]
    marked = ~relief.bare
    paper = colour[:, relief.bare].median(1).values
    if paper[2] - paper[0] > SKY:
        return False
    away = colour[:, marked] - paper[:, None]
    darker = grey[relief.bare].median() - grey[marked]
    ink = (away * darker).sum(1) / darker.square().sum().clamp_min(1e-6)
    off = away - ink[:, None] * darker
    return float(off.abs().sum(0).mean()) <= OFF_INK


def _filled(view: View) -> bool:
    """Whether nearly all the picture, and what is drawn, is areas of exactly one level."""
    grey, relief = view.grey, view.coarse
    if share(relief.bare) < BARE or not relief.marks.any():
        return False
    even = largest(grey, 3) + largest(-grey, 3) < SAME
    counts = grey[even].mul(LEVELS).long().clamp(max=LEVELS - 1).bincount(minlength=LEVELS)
    few = float(counts.topk(FEW).values.sum()) >= MOST * float(counts.sum())
    return few and share(even) >= FILLED and share(even[relief.marks]) >= FILLED_MARKS
