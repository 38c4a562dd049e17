"""What answers have in common: images as the page shows them, and figures in words."""

import base64

from torch import Tensor

from make_it_real.images import encode
from make_it_real.images.pixels import scaled
from make_it_real.inference.scoring import UNLIKE

# Longer side of the small copies of large pictures, in pixels.
SMALL_SIDE = 320


def url(data: bytes, kind: str = "png") -> str:
    """Put an image file into a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def png(image: Tensor, text: dict[str, str] | None = None, alpha: Tensor | None = None) -> str:
    """Encode an image (C, H, W) in [−1, 1] as the URL of a PNG of 8 bits."""
    return url(encode.encode(image, text=text, alpha=alpha))


def small(image: Tensor) -> str:
    """Encode a copy of an image of at most ``SMALL_SIDE`` pixels a side, as a PNG's URL."""
    height, width = image.shape[1:]
    factor = min(1.0, SMALL_SIDE / max(height, width))
    size = (max(1, round(length * factor)) for length in (height, width))
    return png(scaled(image, *size).clamp(-1, 1))


def realness(percentile: float | None) -> str:
    """Say in words how real an image is. percentile: as ``scoring.Scores`` has it."""
    if percentile is None:
        return ""
    if percentile >= UNLIKE:
        return "unlike anything the model was trained on"
    if percentile <= 50:
        return "as real as the images the model was trained on"
    return f"less real than {percentile:.0f} % of the images the model was trained on"
