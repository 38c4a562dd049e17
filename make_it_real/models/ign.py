"""f: the idempotent generative network, with its gate and the source that its z come from.

f maps any image onto the target images in one step. Its layers, which are those of an
architecture, propose a change r(x), and a small change of an image is not made, f(x) = clamp(x +
gate(r(x))): for f(x) = x and for f^k to rest, r need only be small, not zero.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from make_it_real.models.source import SOURCES

ARCHITECTURES = ("projector", "dcgan")

Net = TypeVar("Net", bound=nn.Module)


def place(net: Net, device: torch.device) -> Net:
    """Move a network to a device, its weights laid out channels last (faster everywhere)."""
    net.to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Have a network in evaluation mode for as long as this lasts, then as it was before."""
    training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(training)


@dataclass(frozen=True)
class IGNConfig:
    """What f is built from.

    image_size: side of the square images in pixels, a multiple of 2^len(widths).
    channels: 1 for grey, 3 for colour.
    stem: channels kept at full resolution.
    widths: channels after each halving of the resolution; the last ones carry most of the
        work. ``bottleneck``: width of the fully connected layer that sees the whole image.
    blocks: residual blocks at the lowest resolution, half before the bottleneck.
    attention: one layer of self-attention at the lowest resolution. code: channels of it that the
        bottleneck sees, 0 for all: most of a large f's parameters would be there.
    fine: residual blocks at full resolution, before the last convolution.
    filters: whether f also mixes band-pass filters of the image, each pixel by its own weights
        (``filters.py``): what sharpens and denoises. patches: residual blocks over squares of 2×2
        pixels (``patches.py``), 0 for none: depth where pixels are.
    dead_zone: changes of a pixel up to this are not made, in image units (2 is black against
        white). rest: an image whose change would come to a root mean square up to this is left
        exactly as it is; from ``rest_ramp`` times that on, the change is made in full. Near 1 a
        change is made whole or not at all: half a change leaves another half to be made.
    """

    image_size: int = 28
    channels: int = 1
    stem: int = 16
    widths: tuple[int, ...] = (64, 128)
    bottleneck: int = 128
    blocks: int = 4
    dead_zone: float = 0.03
    rest: float = 0.01
    rest_ramp: float = 2.0
    architecture: str = "projector"
    norm: str = "group"
    source: str = "spectral"
    attention: bool = False
    code: int = 0
    fine: int = 0
    filters: bool = False
    patches: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        factor = 1 if self.architecture == "dcgan" else 2 ** len(self.widths)
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"no architecture is called {self.architecture!r}")
        if self.norm not in ("group", "batch") or self.source not in SOURCES:
            raise ValueError(f"no such norm or source: {self.norm!r}, {self.source!r}")
        if self.architecture == "projector" and self.norm == "batch":
            raise ValueError("batch norm is for the architecture dcgan")
        if self.architecture == "dcgan" and self.dead_zone:
            raise ValueError("the architecture dcgan has no dead_zone: it must be 0")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}")
        if not self.widths or self.image_size < factor or self.image_size % factor:
            raise ValueError(f"image_size {self.image_size} must be a multiple of {factor}")
        if any(w < 1 or w % 8 for w in (self.stem, *self.widths)):
            raise ValueError("stem and widths must be positive multiples of 8")
        if self.bottleneck < 1 or self.blocks < 2:
            raise ValueError("bottleneck must be at least 1 and blocks at least 2")
        if self.code < 0 or self.fine < 0 or self.patches < 0:
            raise ValueError("code, fine and patches must be at least 0")
        if not 0 <= self.dead_zone < 1:
            raise ValueError("dead_zone must lie in [0, 1)")
        if not 0 <= self.rest < 1:
            raise ValueError("rest must lie in [0, 1)")
        if not self.rest_ramp > 1:
            raise ValueError("rest_ramp must be over 1")


class IGN(nn.Module):
    """f, mapping images (N, C, H, W) to images (N, C, H, W) within [−1, 1].

    Inputs are expected in about [−1, 1] but may lie outside (noise does). ``f.source`` draws
    the z that f maps to new images; ``f.config`` is what f was built from. Each architecture is
    a subclass, whose layers propose what the gate lets through (``architectures.build``).
    """

    def __init__(self, config: IGNConfig) -> None:
        super().__init__()
        self.config = config
        self.source = SOURCES[config.source](config.channels, config.image_size)

    def propose(self, images: Tensor) -> Tensor:
        """What f would make of images before its gate: (N, C, H, W) → the same, float32."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and not len(images):
            return images
        out = self.propose(images)
        if not self.training and self.config.rest:
            change = out - images
            out = (images + self.gate(change) * change).clamp(-1, 1)
        return out

    def gate(self, change: Tensor) -> Tensor:
        """0 for images that are left as they are, up to 1, (N, C, H, W) → (N, 1, 1, 1).

        Closed in evaluation only: in training every proposed change is made, so that the
        losses go on making those of real images small, well below where the gate closes.
        """
        # Of an image that is at rest the root has no gradient: kept from 0, it has none to pass on.
        rms = change.square().mean((1, 2, 3), keepdim=True).clamp_min(1e-12).sqrt()
        return ((rms / self.config.rest - 1) / (self.config.rest_ramp - 1)).clamp(0, 1)

    @property
    def device(self) -> torch.device:
        return self.source.anchor.device
