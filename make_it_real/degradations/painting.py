"""Degradations that paint an image with few flat colours: blocks, cartoons and brush strokes.

Also pencil drawings and such paintings with noise over them.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,), and returns images of that shape.
``kinds.py`` names them. Lengths are in pixels of images of ``SIDE`` on their shorter side.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations.drawing import (
    SIDE,
    between,
    brightness,
    ink,
    pencil,
    places_of,
    sides_of,
    smoothed,
    warped,
)
from make_it_real.degradations.noise import noise, per_image, randn, uniform

# Most colours of a picture, and how often each is moved to the mean of what it stands for.
COLOURS, MOVES = 10, 3


def colour_blocks(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Paint with 4 to 10 flat colours, smoothly or in brush strokes, outlined or not.

    level: how far from the photograph; 0 is the photograph, 1 a painting, and more takes coarser
    blocks and makes proportions more wrong. Colours are the image's own (k-means), a little off.
    """
    seen = warped(images, levels, generator)
    coarse = between(images, 0.6, 2.2, generator) * per_image(levels)
    soft = smoothed(seen, coarse, 4)
    brushed = between(images, 0, 1, generator) < 0.35
    soft = torch.where(brushed, _brushed(soft, generator), soft)
    flat = _flattened(soft, generator)
    # Half of the brushed keep all of their strokes' colours.
    free = brushed & (between(images, 0, 1, generator) < 0.5)
    flat = torch.where(free, soft, flat)
    flat = flat * between(images, 0.8, 1.25, generator) + between(images, -0.15, 0.15, generator)
    outlined = between(images, 0, 1, generator) < 0.4
    outline = torch.where(outlined, ink(brightness(seen, generator), generator), 1.0)
    painted = (flat.clamp(-1, 1) + 1) * outline - 1
    return torch.lerp(images, painted, per_image(levels.clamp(0, 1)))


def noisy_drawing(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw with a pencil, or one in four with flat colours, and add noise to the drawing.

    level: the noise's standard deviation. The more of it, the less of the drawing is left to keep.
    """
    drawn = torch.ones_like(levels)
    painted = between(images, 0, 1, generator) < 0.25
    page = torch.where(
        painted, colour_blocks(images, drawn, generator), pencil(images, drawn, generator)
    )
    return noise(page, levels, generator)


def _flattened(images: Tensor, generator: torch.Generator) -> Tensor:
    """Replace each pixel by the nearest of 4 to 10 colours of the image, a little off."""
    n, c, h, w = images.shape
    # Colours are learnt from one pixel in sixteen.
    few = images[:, :, ::4, ::4].flatten(2).mT
    first = torch.rand(n, COLOURS, 1, generator=generator, device=generator.device)
    first = (first.to(images.device) * few.shape[1]).long().expand(-1, -1, c)
    colours = few.gather(1, first)
    # Those beyond an image's count are out of reach.
    count = uniform(n, 4, COLOURS + 1, generator).to(images).floor()[:, None, None]
    numbers = torch.arange(COLOURS, device=images.device)
    for _ in range(MOVES):
        distances = torch.cdist(few, colours).masked_fill(numbers >= count, torch.inf)
        members = (distances.argmin(2, keepdim=True) == numbers).to(images)
        sums, counts = members.mT @ few, members.sum(1)[..., None]
        colours = torch.where(counts > 0, sums / counts.clamp_min(1), colours)
    # |p − c|² = |p|² − 2 p·c + |c|², of which |p|² is the same for each colour c.
    distances = colours.square().sum(2)[..., None] - 2 * colours @ images.flatten(2)
    nearest = distances.masked_fill((numbers >= count).mT, torch.inf).min(1).indices
    off = randn(colours.shape, generator).to(images) * between(images, 0, 0.1, generator)[:, 0]
    flat = (colours + off).mT.gather(2, nearest[:, None].expand(-1, c, -1))
    return flat.reshape(n, c, h, w)


def _brushed(images: Tensor, generator: torch.Generator) -> Tensor:
    """Replace each of many oblong strokes by the colour of its middle."""
    n, _, h, w = images.shape
    y, x = places_of(images)
    angle = between(images, 0, torch.pi, generator)
    long, wide = between(images, 4, 9, generator), between(images, 1.5, 3.5, generator)
    bend = F.interpolate(randn((n, 2, 9, 9), generator).to(images), (h, w), mode="bicubic") * 1.2
    along = x * angle.cos() + y * angle.sin() + bend[:, :1]
    across = y * angle.cos() - x * angle.sin() + bend[:, 1:]
    row = (across / wide).floor()
    # Strokes of the next row begin elsewhere.
    start = (row * 0.618) % 1
    middle = ((along / long + start).floor() + 0.5 - start) * long - along
    beside = (row + 0.5) * wide - across
    moved_x = middle * angle.cos() - beside * angle.sin()
    moved_y = middle * angle.sin() + beside * angle.cos()
    down, right = sides_of(images)
    pixel = 2 * min(h, w) / SIDE
    grid = torch.stack([right + moved_x * pixel / w, down + moved_y * pixel / h], -1)[:, 0]
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
