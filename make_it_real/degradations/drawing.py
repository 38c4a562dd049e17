"""Degradations that draw what an image shows: by pencils of many hands, as shades or as edges.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,), and returns images of that shape.
``kinds.py`` names them. Lengths are in pixels of images of ``SIDE`` pixels on their shorter side,
and grow with larger ones. Brightness is in [0, 1] here: 0 is graphite, 1 is paper.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations.blur import gaussian
from make_it_real.degradations.noise import per_image, randn, uniform

SIDE = 64


def pencil(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw with a pencil, in a hand drawn at random for each image.

    level: how far from the photograph; 0 is the photograph, 1 a drawing, and more makes
    proportions more wrong and shades fewer. Two in five are shaded as portraits are, with few fine
    lines; nearly one in five has a pen's black lines alone. Of the others lines are dodged,
    differences of Gaussians, gradients, a high-pass or hatched, with shades or without. The
    background is there or left white, on white, toned, lined or unevenly lit paper.
    """
    seen = warped(images, levels, generator)
    grey = brightness(seen, generator)
    tones = _tones(grey, generator)
    drawn = _lines(grey, tones, generator) * _shades(tones, levels, generator)
    hand = between(images, 0, 1, generator)
    drawn = torch.where(hand < 0.4, _portrait(grey, generator), drawn)
    drawn = torch.where(hand > 0.82, _penned(grey, generator), drawn)
    drawn = drawn + (1 - drawn) * _left_white(seen, generator)
    page = _on_paper(drawn, images, generator)
    return torch.lerp(images, page, per_image(levels.clamp(0, 1)))


