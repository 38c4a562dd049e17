"""Images that have statistics of their own, for the sources of z to take."""

import torch
from torch import Tensor


def textures(n: int, channels: int, size: int, seed: int = 0) -> Tensor:
    """Images with a spectrum of their own: smoothed noise on an uneven mean, (n, C, S, S)."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(n, channels, size, size, generator=generator)
    smooth = white + white.roll(1, 2) + 0.7 * white.roll(1, 3) + 0.2 * white.roll((2, 3), (2, 3))
    mean = torch.randn(channels, size, size, generator=generator)
    return 0.2 * smooth + 0.5 * mean
