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
from make_it_real.images.objects import components
from make_it_real.images.pixels import to_channels

# Longer side of the copy that is looked at, and of the coarse one that its ground is taken from.
SIDE, COARSE_SIDE = 192, 64
# What is narrower than a share of the longer side lies on the ground, what is wider belongs to it.
# NARROW is for strokes: a shadow on the paper belongs to the ground. WIDE is for shading, such as
# dark hair. In a picture of less than TINY pixels edges are steep, and strokes may be wider.
NARROW, WIDE, TINY_WIDE, TINY = 0.15, 0.3, 0.5, 128
# Least share of bare ground: in a shaded drawing, in one of strokes, and around what is drawn, so
# that a white border does not count. Photographs have 0.36 of something like it, a sky or a wall.
BARE, BARE_STROKES, BARE_AROUND = 0.5, 0.7, 0.4
# Lines along rows and columns are ruling where they are narrower than half of so many pixels.
RULED = 11
# What stands out by less, in brightness, is grain or a gradient: a sky, or snow.
FAINT = 0.08
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
# Least share of bare ground of a nearly empty sheet, which 5 % of the photographs have. A drawing
# on it may be a shaded one on a board, or in the edge of a shadow, if this share of it, seen from
# close by, is bare. What is less far apart than JOINED, a share of the longer side, is one drawing;
# it is seen with a margin of so much of its own side.
SHEET, BARE_CLOSE, UNEVEN_CLOSE = 0.75, 0.6, 0.2
JOINED, MARGIN = 0.03, 0.12
# A drawing on a screen fills areas with a colour each: least share of pixels within such areas, in
# all and of what is drawn. Neighbours that differ by less than SAME are one area. Most of these
# pixels have a few of so many levels: a clear sky passes through all of them.
FILLED, FILLED_MARKS, SAME = 0.8, 0.3, 2.5 / 255
LEVELS, FEW, MOST = 128, 12, 0.9


@dataclass(frozen=True)
class Medium:
    """What a picture is made in.

    drawing: it is a drawing, else a photograph. why: the reason, in a few words.
    """

    drawing: bool
    why: str


