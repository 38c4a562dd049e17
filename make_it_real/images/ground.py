"""The ground of a picture, paper or a board or a screen, and what stands out from it."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images.decode import Picture
from make_it_real.images.pixels import to_channels

# Longer side of the copy that is looked at, and of the coarse one that its ground is taken from.
SIDE, COARSE_SIDE = 192, 64
# What is narrower than a share of the longer side lies on the ground, what is wider belongs to it.
# NARROW is for strokes: a shadow on the paper belongs to the ground. WIDE is for shading, such as
# dark hair. In a picture of less than TINY pixels edges are steep, and strokes may be wider.
NARROW, WIDE, TINY_WIDE, TINY = 0.15, 0.3, 0.5, 128
# Least share of bare ground around what is drawn, so that a white border does not count.
BARE_AROUND = 0.4
# What stands out by less, in brightness, is grain or a gradient: a sky, or snow.
FAINT = 0.08
# Lines along rows and columns are ruling where they are narrower than half of so many pixels.
RULED = 11


@dataclass(frozen=True)
class Relief:
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
        return share(self.bare) >= least and share(around) >= BARE_AROUND


@dataclass(frozen=True)
class View:
    """What is looked at: a small copy (3, H, W), its brightness (H, W), and what stands out in it.

    tiny: it has few pixels. fine: strokes. coarse: shading, too.
    """

    colour: Tensor
    grey: Tensor
    tiny: bool
    fine: Relief
    coarse: Relief


def look_at(picture: Picture) -> View:
    """Separate what stands out in a picture from its ground, in a small copy."""
    colour = _unruled(_thumbnail(picture))
    grey = to_channels(colour, 1)[0]
    tiny = max(grey.shape) < TINY
    coarse = _relief(grey, TINY_WIDE if tiny else WIDE)
    return View(colour, grey, tiny, _relief(grey, NARROW), coarse)


def _thumbnail(picture: Picture) -> Tensor:
    """A small copy (3, H, W) in [0, 1]; what is transparent lies on white, if bright on black."""
    if picture.alpha is None:
        return to_channels(shrunk(picture.colour, SIDE), 3)
    alpha = shrunk(picture.alpha[None], SIDE)
    colour = shrunk(picture.colour * picture.alpha, SIDE)
    dark = float(colour.mean(0).sum()) <= 0.5 * float(alpha.sum())
    return to_channels(colour + (1 - alpha) if dark else colour, 3)


def shrunk(planes: Tensor, side: int) -> Tensor:
    """Planes (C, H, W), averaged down to a longer side at most."""
    longer = max(planes.shape[1:])
    if longer <= side:
        return planes
    size = [max(1, round(s * side / longer)) for s in planes.shape[1:]]
    return F.interpolate(planes[None], size, mode="area")[0]


def _unruled(colour: Tensor) -> Tensor:
    """Take narrow lines that cross most of a picture (3, H, W) away, along rows and columns."""
    for _ in range(2):
        levels = colour.sort(2).values
        # A line is darker, or brighter, than the rows beside it in three quarters of its pixels.
        off = []
        for quarter in (1, 3):
            profile = levels[:, :, quarter * levels.shape[2] // 4]
            padded = F.pad(profile, (RULED // 2,) * 2, mode="replicate")
            off.append(profile - padded.unfold(1, RULED, 1).median(2).values)
        line = torch.minimum(*off).clamp_min(0) + torch.maximum(*off).clamp_max(0)
        colour = (colour - line[:, :, None]).clamp(0, 1).transpose(1, 2)
    return colour


def _relief(grey: Tensor, reach: float) -> Relief:
    """Separate a picture (H, W) in [0, 1] from its ground, bright or dark: which has more of it.

    reach: share of the longer side; what is narrower is not ground.
    """
    both = []
    for dark in (False, True):
        level = _smooth(1 - grey if dark else grey, 1 if max(grey.shape) < TINY else 3)
        ground = _ground(level, reach)
        height = ground - level
        both.append(Relief(height, ground, dark, float(height.flatten().quantile(0.99))))
    return max(both, key=lambda relief: share(relief.bare))


def _ground(level: Tensor, reach: float) -> Tensor:
    """The brightness (H, W) of the ground: a closing, which fills what is dark and narrow."""
    longer = max(level.shape)
    size = [max(1, round(s * min(1, COARSE_SIDE / longer))) for s in level.shape]
    coarse = F.adaptive_max_pool2d(level[None, None], size)[0, 0]
    side = 2 * int(reach * max(size) / 2) + 1
    closed = -largest(-largest(coarse, side), side)
    smooth = _smooth(closed, 2 * (side // 4) + 1)
    return F.interpolate(smooth[None, None], level.shape, mode="bilinear")[0, 0]


def largest(values: Tensor, side: int) -> Tensor:
    """The largest of (H, W) in the square around each."""
    rows = F.max_pool2d(values[None], (side, 1), 1, (side // 2, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, side // 2))[0]


def _smooth(values: Tensor, side: int) -> Tensor:
    """The mean of (H, W) over the square around each."""
    padded = F.pad(values[None, None], (side // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, side, 1)[0, 0]


def share(mask: Tensor) -> float:
    """The share of a mask that is True."""
    return float(mask.float().mean())
