"""Marks on prints and films: scratches, dust, creases and holes.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,), how many marks an image has, and returns
images of that shape. ``kinds.py`` names them. Marks are white, black, nearly white or of any grey.
Widths are in pixels of pictures up to ``SIDE`` pixels on their shorter side, and grow with larger
ones.
"""

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

# Larger pictures have marks that are as much larger.
SIDE = 1000
# Marks are drawn at so many times the resolution, and reduced.
FINER = 2
# Share of the marks with hard edges, and of the scratches that are quite straight. Without such
# ones f would take them for drawn lines, which it leaves alone.
HARD, STRAIGHT = 0.4, 0.45
# So many numbers are drawn for each mark: its paint, its place, and what else its kind needs.
DRAWN = 12

Points = list[tuple[float, float]]
# (numbers (DRAWN,) in [0, 1], height, width, scale) → an outline's points (x, y) in pixels, and
# the width of a line through them; 0 for a filled outline.
Shape = Callable[[list[float], int, int, float], tuple[Points, float]]


def scratches(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Scratch the image: long thin lines, mostly upright and nearly straight. level: how many."""
    return _marked(images, levels, generator, _scratch)


def dust(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Strew small ovals over the image. level: how many."""
    return _marked(images, levels, generator, _speck)


def creases(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Fold the image: lines from edge to edge, 1.5 to 4.5 pixels wide. level: how many."""
    return _marked(images, levels, generator, _crease)


def holes(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Tear ragged holes of 2 to 7 pixels' radius into the image. level: how many."""
    return _marked(images, levels, generator, _hole)


def _marked(images: Tensor, levels: Tensor, generator: torch.Generator, shape: Shape) -> Tensor:
    """Paint marks of one shape over the images, as many as their levels, rounded."""
    out, (height, width) = images.clone(), images.shape[2:]
    scale = max(1.0, min(height, width) / SIDE)
    for image, count in zip(out, levels.round().int().tolist(), strict=True):
        drawn = torch.rand(count, DRAWN, generator=generator, device=generator.device)
        for numbers in drawn.tolist():
            points, line = shape(numbers[3:], height, width, scale)
            _paint(image, points, line, _value(numbers), numbers[2], hard=numbers[-1] < HARD)
    return out


def _value(numbers: list[float]) -> float:
    """Choose a mark's value: white, black, any grey, or nearly white, in [−1, 1]."""
    which, value = int(5 * numbers[0]), numbers[1]
    return (1.0, -1.0, 2 * value - 1, 0.8 + 0.2 * value, 0.85 + 0.1 * value)[min(which, 4)]


def _paint(
    image: Tensor, points: Points, line: float, value: float, cover: float, *, hard: bool
) -> None:
    """Paint a mark over an image (C, H, W), in place.

    cover: under 0.3 some of it shows through. hard: each pixel is painted or not, none in part.
    """
    reach = line / 2 + 1
    left, top = (max(0, math.floor(min(side) - reach)) for side in zip(*points, strict=True))
    limits = zip(zip(*points, strict=True), (image.shape[2], image.shape[1]), strict=True)
    right, bottom = (min(limit, math.ceil(max(side) + reach)) for side, limit in limits)
    if right <= left or bottom <= top:
        return
    sheet = Image.new("L", ((right - left) * FINER, (bottom - top) * FINER))
    draw = ImageDraw.Draw(sheet)
    finer = [((x - left) * FINER, (y - top) * FINER) for x, y in points]
    if line:
        draw.line(finer, 255, max(1, round(line * FINER)), "curve")
    else:
        draw.polygon(finer, 255)
    mask = torch.from_numpy(np.array(sheet.reduce(FINER))).to(image) / 255
    mask = mask.ge(0.4).to(mask) if hard else mask
    mask *= 1.0 if cover >= 0.3 else 0.4 + 2 * cover
    image[:, top:bottom, left:right].lerp_(torch.tensor(value).to(image), mask)


def _scratch(r: list[float], height: int, width: int, scale: float) -> tuple[Points, float]:
    """Shape a line through the image, half as long to twice as long as it is high."""
    angle = (r[0] - 0.5) * (0.6 if r[1] < 0.7 else 2 * math.pi)
    length, bend = height * (0.5 + 1.5 * r[2]), 0.3 * (r[3] - 0.5) * (r[7] >= STRAIGHT)
    x, y = r[4] * width, r[5] * height
    steps = [length * (step / 5 - 0.5) for step in range(6)]
    points = [
        (x + math.sin(angle + bend * t / length) * t, y + math.cos(angle + bend * t / length) * t)
        for t in steps
    ]
    return points, scale * (0.5 + 2 * r[6])


def _speck(r: list[float], height: int, width: int, scale: float) -> tuple[Points, float]:
    """Shape an oval of 0.5 to 3.5 pixels' radius, most of them small."""
    radius = scale * (0.5 + 3 * r[0] ** 2)
    return _ring(r[1] * width, r[2] * height, radius, [1.0] * 12, 0.5 + r[3] / 2), 0


def _crease(r: list[float], height: int, width: int, scale: float) -> tuple[Points, float]:
    """Shape a line from one edge to the opposite one, nearly level or upright."""
    slope, wide = (r[0] - 0.5) / 2, scale * (1.5 + 3 * r[1])
    if r[2] < 0.5:
        return [(0, r[3] * height), (width, (r[3] + slope) * height)], wide
    return [(r[3] * width, 0), ((r[3] + slope) * width, height)], wide


def _hole(r: list[float], height: int, width: int, scale: float) -> tuple[Points, float]:
    """Shape a ragged outline."""
    ragged = [0.6 + 0.6 * each for each in r[3:9]]
    return _ring(r[1] * width, r[2] * height, scale * (2 + 5 * r[0]), ragged, 1.0), 0


def _ring(x: float, y: float, radius: float, ragged: Iterable[float], flat: float) -> Points:
    """Points around (x, y), each at its own share of the radius, flattened upright."""
    shares = list(ragged)
    turns = [2 * math.pi * i / len(shares) for i in range(len(shares))]
    return [
        (x + radius * share * math.cos(turn), y + flat * radius * share * math.sin(turn))
        for share, turn in zip(shares, turns, strict=True)
    ]
