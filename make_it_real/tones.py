"""Damage to what pixels show: noise, light, colour, and what is painted over.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,); ``degradations.py`` names them.
"""

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


def contrast(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast reduced to a share of level, at a brightness drawn where that leaves room."""
    offset = uniform(len(images), -1, 1, generator) * (1 - levels)
    return per_image(offset) + per_image(levels) * images


def light(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Uneven light: a ramp of brightness in a random direction, of −level to level."""
    n, _, h, w = images.shape
    angle = per_image(uniform(n, 0, 2 * torch.pi, generator))
    ys = torch.linspace(-1, 1, h, device=images.device)[:, None]
    xs = torch.linspace(-1, 1, w, device=images.device)[None, :]
    ramp = (angle.sin() * ys + angle.cos() * xs) / 2**0.5
    return images + per_image(levels) * ramp


def grayscale(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Each pixel moved by a share of level to the mean of its channels (the paper's)."""
    return torch.lerp(images, images.mean(1, keepdim=True).expand_as(images), per_image(levels))


def cast(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """A colour cast: each channel's black and white moved, and linearly what is between.

    So each channel gets a gain and an offset of its own; level is what the most moved end of
    the most moved channel is moved by.
    """
    shape = (*images.shape[:2], 2)
    ends = torch.rand(shape, generator=generator, device=generator.device) * 2 - 1
    ends = levels[:, None, None] * ends / ends.abs().amax((1, 2), keepdim=True)
    black, white = ends[..., :1, None], ends[..., 1:, None]
    return images + (white + black) / 2 + (white - black) / 2 * images


def saturation(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Colours moved towards the mean of their channels (level under 1) or away from it."""
    return torch.lerp(images.mean(1, keepdim=True).expand_as(images), images, per_image(levels))


def gamma(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness v in [0, 1] turned into v^level, as of a wrong exposure; noise is clipped."""
    return ((images.clamp(-1, 1) + 1) / 2) ** per_image(levels) * 2 - 1


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