def dodge_and_burn(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Divide the mean of the channels by what a Gaussian makes of it; white is paper.

    level: the Gaussian's standard deviation in pixels of the image.
    """
    grey = (images.mean(1, keepdim=True).clamp(-1, 1) + 1) / 2
    reach = max(1, int(3 * float(levels.max()) + 0.5))
    drawn = (grey / gaussian(grey, levels, reach).clamp_min(1e-3)).clamp(0, 1)
    return (2 * drawn - 1).expand_as(images).clone()


def edges(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw black lines a pixel wide on white where brightness changes most across (Canny 1986).

    level: the least slope that is an edge, as a share of the image's steepest.
    """
    grey = images.mean(1, keepdim=True)
    x, y = slopes(gaussian(grey, torch.full_like(levels, 1.0), 3))
    slope = (x.square() + y.square()).sqrt()
    # Of the places beside one another across an edge, the steepest is on it.
    padded = F.pad(slope, (1,) * 4, mode="replicate")
    h, w = images.shape[2:]

    def beside(down: int, right: int) -> Tensor:
        """The larger slope of the neighbours there and opposite."""
        there = padded[..., 1 + down : 1 + down + h, 1 + right : 1 + right + w]
        opposite = padded[..., 1 - down : 1 - down + h, 1 - right : 1 - right + w]
        return torch.maximum(there, opposite)

    steep, flat = y.abs() > 2.4 * x.abs(), x.abs() > 2.4 * y.abs()
    across = torch.where(x * y > 0, beside(1, 1), beside(1, -1))
    across = torch.where(steep, beside(1, 0), torch.where(flat, beside(0, 1), across))
    # What rounding leaves of an even image's slopes is no edge.
    steepest = slope.amax((1, 2, 3), keepdim=True).clamp_min(0.01)
    edge = (slope >= across) & (slope > per_image(levels) * steepest)
    return torch.where(edge, -1.0, 1.0).to(images).expand_as(images).clone()


def places_of(images: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (H, 1) and columns (W,) of the pixels' centres, in pixels of ``SIDE``."""
    unit = min(images.shape[2:]) / SIDE
    rows, columns = (
        (torch.arange(side, device=images.device, dtype=images.dtype) + 0.5) / unit
        for side in images.shape[2:]
    )
    return rows[:, None], columns


def sides_of(images: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (H, 1) and columns (W,) of the pixels' centres, from −1 to 1 across the image."""
    rows, columns = (
        (torch.arange(side, device=images.device, dtype=images.dtype) * 2 + 1) / side - 1
        for side in images.shape[2:]
    )
    return rows[:, None], columns


def between(images: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw a number from low to high for each image, (N, 1, 1, 1)."""
    return per_image(uniform(len(images), low, high, generator).to(images))


def smoothed(grey: Tensor, deviation: Tensor, largest: float) -> Tensor:
    """Blur by Gaussians of deviations (N, 1, 1, 1) up to ``largest``, in pixels of ``SIDE``."""
    unit = min(grey.shape[2:]) / SIDE
    return gaussian(grey, deviation.flatten() * unit, max(1, int(2.5 * largest * unit + 0.5)))


def slopes(grey: Tensor) -> tuple[Tensor, Tensor]:
    """Change of brightness by pixel, to the right and down (Sobel), each (N, 1, H, W)."""
    kernel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]).to(grey) / 8
    both = torch.stack([kernel, kernel.T])[:, None]
    x, y = F.conv2d(F.pad(grey, (1,) * 4, mode="replicate"), both).split(1, 1)
    return x, y


def warped(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Put proportions a little wrong: by about level pixels, smoothly, and all of it a little."""
    n, _, h, w = images.shape
    bends = F.interpolate(randn((n, 2, 5, 5), generator).to(images), (h, w), mode="bicubic")
    y, x = sides_of(images)
    # A pixel of ``SIDE``, as a share of half of the shorter side.
    far = per_image(levels) * 2 / SIDE
    moved = bends * between(images, 0.1, 1.3, generator) * far
    grid = torch.stack([
        x * (1 + far * between(images, -0.5, 0.5, generator)) + moved[:, :1],
        y * (1 + far * between(images, -0.5, 0.5, generator)) + moved[:, 1:],
    ], -1)[:, 0]  # fmt: skip
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def brightness(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness in [0, 1] as a hand sees it, (N, 1, H, W): of other colours by other shares."""
    n, c = images.shape[:2]
    shares = torch.rand(n, c, 1, 1, generator=generator, device=generator.device).to(images) + 0.4
    grey = (images * shares).sum(1, keepdim=True) / shares.sum(1, keepdim=True)
    return (grey.clamp(-1, 1) + 1) / 2


def ink(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Draw lines by differences of Gaussians, (N, 1, H, W), after H. Winnemöller's XDoG, 2011."""
    thickness = between(grey, 0.4, 1.1, generator)
    fine, coarse = smoothed(grey, thickness, 1.1), smoothed(grey, 1.6 * thickness, 1.8)
    bias = between(grey, 0.0, 0.015, generator)
    return 1 + torch.tanh(between(grey, 15, 70, generator) * (fine - coarse + bias).clamp(max=0))


def _penned(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a pen's lines, (N, 1, H, W): black along the dark side of each edge, else nothing."""
    width = between(grey, 0.45, 0.85, generator)
    # As much darker than its surroundings, not as dark: a shadow's edges are drawn, too.
    around = smoothed(grey, torch.full_like(width, 6), 6) + 0.1
    darker = (smoothed(grey, 1.6 * width, 1.4) - smoothed(grey, width, 0.9)) / around
    least = between(grey, 0.008, 0.035, generator)
    return (1 - 120 * (darker - least)).clamp(0, 1)


def _portrait(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Shade as portraits are, (N, 1, H, W): skin nearly paper, hair and features dark."""
    around = smoothed(grey, between(grey, 4, 9, generator), 9)
    relief = (grey / (around + 0.05)).clamp(0, 1) ** between(grey, 0.8, 2, generator)
    fine = smoothed(grey, between(grey, 0.3, 0.5, generator), 0.5)
    coarse = smoothed(grey, between(grey, 0.8, 1.2, generator), 1.2)
    lines = 1 + between(grey, 3, 8, generator) * (fine - coarse).clamp(max=0)
    shades = _tones(grey, generator, soft=(0.3, 0.8), key=(0.95, 1.1))
    shades = torch.lerp(between(grey, 0.1, 0.35, generator), torch.ones_like(shades), shades)
    return relief * lines.clamp(0, 1) * _streaked(shades, generator)


def _tones(
    grey: Tensor,
    generator: torch.Generator,
    soft: tuple[float, float] = (0.4, 1.3),
    key: tuple[float, float] = (0.65, 1.0),
) -> Tensor:
    """Expose for a drawing, (N, 1, H, W): skin nearly paper, and what is dark beside it dark.

    soft, key: ranges of the blur's deviation and of what the mean becomes.
    """
    blurred = smoothed(grey, between(grey, *soft, generator), soft[1])
    mean, spread = blurred.mean((2, 3), keepdim=True), blurred.std((2, 3), keepdim=True) + 0.05
    contrast, bright = between(grey, 0.2, 0.45, generator), between(grey, *key, generator)
    return ((blurred - mean) / spread * contrast + bright).clamp(0, 1)


def _lines(grey: Tensor, tones: Tensor, generator: torch.Generator) -> Tensor:
    """Draw lines of one of five sorts for each image, (N, 1, H, W)."""
    n = len(grey)
    around = smoothed(grey, between(grey, 1.2, 4, generator), 4)
    dodged = (grey / (around + 0.03)).clamp(0, 1) ** between(grey, 1, 4, generator)
    inked = ink(grey, generator)
    x, y = slopes(smoothed(grey, between(grey, 0.4, 1, generator), 1))
    slope = (x.square() + y.square() + 1e-8).sqrt() / (0.25 + around)
    gradient = 1 - between(grey, 3, 9, generator) * (slope - 0.02).clamp_min(0)
    high = 0.9 + between(grey, 1.5, 4.5, generator) * (grey - around)
    hatched = inked * _hatches(tones, generator)
    sorts = torch.stack([dodged, inked, gradient, high, hatched]).clamp(0, 1)
    shares = torch.tensor([0.3, 0.25, 0.17, 0.16, 0.12], device=generator.device)
    chosen = torch.multinomial(shares, n, replacement=True, generator=generator)
    return sorts[chosen.to(grey.device), torch.arange(n, device=grey.device)]


def _hatches(tones: Tensor, generator: torch.Generator) -> Tensor:
    """Hatch what is dark with up to three layers of parallel strokes, (N, 1, H, W)."""
    h, w = tones.shape[2:]
    y, x = places_of(tones)
    angle = between(tones, 0, torch.pi, generator)
    wave = 2 * torch.pi / between(tones, 2.2, 4, generator)
    # Strokes of a hand bend, and are not all as far apart.
    bend = F.interpolate(randn((len(tones), 1, 6, 6), generator).to(tones), (h, w), mode="bicubic")
    darkness = between(tones, 0.4, 0.9, generator)
    drawn = torch.ones_like(tones)
    for layer, turn in enumerate((0.0, 1.1, 0.5)):
        along = y * (angle + turn).cos() + x * (angle + turn).sin()
        strokes = (along * wave + 1.5 * bend).cos() * 0.5 + 0.5
        # The darker it is, the broader are the strokes and the more layers there are.
        depth = ((0.8 - 0.25 * layer - tones) / 0.4).clamp(0, 1)
        drawn = drawn * (1 - darkness * depth * (strokes + 0.8 * depth - 0.6).clamp(0, 1))
    return drawn


def _shades(tones: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Shade what is dark, (N, 1, H, W), or nothing: 1. A higher level leaves more unshaded."""
    shades = _streaked(tones, generator)
    bare = between(tones, 0, 1, generator) < 0.25 * per_image(levels)
    return torch.where(bare, 1.0, 1 - between(tones, 0.3, 1, generator) * (1 - shades))


def _streaked(tones: Tensor, generator: torch.Generator) -> Tensor:
    """Tones (N, 1, H, W) as a pencil's side leaves them: streaky, most of all in half tones."""
    streaks = _streaks(tones, generator) * between(tones, 0, 0.3, generator)
    return (tones + streaks * 4 * tones * (1 - tones)).clamp(0, 1)


def _streaks(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Noise drawn out into streaks in a direction of each image's own, about ±0.5."""
    y, x = (places / SIDE - 0.5 for places in places_of(grey))
    angle = between(grey, 0, torch.pi, generator)
    along, across = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    along = along * between(grey, 0.2, 0.6, generator)
    across = across * between(grey, 1, 2, generator)
    grid = torch.stack([along, across], -1)[:, 0]
    noise = randn((len(grey), 1, SIDE, SIDE), generator).to(grey)
    return F.grid_sample(noise, grid, padding_mode="reflection", align_corners=False) * 0.6


def _left_white(images: Tensor, generator: torch.Generator) -> Tensor:
    """Share of each place that is left white, (N, 1, H, W): what surrounds the middle, or nothing.

    It is an oval's outside, or what has the colours of the sides, or both.
    """
    n, _, h, w = images.shape
    y, x = sides_of(images)
    across = (x - between(images, -0.08, 0.08, generator)) / between(images, 0.7, 1.05, generator)
    down = (y - between(images, 0.0, 0.2, generator)) / between(images, 0.85, 1.3, generator)
    bend = F.interpolate(randn((n, 1, 7, 7), generator).to(images), (h, w), mode="bicubic")
    outside = across.square() + down.square() - 1 + 0.15 * bend
    outside = outside * between(images, 2, 6, generator)
    # What continues the left and the right edge is background; hair and shoulders are not.
    edge = max(1, w // 16)
    left, right = (
        images[:, :, : h - h // 3, columns].mean((2, 3), keepdim=True)
        for columns in (slice(edge), slice(w - edge, w))
    )
    behind = torch.lerp(left, right, (x + 1) / 2)
    far = smoothed((images - behind).abs().mean(1, keepdim=True), torch.ones_like(left[:, :1]), 1)
    alike = (1.4 - far * 3).clamp(0, 1)
    drawn = between(images, 0, 1, generator)
    alike = torch.where(drawn > 0.45, 0.0, alike * (outside + 2).clamp(0, 1))
    outside = torch.where(drawn < 0.2, 0.0, outside.clamp(0, 1))
    return torch.where(drawn < 0.85, torch.maximum(alike, outside), 0.0)


def _on_paper(drawn: Tensor, images: Tensor, generator: torch.Generator) -> Tensor:
    """Put a drawing (N, 1, H, W) on paper of a sort drawn for each image, (N, C, H, W)."""
    n, c, h, w = images.shape
    y, x = places_of(images)
    # White in half, toned else; a little warm or cold. Light falls a little from a side.
    toned = between(images, 0, 1, generator) < 0.45
    tone = torch.where(toned, between(images, 0.6, 1, generator), 1.0)
    warmth = torch.where(toned, between(images, -0.03, 0.1, generator), 0.0)
    tints = torch.linspace(0, -1, c).to(images)[None, :, None, None]
    slope = between(images, -0.12, 0.12, generator) * (between(images, 0, 1, generator) < 0.4)
    paper = tone + warmth * tints + slope * (x + y) / SIDE
    # One page in seven has rules, most of them across.
    upright = between(images, 0, 1, generator) < 0.2
    period, first = between(images, 4, 10, generator), between(images, 0, 10, generator)
    rule = ((torch.where(upright, x, y) + first) % period < 1).to(images)
    ruled = (between(images, 0, 1, generator) < 0.14) * between(images, 0.08, 0.3, generator)
    paper = paper - ruled * rule * (1 + 0.6 * tints)
    # Grain roughens what a pencil leaves more than what it does not touch.
    grain = randn((n, 1, (h + 1) // 2, (w + 1) // 2), generator).to(images)
    grain = F.interpolate(grain, (h, w), mode="bilinear")
    grain = grain + 0.6 * randn((n, 1, h, w), generator).to(images)
    grain = grain * between(images, 0, 0.06, generator) * (1.3 - drawn)
    # Graphite is not black, and here and there brown, blue or red chalk.
    lead = between(images, 0.0, 0.4, generator).expand(-1, c, -1, -1)
    hue = (torch.rand(n, c, 1, 1, generator=generator, device=generator.device)).to(images)
    chalk = between(images, 0, 1, generator) < 0.08
    lead = torch.where(chalk, 0.5 * lead + 0.4 * hue, lead)
    covered = (drawn + grain).clamp(0, 1)
    return 2 * torch.lerp(lead.expand_as(images) * paper, paper.clamp(0, 1), covered) - 1
