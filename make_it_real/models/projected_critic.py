"""The projected critic: tells real images from generated ones by ImageNet features.

A critic of pixels learns slowly what textures and shapes are, which the features of a classifier
already describe. The projected critic (A. Sauer, K. Chitta, J. Müller, A. Geiger, *Projected GANs
Converge Faster*, NeurIPS 2021) takes features at four resolutions from EfficientNet-Lite1 (Tan & Le
2019), mixes them at random across channels and resolutions, and trains a small head on each. It is
used beside the critic of ``critic.py``, in training only. Its weights come with the extra
``lite1``.
"""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from make_it_real.models.efficientnet_lite import STAGES, Backbone

# Channels that the features of each resolution are mixed to, the finest first.
WIDTHS = (64, 64, 128, 256)
# Sides that images are enlarged to, in turn. With one side alone, f would soon learn to please
# the features at that side only.
SIDES = (128, 112, 96)


class Head(nn.Sequential):
    """Mixed features (N, c, s, s) → realness logits (N, 1, h, w), one for each position.

    side: s of images that are enlarged to ``SIDES[0]``.
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
    """The backbone, and how its features are mixed at random across channels and resolutions.

    Nothing in it is trained, and its random weights are always the same.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def mixing(to: int, of: int, side: int) -> nn.Parameter:
            kernel = torch.randn(to, of, side, side, generator=generator) / (of * side**2) ** 0.5
            return nn.Parameter(kernel, requires_grad=False)

        self.backbone = Backbone()
        self.across = nn.ParameterList(
            mixing(to, of, 1) for to, of in zip(WIDTHS, STAGES, strict=True)
        )
        self.down = nn.ParameterList(mixing(WIDTHS[i], WIDTHS[i + 1], 1) for i in range(3))
        self.smooth = nn.ParameterList(mixing(WIDTHS[i], WIDTHS[i], 3) for i in range(3))

    def forward(self, features: list[Tensor], scales: Tensor) -> list[Tensor]:
        """The backbone's features → as many mixtures (N, c, s', s'), the finest first.

        scales: what each is divided by, (4,). Scales of 0 are first set, in place, to the
        deviations of these features.
        """
        # Mix across channels.
        mixed = [F.conv2d(h, kernel) for h, kernel in zip(features, self.across, strict=True)]
        # The scales are chosen on the device: asking whether they are set would wait for it.
        deviations = torch.stack([h.detach().float().std() for h in mixed])
        divisors = torch.where(scales > 0, scales, deviations)
        scales.copy_(divisors)
        mixed = [h / divisor for h, divisor in zip(mixed, divisors, strict=True)]
        # Mix across resolutions, from the coarsest to the finest.
        for i in (2, 1, 0):
            coarse = F.conv2d(mixed[i + 1], self.down[i])
            coarse = F.interpolate(coarse, mixed[i].shape[2:], mode="bilinear")
            mixed[i] = F.conv2d((mixed[i] + coarse) / 2**0.5, self.smooth[i], padding=1)
        return mixed


class ProjectedCritic(nn.Module):
    """Features of images → realness logits at four resolutions.

    Its parameters are those of its heads. Its state also has the scales of the features, which
    are taken from the first images; what is fixed is the same everywhere and not in the state.
    Raises MirError without the extra ``lite1``.
    """

    scales: Tensor
    fixed: Features

    def __init__(self) -> None:
        super().__init__()
        # Not registered as a submodule, so that it is neither trained nor saved.
        self.__dict__["fixed"] = Features()
        self.heads = nn.ModuleList(
            Head(channels, SIDES[0] // 2 ** (2 + i)) for i, channels in enumerate(WIDTHS)
        )
        self.register_buffer("scales", torch.zeros(len(WIDTHS)))

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        self.fixed._apply(fn)  # type: ignore[no-untyped-call]
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call, no-any-return]

    def backbone(self, images: Tensor, side: int) -> list[Tensor]:
        """Compute the backbone's features of images (N, C, S, S) in [−1, 1], enlarged to ``side``.

        C is 1 or 3. Returns four features (N, c, s, s), the finest first.
        """
        images = F.interpolate(images.float().expand(-1, 3, -1, -1), (side, side), mode="bilinear")
        features: list[Tensor] = self.fixed.backbone(
            images.contiguous(memory_format=torch.channels_last)
        )
        return features

    def mix(self, features: list[Tensor]) -> list[Tensor]:
        """Mix the backbone's features to those that the heads see, as many."""
        mixed: list[Tensor] = self.fixed(features, self.scales)
        return mixed

    def features(self, images: Tensor, side: int) -> list[Tensor]:
        """Compute the mixed features of images (N, C, S, S) at once."""
        return self.mix(self.backbone(images, side))

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Compute logits (N, h, w) from the features of each resolution."""
        return [head(h).squeeze(1) for head, h in zip(self.heads, features, strict=True)]
