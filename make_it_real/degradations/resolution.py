"""Degradations that lower resolution, thin strokes or lose lines.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,), and returns images of that shape.
``kinds.py`` names them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations.noise import groups, per_image

# Side of the squares of pixels that ``crystals`` searches at a time, which saves memory.
SEARCHED = 128


def low_resolution(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Average down by a factor of level and enlarge again, bilinearly or bicubically."""
    out = images.clone()
    cubic = torch.rand(len(images), generator=generator, device=generator.device) < 0.5
    sides = (max(images.shape[2:]) / levels).round().int()
    for value, chosen in groups(2 * sides + cubic):
        side, way = divmod(int(value), 2)
        ratio = side / max(images.shape[2:])
        small = (max(1, round(images.shape[2] * ratio)), max(1, round(images.shape[3] * ratio)))
        reduced = F.adaptive_avg_pool2d(images[chosen], small)
        mode = "bicubic" if way else "bilinear"
        out[chosen] = F.interpolate(reduced, size=images.shape[2:], mode=mode)
    return out


def downscale(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Reduce by a factor of level and enlarge again, bicubically: a small picture, shown large."""
    out, (h, w) = images.clone(), images.shape[2:]
    for level, chosen in groups(levels):
        small = (max(1, round(h / level)), max(1, round(w / level)))
        reduced = F.interpolate(images[chosen], small, mode="bicubic", antialias=True)
        out[chosen] = F.interpolate(reduced, (h, w), mode="bicubic")
    return out


def pixelate(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Replace each square of level × level pixels by its mean."""
    out = images.clone()
    for level, chosen in groups(levels.round()):
        factor = int(level)
        reduced = F.avg_pool2d(images[chosen], factor, ceil_mode=True, count_include_pad=False)
        large = reduced.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        out[chosen] = large[..., : images.shape[2], : images.shape[3]]
    return out


def crystals(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Replace each cell of a random mosaic by its mean. level: a cell's mean width in pixels.

    One point is drawn in each square of level × level pixels; a cell is the pixels nearest to
    one point (a Voronoi diagram).
    """
    c, h, w = images.shape[1:]
    out, device = images.clone(), generator.device
    for i, level in enumerate(levels.tolist()):
        rows, columns = (max(1, round(side / level)) for side in (h, w))
        corners = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).to(device)
        points = corners + torch.rand(corners.shape, generator=generator, device=device)
        points = points * torch.tensor([h / rows, w / columns], device=device)
        cell = _nearest(points.view(rows, columns, 2), h, w).to(images.device).flatten()
        flat = images[i].flatten(1)
        sums = flat.new_zeros(c, len(points)).index_add_(1, cell, flat)
        # bincount would wait for the device, to know how many there are.
        counts = flat.new_zeros(len(points)).index_add_(0, cell, flat.new_ones(len(cell)))
        out[i] = (sums / counts.clamp_min(1))[:, cell].view(c, h, w)
    return out


def _nearest(points: Tensor, h: int, w: int) -> Tensor:
    """Find the point nearest to each pixel's centre: its number, (h, w).

    points: one in each of (rows, columns) equal rectangles, y and x in pixels. It is searched for
    in squares of pixels, among the points up to two rectangles away, beyond which none is nearest.
    """
    rows, columns = points.shape[:2]
    numbers = torch.arange(rows * columns, device=points.device).view(rows, columns)
    out = torch.empty(h, w, dtype=torch.long, device=points.device)
    for top in range(0, h, SEARCHED):
        for left in range(0, w, SEARCHED):
            bottom, right = min(h, top + SEARCHED), min(w, left + SEARCHED)
            y, x = (
                torch.arange(first, last, device=points.device, dtype=torch.float32) + 0.5
                for first, last in ((top, bottom), (left, right))
            )
            near = (
                slice(max(0, top * rows // h - 2), bottom * rows // h + 3),
                slice(max(0, left * columns // w - 2), right * columns // w + 3),
            )
            found = torch.cdist(torch.cartesian_prod(y, x), points[near].flatten(0, 1)).argmin(1)
            out[top:bottom, left:right] = numbers[near].flatten()[found].view(len(y), len(x))
    return out


def thin(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Thin bright strokes by one pixel (a 2×2 minimum). level: the share of that in the blend."""
    eroded = -F.max_pool2d(-F.pad(images, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
    return torch.lerp(images, eroded, per_image(levels))


def lines(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Keep one of every level rows and repeat it in place of the lost ones."""
    n, _, h, _ = images.shape
    period = levels.round().long()[:, None]
    phase = (torch.rand(n, 1, generator=generator, device=generator.device) * period).long()
    rows = torch.arange(h, device=images.device)[None] + phase
    kept = (rows // period * period - phase + period // 2).clamp(0, h - 1)
    return images.gather(2, kept[:, None, :, None].expand_as(images))
