"""Noise, and what covers parts of an image: holes, scribbles, salt and pepper."""

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F


def per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(n, generator=generator, device=generator.device)
    return low + (high - low) * drawn


def _randn_like(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(images.shape, generator=generator, device=generator.device)


def noise(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """x + σ·n, n standard normal (the paper's noise; its σ is 0.15)."""
    return images + per_image(levels) * _randn_like(images, generator)


def coarse_noise(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """x + σ·n where n is constant over squares of 2 to 5 pixels, as of poor video."""
    out, device = images.clone(), generator.device
    sides = torch.randint(2, 6, (len(images),), generator=generator, device=device)
    for side in range(2, 6):
        x = images[sides == side]
        if not len(x):
            continue
        n, c, h, w = x.shape
        shape = (n, c, h // side + 2, w // side + 2)
        squares = torch.randn(shape, generator=generator, device=device)
        squares = squares.repeat_interleave(side, 2).repeat_interleave(side, 3)
        top, left = torch.randint(side, (2,), generator=generator, device=device).tolist()
        noise = squares[..., top : top + h, left : left + w]
        out[sides == side] = x + per_image(levels[sides == side]) * noise
    return out


def mask(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Cells of an 8×8 grid, a share of level of them, painted black, grey or white."""
    n, device = len(images), generator.device
    hidden = torch.rand(n, 1, 8, 8, generator=generator, device=device) < per_image(levels)
    hidden = F.interpolate(hidden.float(), size=images.shape[2:], mode="nearest").bool()
    paint = torch.randint(-1, 2, (n,), generator=generator, device=device).to(images.dtype)
    return torch.where(hidden, per_image(paint), images)


def scribbles(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """level strokes of a pen over the image, each curved, in black, grey or white."""
    h, w = images.shape[2:]
    t = torch.linspace(0, 1, 24)[:, None]
    bends, scale = torch.cat([(1 - t) ** 2, 2 * t * (1 - t), t**2], 1), torch.tensor([w, h]) - 1
    drawn = []
    for count in levels.round().int().tolist():
        ends = torch.rand(count, 3, 2, generator=generator, device=generator.device).cpu()
        paint = torch.randint(-1, 2, (count,), generator=generator, device=generator.device)
        # One sheet an image: 0 where nothing is drawn, else 2 + the paint.
        sheet = Image.new("L", (w, h))
        draw = ImageDraw.Draw(sheet)
        for curve, colour in zip((bends @ ends * scale).tolist(), paint.tolist(), strict=True):
            points = [(x, y) for x, y in curve]
            draw.line(points, 2 + colour, max(1, round(min(h, w) / 20)), "curve")
        drawn.append(np.array(sheet))
    over = torch.from_numpy(np.stack(drawn)).to(images.device)[:, None]
    return torch.where(over > 0, over.to(images.dtype) - 2, images)


def salt_and_pepper(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """A share of level of the pixels turned black or white, by a coin each."""
    n, _, h, w = images.shape
    drawn = torch.rand(n, 1, h, w, generator=generator, device=generator.device)
    hit = drawn < per_image(levels)
    return torch.where(hit, (drawn * 2 < per_image(levels)) * 2.0 - 1.0, images)
