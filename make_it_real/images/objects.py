"""Solid objects: cut out of a plain background, and brought into a data set's frame.

Data sets of objects, such as Fashion-MNIST's clothes, show one on black, with grey levels of
its own, as large as the image. In a photo of a shirt on white paper only the paper changes:
a dark shirt stays dark. An outline drawing is filled.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images.alignment import Frame
from make_it_real.images.pixels import scaled, to_channels
from make_it_real.images.strokes import stroke_width

WORK_SIDE = 400
# All lengths are shares of the subject's longer side. What separates a patch of paper inside a
# subject from the outside is a drawn line if thinner than LINE, a strap or a handle if thinner
# than BAND, else cloth.
LINE, BAND = 0.025, 0.09
# Strokes of a drawing are thinner than PEN. Gaps in its outline are closed up to twice these.
PEN, GAPS = 0.04, (0.0, 0.01, 0.02, 0.04, 0.06)
# Level of the inside of a filled outline, and how far full ink differs from it.
FILL, SEAM = 0.6, 0.45


@dataclass(frozen=True)
class Subject:
    """What lies on a plain background.

    mask: (H, W), bool, True where it is. levels: (C, H, W) in [0, 1]. gain: change of the
    picture for a change of 1 in the levels. outline: it is an outline drawing, now filled.
    """

    mask: Tensor
    levels: Tensor
    gain: float
    outline: bool


def find_subject(colour: Tensor, alpha: Tensor | None = None) -> Subject | None:
    """Separate a subject from its plain background, in a picture (C, H, W) in [0, 1].

    The background has one colour along most of the picture's border, in light that may change
    evenly across it; or it is transparent, by alpha (H, W) in [0, 1]. None where the border is
    not plain, or where nothing stands out from it. Large pictures are searched in a smaller
    copy: the subject has that copy's size.
    """
    longer = max(colour.shape[1:])
    if longer > WORK_SIDE:
        h, w = (max(1, round(s * WORK_SIDE / longer)) for s in colour.shape[1:])
        colour = scaled(colour, h, w).clamp(0, 1)
        alpha = None if alpha is None else scaled(alpha[None], h, w)[0].clamp(0, 1)
    views = colour if alpha is None else alpha[None]
    paper = _paper(views)
    if paper is not None and paper[1] > 0.01:
        # A camera's grain would hide pale cloth on white paper.
        views = F.avg_pool2d(F.pad(views[None], (1, 1, 1, 1), mode="replicate"), 3, 1)[0]
        paper = _paper(views)
    if paper is None:
        return None
    background, grain = paper
    departure = views - background
    amount = departure.abs().amax(0)
    threshold = max(0.05, 4 * grain)
    clear = amount[amount > threshold]
    if len(clear) < 16:
        return None
    marked = amount > max(threshold, 0.12 * float(clear.quantile(0.95)))
    if alpha is None:
        marked &= ~_shadow(colour, background, marked, amount)
    if not marked.any():
        return None
    # Pale cloth has patches that look like paper. Only in darker cloth is paper surely paper.
    distinct = bool(amount[marked].median() > 0.15)
    empty = (amount < threshold / 2) & distinct
    mask, outline = _filled(marked, empty)
    # What fills the picture is no subject but, say, the sheet of paper, or its ruled lines.
    if not max(16, mask.numel() // 1000) <= mask.sum() < 0.9 * mask.numel():
        return None
    if not outline:
        return Subject(mask, _without_fringe(colour, mask), 1.0, outline=False)
    # Paper that shows through an outline on transparency is white.
    lines = -alpha[None].expand_as(colour) if alpha is not None else departure
    return Subject(mask, (FILL + SEAM * lines).clamp(0, 1), 1 / SEAM, outline=True)


def _paper(views: Tensor) -> tuple[Tensor, float] | None:
    """The plain background (V, H, W) and its grain's standard deviation; None if not plain.

    In each channel it is a plane, fitted to the border's pixels by least squares. Those far
    from the plane are left out of the next fit, so a subject may touch the border.
    """
    _, h, w = views.shape
    width = max(1, round(0.02 * max(h, w)))
    y, x = torch.linspace(-1, 1, h), torch.linspace(-1, 1, w)
    basis = torch.stack([torch.ones(h, w), y[:, None].expand(h, w), x.expand(h, w)], -1)
    ring = torch.ones(h, w, dtype=torch.bool)
    ring[width : h - width, width : w - width] = False
    points, values = basis[ring], views[:, ring].T
    near = (values - values.median(0).values).abs().amax(1) < 0.35
    grain = 0.0
    for _ in range(8):
        if near.sum() < 3:
            return None
        plane = torch.linalg.lstsq(points[near], values[near], driver="gelsd").solution
        away = (values - points @ plane).abs().amax(1)
        grain = 1.4826 * float(away.median())
        near = away < max(0.04, 3 * grain)
    if grain > 0.06 or near.float().mean() < 0.6:
        return None
    background: Tensor = basis @ plane
    return background.permute(2, 0, 1).clamp(0, 1), grain


def _shadow(colour: Tensor, paper: Tensor, marked: Tensor, amount: Tensor) -> Tensor:
    """Marked pixels (H, W) of soft shadows on bright paper, which begin without an edge.

    None for a pale subject, which may itself look like a shadow.
    """
    none = torch.zeros_like(marked)
    if not marked.any() or amount[marked].median() < 0.5 or paper.mean() < 0.5:
        return none
    ratio = colour / paper.clamp_min(0.05)
    neutral = (ratio.amax(0) - ratio.amin(0) < 0.12) & (ratio.amin(0) > 0.45)
    window = F.pad(amount[None], (1, 1, 1, 1), mode="replicate")
    edge = (F.max_pool2d(window, 3, 1) + F.max_pool2d(-window, 3, 1))[0]
    free = F.pad(~marked | (neutral & (edge < 0.05)), (1, 1, 1, 1), value=True)
    labels = components(free)
    return marked & (labels == labels[0, 0])[1:-1, 1:-1]


def _filled(marked: Tensor, empty: Tensor) -> tuple[Tensor, bool]:
    """The subject (H, W): marked pixels and what they enclose; True if it is a line drawing.

    empty: pixels that look exactly like the background.
    """
    marked, empty = (F.pad(m, (2, 2, 2, 2)) for m in (marked, empty))
    rows, columns = marked.any(1).nonzero(), marked.any(0).nonzero()
    size = int(max(rows.max() - rows.min(), columns.max() - columns.min())) + 1
    box = int(rows.max() - rows.min() + 1) * int(columns.max() - columns.min() + 1)
    drawing = stroke_width(marked.float()) < PEN * size
    for gap in GAPS if drawing else GAPS[:1]:
        mask, outline = _enclosed(marked, empty, size, round(gap * size))
        if mask.sum() > 0.3 * box:
            break
    else:
        if drawing:
            # No gap closes it: take all that has lines on its four sides.
            reach = round(GAPS[-1] * size)
            thick = _grown(marked, reach)
            mask, outline = ~_grown(~(_between(thick, 0) & _between(thick, 1)), reach), True
    labels = components(mask)
    sizes = labels.flatten().bincount()
    sizes[0] = 0
    return (sizes >= 0.08 * sizes.max())[labels][2:-2, 2:-2], outline


def _enclosed(marked: Tensor, empty: Tensor, size: int, gap: int) -> tuple[Tensor, bool]:
    """As ``_filled``, with gaps of up to twice ``gap`` pixels closed. size: the longer side.

    Inside a drawn outline, all belongs to the subject. In a filled subject, empty patches
    behind a handle or between straps do not; small ones and those far inside, as in a print, do.
    """
    inset, empty = (F.pad(m, (gap,) * 4) for m in (marked, empty))
    patches = components(~_grown(inset, gap))
    count = int(patches.max()) + 1
    outside = patches == patches[0, 0]
    areas = patches.flatten().bincount(minlength=count)

    def within(reach: int) -> Tensor:
        """Which patches lie within ``reach`` pixels of the outside, (count)."""
        near = torch.zeros(count, dtype=torch.bool)
        near[patches[_grown(outside, reach)]] = True
        return near

    inner = torch.ones(count, dtype=torch.bool)
    inner[[0, int(patches[0, 0])]] = False
    lined = inner & within(2 * gap + max(2, round(LINE * size)))
    solid = int((~outside).sum())
    drawn = areas[lined].sum() > 0.05 * solid
    if not drawn:
        blank = patches[empty].bincount(minlength=count) > 0.8 * areas
        inner &= ~(blank & within(round(BAND * size))) | (areas < 0.01 * solid)
    inside = inner[patches] | (patches == 0)
    mask = ~_grown(~inside, gap) | inset
    mask = mask[gap : len(mask) - gap, gap : mask.shape[1] - gap]
    return mask, bool(areas[lined].sum() > 0.5 * solid)


def _between(marked: Tensor, axis: int) -> Tensor:
    """Pixels between the first and last marked one of each column (axis 0) or row (axis 1)."""
    counts = marked.int()
    return (counts.cumsum(axis) > 0) & (counts.flip(axis).cumsum(axis).flip(axis) > 0)


def _grown(mask: Tensor, reach: int) -> Tensor:
    """Widen a mask (H, W) by ``reach`` pixels on all sides."""
    if not reach:
        return mask
    side, rows = 2 * reach + 1, mask[None].float()
    rows = F.max_pool2d(rows, (side, 1), 1, (reach, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, reach))[0] > 0


def components(mask: Tensor) -> Tensor:
    """Label connected pixels of a mask (H, W), 4-neighbours: 0 off the mask, else 1, 2, …"""
    h, w = mask.shape
    labels = torch.arange(1, h * w + 1).view(h, w) * mask
    # Each run of pixels in a row, then in a column, takes its largest label, until none changes.
    runs = []
    for turned in (mask, mask.T):
        starts = torch.cat([torch.ones(len(turned), 1, dtype=torch.bool), ~turned], 1)[:, :-1]
        runs.append((~turned | starts).flatten().cumsum(0) - 1)
    while True:
        before = labels
        for run in runs:
            flat = labels.flatten()
            largest = torch.zeros_like(flat).scatter_reduce(0, run, flat, "amax")
            labels = largest[run].view_as(labels).T
        if torch.equal(labels, before):
            numbered: Tensor = labels.unique(return_inverse=True)[1]
            return numbered + int(mask.all())


def _without_fringe(colour: Tensor, mask: Tensor) -> Tensor:
    """Replace the subject's outermost pixels, half background, by the mean of those inside."""
    inner = ~_grown(~mask, 1)
    sums = F.avg_pool2d(torch.cat([colour * inner, inner[None].float()])[None], 5, 1, 2)[0]
    fringe = mask & ~inner & (sums[-1] > 0)
    return torch.where(fringe, sums[:-1] / sums[-1].clamp_min(1e-6), colour)


