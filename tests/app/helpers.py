"""What tests of the page share: pictures as requests hold them, and answers as images."""

import base64
import io
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def file_of(url: str) -> bytes:
    """The file in a data URL."""
    return base64.b64decode(url.partition("base64,")[2])


def pixels_of(source: str | bytes) -> Tensor:
    """The pixels of a data URL or a file, uint8 (C, H, W)."""
    data = file_of(source) if isinstance(source, str) else source
    with Image.open(io.BytesIO(data)) as image:
        pixels = np.array(image)
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).permute(2, 0, 1)


def text_of(url: str) -> dict[str, Any]:
    with Image.open(io.BytesIO(file_of(url))) as image:
        return {str(key): value for key, value in image.info.items()}


def png(image: Image.Image) -> bytes:
    with io.BytesIO() as file:
        image.save(file, "PNG")
        return file.getvalue()


def drawing(side: int = 200) -> bytes:
    """A stroke on paper."""
    sheet = Image.new("RGB", (side, side), "white")
    line = [(side * x, side * y) for x, y in ((0.3, 0.2), (0.7, 0.3), (0.4, 0.5), (0.6, 0.8))]
    ImageDraw.Draw(sheet).line(line, "black", side // 12)
    return png(sheet)


def photograph(width: int = 60, height: int = 40) -> bytes:
    """Noise in colour."""
    levels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return png(Image.fromarray(levels))
