"""Drawn strokes: told from paper, board and light, and brought into a data set's frame."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images.alignment import Frame
from make_it_real.images.pixels import scaled, to_channels

WORK_SIDE = 640
COARSE_SIDE = 48
MEDIAN_SIDE = 25


@dataclass(frozen=True)
class Ink:
    """The strokes of a picture.

    amount: (H, W) in [0, 1], 1 where there is full ink. bright: it is brighter than its paper.
    contrast: difference in brightness between full ink and paper, in [0, 1].
    """

    amount: Tensor
    bright: bool
    contrast: float


def find_ink(colour: Tensor) -> Ink | None:
    """Separate strokes from paper or board and from uneven light, in (C, H, W) in [0, 1].

    The paper's brightness is the local median over about half the picture: strokes are too
    thin to change it. Ink is what differs from that, either darker or brighter, whichever
    differs more, in the channel that shows it best. None where nothing stands out from the
    grain.
    """
    colour = reduced(colour)
    if bool((colour == colour[:1]).all()):
        # Grey needs one look instead of four.
        views = colour[:1]
    else:
        views = torch.cat([to_channels(colour, 1), colour])
    departure = views - local_median(views)
    skew = departure.pow(3).mean((1, 2))
    best = int(skew.abs().argmax())
    bright = bool(skew[best] > 0)
    raised = departure[best] if bright else -departure[best]

    grain = 1.4826 * float(departure[best].abs().median())
    top = max(16, raised.numel() // 500)
    peak = float(raised.flatten().topk(top).values.mean()) if raised.numel() > top else 0.0
    if peak < max(0.04, 4 * grain):
        return None
    floor = max(0.15 * peak, min(3 * grain, 0.5 * peak))
    amount = ((raised - floor) / (0.75 * peak - floor)).clamp(0, 1)
    amount = amount * _subject(amount)
    return Ink(amount, bright, 0.75 * peak) if bool((amount > 0.5).any()) else None


def reduced(colour: Tensor) -> Tensor:
    """The copy of a picture (C, H, W) in which strokes are looked for, at most WORK_SIDE long."""
    longer = max(colour.shape[1:])
    if longer <= WORK_SIDE:
        return colour
    size = [max(1, round(s * WORK_SIDE / longer)) for s in colour.shape[1:]]
    return F.interpolate(colour[None], size, mode="bilinear", antialias=True)[0]


def local_median(views: Tensor) -> Tensor:
    """The local median of each channel (V, H, W), smooth, of the same shape."""
    _, h, w = views.shape
    longer = max(h, w)
    coarse = [max(2, round(s * min(1, COARSE_SIDE / longer))) for s in (h, w)]
    small = F.interpolate(views[None], coarse, mode="bilinear", antialias=True)[0]
    reach = min(MEDIAN_SIDE // 2, min(coarse) - 1)
    padded = _continued(_continued(small, 1, reach), 2, reach)
    side = 2 * reach + 1
    windows = padded.unfold(1, side, 1).unfold(2, side, 1).flatten(3)
    # As windows.median(3) of torch, which takes three to six times as long.
    middle = side**2 // 2
    paper = torch.from_numpy(np.partition(windows.numpy(), middle)[..., middle].copy())
    return F.interpolate(paper[None], (h, w), mode="bilinear", align_corners=False)[0]


def _continued(views: Tensor, axis: int, reach: int) -> Tensor:
    """Extend channels (V, H, W) by ``reach`` at both ends of an axis, by point reflection.

    That continues a gradient of light; a mirror image would bend it at the border, and the
    bend would pass for ink.
    """
    last = views.shape[axis] - 1
    before = 2 * views.narrow(axis, 0, 1) - views.narrow(axis, 1, reach).flip(axis)
    inner = views.narrow(axis, last - reach, reach).flip(axis)
    after = 2 * views.narrow(axis, last, 1) - inner
    return torch.cat([before, views, after], axis)


def _subject(amount: Tensor) -> Tensor:
    """A mask (H, W): 1 on connected strokes, 0 on specks far smaller than the largest."""
    h, w = amount.shape
    ratio = min(1.0, 160 / max(h, w))
    coarse = [max(1, round(h * ratio)), max(1, round(w * ratio))]
    solid = (F.adaptive_max_pool2d(amount[None, None], coarse) > 0.35).float()
    labels = solid * torch.arange(1, solid.numel() + 1).view_as(solid)
    # A label names a place on the same drawing. Here is the largest label known at each place.
    known = torch.arange(solid.numel() + 1, dtype=solid.dtype)
    while True:
        # Strokes within two coarse pixels of each other count as one drawing.
        rows = F.max_pool2d(labels, (5, 1), 1, (2, 0))
        spread = F.max_pool2d(rows, (1, 5), 1, (0, 2)) * solid
        if torch.equal(spread, labels):
            break
        known.scatter_reduce_(0, labels.long().flatten(), spread.flatten(), "amax")
        known = known[known.long()]
        labels = known[spread.long()]
    found, inverse, sizes = labels.unique(return_inverse=True, return_counts=True)
    sizes[found == 0] = 0
    kept = (sizes >= 0.08 * sizes.max())[inverse] & (labels > 0)
    wide = F.max_pool2d(kept.float(), 3, stride=1, padding=1)
    return F.interpolate(wide, (h, w), mode="nearest")[0, 0]


def stroke_width(amount: Tensor) -> float:
    """Mean width in pixels of strokes (H, W) in [0, 1]: twice their area over their outline."""
    dy, dx = amount.diff(dim=0)[:, :-1], amount.diff(dim=1)[:-1]
    outline = float((dy.square() + dx.square()).sqrt().sum())
    return 2 * float(amount.sum()) / outline if outline else 0.0


def place_ink(
    amount: Tensor, size: int, extent: float, stroke: float, done: list[str]
) -> tuple[Tensor, Frame]:
    """Bring ink (H, W) to (size, size), and say where it lies there.

    It is cropped, resized so that its longer side is ``extent`` of the size, and centred by
    mass. Strokes thinner than ``stroke``, a share of the size, are widened first: a fine pen
    line would all but vanish in the model's coarse pixels. What was done is added to ``done``.
    """
    rows, columns = (amount > 0.3).any(1).nonzero(), (amount > 0.3).any(0).nonzero()
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    cropped = amount[top:bottom, left:right]
    done.append(f"cropped to what is drawn ({right - left}×{bottom - top})")

    target = extent * size
    ratio = min(1.0, 4 * target / max(cropped.shape))
    new = [max(1, round(s * ratio)) for s in cropped.shape]
    zoom = [n / s for n, s in zip(new, cropped.shape, strict=True)]
    reach = 0
    # At four times the final resolution, chalk has no grain left, and strokes are still wide.
    cropped = scaled(cropped[None], new[0], new[1])[0].clamp(0, 1)
    longer = max(cropped.shape)
    wanted = stroke * size * longer / target
    missing = wanted - stroke_width(F.pad(cropped[None], (1, 1, 1, 1))[0])
    if missing > 0.15 * wanted:
        reach = max(1, round(missing / 2))
        grown = F.pad(cropped[None, None], (reach,) * 4)
        cropped = F.max_pool2d(grown, 2 * reach + 1, stride=1, padding=reach)[0, 0]
        done.append("strokes widened")

    ratio = target / max(cropped.shape)
    new = [max(1, round(s * ratio)) for s in cropped.shape]
    shrunk = [n / s for n, s in zip(new, cropped.shape, strict=True)]
    small = scaled(cropped[None], new[0], new[1])[0].clamp(0, 1)
    small = (small / small.max().clamp_min(1e-6)).clamp(0, 1)
    image = small.new_zeros(size, size)
    offset = []
    for axis, length in enumerate(new):
        mass = small.sum(1 - axis)
        centre = float((mass * (torch.arange(length) + 0.5)).sum() / mass.sum())
        offset.append(min(max(round(size / 2 - centre), 0), size - length))
    image[offset[0] : offset[0] + new[0], offset[1] : offset[1] + new[1]] = small
    scale = (zoom[0] * shrunk[0], zoom[1] * shrunk[1])
    start = [offset[a] + shrunk[a] * reach - scale[a] * (top, left)[a] for a in (0, 1)]
    return image, Frame(scale, (start[0], start[1]))
