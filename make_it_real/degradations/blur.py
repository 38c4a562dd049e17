"""Blur: Gaussian, anisotropic, defocus, glass and motion.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,); ``kinds.py`` names them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations.noise import uniform


def blur(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Convolved with a Gaussian of standard deviation level, in pixels."""
    return gaussian(images, levels, max(1, int(3 * float(levels.max()) + 0.5)))


def anisotropic_blur(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Convolved with a Gaussian in a random direction, cut at two deviations.

    Its deviation along is level, in pixels, and across a random share of that, from 0.15 on.
    """
    radius = _elliptic_radius(images, levels, 0.15, generator)
    return convolved(images, torch.exp(-0.5 * radius**2))


def plateau_blur(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Convolved with a plateau in a random direction: exp(−½·r^2β), r the elliptic radius.

    r is 1 at level pixels along, and across at a random share of that, from 0.3 on; β is drawn
    log-uniformly from 1, a Gaussian, to 8, nearly an ellipse evenly filled: the generalised
    Gaussians of X. Wang, L. Xie, C. Dong, Y. Shan, *Real-ESRGAN*, ICCVW 2021, flat ones only.
    """
    radius = _elliptic_radius(images, levels, 0.3, generator)
    power = 2 * 8 ** uniform(len(images), 0, 1, generator).to(images)[:, None, None]
    return convolved(images, torch.exp(-0.5 * radius**power))


def _elliptic_radius(
    images: Tensor, levels: Tensor, narrowest: float, generator: torch.Generator
) -> Tensor:
    """Of the places of a kernel (N, k, k), up to 2 along, in ellipses turned at random.

    Half axes: levels (N,), in pixels, and random shares of those, from ``narrowest`` on.
    """
    reach = min(max(1, int(2 * float(levels.max()) + 0.5)), min(images.shape[2:]) - 1)
    angle = uniform(len(images), 0, torch.pi, generator).to(images)[:, None, None]
    share = uniform(len(images), narrowest, 1, generator).to(images)
    # What is much narrower than a pixel would be a row of dots.
    across = torch.maximum(levels * share, levels.clamp(max=0.3))
    along, across = (d.clamp_min(1e-3)[:, None, None] for d in (levels, across))
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    y, x = steps[:, None], steps[None]
    u, v = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    return ((u / along) ** 2 + (v / across) ** 2).sqrt()


def defocus(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Out of focus: spread evenly over a disc of radius level pixels, its rim softened."""
    reach = min(int(float(levels.max()) + 1), min(images.shape[2:]) - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    way = (steps[:, None].square() + steps.square()).sqrt()
    return convolved(images, (levels[:, None, None] + 0.5 - way).clamp(0, 1))


def convolved(images: Tensor, kernels: Tensor) -> Tensor:
    """Each image (N, C, H, W) by its own kernel (N, k, k), brought to sum 1; reflected outside."""
    n, c, h, _ = images.shape
    reach = kernels.shape[1] // 2
    kernels = (kernels / kernels.sum((1, 2), keepdim=True)).to(images).repeat_interleave(c, 0)
    flat = F.pad(images, (reach,) * 4, mode="reflect").reshape(1, n * c, h + 2 * reach, -1)
    return F.conv2d(flat, kernels[:, None], groups=n * c).reshape(images.shape)


def gaussian(images: Tensor, levels: Tensor, reach: int) -> Tensor:
    """Convolved with Gaussians of deviation levels (N,), cut at ``reach`` pixels, reflected."""
    n, c, h, w = images.shape
    reach = min(reach, min(h, w) - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (steps / levels.clamp_min(1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    flat = F.pad(images, (reach,) * 4, mode="reflect").reshape(1, n * c, h + 2 * reach, -1)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=n * c)
    return F.conv2d(flat, kernel[:, None, None, :], groups=n * c).reshape(images.shape)


def glass(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Frosted glass: each pixel shows one at random within level pixels of it."""
    n, _, h, w = images.shape
    moved = torch.rand(n, h, w, 2, generator=generator, device=generator.device) * 2 - 1
    moved = moved * levels[:, None, None, None] * 2 / torch.tensor([w, h], device=images.device)
    upright = torch.eye(2, 3, device=images.device).expand(n, 2, 3)
    grid = F.affine_grid(upright, list(images.shape), align_corners=False) + moved.to(images)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="border", align_corners=False)


def motion_blur(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Smeared along a straight line of level pixels, in a random direction, reflected."""
    reach = min(int(float(levels.max()) / 2 + 0.5), min(images.shape[2:]) - 1)
    angle = uniform(len(images), 0, torch.pi, generator)
    way = torch.linspace(-0.5, 0.5, 8 * reach + 1, device=images.device) * (levels[:, None] - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device)

    def near(places: Tensor) -> Tensor:
        """How much of each place (n, P) falls on each pixel of one axis, (n, P, 2·reach + 1)."""
        return (1 - (places[..., None] - steps).abs()).clamp_min(0)

    kernel = near(angle.sin()[:, None] * way).mT @ near(angle.cos()[:, None] * way)
    return convolved(images, kernel)
