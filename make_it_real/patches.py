"""What f changes by patches: residual blocks in which a pixel is one of a square of 2×2.

Repair needs depth where pixels are, which at full resolution is dear: there a convolution has few
channels and much to read. Folded into squares (W. Shi et al., *Real-Time Single Image and Video
Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network*, CVPR 2016) the same
pixels are a quarter of the places and four times the channels. The blocks have no norms: how strong
noise is, or how weak an edge, is what they are to see (B. Lim et al., *Enhanced Deep Residual
Networks for Single Image Super-Resolution*, CVPRW 2017).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SIDE = 2
WIDTH = 128


class PlainBlock(nn.Module):
    """h + conv(act(conv(h))), (N, C, H, W) → the same shape; at first just h."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.conv2(F.silu(self.conv1(h)))
        return out


class Patches(nn.Module):
    """Features (N, c, H, W) and images (N, C, H, W) → a change of the images, at first none.

    H and W are multiples of ``SIDE``.
    """

    def __init__(self, features: int, channels: int, blocks: int) -> None:
        super().__init__()
        square = SIDE * SIDE
        self.first = nn.Conv2d(square * (features + channels), WIDTH, 3, padding=1)
        self.blocks = nn.Sequential(*(PlainBlock(WIDTH) for _ in range(blocks)))
        self.last = nn.Conv2d(WIDTH, square * channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor, images: Tensor) -> Tensor:
        # Noise may be of any strength, and a step must not be of any size: at most one of black
        # against white is let in.
        strength = images.square().mean((1, 2, 3), keepdim=True).sqrt()
        folded = torch.cat([h, (images / strength.clamp_min(1)).to(h.dtype)], 1)
        folded = F.pixel_unshuffle(folded, SIDE)
        return F.pixel_shuffle(self.last(self.blocks(self.first(folded))), SIDE)