@dataclass(frozen=True)
class _Relief:
    """What stands out from the ground.

    height: (H, W), how far each pixel is from the ground. ground: (H, W). dark: the ground is a
    dark one; then both are of the negative. contrast: height of what stands out most.
    """

    height: Tensor
    ground: Tensor
    dark: bool
    contrast: float

    @property
    def tone(self) -> str:
        """The ground's brightness, in a word."""
        return "dark" if self.dark else "bright"

    @property
    def bare(self) -> Tensor:
        """Where the ground is bare, (H, W)."""
        return self.height.abs() < max(FAINT / 4, 0.15 * self.contrast)

    @property
    def marks(self) -> Tensor:
        """Where something is drawn, (H, W)."""
        return self.height > max(FAINT, 0.3 * self.contrast)

    def bare_by(self, least: float) -> bool:
        """Whether so much of the ground is bare, also between and around the marks."""
        if not self.marks.any():
            return False
        rows, columns = (self.marks.any(axis).nonzero() for axis in (1, 0))
        around = self.bare[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        return _share(self.bare) >= least and _share(around) >= BARE_AROUND


@dataclass(frozen=True)
class _View:
    """What is looked at: a small copy (3, H, W), its brightness (H, W), and what stands out in it.

    tiny: it has few pixels. fine: strokes. coarse: shading, too.
    """

    colour: Tensor
    grey: Tensor
    tiny: bool
    fine: _Relief
    coarse: _Relief


def recognise(picture: Picture) -> Medium:
    """Tell whether a picture is a photograph or a drawing, and why."""
    view = _view(picture)
    medium = _tell(view)
    if medium.drawing or view.fine.contrast < FAINT or _share(view.fine.bare) < SHEET:
        return medium
    close = _view(_close_by(picture, view.coarse.marks))
    shaded = not close.tiny and _shading(close, BARE_CLOSE, UNEVEN_CLOSE)
    if shaded or _strokes(close):
        return Medium(True, f"strokes or shading on a nearly empty, {close.coarse.tone} sheet")
    return medium


def _tell(view: _View) -> Medium:
    fine, coarse = view.fine, view.coarse
    if max(fine.contrast, coarse.contrast) < FAINT:
        return Medium(False, "nothing stands out from its ground")
    if _share(fine.bare) < BARE and _share(coarse.bare) < BARE:
        return Medium(False, "it has no even ground, such as paper")
    if _filled(view):
        return Medium(True, "areas of one colour each")
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
    labels = components(_largest(marks.float(), side) > 0) * marks
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


def _view(picture: Picture) -> _View:
    colour = _unruled(_thumbnail(picture))
    grey = to_channels(colour, 1)[0]
    tiny = max(grey.shape) < TINY
    coarse = _relief(grey, TINY_WIDE if tiny else WIDE)
    return _View(colour, grey, tiny, _relief(grey, NARROW), coarse)


def _unruled(colour: Tensor) -> Tensor:
    """Take narrow lines that cross most of a picture (3, H, W) away, along rows and columns."""
    for _ in range(2):
        levels = colour.sort(2).values
        # A line is darker, or brighter, than the rows beside it in three quarters of its pixels.
        off = []
        for share in (1, 3):
            profile = levels[:, :, share * levels.shape[2] // 4]
            padded = F.pad(profile, (RULED // 2,) * 2, mode="replicate")
            off.append(profile - padded.unfold(1, RULED, 1).median(2).values)
        line = torch.minimum(*off).clamp_min(0) + torch.maximum(*off).clamp_max(0)
        colour = (colour - line[:, :, None]).clamp(0, 1).transpose(1, 2)
    return colour


def _thumbnail(picture: Picture) -> Tensor:
    """A small copy (3, H, W) in [0, 1]; what is transparent lies on white, if bright on black."""
    if picture.alpha is None:
        return to_channels(_shrunk(picture.colour), 3)
    alpha = _shrunk(picture.alpha[None])
    colour = _shrunk(picture.colour * picture.alpha)
    dark = float(colour.mean(0).sum()) <= 0.5 * float(alpha.sum())
    return to_channels(colour + (1 - alpha) if dark else colour, 3)


def _shrunk(planes: Tensor) -> Tensor:
    """Planes (C, H, W), averaged down to SIDE at most."""
    longer = max(planes.shape[1:])
    if longer <= SIDE:
        return planes
    size = [max(1, round(s * SIDE / longer)) for s in planes.shape[1:]]
    return F.interpolate(planes[None], size, mode="area")[0]


def _relief(grey: Tensor, reach: float) -> _Relief:
    """Separate a picture (H, W) in [0, 1] from its ground, bright or dark: which has more of it.

    reach: share of the longer side; what is narrower is not ground.
    """
    both = []
    for dark in (False, True):
        level = _smooth(1 - grey if dark else grey, 1 if max(grey.shape) < TINY else 3)
        ground = _ground(level, reach)
        height = ground - level
        both.append(_Relief(height, ground, dark, float(height.flatten().quantile(0.99))))
    return max(both, key=lambda relief: _share(relief.bare))


def _ground(level: Tensor, reach: float) -> Tensor:
    """The brightness (H, W) of the ground: a closing, which fills what is dark and narrow."""
    longer = max(level.shape)
    size = [max(1, round(s * min(1, COARSE_SIDE / longer))) for s in level.shape]
    coarse = F.adaptive_max_pool2d(level[None, None], size)[0, 0]
    side = 2 * int(reach * max(size) / 2) + 1
    closed = -_largest(-_largest(coarse, side), side)
    smooth = _smooth(closed, 2 * (side // 4) + 1)
    return F.interpolate(smooth[None, None], level.shape, mode="bilinear")[0, 0]


def _largest(values: Tensor, side: int) -> Tensor:
    """The largest of (H, W) in the square around each."""
    rows = F.max_pool2d(values[None], (side, 1), 1, (side // 2, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, side // 2))[0]


def _smooth(values: Tensor, side: int) -> Tensor:
    """The mean of (H, W) over the square around each."""
    padded = F.pad(values[None, None], (side // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, side, 1)[0, 0]


def _strokes(view: _View) -> bool:
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
    steepness = float(_largest(slope, 3)[relief.marks].median()) / relief.contrast
    return steepness >= STEEP and _connected(relief)


def _one_tint(relief: _Relief, colour: Tensor) -> bool:
    """Whether the ground has one tint, whatever the light."""
    grey = to_channels(colour, 1)
    tint = ((colour - grey) / grey.clamp_min(DARKEST))[:, relief.bare]
    return float(tint.std(1).norm()) <= TINTED


def _connected(relief: _Relief) -> bool:
    """Whether much of what stands out, its faint edges included, is one piece."""
    sizes = components(~relief.bare).flatten().bincount()[1:]
    return float(sizes.max()) >= LARGEST * float(sizes.sum())


def _shading(view: _View, bare: float, uneven: float) -> bool:
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


def _one_ink(relief: _Relief, colour: Tensor) -> bool:
    """Whether the marks are mixtures of the ground's colour and one other."""
    grey = to_channels(colour, 1)[0]
    marked = ~relief.bare
    paper = colour[:, relief.bare].median(1).values
    away = colour[:, marked] - paper[:, None]
    darker = grey[relief.bare].median() - grey[marked]
    ink = (away * darker).sum(1) / darker.square().sum().clamp_min(1e-6)
    off = away - ink[:, None] * darker
    return float(off.abs().sum(0).mean()) <= OFF_INK


def _filled(view: _View) -> bool:
    """Whether nearly all the picture, and what is drawn, is areas of exactly one level."""
    grey, relief = view.grey, view.coarse
    if _share(relief.bare) < BARE or not relief.marks.any():
        return False
    even = _largest(grey, 3) + _largest(-grey, 3) < SAME
    counts = grey[even].mul(LEVELS).long().clamp(max=LEVELS - 1).bincount(minlength=LEVELS)
    few = float(counts.topk(FEW).values.sum()) >= MOST * float(counts.sum())
    return few and _share(even) >= FILLED and _share(even[relief.marks]) >= FILLED_MARKS


def _share(mask: Tensor) -> float:
    return float(mask.float().mean())
