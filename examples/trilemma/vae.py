"""VAE: an encoder and a decoder, by the evidence lower bound.

D. Kingma, M. Welling, *Auto-Encoding Variational Bayes*, ICLR 2014, with its Bernoulli decoder:
a pixel's brightness, from 0 to 1, is a probability. The decoder's means are what is shown.
"""

import copy

import torch
from common import EMA, System, Way, adam, autocast, in_batches, mapped
from gan import Generator
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.training.objective import average

LATENT = 32


class Encoder(nn.Sequential):
    """Images (N, 1, 28, 28) → means and log variances (N, 2·latent)."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 32, 4, 2, 1), nn.SiLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.SiLU(),
            nn.Conv2d(64, 64, 3, 1, 1), nn.SiLU(), nn.Flatten(),
            nn.Linear(64 * 49, 192), nn.SiLU(), nn.Linear(192, 2 * LATENT),
        )  # fmt: skip


def system(device: torch.device) -> System:
    encode, decode = Encoder().to(device), Generator(LATENT).to(device)
    encode_ema, decode_ema = copy.deepcopy(encode), copy.deepcopy(decode)
    opt = adam(encode, decode, lr=5e-4, betas=(0.9, 0.99))
    done = 0

    def learn(x: Tensor, labels: Tensor, over: float) -> None:
        nonlocal done
        with autocast(device):
            mean, log_variance = encode(x).float().chunk(2, 1)
            z = mean + (log_variance / 2).exp() * torch.randn_like(mean)
            made = decode(z)
        bits, chances = (x + 1) / 2, (made + 1) / 2
        nll = F.binary_cross_entropy(chances, bits, reduction="sum") / len(x)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        opt.zero_grad()
        (nll + divergence).backward()
        opt.step()
        done += 1
        average(encode_ema, encode, done, EMA)
        average(decode_ema, decode, done, EMA)

    def draw(n: int, generator: torch.Generator) -> Tensor:
        def made(m: int) -> Tensor:
            z = torch.randn(m, LATENT, generator=generator, device=device)
            images: Tensor = decode_ema(z)
            return images

        return in_batches(n, made, device)

    def repair(images: Tensor, generator: torch.Generator) -> Tensor:
        return mapped(images, lambda y: decode_ema(encode_ema(y).chunk(2, 1)[0]))

    shipped = {"encode": encode_ema, "decode": decode_ema}
    return System("VAE", learn, shipped, lambda: [Way("VAE", 1, draw, repair, 1)], (opt,))
