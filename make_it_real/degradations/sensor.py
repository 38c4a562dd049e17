"""Degradations of a camera's sensor: noise that depends on light, or on neighbouring pixels.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,), and returns images of that shape.
``kinds.py`` names them.
"""

import torch
from torch import Tensor

from make_it_real.degradations.blur import gaussian
from make_it_real.degradations.noise import per_image, randn, uniform

# Standard deviations, in pixels, of the Gaussians that noise is smoothed by: of luma and chroma.
LUMA_BLUR, CHROMA_BLUR = (0.35, 0.85), (0.4, 1.4)


def poisson(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Count photons, of which white has level a pixel and channel on average. Clips first."""
    peak = per_image(levels)
    rates = (images.clamp(-1, 1) + 1) / 2 * peak
    counts = torch.poisson(rates.to(generator.device), generator=generator)
    return counts.to(images) / peak * 2 - 1


def phone_noise(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Add noise as phones leave it: of brightness and of colour, both correlated.

    level: its standard deviation at mid-grey. The noise of brightness is a little smooth, that of
    colour is coarser: squares of 1 to 3 pixels, blurred. In half of the images shadows have more
    of it, and lights less. Grey images have no noise of colour.
    """
    n, c, h, w = images.shape
    angle = uniform(n, 0.3, 1.2, generator).to(images)
    luma = _smooth(randn((n, 1, h, w), generator).to(images), LUMA_BLUR, generator)
    added = luma.expand_as(images)
    if c > 1:
        chroma = _smooth(_squares(images, generator), CHROMA_BLUR, generator)
        chroma = _standardized(chroma - chroma.mean(1, keepdim=True))
        added = per_image(angle.cos()) * luma + per_image(angle.sin()) * chroma
    dark = per_image(uniform(n, 0, 1, generator).to(images) < 0.5)
    shadows = 1 - 0.4 * images.clamp(-1, 1).mean(1, keepdim=True)
    return images + per_image(levels) * torch.where(dark, shadows, 1.0) * added


def _smooth(white: Tensor, sigmas: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Blur noise by a standard deviation drawn from a range; its own is 1 afterwards."""
    drawn = uniform(len(white), *sigmas, generator).to(white)
    return _standardized(gaussian(white, drawn, int(3 * sigmas[1] + 0.5)))


def _standardized(values: Tensor) -> Tensor:
    """Divide each image by its standard deviation around 0."""
    return values / values.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-6)


def _squares(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw noise that is the same in squares of 1, 2 or 3 pixels, by image."""
    n, c, h, w = images.shape
    sides = torch.tensor([1, 2, 2, 3])[
        torch.randint(4, (n,), generator=generator, device=generator.device).cpu()
    ]
    out = torch.empty_like(images)
    for side in (1, 2, 3):
        chosen = (sides == side).to(images.device)
        shape = (int(chosen.sum()), c, -(-h // side), -(-w // side))
        squares = randn(shape, generator).to(images)
        out[chosen] = squares.repeat_interleave(side, 2).repeat_interleave(side, 3)[..., :h, :w]
    return out
