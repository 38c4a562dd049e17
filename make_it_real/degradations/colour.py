"""Degradations of brightness and colour.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,), and returns images of that shape.
``kinds.py`` names them.
"""

import torch
from torch import Tensor

from make_it_real.degradations.blur import blur, gaussian
from make_it_real.degradations.noise import groups, per_image, uniform


def contrast(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Reduce contrast. level: the share kept. Brightness is shifted at random within [−1, 1]."""
    offset = uniform(len(images), -1, 1, generator) * (1 - levels)
    return per_image(offset) + per_image(levels) * images


def light(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Add a ramp of brightness in a random direction, from −level to level: uneven light."""
    n, _, h, w = images.shape
    angle = per_image(uniform(n, 0, 2 * torch.pi, generator))
    ys = torch.linspace(-1, 1, h, device=images.device)[:, None]
    xs = torch.linspace(-1, 1, w, device=images.device)[None, :]
    ramp = (angle.sin() * ys + angle.cos() * xs) / 2**0.5
    return images + per_image(levels) * ramp


def grayscale(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Move each pixel towards the mean of its channels. level: by what share (the paper: 1)."""
    return torch.lerp(images, images.mean(1, keepdim=True).expand_as(images), per_image(levels))


def cast(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Add a colour cast: a random gain and offset for each channel.

    level: the largest change that black or white gets in any channel.
    """
    shape = (*images.shape[:2], 2)
    ends = torch.rand(shape, generator=generator, device=generator.device) * 2 - 1
    ends = levels[:, None, None] * ends / ends.abs().amax((1, 2), keepdim=True)
    black, white = ends[..., :1, None], ends[..., 1:, None]
    return images + (white + black) / 2 + (white - black) / 2 * images


def fading(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Fade as old prints do: less contrast and colour, lighter shadows, and a warm cast.

    level: how far the image goes to that, a share. What it goes to has a third of the contrast and
    a fifth of the saturation, and is up to 0.4 redder and yellower.
    """
    grey = images.mean(1, keepdim=True)
    faded = 0.2 + 0.3 * (0.8 * grey + 0.2 * images)
    if images.shape[1] == 3:
        warmth = per_image(uniform(len(images), 0.1, 0.4, generator).to(images))
        faded = faded + warmth * torch.tensor([0.5, 0.0, -1.0]).to(images)[:, None, None]
    return torch.lerp(images, faded, per_image(levels))


def saturation(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Scale saturation: each pixel's distance from the mean of its channels, times level."""
    return torch.lerp(images.mean(1, keepdim=True).expand_as(images), images, per_image(levels))


def gamma(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Turn brightness v in [0, 1] into v^level, as a wrong exposure does. Clips to [−1, 1]."""
    return ((images.clamp(-1, 1) + 1) / 2) ** per_image(levels) * 2 - 1


def scan(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur with a Gaussian of level pixels, then threshold softly: a poor black-and-white scan."""
    threshold = per_image(uniform(len(images), -0.2, 0.2, generator))
    return ((blur(images, levels, generator) - threshold) * 6).clamp(-1, 1)


def sketch(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Turn into the paper's pencil sketch: (g + 1) / (blurred g + 1) − 1, g the channel mean.

    The Gaussian covers level × level pixels (the paper: 21) and has torchvision's default
    standard deviation for that size, 0.3·((level − 1)/2 − 1) + 0.8. Clipped to [−1, 1], as
    the quotient is large beside black.
    """
    g = images.mean(1, keepdim=True) + 1
    out = torch.empty_like(images)
    for size, chosen in groups(levels.round()):
        sigma = images.new_full((len(chosen),), 0.3 * ((size - 1) / 2 - 1) + 0.8)
        blurred = gaussian(g[chosen], sigma, int(size) // 2)
        quotient = g[chosen] / (blurred + 1e-6) - 1
        out[chosen] = quotient.clamp(-1, 1).expand(-1, images.shape[1], -1, -1)
    return out
