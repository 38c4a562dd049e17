"""Damage to detail: what blurs, coarsens, moves or compresses images.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,); ``degradations.py`` names them.
"""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from make_it_real.tones import per_image, uniform


def low_resolution(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Averaged down by a factor of level and enlarged again, bilinearly or bicubically."""
    out = images.clone()
    cubic = torch.rand(len(images), generator=generator, device=generator.device) < 0.5
    sides = (max(images.shape[2:]) / levels).round().int()
    for side in sides.unique().tolist():
        ratio = side / max(images.shape[2:])
        small = (max(1, round(images.shape[2] * ratio)), max(1, round(images.shape[3] * ratio)))
        for chosen, mode in (
            ((sides == side) & cubic, "bicubic"),
            ((sides == side) & ~cubic, "bilinear"),
        ):
            if chosen.any():
                reduced = F.adaptive_avg_pool2d(images[chosen], small)
                out[chosen] = F.interpolate(reduced, size=images.shape[2:], mode=mode)
    return out


def pixelate(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Squares of level × level pixels, each of its mean."""
    out = images.clone()
    for factor in levels.round().int().unique().tolist():
        chosen = levels.round().int() == factor
        reduced = F.avg_pool2d(images[chosen], factor, ceil_mode=True, count_include_pad=False)
        large = reduced.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        out[chosen] = large[..., : images.shape[2], : images.shape[3]]
    return out


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


def crystals(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Cells of no regular shape, level pixels across on average, each of its mean colour.

    The cells are those of points, one drawn at random in each square of level × level pixels:
    a pixel belongs to the nearest.
    """
    c, h, w = images.shape[1:]
    out, device = images.clone(), generator.device
    places = torch.stack(torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij"), -1)
    places = places.view(-1, 2).to(device, torch.float32) + 0.5
    for i, level in enumerate(levels.tolist()):
        rows, columns = (max(1, round(side / level)) for side in (h, w))
        corners = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).to(device)
        points = corners + torch.rand(corners.shape, generator=generator, device=device)
        points = points * torch.tensor([h / rows, w / columns], device=device)
        cell = torch.cdist(places, points).argmin(1).to(images.device)
        flat = images[i].flatten(1)
        sums = flat.new_zeros(c, len(points)).index_add_(1, cell, flat)
        counts = cell.bincount(minlength=len(points)).clamp_min(1)
        out[i] = (sums / counts)[:, cell].view(c, h, w)
    return out


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


def thin(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Bright strokes thinned by one pixel (a 2×2 minimum), blended in to a share of level."""
    eroded = -F.max_pool2d(-F.pad(images, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
    return torch.lerp(images, eroded, per_image(levels))


def glass(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Frosted glass: each pixel shows one at random within level pixels of it."""
    n, _, h, w = images.shape
    moved = torch.rand(n, h, w, 2, generator=generator, device=generator.device) * 2 - 1
    moved = moved * levels[:, None, None, None] * 2 / torch.tensor([w, h], device=images.device)
    upright = torch.eye(2, 3, device=images.device).expand(n, 2, 3)
    grid = F.affine_grid(upright, list(images.shape), align_corners=False) + moved.to(images)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="border", align_corners=False)


def scan(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """A poor black-and-white scan: blurred by level pixels, then nearly all black or white."""
    threshold = per_image(uniform(len(images), -0.2, 0.2, generator))
    return ((blur(images, levels, generator) - threshold) * 6).clamp(-1, 1)


def lines(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Lost scan lines: of each level rows one is kept and shown in place of the others."""
    n, _, h, _ = images.shape
    period = levels.round().long()[:, None]
    phase = (torch.rand(n, 1, generator=generator, device=generator.device) * period).long()
    rows = torch.arange(h, device=images.device)[None] + phase
    kept = (rows // period * period - phase + period // 2).clamp(0, h - 1)
    return images.gather(2, kept[:, None, :, None].expand_as(images))


def sketch(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """The paper's pencil drawing: (g + 1) / (blurred g + 1) − 1 of the channel mean g.

    A dodge: g divided by itself blurred, by a Gaussian over level × level pixels (the paper's
    are 21) whose deviation is 0.3·((level − 1)/2 − 1) + 0.8, as torchvision has it for a size.
    Clipped to [−1, 1]: beside black the quotient is large, and a drawing has a whitest white.
    """
    g = images.mean(1, keepdim=True) + 1
    out = torch.empty_like(images)
    for size in levels.round().int().unique().tolist():
        chosen = levels.round().int() == size
        sigma = torch.full((int(chosen.sum()),), 0.3 * ((size - 1) / 2 - 1) + 0.8)
        blurred = gaussian(g[chosen], sigma.to(images), int(size) // 2)
        quotient = g[chosen] / (blurred + 1e-6) - 1
        out[chosen] = quotient.clamp(-1, 1).expand(-1, images.shape[1], -1, -1)
    return out


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


def jpeg(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Compressed as JPEG of quality level (1–95) and decoded again."""
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    decoded = np.empty_like(pixels)
    for i, (image, quality) in enumerate(zip(pixels, levels.tolist(), strict=True)):
        grey = image.shape[2] == 1
        with io.BytesIO() as file:
            Image.fromarray(image[..., 0] if grey else image).save(
                file, "JPEG", quality=round(quality)
            )
            decoded[i] = np.asarray(Image.open(file)).reshape(image.shape)
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(images) / 127.5 - 1
