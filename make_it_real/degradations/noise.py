"""Degradations that add noise or paint over an image.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,), and returns images of that shape.
``kinds.py`` names them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F


def per_image(values: Tensor) -> Tensor:
    """Reshape one value an image (N,) to (N, 1, 1, 1)."""
    return values[:, None, None, None]


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draw n numbers uniformly from low to high, (n,)."""
    drawn = torch.rand(n, generator=generator, device=generator.device)
    return low + (high - low) * drawn


def randn(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw standard normal numbers of a shape."""
    return torch.randn(shape, generator=generator, device=generator.device)


def groups(values: Tensor) -> Iterator[tuple[float, Tensor]]:
    """Yield each of the values (N,) once, ascending, with the places where it is, (n,).

    The host waits for the device once, to know how many there are of each.
    """
    ordered, places = values.sort(stable=True)
    counts = Counter(ordered.tolist())
    return zip(counts, places.split(list(counts.values())), strict=True)


def noise(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Add standard normal noise times level (the paper: 0.15)."""
    return images + per_image(levels) * randn(images.shape, generator)


def coarse_noise(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Add normal noise times level, the same in squares of 2 to 5 pixels, as in poor video."""
    out, device = images.clone(), generator.device
    sides = torch.randint(2, 6, (len(images),), generator=generator, device=device)
    c, h, w = images.shape[1:]
    for value, index in groups(sides):
        side = int(value)
        shape = (len(index), c, h // side + 2, w // side + 2)
        squares = torch.randn(shape, generator=generator, device=device)
        squares = squares.repeat_interleave(side, 2).repeat_interleave(side, 3)
        # Which places are taken is left on the device.
        top, left = torch.randint(side, (2,), generator=generator, device=device)
        rows, columns = top + torch.arange(h, device=device), left + torch.arange(w, device=device)
        noise = squares[..., rows[:, None], columns]
        out[index] = images[index] + per_image(levels[index]) * noise
    return out


def mask(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Paint cells of an 8×8 grid black, grey or white. level: the share of cells."""
    n, device = len(images), generator.device
    hidden = torch.rand(n, 1, 8, 8, generator=generator, device=device) < per_image(levels)
    hidden = F.interpolate(hidden.float(), size=images.shape[2:], mode="nearest").bool()
    paint = torch.randint(-1, 2, (n,), generator=generator, device=device).to(images.dtype)
    return torch.where(hidden, per_image(paint), images)


def block(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Cover a rectangle of random place and shape. level: its share of the image.

    Its sides are as 1 to 2.5 at most. It is black, grey, white, of a random colour, of the image's
    mean, or noise.
    """
    n, c = images.shape[:2]
    stretch = 2.5 ** uniform(n, -0.5, 0.5, generator).to(images)
    high, wide = (levels.sqrt() * stretch).clamp(max=1), (levels.sqrt() / stretch).clamp(max=1)
    top, left = torch.rand(2, n, generator=generator, device=generator.device).to(images)
    covered = _rectangle(images, top * (1 - high), left * (1 - wide), high, wide)
    plain = torch.randint(-1, 2, (n, 1, 1, 1), generator=generator, device=generator.device)
    colour = torch.rand(n, c, 1, 1, generator=generator, device=generator.device) * 2 - 1
    paints = torch.stack([
        plain.to(images).expand_as(images),
        colour.to(images).expand_as(images),
        images.mean((2, 3), keepdim=True).expand_as(images),
        0.5 * randn(images.shape, generator).to(images),
    ])  # fmt: skip
    shares = torch.tensor([0.45, 0.25, 0.15, 0.15], device=generator.device)
    chosen = torch.multinomial(shares, n, replacement=True, generator=generator)
    paint = paints[chosen.to(images.device), torch.arange(n, device=images.device)]
    return torch.where(covered, paint, images)


def central_block(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Cover the middle with mid-grey. level: the block's height as a share of the image's.

    It is 5/7 as wide as it is high: 20 × 28 pixels of 64 × 64 at 0.4375.
    """
    h, w = images.shape[2:]
    high, wide = levels, (levels * (5 / 7 * h / w)).clamp(max=1)
    covered = _rectangle(images, (1 - high) / 2, (1 - wide) / 2, high, wide)
    return torch.where(covered, 0.0, images)


def _rectangle(images: Tensor, top: Tensor, left: Tensor, high: Tensor, wide: Tensor) -> Tensor:
    """Tell which pixels lie in rectangles given in shares of the sides (N,), (N, 1, H, W)."""
    h, w = images.shape[2:]
    y = ((torch.arange(h, device=images.device) + 0.5) / h)[:, None]
    x = (torch.arange(w, device=images.device) + 0.5) / w
    top, left, high, wide = map(per_image, (top, left, high, wide))
    return (y >= top) & (y < top + high) & (x >= left) & (x < left + wide)


def scribbles(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw curved strokes of a pen over the image, black, grey or white. level: how many."""
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
    """Turn random pixels black or white, each as likely. level: the share of pixels."""
    n, _, h, w = images.shape
    drawn = torch.rand(n, 1, h, w, generator=generator, device=generator.device)
    hit = drawn < per_image(levels)
    return torch.where(hit, (drawn * 2 < per_image(levels)) * 2.0 - 1.0, images)
