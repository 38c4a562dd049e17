"""Degradations by few levels of brightness, as in old files and in print.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,), and returns images of that shape.
``kinds.py`` names them.
"""

import torch
from torch import Tensor

from make_it_real.degradations.noise import per_image

# The screens of colours are turned against each other, in degrees, lest their dots coincide.
ANGLES = (15.0, 75.0, 45.0)
# Slope of the dots' edges, in shares of brightness a pixel and cell.
EDGE = 2.0


def banding(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Round each channel to evenly spaced values. level: how many there are. Clips first."""
    steps = per_image(levels.round()) - 1
    return ((images.clamp(-1, 1) + 1) / 2 * steps).round() / steps * 2 - 1


def dither(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Round as banding does, after adding an 8×8 pattern: ordered dithering (Bayer 1973)."""
    pattern = torch.zeros(1, 1, dtype=torch.float64)
    for _ in range(3):
        pattern = torch.cat([
            torch.cat([4 * pattern, 4 * pattern + 2], 1),
            torch.cat([4 * pattern + 3, 4 * pattern + 1], 1),
        ])  # fmt: skip
    offset = ((pattern + 0.5) / pattern.numel() - 0.5).to(images)
    h, w = images.shape[2:]
    offset = offset.repeat(-(-h // len(offset)), -(-w // len(offset)))[:h, :w]
    spacing = 2 / (per_image(levels.round()) - 1)
    return banding(images.clamp(-1, 1) + offset * spacing, levels, generator)


def half_tone(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Print with dots, larger where it is darker. level: distance of dots in pixels. Clips first.

    Each channel has a screen turned by its own angle, grey one of 45°.
    """
    h, w = images.shape[2:]
    turns = torch.tensor(ANGLES[-images.shape[1] :]).deg2rad().to(images)[None, :, None, None]
    y = torch.arange(h, device=images.device, dtype=images.dtype)[:, None]
    x = torch.arange(w, device=images.device, dtype=images.dtype)
    cell = 2 * torch.pi / per_image(levels)
    waves = ((x * turns.cos() + y * turns.sin()) * cell).cos()
    waves = (waves + ((y * turns.cos() - x * turns.sin()) * cell).cos()) / 2
    # A threshold's rank among all of a cell is the share of brightness that it is passed by.
    phase = torch.linspace(0, 2 * torch.pi, 65, device=images.device, dtype=images.dtype)[:-1].cos()
    ranks = ((phase[:, None] + phase) / 2).flatten().sort().values
    threshold = torch.searchsorted(ranks, waves.contiguous()).to(images) / len(ranks)
    share = (images.clamp(-1, 1) + 1) / 2
    # Pure black and white have no dots.
    slope = EDGE * per_image(levels)
    printed = ((share * (1 + 1 / slope) - 0.5 / slope - threshold) * slope + 0.5).clamp(0, 1)
    return printed * 2 - 1
