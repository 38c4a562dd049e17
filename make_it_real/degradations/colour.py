"""Damage to light and colour: contrast, casts, grey, scans and sketches.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,); ``kinds.py`` names them.
"""

import torch
from torch import Tensor

from make_it_real.degradations.blur import blur, gaussian
from make_it_real.degradations.noise import per_image, uniform


def contrast(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast reduced to a share of level, at a brightness drawn where that leaves room."""
    offset = uniform(len(images), -1, 1, generator) * (1 - levels)
    return per_image(offset) + per_image(levels) * images


def light(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Uneven light: a ramp of brightness in a random direction, of −level to level."""
    n, _, h, w = images.shape
    angle = per_image(uniform(n, 0, 2 * torch.pi, generator))
    ys = torch.linspace(-1, 1, h, device=images.device)[:, None]
    xs = torch.linspace(-1, 1, w, device=images.device)[None, :]
    ramp = (angle.sin() * ys + angle.cos() * xs) / 2**0.5
    return images + per_image(levels) * ramp


def grayscale(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Each pixel moved by a share of level to the mean of its channels (the paper's)."""
    return torch.lerp(images, images.mean(1, keepdim=True).expand_as(images), per_image(levels))


def cast(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """A colour cast: each channel's black and white moved, and linearly what is between.

    So each channel gets a gain and an offset of its own; level is what the most moved end of
    the most moved channel is moved by.
    """
    shape = (*images.shape[:2], 2)
    ends = torch.rand(shape, generator=generator, device=generator.device) * 2 - 1
    ends = levels[:, None, None] * ends / ends.abs().amax((1, 2), keepdim=True)
    black, white = ends[..., :1, None], ends[..., 1:, None]
    return images + (white + black) / 2 + (white - black) / 2 * images


def saturation(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Colours moved towards the mean of their channels (level under 1) or away from it."""
    return torch.lerp(images.mean(1, keepdim=True).expand_as(images), images, per_image(levels))


def gamma(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness v in [0, 1] turned into v^level, as of a wrong exposure; noise is clipped."""
    return ((images.clamp(-1, 1) + 1) / 2) ** per_image(levels) * 2 - 1


def scan(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """A poor black-and-white scan: blurred by level pixels, then nearly all black or white."""
    threshold = per_image(uniform(len(images), -0.2, 0.2, generator))
    return ((blur(images, levels, generator) - threshold) * 6).clamp(-1, 1)


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
