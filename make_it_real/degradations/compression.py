"""Degradations by lossy compression, through Pillow: 8 bits a channel in and out.

Each takes images (N, C, H, W) in [−1, 1] and levels (N,), and returns images of that shape.
``kinds.py`` names them. Colour is stored at half the resolution (4:2:0). A picture that is larger
than its format allows raises ImageError.
"""

import io

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from make_it_real.errors import ImageError, one_line

# Blocks of JPEG with colour at half the resolution have so many pixels a side.
BLOCK = 16


def jpeg(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Compress as JPEG and decode again. level: the quality, 1 to 95."""
    return _compressed(images, levels, "JPEG")


def webp(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Compress as lossy WebP and decode again. level: the quality, 0 to 100."""
    return _compressed(images, levels, "WEBP")


def jpeg_twice(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Compress as JPEG twice, the second time cropped, so that its blocks lie elsewhere.

    level: the quality of both, 1 to 95.
    """
    shape = (len(images), 2)
    shifts = torch.randint(1, BLOCK, shape, generator=generator, device=generator.device)
    out = jpeg(images, levels, generator)
    for i, (top, left) in enumerate(shifts.tolist()):
        # The first rows and columns are repeated, instead of lost.
        rows = (torch.arange(-top, out.shape[2], device=out.device)).clamp_min(0)
        columns = (torch.arange(-left, out.shape[3], device=out.device)).clamp_min(0)
        moved = out[i : i + 1, :, rows][..., columns]
        out[i] = jpeg(moved, levels[i : i + 1], generator)[0, :, top:, left:]
    return out


def _compressed(images: Tensor, levels: Tensor, kind: str) -> Tensor:
    pixels = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    decoded = np.empty_like(pixels)
    for i, (image, quality) in enumerate(zip(pixels, levels.tolist(), strict=True)):
        decoded[i] = _decoded(image, kind, round(quality))
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).to(images) / 127.5 - 1


def _decoded(image: npt.NDArray[np.uint8], kind: str, quality: int) -> npt.NDArray[np.uint8]:
    """Encode pixels (H, W, C) and decode them."""
    grey = image.shape[2] == 1
    with io.BytesIO() as file:
        try:
            Image.fromarray(image[..., 0] if grey else image).save(file, kind, quality=quality)
        except (OSError, ValueError) as error:
            raise ImageError(f"can't be compressed as {kind}: {one_line(error)}") from error
        with Image.open(file) as opened:
            return np.asarray(opened.convert("L" if grey else "RGB")).reshape(image.shape)
