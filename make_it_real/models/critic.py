"""The critic C of pixels: tells real images from generated ones while f is trained.

A trained f works without it.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Critic(nn.Module):
    """Images (N, C, H, W) in [−1, 1] → realness logits (N,), unbounded; larger is more real.

    A strided 4×4 convolution for each of ``widths``, a 3×3 convolution, the minibatch standard
    deviation as one more channel (Karras et al. 2018, section 3), a last convolution and a
    linear layer. There is no normalisation: the gradient penalty is taken for each image, so
    a logit should depend on its own image, apart from the one channel of statistics.
    """

    GROUP = 4

    def __init__(self, image_size: int, channels: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.image_size, self.channels, self.widths = image_size, channels, widths
        ins = (channels, *widths[:-1])
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in zip(ins, widths, strict=True)
        )
        top, side = widths[-1], image_size // 2 ** len(widths)
        self.body = nn.Conv2d(top, top, 3, padding=1)
        self.last = nn.Conv2d(top + 1, top, 3, padding=1)
        self.head = nn.Linear(top * side * side, 1)

    def forward(self, images: Tensor) -> Tensor:
        # Features at the lowest resolution.
        h = images
        for conv in self.down:
            h = F.leaky_relu(conv(h), 0.2)
        h = h + F.leaky_relu(self.body(h), 0.2)
        # How much the images of a group differ, as one more channel, then one logit an image.
        h = torch.cat([h, self.minibatch_std(h)], 1)
        h = F.leaky_relu(self.last(h), 0.2)
        logits: Tensor = self.head(h.flatten(1))
        return logits.squeeze(1).float()

    def minibatch_std(self, h: Tensor) -> Tensor:
        """Compute the mean deviation of features (N, C, H, W) within groups, (N, 1, H, W).

        A group is ``GROUP`` neighbours in the batch, or the whole batch where N is not a
        multiple of it. So a part of a batch has the same groups as the whole.
        """
        n = len(h)
        group = self.GROUP if n % self.GROUP == 0 else n
        grouped = h.float().reshape(n // group, group, -1)
        variance = (grouped - grouped.mean(1, keepdim=True)).square().mean(1)
        std = (variance + 1e-8).sqrt().mean(1)
        return (
            std.repeat_interleave(group).to(h.dtype)[:, None, None, None].expand(n, 1, *h.shape[2:])
        )
