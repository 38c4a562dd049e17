"""f: the idempotent generative network, its config, its gate and the source of its z.

f maps any image onto the target images in one step. The layers of an architecture propose a change
r(x), and a gate drops the change where it is small: f(x) = clamp(x + gate(r(x))). So f(x) = x, and
f^k comes to rest, as soon as r is small; r need not be 0. The method is that of Shocher et al.
2024, arXiv:2311.01462.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.models.source import SOURCES

ARCHITECTURES = ("projector", "dcgan", "unet")

Net = TypeVar("Net", bound=nn.Module)


def place(net: Net, device: torch.device) -> Net:
    """Move a network to a device and store its weights channels last, which is faster."""
    net.to(device)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode for a block of code, then back into its own mode."""
    training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(training)


@dataclass(frozen=True)
class IGNConfig:
    """Sizes, architecture and source of f. Raises ValueError where they do not fit together.

    image_size: side of the square images in pixels, for the projector a multiple of
        2^len(widths); 0 for the unet, which takes images of any height and width.
    channels: 1 for grey, 3 for colour.
    architecture: one of ``ARCHITECTURES``. norm: "group", or "batch" for dcgan alone.
    source: the source of z, a name in ``source.SOURCES``; "none" for the unet, which repairs
        and has no images of its own to make.

    Of the projector (widths and blocks also of the unet, ``unet.UNet``):
    stem: channels at full resolution.
    widths: channels after each halving of the resolution (of dcgan too).
    bottleneck: width of the fully connected layer that sees the whole image (of dcgan too).
    blocks: residual blocks at the lowest resolution, half of them before the bottleneck.
    attention: whether a layer of self-attention follows the first half of the blocks.
    code: channels that the bottleneck sees, 0 for all. It saves parameters, most of which a large
        f would have there.
    fine: residual blocks at full resolution, before the last convolution.
    filters: whether f also mixes band-pass filters of the image, with weights for each pixel
        (``layers.AdaptiveFilters``), which sharpens and denoises.
    patches: residual blocks over patches of 2×2 pixels (``layers.Patches``), 0 for none.

    Of the gate, in image units, of which 2 is black against white:
    dead_zone: changes of a pixel up to this are dropped.
    rest: an image is left exactly as it is if the root mean square of its change is up to this.
    rest_ramp: the change is made in full from ``rest_ramp`` · ``rest`` on. Near 1 it is made in
        full or not at all; half a change would leave the other half for the next step.
    rest_radius: 0 where ``rest`` is of the whole image. Otherwise each pixel is judged by the
        square around it that reaches so many pixels to each side, and rests or changes alone.
    learned_gate: of the unet: whether f learns for each pixel if it is to be changed, instead of
        going by the size of the change. Then ``rest`` is a probability: of the square around a
        pixel needing a repair, as f estimates it.
    tone: of the unet: whether fading and casts of the whole picture are undone (``tone.py``).
    mixed: of the unet: whether the weights of its blocks at the highest resolution have deltas for
        some sorts of pictures, added as far as a picture is of a sort (``mixture.py``).
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
    rest_radius: int = 0
    learned_gate: bool = False
    tone: bool = False
    mixed: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        factor = 2 ** len(self.widths) if self.architecture == "projector" else 1
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"no architecture is called {self.architecture!r}")
        if self.norm not in ("group", "batch") or self.source not in SOURCES:
            raise ValueError(f"no such norm or source: {self.norm!r}, {self.source!r}")
        if self.architecture == "projector" and self.norm == "batch":
            raise ValueError("batch norm is for the architecture dcgan")
        if self.architecture != "projector" and self.dead_zone:
            raise ValueError(f"the architecture {self.architecture} has no dead_zone: it must be 0")
        if (self.architecture == "unet") != (self.source == "none"):
            raise ValueError("the architecture unet has the source none, and no other has it")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}")
        if self.architecture == "unet":
            if self.image_size or not self.widths:
                raise ValueError("the architecture unet has widths, and image_size 0: any size")
        elif not self.widths or self.image_size < factor or self.image_size % factor:
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
        if self.tone and (self.architecture != "unet" or self.channels != 3):
            raise ValueError("tone is for the architecture unet, in colour")
        if self.mixed and self.architecture != "unet":
            raise ValueError("mixed is for the architecture unet")
        if self.rest_radius < 0:
            raise ValueError("rest_radius must be at least 0")
        if self.learned_gate and not (
            self.architecture == "unet" and self.rest and self.rest_radius
        ):
            raise ValueError("learned_gate is for the unet with rest and rest_radius over 0")


def running_means(values: Tensor, width: int) -> Tensor:
    """Average values (…, L) over every ``width`` in a row: (…, L − width + 1).

    Sums of 1, 2, 4, 8, … are added up, which takes a tenth of the time of pooling as wide. A mean
    depends on its own values alone, to the last bit.
    """
    sums, total, start = values, values.new_zeros(()), 0
    length = values.shape[-1] - width + 1
    for power in (2**bit for bit in range(width.bit_length())):
        if power > 1:
            sums = sums[..., : -power // 2] + sums[..., power // 2 :]
        if width & power:
            total = total + sums.narrow(-1, start, length)
            start += power
    return total / width


class IGN(nn.Module):
    """f: maps images (N, C, H, W) to images (N, C, H, W) in [−1, 1].

    Inputs are in about [−1, 1]; noise may lie outside. ``f.source`` draws the z that f maps to
    new images, and ``f.config`` is what f was built from. ``f.precision`` is what the layers
    compute in where ``inference`` applies f, float32 or bfloat16; images are float32 in any case.
    Each architecture is a subclass that implements ``propose``, and ``propose_with_change`` where
    its proposal has a dead zone; ``architectures.build`` picks it.
    """

    def __init__(self, config: IGNConfig) -> None:
        super().__init__()
        self.config = config
        self.precision = torch.float32
        self.source = SOURCES[config.source](config.channels, config.image_size)

    def propose(self, images: Tensor) -> Tensor:
        """Compute f without its gate: images (N, C, H, W) → (N, C, H, W) in [−1, 1], float32."""
        raise NotImplementedError

    def propose_with_change(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the proposal and r, the change before any dead zone, each (N, C, H, W)."""
        out = self.propose(images)
        return out, out - images

    def forward(self, images: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and not len(images):
            return images
        return self._gated(images, self.propose(images))

    def with_change(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute f(x) and r(x), the change that f would make, at the cost of f(x) alone.

        images: (N, C, H, W). Returns f(x), and r(x) of the same shape in float32: what the layers
        propose to add, as far as x + r(x) lies in [−1, 1], before dead zone and gate. So r tells
        how real x is to f where f leaves x alone, too.
        """
        if not len(images):
            return images, images
        out, change = self.propose_with_change(images)
        return self._gated(images, out), change

    def _gated(self, images: Tensor, out: Tensor) -> Tensor:
        """Make the change from images to out as far as the gate lets it, in evaluation mode."""
        if not self.training and self.config.rest:
            change = out - images
            out = self.moved(images, change, self.gate(change))
        return out

    def moved(self, images: Tensor, change: Tensor, share: Tensor) -> Tensor:
        """Make a share, as ``gate`` tells it, of the changes (N, C, H, W) to images."""
        return (images + share * change).clamp(-1, 1)

    def gate(self, change: Tensor) -> Tensor:
        """Compute the share of each change (N, C, H, W) that is made, in [0, 1].

        It is (N, 1, 1, 1), or (N, 1, H, W) where the config has a ``rest_radius``. The gate is
        used in evaluation mode only. In training every proposed change is made, so that the
        losses go on shrinking those of real images, to well below where the gate closes.
        """
        power = change.square().mean(1, keepdim=True)
        local = self.config.rest_radius > 0
        power = self.around(power) if local else power.mean((2, 3), keepdim=True)
        # The root has no gradient at 0, where an image is at rest. Clamping makes it 0 instead.
        return self.opened(power.clamp_min(1e-12).sqrt())

    def around(self, values: Tensor) -> Tensor:
        """Average values (N, 1, H, W) over the square of ``rest_radius`` around each pixel."""
        reach = self.config.rest_radius
        values = F.pad(values, (reach,) * 4, mode="replicate")
        # The mean of a square is the mean of its rows' means.
        for _ in ("rows", "columns"):
            values = running_means(values, 2 * reach + 1).transpose(2, 3)
        return values

    def opened(self, values: Tensor) -> Tensor:
        """Compute how far the gate is open, in [0, 1], for what is compared with ``rest``."""
        return ((values / self.config.rest - 1) / (self.config.rest_ramp - 1)).clamp(0, 1)

    @property
    def device(self) -> torch.device:
        """The device that f is on."""
        return self.source.anchor.device
