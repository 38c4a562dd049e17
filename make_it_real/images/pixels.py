"""Pixels ⇄ images in [−1, 1]: conversion, channels, resampling, grids, mean differences."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images.decode import Picture as Picture


def to_images(pixels: Tensor) -> Tensor:
    """Convert uint8 (…) in 0–255 to float32 images (…) in [−1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pixels(images: Tensor) -> Tensor:
    """Convert images (…), clipped to [−1, 1], to uint8 (…), rounded to nearest."""
    return ((images.detach().clamp(-1, 1) + 1) * 127.5).round().byte()


def on_white(picture: Picture) -> Tensor:
    """Lay a picture on white, at its own size: an image (C, H, W) in [−1, 1]."""
    colour = picture.colour
    if picture.alpha is not None:
        colour = colour * picture.alpha + (1 - picture.alpha)
    return colour * 2 - 1


def grid(images: Tensor, columns: int | None = None, gap: int = 2) -> Tensor:
    """Lay images (N, C, H, W) out row by row: (C, rows·(H+gap)−gap, columns·(W+gap)−gap).

    columns: the square root of N, rounded up, by default. gap: pixels between images. Gaps and
    empty cells are black.
    """
    n, c, h, w = images.shape
    columns = columns or int(np.ceil(n**0.5))
    rows = -(-n // columns)
    sheet = images.new_full((c, rows * (h + gap) - gap, columns * (w + gap) - gap), -1.0)
    for i, image in enumerate(images):
        y, x = i // columns * (h + gap), i % columns * (w + gap)
        sheet[:, y : y + h, x : x + w] = image
    return sheet


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


def mean_abs(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference per image (N,), in image units: 2 is black against white."""
    return (a - b).abs().flatten(1).mean(1)


# Rec. 601 luma, as Pillow's convert("L") weighs the channels.
LUMA = (0.299, 0.587, 0.114)
