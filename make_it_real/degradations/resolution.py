"""Damage to resolution: low resolution, coarse cells, thin strokes, lines and JPEG."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations.noise import per_image


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


def thin(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Bright strokes thinned by one pixel (a 2×2 minimum), blended in to a share of level."""
    eroded = -F.max_pool2d(-F.pad(images, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
    return torch.lerp(images, eroded, per_image(levels))


def lines(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Lost scan lines: of each level rows one is kept and shown in place of the others."""
    n, _, h, _ = images.shape
    period = levels.round().long()[:, None]
    phase = (torch.rand(n, 1, generator=generator, device=generator.device) * period).long()
    rows = torch.arange(h, device=images.device)[None] + phase
    kept = (rows // period * period - phase + period // 2).clamp(0, h - 1)
    return images.gather(2, kept[:, None, :, None].expand_as(images))


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
