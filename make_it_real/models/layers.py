"""What f changes by filters: each pixel's own mix of fixed band-pass filters of the image.

Most of denoising and sharpening is linear, and slow to learn for convolutions that stand between
nonlinearities. So f also says how much of each band of the image, and of each direction of its
edges, to add or to take away at each pixel: W. Li, K. Zhou, L. Qi, N. Jiang, J. Lu, J. Jia, *LAPAR:
Linearly-Assembled Pixel-Adaptive Regression Network for Single Image Super-Resolution*,
NeurIPS 2020, with differences of Gaussians, of unit norm, for the dictionary.
"""

from itertools import pairwise
from math import cos, pi, sin
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class BoundedOutput(torch.autograd.Function):
    """Clamp to [−1, 1] whose gradient is blocked only where it would push further out.

    A plain clamp has no gradient outside: a pixel that is wrongly white could never come
    back. tanh never reaches ±1, so that an image's plain black is never quite a fixed
    point. This reaches ±1 exactly and still learns.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (values,), (grad,) = ctx.saved_tensors, grads
        outward = ((values > 1) & (grad < 0)) | ((values < -1) & (grad > 0))
        return grad.masked_fill(outward, 0)


class DeadZone(torch.autograd.Function):
    """softshrink(values, zone), whose gradient goes through as if nothing were taken away.

    softshrink itself has none where its result is 0: damage that f leaves alone, since it looks
    much like a real image, could then never be learnt. Where a result of 0 is right, the losses
    are mean absolute differences and have no gradient there of their own.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, zone: float) -> Tensor:
        return F.softshrink(values, zone)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


def norm(channels: int) -> nn.GroupNorm:
    """Group norm: unlike batch norm, one image's result never depends on its neighbours."""
    return nn.GroupNorm(8, channels)


class ResidualBlock(nn.Module):
    """h + conv(act(norm(conv(act(norm(h)))))), (N, C, H, W) → the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(channels), norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, h: Tensor) -> Tensor:
        r = self.conv1(F.silu(self.norm1(h)))
        r = self.conv2(F.silu(self.norm2(r)))
        out: Tensor = h + r
        return out


class Attention(nn.Module):
    """h + self-attention over the positions of h, 64 channels a head, (N, C, H, W) → the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // 64)
        self.norm = norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, h: Tensor) -> Tensor:
        n, c, height, width = h.shape
        qkv = self.qkv(self.norm(h)).reshape(n, 3, self.heads, c // self.heads, height * width)
        q, k, v = qkv.transpose(3, 4).unbind(1)
        seen = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = h + self.out(seen.transpose(2, 3).reshape(n, c, height, width))
        return out


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


SIDE = 2
WIDTH = 128


class PlainBlock(nn.Module):
    """h + conv(act(conv(h))), (N, C, H, W) → the same shape; at first just h."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.conv2(F.silu(self.conv1(h)))
        return out


class Patches(nn.Module):
    """Features (N, c, H, W) and images (N, C, H, W) → a change of the images, at first none.

    H and W are multiples of ``SIDE``.
    """

    def __init__(self, features: int, channels: int, blocks: int) -> None:
        super().__init__()
        square = SIDE * SIDE
        self.first = nn.Conv2d(square * (features + channels), WIDTH, 3, padding=1)
        self.blocks = nn.Sequential(*(PlainBlock(WIDTH) for _ in range(blocks)))
        self.last = nn.Conv2d(WIDTH, square * channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor, images: Tensor) -> Tensor:
        # Noise may be of any strength, and a step must not be of any size: at most one of black
        # against white is let in.
        strength = images.square().mean((1, 2, 3), keepdim=True).sqrt()
        folded = torch.cat([h, (images / strength.clamp_min(1)).to(h.dtype)], 1)
        folded = F.pixel_unshuffle(folded, SIDE)
        return F.pixel_shuffle(self.last(self.blocks(self.first(folded))), SIDE)
