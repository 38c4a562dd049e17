"""The layers that f is built from: blocks, adaptive filters, patches, and functions of its output.

Adaptive filters change each pixel by its own mix of fixed band-pass filters of the image. Most of
denoising and sharpening is linear, which convolutions between nonlinearities learn slowly. So f
also says how much of each band of the image, and of each direction of its edges, to add or to take
away at each pixel. This follows W. Li, K. Zhou, L. Qi, N. Jiang, J. Lu, J. Jia, *LAPAR:
Linearly-Assembled Pixel-Adaptive Regression Network for Single Image Super-Resolution*,
NeurIPS 2020, with differences of Gaussians, of norm 1, as the dictionary.
"""

from collections.abc import Callable
from itertools import pairwise
from math import cos, pi, sin
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.models.winograd import Conv3x3

# The filters are squares of 2·RADIUS + 1 pixels a side.
RADIUS = 4
# Deviations of Gaussians in pixels. A band is the difference of each and the next.
BAND_DEVIATIONS = (0.0, 0.5, 0.75, 1.0, 1.5, 2.25, 3.5)
# Edge filters are differences of a stretched Gaussian and a round one, of these deviations.
EDGE_DEVIATIONS = (1.0, 2.0)
EDGE_DIRECTIONS = 4
# Side of a patch in pixels, and the width of the network that works on patches.
PATCH_SIDE = 2
PATCH_WIDTH = 128


def norm(channels: int) -> nn.GroupNorm:
    """Build a group norm: unlike batch norm, an image's result never depends on its neighbours."""
    return nn.GroupNorm(8, channels)


class ResidualBlock(nn.Module):
    """h + conv(act(norm(conv(act(norm(h)))))), (N, C, H, W) → the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(channels), norm(channels)
        self.conv1 = Conv3x3(channels, channels)
        self.conv2 = Conv3x3(channels, channels)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, h: Tensor) -> Tensor:
        r = self.conv1(F.silu(self.norm1(h)))
        r = self.conv2(F.silu(self.norm2(r)))
        out: Tensor = h + r
        return out


class PlainBlock(nn.Module):
    """h + conv(act(conv(h))), without norms, (N, C, H, W) → the same shape; at first just h."""

    def __init__(self, channels: int, act: Callable[[Tensor], Tensor] = F.silu) -> None:
        super().__init__()
        self.act = act
        self.conv1 = Conv3x3(channels, channels)
        self.conv2 = Conv3x3(channels, channels)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.conv2(self.act(self.conv1(h)))
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
        values = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = h + self.out(values.transpose(2, 3).reshape(n, c, height, width))
        return out


class AdaptiveFilters(nn.Module):
    """Features (N, c, H, W) and images (N, C, H, W) → Σ_k a_k(p) · (filter_k ∗ image)(p).

    a has one weight for each filter and pixel, the same for all channels. A small network of 1×1
    convolutions computes it from two things: the features at the pixel, and the strength of each
    band in the whole image, which tells sharp from blurred and clean from noisy. At first a is 0.
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
        # In float32: the fine detail of a blurred image is less than bfloat16 rounds away.
        with torch.autocast(images.device.type, enabled=False):
            # Channels are padded one by one: of images that lie channels last, torch's compiler
            # expects another layout of padding's gradient than it has.
            flat = images.float().flatten(0, 1)
            flat = F.pad(flat, (RADIUS,) * 4, mode="replicate")[:, None]
            bands = F.conv2d(flat, self.kernels).view(n, c, len(self.kernels), height, width)
            strength = self.strength(log_scale(bands.square().mean((1, 3, 4))))
        # One weight for each filter and pixel, (N, K, H, W).
        weights = self.mix(F.silu(self.local(h) + strength[..., None, None]))
        out: Tensor = (bands * weights[:, None]).sum(2)
        return out


def dictionary() -> Tensor:
    """Build the filters (K, 1, 2·RADIUS + 1, 2·RADIUS + 1), each of sum 0 and norm 1."""
    bands = [gaussian(a, a, 0) - gaussian(b, b, 0) for a, b in pairwise(BAND_DEVIATIONS)]
    edges = [
        gaussian(s / 2, 1.5 * s, i * pi / EDGE_DIRECTIONS) - gaussian(s, s, 0)
        for s in EDGE_DEVIATIONS
        for i in range(EDGE_DIRECTIONS)
    ]
    return torch.stack([kernel / kernel.norm() for kernel in bands + edges])[:, None]


def gaussian(along: float, across: float, angle: float) -> Tensor:
    """Sample a Gaussian of sum 1 on (2·RADIUS + 1)² pixels.

    along, across: deviations in pixels; angle: in radians.
    """
    # On the meta device, where files are checked, torch would import its compiler for this.
    steps = torch.arange(-RADIUS, RADIUS + 1.0, device="cpu")
    y, x = steps[:, None], steps[None]
    u, v = x * cos(angle) + y * sin(angle), y * cos(angle) - x * sin(angle)
    kernel = torch.exp(-0.5 * ((u / max(along, 1e-3)) ** 2 + (v / max(across, 1e-3)) ** 2))
    return kernel / kernel.sum()


def log_scale(power: Tensor) -> Tensor:
    """Map powers to a logarithmic scale: 1 → 1, 0.01 → 0, 1e-8 and less → −3."""
    return (power.clamp_min(1e-8).log10() + 2) / 2


class Patches(nn.Module):
    """Features (N, c, H, W) and images (N, C, H, W) → a change of the images, at first 0.

    Residual blocks work on patches of ``PATCH_SIDE``² pixels, each of which is one position with
    as many times the channels. So f is deep near full resolution without the cost of it. H and W
    are multiples of ``PATCH_SIDE``.
    """

    def __init__(self, features: int, channels: int, blocks: int) -> None:
        super().__init__()
        area = PATCH_SIDE * PATCH_SIDE
        self.first = Conv3x3(area * (features + channels), PATCH_WIDTH)
        self.blocks = nn.Sequential(*(PlainBlock(PATCH_WIDTH) for _ in range(blocks)))
        self.last = nn.Conv2d(PATCH_WIDTH, area * channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor, images: Tensor) -> Tensor:
        # Noise can be of any strength, but a change must not be. So images with a root mean
        # square over 1 are scaled down to 1.
        strength = images.square().mean((1, 2, 3), keepdim=True).sqrt()
        stacked = torch.cat([h, (images / strength.clamp_min(1)).to(h.dtype)], 1)
        patches = F.pixel_unshuffle(stacked, PATCH_SIDE)
        return F.pixel_shuffle(self.last(self.blocks(self.first(patches))), PATCH_SIDE)


class DeadZone(torch.autograd.Function):
    """softshrink(values, zone), whose gradient passes as if nothing were taken away.

    softshrink itself has no gradient where its result is 0. Then f could never learn to repair
    damage that it leaves alone because it looks much like a real image. Where a result of 0 is
    right, the losses are mean absolute differences, which have no gradient there.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, zone: float) -> Tensor:
        return F.softshrink(values, zone)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class BoundedOutput(torch.autograd.Function):
    """Clamp to [−1, 1], whose gradient is blocked only where it would push further out.

    A plain clamp has no gradient outside: a pixel that is wrongly white could never come back.
    tanh never reaches ±1, so plain black would never quite be a fixed point. This function
    reaches ±1 exactly and still learns.
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
