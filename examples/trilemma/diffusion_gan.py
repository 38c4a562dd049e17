"""Diffusion-GAN: a GAN whose critic is shown images after a random number of diffusion steps.

Z. Wang, H. Zheng, P. He, W. Chen, M. Zhou, *Diffusion-GAN: Training GANs with Diffusion*, ICLR
2023. How many steps there may be follows how sure the critic is of real images (its equation 11).
"""

import copy

import torch
from common import System, Way, adam, autocast, average, in_batches
from gan import GAMMA, LATENT, PENALTY_EVERY, Generator
from torch import Tensor

from make_it_real import losses
from make_it_real.critic import Critic

LEAST, MOST = 5, 500
SIGMA, WANTED, PACE, ADJUST_EVERY = 0.05, 0.6, 4, 4
BETAS = torch.linspace(1e-4, 2e-2, 1000)
SIGNAL = (1 - BETAS).cumprod(0)


class Diffusion:
    """The steps t that a batch is shown after, and images after them."""

    def __init__(self) -> None:
        self.longest = LEAST

    def draw(self, n: int) -> Tensor:
        """Steps (N,), 0 to the longest of now, larger ones likelier; half of them 0."""
        steps = torch.arange(1, self.longest + 1)
        drawn = steps[torch.multinomial(steps.float(), n, replacement=True)]
        return torch.where(torch.rand(n) < 0.5, 0, drawn)

    def shown(self, images: Tensor, steps: Tensor) -> Tensor:
        """Images after the steps, with t as a second channel (N, 2, S, S)."""
        signal = torch.where(steps > 0, SIGNAL[steps - 1], 1.0)[:, None, None, None]
        noisy = signal.sqrt() * images + (1 - signal).sqrt() * SIGMA * torch.randn_like(images)
        plane = (steps / MOST)[:, None, None, None].expand_as(images)
        return torch.cat([noisy, plane], 1)

    def adjust(self, margins: Tensor) -> None:
        """More steps where the critic is surer than wanted, else fewer.

        margins: by how much it finds each real image more real than its pair (N,).
        """
        surer = torch.sign(margins.sign().mean() - WANTED)
        self.longest = int(min(MOST, max(LEAST, self.longest + PACE * float(surer))))


def system() -> System:
    G, C, diffusion = Generator(), Critic(28, 2, (64, 128)), Diffusion()
    G_ema = copy.deepcopy(G)
    opt_G, opt_C = adam(G), adam(C)
    done = 0

    def learn(x: Tensor, labels: Tensor, over: float) -> None:
        nonlocal done
        steps = diffusion.draw(len(x))
        with autocast():
            fake = G(torch.randn(len(x), LATENT))
            losses.freeze(C, True)
            loss = losses.loss_real(C(diffusion.shown(x, steps)), C(diffusion.shown(fake, steps)))
            losses.freeze(C, False)
        opt_G.zero_grad()
        loss.backward()
        opt_G.step()
        shown_x, shown_fake = diffusion.shown(x, steps), diffusion.shown(fake.detach(), steps)
        with autocast():
            C_x, C_fake = C(shown_x), C(shown_fake)
            loss = losses.loss_critic(C_x, C_fake)
            if done % PENALTY_EVERY == 0:
                of_x = losses.gradient_penalty(C, shown_x)
                loss = loss + GAMMA / 2 * (of_x + losses.gradient_penalty(C, shown_fake))
        opt_C.zero_grad()
        loss.backward()
        opt_C.step()
        if done % ADJUST_EVERY == 0:
            diffusion.adjust((C_x - C_fake).detach())
        done += 1
        average(G_ema, G, done)

    def draw(n: int, generator: torch.Generator) -> Tensor:
        return in_batches(n, lambda m: G_ema(torch.randn(m, LATENT, generator=generator)))

    return System(
        "Diffusion-GAN",
        learn,
        {"G": G_ema},
        lambda: [Way("Diffusion-GAN", 1, draw)],
        (opt_G, opt_C),
    )
