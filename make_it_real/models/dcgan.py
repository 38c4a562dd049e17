"""The paper's network: a DCGAN discriminator as encoder and a DCGAN generator as decoder.

Shocher et al. 2024, after Radford et al. 2016: strided convolutions, batch norm except at input
and output, leaky ReLU on the way down, ReLU on the way up, tanh at the end. At 64 pixels the widths
are 64, 128, 256, 512 and the code has 512 channels. 28 pixels are halved to 14, 7 and 4 (from 7 to
4 by a 3×3 kernel), so that there are three widths; the paper does not print the table for it.
"""

from itertools import pairwise

from torch import Tensor, nn

from make_it_real.models.ign import IGN, IGNConfig


def _norm_layer(channels: int, norm: str) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.GroupNorm(8, channels)


class DCGAN(nn.Module):
    """Images (N, C, S, S) → images (N, C, S, S) in (−1, 1), by way of a code (N, code, 1, 1).

    norm: "batch" as published, with which a result depends on the other images of its batch in
    training, and on running statistics in evaluation. "group" treats each image alone in both.
    Raises ValueError where image_size can't be halved once for each width.
    """

    def __init__(
        self, image_size: int, channels: int, widths: tuple[int, ...], code: int, norm: str
    ) -> None:
        super().__init__()
        # Each convolution halves the side, rounding up.
        sides = [image_size]
        for _ in widths:
            sides.append((sides[-1] + 1) // 2)
        if sides[-1] < 2:
            raise ValueError(f"image_size {image_size} can't be halved {len(widths)} times")
        kernels = [4 if side % 2 == 0 else 3 for side in sides[:-1]]
        # The decoder is the encoder in reverse order.
        down: list[nn.Module] = []
        for index, (a, b) in enumerate(pairwise((channels, *widths))):
            down += [nn.Conv2d(a, b, kernels[index], 2, 1, bias=not index)]
            down += [_norm_layer(b, norm)] if index else []
            down += [nn.LeakyReLU(0.2)]
        up: list[nn.Module] = []
        for index, (b, a) in reversed(list(enumerate(pairwise((channels, *widths))))):
            up += [_norm_layer(a, norm), nn.ReLU()]
            up += [nn.ConvTranspose2d(a, b, kernels[index], 2, 1, bias=not index)]
        self.top = (widths[-1], sides[-1], sides[-1])
        # The paper's convolutions to and from 1×1 positions are written as linear layers, which
        # are the same and several times faster to train.
        inner = widths[-1] * sides[-1] ** 2
        self.encoder = nn.Sequential(*down)
        self.squeeze, self.expand = nn.Linear(inner, code), nn.Linear(code, inner, bias=False)
        self.decoder = nn.Sequential(*up)
        # Start from normal weights of deviation 0.02, as Radford et al. do.
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        code = self.squeeze(self.encoder(images).flatten(1))
        out: Tensor = self.decoder(self.expand(code).unflatten(1, self.top))
        # In float32: the steps of bfloat16 near ±1 are half an 8-bit level.
        return out.float().tanh()


class DCGANIGN(IGN):
    """f with the architecture "dcgan": the paper's network, whose output is the proposal."""

    def __init__(self, config: IGNConfig) -> None:
        super().__init__(config)
        self.dcgan = DCGAN(
            config.image_size, config.channels, config.widths, config.bottleneck, config.norm
        )

    def propose(self, images: Tensor) -> Tensor:
        out: Tensor = self.dcgan(images)
        return out


def use_batch_statistics(network: nn.Module) -> None:
    """Make every batch norm use the statistics of its batch, in evaluation mode too.

    A published f is trained on batches of x, z and f(z) in turn, so its running statistics fit
    none of them. Use this to measure figures only: a result then depends on its whole batch.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = module.running_var = None


def has_batch_norm(network: nn.Module) -> bool:
    """Tell whether any layer of the network is a batch norm."""
    return any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
