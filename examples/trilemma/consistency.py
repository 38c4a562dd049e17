"""Consistency training: noisy images of any level to the end of their way in one step.

Y. Song, P. Dhariwal, M. Chen, I. Sutskever, *Consistency Models*, ICML 2023, trained without
a teacher by the settings of Y. Song, P. Dhariwal, *Improved Techniques for Training Consistency
Models*, ICLR 2024, in the preconditioning of Karras et al. 2022.
"""

import copy
import math

import torch
from common import EMA, Draw, System, Way, adam, autocast, in_batches, mapped
from ddpm import UNet
from torch import Tensor

from make_it_real.training.objective import average

SIGMA_DATA, SIGMA_LOW, SIGMA_HIGH, RHO = 0.5, 0.002, 80.0, 7.0
FEWEST, MOST = 10, 160
# Of the lognormal that levels are drawn by, and where the second of two steps begins.
P_MEAN, P_STD, SECOND = -1.1, 2.0, 0.8
REPAIR_AT = 0.5


def levels(n: int) -> Tensor:
    """n noise levels from low to high (Karras et al. 2022, equation 5)."""
    ends = SIGMA_LOW ** (1 / RHO), SIGMA_HIGH ** (1 / RHO)
    return torch.linspace(*ends, n) ** RHO


def applied(net: torch.nn.Module, y: Tensor, sigma: Tensor) -> Tensor:
    """The network's estimate of the image in y, of noise levels sigma (N,); y itself at the low."""
    s = sigma[:, None, None, None]
    skip = SIGMA_DATA**2 / ((s - SIGMA_LOW) ** 2 + SIGMA_DATA**2)
    out = SIGMA_DATA * (s - SIGMA_LOW) / (SIGMA_DATA**2 + s**2).sqrt()
    scaled = y / (s**2 + SIGMA_DATA**2).sqrt()
    found: Tensor = net(scaled, 250 * sigma.log())
    return skip * y + out * found


def system(device: torch.device) -> System:
    net = UNet().to(device)
    ema = copy.deepcopy(net)
    opt = adam(net, lr=2e-4, betas=(0.9, 0.99))
    huber = 0.00054 * 28
    done = 0

    def learn(x: Tensor, labels: Tensor, over: float) -> None:
        nonlocal done
        # More levels, closer to each other, as time goes: doubled in equal parts of it.
        doublings = math.log2(MOST / FEWEST)
        n = min(MOST, FEWEST * 2 ** int((doublings + 1) * over)) + 1
        sigma = levels(n).to(device)
        edges = torch.special.erf((sigma.log() - P_MEAN) / (2**0.5 * P_STD))
        i = torch.multinomial(edges.diff(), len(x), replacement=True)
        noise = torch.randn_like(x)
        low, high = sigma[i], sigma[i + 1]
        with autocast(device):
            made = applied(net, x + high[:, None, None, None] * noise, high)
            with torch.no_grad():
                wanted = applied(net, x + low[:, None, None, None] * noise, low)
        distance = ((made - wanted).square().sum((1, 2, 3)) + huber**2).sqrt() - huber
        loss = (distance / (high - low)).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        done += 1
        average(ema, net, done, EMA)

    def at(y: Tensor, sigma: float) -> Tensor:
        return applied(ema, y, torch.full((len(y),), sigma, device=device)).clamp(-1, 1)

    def draw(steps: int) -> Draw:
        def drawn(n: int, generator: torch.Generator) -> Tensor:
            def made(m: int) -> Tensor:
                noise = torch.randn(m, 1, 28, 28, generator=generator, device=device)
                y = at(SIGMA_HIGH * noise, SIGMA_HIGH)
                for _ in range(steps - 1):
                    noise = torch.randn(y.shape, generator=generator, device=device)
                    y = at(y + (SECOND**2 - SIGMA_LOW**2) ** 0.5 * noise, SECOND)
                return y

            return in_batches(n, made, device)

        return drawn

    def repair(images: Tensor, generator: torch.Generator) -> Tensor:
        return mapped(images, lambda y: at(y, REPAIR_AT))

    def ways() -> list[Way]:
        return [
            Way("consistency, 1 step", 1, draw(1), repair, 1),
            Way("consistency, 2 steps", 2, draw(2)),
        ]

    return System("consistency", learn, {"net": ema}, ways, (opt,))
