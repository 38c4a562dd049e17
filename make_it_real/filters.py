"""What f changes by filters: each pixel's own mix of fixed band-pass filters of the image.

Most of denoising and sharpening is linear, and slow to learn for convolutions that stand between
nonlinearities. So f also says how much of each band of the image, and of each direction of its
edges, to add or to take away at each pixel: W. Li, K. Zhou, L. Qi, N. Jiang, J. Lu, J. Jia, *LAPAR:
Linearly-Assembled Pixel-Adaptive Regression Network for Single Image Super-Resolution*,
NeurIPS 2020, with differences of Gaussians, of unit norm, for the dictionary.
"""

from itertools import pairwise
from math import cos, pi, sin

import torch
from torch import Tensor, nn
from torch.nn import functional as F

REACH = 4
# Deviations in pixels: between each and the next lies a band; round ones that are drawn out.
BANDS = (0.0, 0.5, 0.75, 1.0, 1.5, 2.25, 3.5)
ROUND = (1.0, 2.0)
DIRECTIONS = 4


def gaussian(along: float, across: float, angle: float) -> Tensor:
    """A Gaussian (2·REACH + 1,)² of sum 1, its deviations in pixels, its angle in radians."""
    steps = torch.arange(-REACH, REACH + 1.0)
    y, x = steps[:, None], steps[None]
    u, v = x * cos(angle) + y * sin(angle), y * cos(angle) - x * sin(angle)
    kernel = torch.exp(-0.5 * ((u / max(along, 1e-3)) ** 2 + (v / max(across, 1e-3)) ** 2))
    return kernel / kernel.sum()


def dictionary() -> Tensor:
    """The filters (K, 1, 2·REACH + 1, 2·REACH + 1): sum 0, norm 1."""
    bands = [gaussian(a, a, 0) - gaussian(b, b, 0) for a, b in pairwise(BANDS)]
    edges = [
        gaussian(s / 2, 1.5 * s, i * pi / DIRECTIONS) - gaussian(s, s, 0)
        for s in ROUND
        for i in range(DIRECTIONS)
    ]
    return torch.stack([kernel / kernel.norm() for kernel in bands + edges])[:, None]


class AdaptiveFilters(nn.Module):
    """Features (N, c, H, W) and images (N, C, H, W) → Σ_k a_k(p) · (filter_k ∗ image)(p).

    a, one weight a filter and pixel, the same for all channels, comes from the features there
    and from how strong each band is in the whole image, which tells sharp from blurred and
    clean from noisy: a small network of 1×1 convolutions, whose last begins at 0.
    """

    kernels: Tensor

    def __init__(self, channels: int, width: int = 64) -> None:
        super().__init__()
        kernels = dictionary()
        self.register_buffer("kernels", kernels, persistent=False)
        self.local = nn.Conv2d(channels, width, 1)
        self.strength = nn.Linear(len(kernels), width)
        self.mix = nn.Conv2d(width, len(kernels), 1)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor, images: Tensor) -> Tensor:
        n, c, height, width = images.shape
        # What is left of fine detail in a blurred image is less than bfloat16 rounds away.
        with torch.autocast(images.device.type, enabled=False):
            flat = F.pad(images.float(), (REACH,) * 4, mode="replicate").flatten(0, 1)[:, None]
            found = F.conv2d(flat, self.kernels).view(n, c, len(self.kernels), height, width)
            strength = self.strength(scaled(found.square().mean((1, 3, 4))))
        weights = self.mix(F.silu(self.local(h) + strength[..., None, None]))
        out: Tensor = (found * weights[:, None]).sum(2)
        return out


def scaled(power: Tensor) -> Tensor:
    """Powers on a logarithmic scale, 1 a hundredfold, 0.01 at 0; 1e-8 and less are the same."""
    return (power.clamp_min(1e-8).log10() + 2) / 2
