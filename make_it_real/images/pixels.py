"""Pixels ⇄ images in [−1, 1]: conversion, channels, resampling, grids, mean differences."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images.decode import Picture as Picture

# Rec. 601 luma, as Pillow's convert("L") weighs the channels.
LUMA = (0.299, 0.587, 0.114)
# Large images are worked off so many pixels at a time, where the work takes memory of its own.
BAND_PIXELS = 1_000_000


def to_images(pixels: Tensor) -> Tensor:
    """Convert uint8 (…) in 0–255 to float32 images (…) in [−1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """Convert images (…), clipped to [−1, 1], to uint8 (…), rounded to nearest."""
    return levels(images).byte()


def on_white(picture: Picture) -> Tensor:
    """Lay a picture on white, at its own size: an image (C, H, W) in [−1, 1]."""
    colour = picture.colour
    if picture.alpha is not None:
        colour = colour * picture.alpha + (1 - picture.alpha)
    return colour * 2 - 1


def flatten(colour: Tensor, alpha: Tensor, done: list[str]) -> Tensor:
    """Lay colour (C, H, W) of opacity (H, W) on white where it is dark, else on black.

    What was done is added to ``done``.
    """
    mean = (colour.mean(0) * alpha).sum() / alpha.sum().clamp_min(1e-6)
    paper = 1.0 if mean < 0.5 else 0.0
    done.append(f"laid on {'white' if paper else 'black'}")
    return colour * alpha + paper * (1 - alpha)


def grid(images: Tensor, columns: int | None = None, gap: int = 2) -> Tensor:
    """Lay images (N, C, H, W) out row by row: (C, rows·(H+gap)−gap, columns·(W+gap)−gap).

    columns: ``columns_for(N)`` by default. gap: pixels between images. Gaps and empty cells are
    black.
    """
    n, c, h, w = images.shape
    columns = columns or columns_for(n)
    rows = -(-n // columns)
    sheet = images.new_full((c, rows * (h + gap) - gap, columns * (w + gap) - gap), -1.0)
    for i, image in enumerate(images):
        y, x = i // columns * (h + gap), i % columns * (w + gap)
        sheet[:, y : y + h, x : x + w] = image
    return sheet


def columns_for(n: int) -> int:
    """Number of columns of a grid of n cells: the grid is about square, its rows full (8 for 32).

    If full rows would make it more than four times as wide as high, as for prime numbers, it
    is the square root of n, rounded up.
    """
    least = max(1, math.isqrt(max(n, 1) - 1) + 1)
    whole = (c for c in range(least, min(n - 1, math.isqrt(4 * n)) + 1) if n % c == 0)
    return next(whole, least)


def enlarged(image: Tensor, factor: int) -> Tensor:
    """Enlarge (…, H, W) to (…, factor·H, factor·W) by repeating pixels."""
    if factor == 1:
        return image
    return image.repeat_interleave(factor, -2).repeat_interleave(factor, -1)


def interpolated(image: Tensor, factor: int, least: float = -1.0) -> Tensor:
    """Enlarge (C, H, W) with values in [least, 1] to (C, factor·H, factor·W), bicubically.

    The kernel, unlike that of ``scaled``, is that of ``degradations.resolution``: f was taught it.
    """
    if factor == 1:
        return image
    larger = F.interpolate(image[None], scale_factor=factor, mode="bicubic")[0]
    return larger.clamp_(least, 1)


def to_channels(image: Tensor, channels: int) -> Tensor:
    """Convert (C, H, W) to (channels, H, W): grey is repeated, colour becomes luma."""
    if len(image) == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1)
    luma: Tensor = torch.tensordot(torch.tensor(LUMA), image, 1)
    return luma[None]


def scaled(image: Tensor, height: int, width: int) -> Tensor:
    """Resample (C, H, W) with a bicubic filter, antialiased when made smaller."""
    if tuple(image.shape[1:]) == (height, width):
        return image
    return F.interpolate(image[None], (height, width), mode="bicubic", antialias=True)[0]


def bands(image: Tensor) -> Iterator[slice]:
    """Yield slices of the rows of an image (C, H, W), about ``BAND_PIXELS`` pixels each."""
    height, width = image.shape[1:]
    step = max(1, BAND_PIXELS // width)
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def levels(images: Tensor, bits: int = 8) -> Tensor:
    """Convert images (…), clipped to [−1, 1], to whole numbers from 0 to 2^bits − 1, as floats."""
    return images.detach().clamp(-1, 1).add_(1).mul_((2**bits - 1) / 2).round_()


def changed_share(a: Tensor, b: Tensor, bits: int = 8) -> float:
    """Share of pixels of images (C, H, W) in [−1, 1] in which they differ by a level or more.

    An image of one channel has all channels equal. Returns 1 for images of different sizes.
    """
    if a.shape[1:] != b.shape[1:]:
        return 1.0
    changed = sum(
        int((levels(a[:, rows], bits) != levels(b[:, rows], bits)).any(0).sum())
        for rows in bands(a)
    )
    return changed / a[0].numel()


def border(images: Tensor) -> Tensor:
    """The outermost pixels of images (N, C, H, W), channels averaged, (N, 2·(H+W))."""
    grey = images.mean(1)
    return torch.cat([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], 1)


def mean_abs(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference per image (N,), in image units: 2 is black against white."""
    return (a - b).abs().flatten(1).mean(1)
