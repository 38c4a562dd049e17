"""Degradations that blur, or sharpen too much.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,), and returns images of that shape.
``kinds.py`` names them. At the border, images are continued by reflection.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations.noise import per_image, uniform


def blur(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Convolve with a Gaussian. level: its standard deviation in pixels."""
    return gaussian(images, levels, max(1, int(3 * float(levels.max()) + 0.5)))


def anisotropic_blur(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Convolve with an elliptic Gaussian in a random direction, cut at two deviations.

    level: the larger standard deviation in pixels. The smaller is a share of it, drawn from
    0.15 to 1.
    """
    radius = _elliptic_radius(images, levels, 0.15, generator)
    return convolved(images, torch.exp(-0.5 * radius**2))


def plateau_blur(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Convolve with a flat-topped kernel in a random direction: exp(−½·r^2β).

    r is the elliptic radius: 1 at the ends of an ellipse's half axes. level: the longer half
    axis in pixels; the shorter is a share of it, drawn from 0.3 to 1. β is drawn
    log-uniformly from 1 (a Gaussian) to 8 (almost an evenly filled ellipse). These are the
    generalised Gaussians of X. Wang, L. Xie, C. Dong, Y. Shan, *Real-ESRGAN*, ICCVW 2021,
    without those more pointed than a Gaussian.
    """
    radius = _elliptic_radius(images, levels, 0.3, generator)
    power = 2 * 8 ** uniform(len(images), 0, 1, generator).to(images)[:, None, None]
    return convolved(images, torch.exp(-0.5 * radius**power))


def _elliptic_radius(
    images: Tensor, levels: Tensor, narrowest: float, generator: torch.Generator
) -> Tensor:
    """Elliptic radius of each place of a kernel (N, k, k), which ends where it is about 2.

    The ellipses are turned at random. Longer half axes: levels (N,), in pixels; shorter ones:
    shares of those, drawn from ``narrowest`` to 1.
    """
    reach = min(max(1, int(2 * float(levels.max()) + 0.5)), min(images.shape[2:]) - 1)
    angle = uniform(len(images), 0, torch.pi, generator).to(images)[:, None, None]
    share = uniform(len(images), narrowest, 1, generator).to(images)
    # A kernel much narrower than a pixel would fall between pixels.
    across = torch.maximum(levels * share, levels.clamp(max=0.3))
    along, across = (d.clamp_min(1e-3)[:, None, None] for d in (levels, across))
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    y, x = steps[:, None], steps[None]
    u, v = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    return ((u / along) ** 2 + (v / across) ** 2).sqrt()


def defocus(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Convolve with a disc, as a lens out of focus does. level: its radius in pixels."""
    reach = min(int(float(levels.max()) + 1), min(images.shape[2:]) - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    way = (steps[:, None].square() + steps.square()).sqrt()
    return convolved(images, (levels[:, None, None] + 0.5 - way).clamp(0, 1))


def convolved(images: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each image (N, C, H, W) with its own kernel (N, k, k), divided by its sum."""
    n, c, h, _ = images.shape
    reach = kernels.shape[1] // 2
    kernels = (kernels / kernels.sum((1, 2), keepdim=True)).to(images).repeat_interleave(c, 0)
    flat = F.pad(images, (reach,) * 4, mode="reflect").reshape(1, n * c, h + 2 * reach, -1)
    return F.conv2d(flat, kernels[:, None], groups=n * c).reshape(images.shape)


def gaussian(images: Tensor, levels: Tensor, reach: int) -> Tensor:
    """Convolve with Gaussians of standard deviations levels (N,), cut at ``reach`` pixels."""
    n, c, h, w = images.shape
    reach = min(reach, min(h, w) - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (steps / levels.clamp_min(1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    flat = F.pad(images, (reach,) * 4, mode="reflect").reshape(1, n * c, h + 2 * reach, -1)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=n * c)
    return F.conv2d(flat, kernel[:, None, None, :], groups=n * c).reshape(images.shape)


def sharpen(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Add level times what a Gaussian takes away: an unsharp mask, with its light edges.

    The Gaussian's standard deviation is drawn from 0.7 to 1.5 pixels.
    """
    radius = uniform(len(images), 0.7, 1.5, generator).to(images)
    return images + per_image(levels) * (images - gaussian(images, radius, 5))


def glass(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Replace each pixel by one drawn from those within level pixels, as frosted glass does."""
    n, _, h, w = images.shape
    moved = torch.rand(n, h, w, 2, generator=generator, device=generator.device) * 2 - 1
    moved = moved * levels[:, None, None, None] * 2 / torch.tensor([w, h], device=images.device)
    upright = torch.eye(2, 3, device=images.device).expand(n, 2, 3)
    grid = F.affine_grid(upright, list(images.shape), align_corners=False) + moved.to(images)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="border", align_corners=False)


def motion_blur(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Average along a straight line in a random direction. level: its length in pixels."""
    reach = min(int(float(levels.max()) / 2 + 0.5), min(images.shape[2:]) - 1)
    angle = uniform(len(images), 0, torch.pi, generator)
    way = torch.linspace(-0.5, 0.5, 8 * reach + 1, device=images.device) * (levels[:, None] - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device)

    def near(places: Tensor) -> Tensor:
        """Linear weights (n, P, 2·reach + 1) of places (n, P) on the pixels of one axis."""
        return (1 - (places[..., None] - steps).abs()).clamp_min(0)

    kernel = near(angle.sin()[:, None] * way).mT @ near(angle.cos()[:, None] * way)
    return convolved(images, kernel)
