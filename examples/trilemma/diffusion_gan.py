"""Diffusion-GAN: a GAN whose critic is shown images after a random number of diffusion steps.

Z. Wang, H. Zheng, P. He, W. Chen, M. Zhou, *Diffusion-GAN: Training GANs with Diffusion*, ICLR
2023. How many steps there may be follows how sure the critic is of real images (its equation 11).
"""

import gan
import torch
from common import System
from torch import Tensor

LEAST, MOST = 5, 500
SIGMA, WANTED, PACE = 0.05, 0.6, 4
BETAS = torch.linspace(1e-4, 2e-2, 1000)
SIGNAL = (1 - BETAS).cumprod(0)


class Diffusion(gan.View):
    """The steps t that a batch is shown after, and images after them, t as a second channel."""

    channels = 2

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.longest, self.signal = LEAST, SIGNAL.to(device)

    def draw(self, n: int) -> Tensor:
        """Steps (N,), 0 to the longest of now, larger ones likelier; half of them 0."""
        steps = torch.arange(1, self.longest + 1, device=self.device)
        drawn = steps[torch.multinomial(steps.float(), n, replacement=True)]
        return torch.where(torch.rand(n, device=self.device) < 0.5, 0, drawn)

    def shown(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Images after the steps, with t as a second channel (N, 2, S, S)."""
        signal = torch.where(drawn > 0, self.signal[drawn - 1], 1.0)[:, None, None, None]
        noisy = signal.sqrt() * images + (1 - signal).sqrt() * SIGMA * torch.randn_like(images)
        plane = (drawn / MOST)[:, None, None, None].expand_as(images)
        return torch.cat([noisy, plane], 1)

    def adjust(self, margins: Tensor) -> None:
        """More steps where the critic is surer than wanted, else fewer."""
        surer = torch.sign(margins.sign().mean() - WANTED)
        self.longest = int(min(MOST, max(LEAST, self.longest + PACE * float(surer))))


def system(device: torch.device) -> System:
    return gan.system(device, "Diffusion-GAN", Diffusion(device))
