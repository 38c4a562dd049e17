"""The projected critic: tells real from made by what a network trained on ImageNet sees.

A critic of pixels learns slowly what textures and shapes are; features of a classifier know it
already. The projected critic (A. Sauer, K. Chitta, J. Müller, A. Geiger, *Projected GANs Converge
Faster*, NeurIPS 2021) takes features of four resolutions out of EfficientNet-Lite1 (Tan & Le 2019),
mixes them at random across channels and resolutions, and trains a small head on each. It stands
beside ``critic.py``'s, in training only, and its package is the extra ``lite1``.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from make_it_real.models.efficientnet_lite import STAGES, Backbone

MIXED = (64, 64, 128, 256)
# What images are enlarged to, in turn: features of one size alone would soon be catered to.
SIDES = (128, 112, 96)


class Head(nn.Sequential):
    """Mixed features (N, c, s, s) → realness logits (N, h, w), one a place.

    side: of the features of images enlarged to ``SIDES[0]``.
    """

    def __init__(self, channels: int, side: int) -> None:
        layers: list[nn.Module] = []
        width = 128
        while side > 4:
            layers += [spectral_norm(nn.Conv2d(channels, width, 4, 2, 1)), nn.GroupNorm(8, width)]
            layers += [nn.LeakyReLU(0.2)]
            channels, side, width = width, side // 2, min(256, 2 * width)
        layers += [spectral_norm(nn.Conv2d(channels, 128, 1)), nn.LeakyReLU(0.2)]
        layers += [spectral_norm(nn.Conv2d(128, 1, min(3, side)))]
        super().__init__(*layers)


class Features(nn.Module):
    """The backbone's features, mixed at random across channels and resolutions; all of it fixed."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def mixing(to: int, of: int, side: int) -> nn.Parameter:
            kernel = torch.randn(to, of, side, side, generator=generator) / (of * side**2) ** 0.5
            return nn.Parameter(kernel, requires_grad=False)

        self.backbone = Backbone()
        self.across = nn.ParameterList(
            mixing(to, of, 1) for to, of in zip(MIXED, STAGES, strict=True)
        )
        self.down = nn.ParameterList(mixing(MIXED[i], MIXED[i + 1], 1) for i in range(3))
        self.smooth = nn.ParameterList(mixing(MIXED[i], MIXED[i], 3) for i in range(3))

    def forward(self, images: Tensor, scales: Tensor) -> list[Tensor]:
        """Images (N, 3, s, s) → features, the finest first; scales (4,) are divided by.

        Scales that are all 0 are first set to the deviations of these images' features.
        """
        seen = self.backbone(images.contiguous(memory_format=torch.channels_last))
        mixed = [F.conv2d(h, kernel) for h, kernel in zip(seen, self.across, strict=True)]
        # Chosen on the device: to ask whether there are scales would be to wait for it.
        deviations = torch.stack([h.detach().float().std() for h in mixed])
        known = torch.where(scales > 0, scales, deviations)
        scales.copy_(known)
        mixed = [h / scale for h, scale in zip(mixed, known, strict=True)]
        for i in (2, 1, 0):
            coarse = F.conv2d(mixed[i + 1], self.down[i])
            coarse = F.interpolate(coarse, mixed[i].shape[2:], mode="bilinear")
            mixed[i] = F.conv2d((mixed[i] + coarse) / 2**0.5, self.smooth[i], padding=1)
        return mixed


class ProjectedCritic(nn.Module):
    """Images (N, C, S, S) in [−1, 1] → realness logits of four resolutions.

    Its parameters and its state are those of its heads and the features' scales, which it takes
    from the first images that it is shown: what is fixed is the same everywhere. Raises
    MirError without the extra.
    """

    scales: Tensor
    fixed: Features

    def __init__(self) -> None:
        super().__init__()
        # Not as a module of this one: neither trained nor saved.
        self.__dict__["fixed"] = Features()
        self.heads = nn.ModuleList(
            Head(channels, SIDES[0] // 2 ** (2 + i)) for i, channels in enumerate(MIXED)
        )
        self.register_buffer("scales", torch.zeros(len(MIXED)))

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self.fixed._apply(fn)  # type: ignore[no-untyped-call]
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def features(self, images: Tensor, side: int) -> list[Tensor]:
        """Mixed features (N, c, s, s) of images enlarged to ``side``, the finest first."""
        images = F.interpolate(images.float().expand(-1, 3, -1, -1), (side, side), mode="bilinear")
        found: list[Tensor] = self.fixed(images, self.scales)
        return found

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Logits (N, h, w) of each resolution's features."""
        return [head(h).squeeze(1) for head, h in zip(self.heads, features, strict=True)]
