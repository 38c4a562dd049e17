"""Solid things in a picture: cut out of a plain background and put into a data set's frame.

Data sets of things, such as Fashion-MNIST's clothes, show each on black, with its own grey
levels, as large as the image. A photo of a shirt on white paper becomes such an image by
changing the paper alone: dark cloth stays dark. A drawing of outlines is filled in.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images.alignment import Frame
from make_it_real.images.pixels import scaled, to_channels
from make_it_real.images.strokes import stroke_width

WORK_SIDE = 400
# Lengths as shares of the subject's longer side. Walls between an enclosed patch of background
# and the outside: up to LINE a drawn line, up to BAND a strap or a handle, beyond that cloth.
LINE, BAND = 0.025, 0.09
# Marks narrower than this are those of a drawing; half the gaps in it that are bridged, in turn.
PEN, GAPS = 0.04, (0.0, 0.01, 0.02, 0.04, 0.06)
# A drawing's paper inside its outline gets this level, and lines this much contrast to it.
FILL, SEAM = 0.6, 0.45


@dataclass(frozen=True)
class Subject:
    """What lies on a plain background: mask (H, W), bool, and levels (C, H, W) in [0, 1].

    gain: what a change of 1 in the levels comes to in the picture. outline: a drawing whose
    inside was filled.
    """

    mask: Tensor
    levels: Tensor
    gain: float
    outline: bool


def find_subject(colour: Tensor, alpha: Tensor | None = None) -> Subject | None:
    """Tell a subject from the plain background that it lies on, (C, H, W) in [0, 1].

    The background is one colour along most of the picture's border, under light that may
    change smoothly, or transparent (alpha (H, W) in [0, 1]). None where the border is not
    plain, or where nothing stands out from it.
    """
    longer = max(colour.shape[1:])
    if longer > WORK_SIDE:
        h, w = (max(1, round(s * WORK_SIDE / longer)) for s in colour.shape[1:])
        colour = scaled(colour, h, w).clamp(0, 1)
        alpha = None if alpha is None else scaled(alpha[None], h, w)[0].clamp(0, 1)
    views = colour if alpha is None else alpha[None]
    paper = _paper(views)
    if paper is not None and paper[1] > 0.01:
        # A camera's grain is as strong as pale cloth on white paper.
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
    # Pale cloth hardly differs from paper: then nothing that it encloses passes for paper.
    distinct = bool(amount[marked].median() > 0.15)
    empty = (amount < threshold / 2) & distinct
    mask, outline = _filled(marked, empty)
    # What fills the picture is no subject: the sheet of paper itself, or its ruling.
    if not max(16, mask.numel() // 1000) <= mask.sum() < 0.9 * mask.numel():
        return None
    if not outline:
        return Subject(mask, _without_fringe(colour, mask), 1.0, outline=False)
    # Paper that shows through an outline on transparency is white.
    lines = -alpha[None].expand_as(colour) if alpha is not None else departure
    return Subject(mask, (FILL + SEAM * lines).clamp(0, 1), 1 / SEAM, outline=True)


def _paper(views: Tensor) -> tuple[Tensor, float] | None:
    """The plain background (V, H, W), and the deviation of its grain; None if it is not plain.

    A plane through the border's pixels in each channel, fitted to those near it in turn, so
    that a subject that touches the border does not tilt it.
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
        plane = torch.linalg.lstsq(points[near], values[near]).solution
        away = (values - points @ plane).abs().amax(1)
        grain = 1.4826 * float(away.median())
        near = away < max(0.04, 3 * grain)
    if grain > 0.06 or near.float().mean() < 0.6:
        return None
    background: Tensor = basis @ plane
    return background.permute(2, 0, 1).clamp(0, 1), grain


def _shadow(colour: Tensor, paper: Tensor, marked: Tensor, amount: Tensor) -> Tensor:
    """Marked pixels (H, W) of a soft shadow on bright paper, which sets in without an edge.

    None where the subject may itself be as pale as a shadow.
    """
    none = torch.zeros_like(marked)
    if not marked.any() or amount[marked].median() < 0.5 or paper.mean() < 0.5:
        return none
    ratio = colour / paper.clamp_min(0.05)
    neutral = (ratio.amax(0) - ratio.amin(0) < 0.12) & (ratio.amin(0) > 0.45)
    window = F.pad(amount[None], (1, 1, 1, 1), mode="replicate")
    edge = (F.max_pool2d(window, 3, 1) + F.max_pool2d(-window, 3, 1))[0]
    free = F.pad(~marked | (neutral & (edge < 0.05)), (1, 1, 1, 1), value=True)
    labels = _components(free)
    return marked & (labels == labels[0, 0])[1:-1, 1:-1]


def _filled(marked: Tensor, empty: Tensor) -> tuple[Tensor, bool]:
    """Marked pixels (H, W) and what they enclose, and whether they are the lines of a drawing.

    empty: pixels that are surely background wherever they lie.
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
            # Open for good: take what has lines on all four sides.
            reach = round(GAPS[-1] * size)
            thick = _grown(marked, reach)
            mask, outline = ~_grown(~(_between(thick, 0) & _between(thick, 1)), reach), True
    labels = _components(mask)
    sizes = labels.flatten().bincount()
    sizes[0] = 0
    return (sizes >= 0.08 * sizes.max())[labels][2:-2, 2:-2], outline


def _enclosed(marked: Tensor, empty: Tensor, size: int, gap: int) -> tuple[Tensor, bool]:
    """As ``_filled``, with gaps of twice ``gap`` pixels bridged, in a subject of that size.

    Inside a drawn outline all belongs to the subject. Without one, patches of background behind
    a handle or between straps do not; specks, and patches far inside, as of a print, do.
    """
    inset, empty = (F.pad(m, (gap,) * 4) for m in (marked, empty))
    patches = _components(~_grown(inset, gap))
    count = int(patches.max()) + 1
    outside = patches == patches[0, 0]
    areas = patches.flatten().bincount(minlength=count)

    def within(reach: int) -> Tensor:
        """Which patches come as near as that to the outside (count)."""
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
    """Pixels from the first to the last marked one of each column (axis 0) or row (axis 1)."""
    counts = marked.int()
    return (counts.cumsum(axis) > 0) & (counts.flip(axis).cumsum(axis).flip(axis) > 0)


def _grown(mask: Tensor, reach: int) -> Tensor:
    """A mask (H, W) widened by ``reach`` pixels on all sides."""
    if not reach:
        return mask
    side, rows = 2 * reach + 1, mask[None].float()
    rows = F.max_pool2d(rows, (side, 1), 1, (reach, 0))
    return F.max_pool2d(rows, (1, side), 1, (0, reach))[0] > 0


def _components(mask: Tensor) -> Tensor:
    """Labels (H, W) of pixels that touch by their sides: 0 off the mask, else 1, 2, …"""
    h, w = mask.shape
    labels = torch.arange(1, h * w + 1).view(h, w) * mask
    # Each run along a row, then along a column, takes its largest label, until none changes.
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
    """Levels whose outermost pixels, half background, are those just inside of them."""
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
    """A subject → its image (channels, size, size) in [−1, 1], where it lies there, and its gain.

    It is cropped, its longer side made ``extent`` of the size, and centred. background: level
    in [−1, 1], dark or bright, that it is laid on. One that stands out from it by less than
    ``contrast``, in [0, 1], is lifted to that.
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
        done.append("lifted from the background")
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