def place_subject(
    subject: Subject,
    size: int,
    channels: int,
    extent: float,
    background: float,
    contrast: float,
    done: list[str],
) -> tuple[Tensor, Frame, float]:
    """Bring a subject to (channels, size, size) in [−1, 1]; also its place there, and its gain.

    It is cropped, resized so that its longer side is ``extent`` of the size, and centred on
    the background, a level in [−1, 1]. If its median differs from the background by less than
    ``contrast``, in [0, 1], all its levels are moved away from the background, to that. What
    was done is added to ``done``.
    """
    mask, paper = subject.mask, round((background + 1) / 2)
    rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    done.append(f"cropped to what lies on the background ({right - left}×{bottom - top})")
    if subject.outline:
        done.append("outline filled")
    amount = (to_channels(subject.levels, channels) - paper).abs()
    median = float(amount.mean(0)[mask].median())
    lift = max(0.0, (contrast - median) / (1 - median)) if median < 1 else 0.0
    if lift:
        done.append("brightened" if paper == 0 else "darkened")
    amount = ((lift + (1 - lift) * amount) * mask)[:, top:bottom, left:right]

    ratio = extent * size / max(amount.shape[1:])
    new = [min(size, max(1, round(s * ratio))) for s in amount.shape[1:]]
    amount = scaled(amount, new[0], new[1]).clamp(0, 1)
    above, before = (-((n - size) // 2) for n in new)
    span = 2.0 if background < 0 else -2.0
    image = torch.full((channels, size, size), background)
    image[:, above : above + new[0], before : before + new[1]] += span * amount
    scale = (new[0] / (bottom - top), new[1] / (right - left))
    frame = Frame(scale, (above - scale[0] * top, before - scale[1] * left))
    return image.clamp(-1, 1), frame, subject.gain / (1 - lift)
