"""GAN: a generator of images out of a vector, against the critic and by the loss that f has.

I. Goodfellow et al., *Generative Adversarial Networks*, NeurIPS 2014; the loss is the relativistic
pairing with gradient penalties of Huang et al. 2024, as in ``make_it_real.losses``.
"""

import copy

import torch
from common import System, Way, adam, autocast, average, in_batches
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real import losses
from make_it_real.critic import Critic
from make_it_real.model import ResidualBlock, norm

LATENT = 128
GAMMA, PENALTY_EVERY = 1.0, 4


class Generator(nn.Module):
    """Vectors (N, latent) → images (N, 1, 28, 28)."""

    def __init__(self, latent: int = LATENT, width: int = 192) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(latent, width * 49)
        self.blocks = nn.Sequential(ResidualBlock(width), ResidualBlock(width))
        self.up = nn.ConvTranspose2d(width, width // 2, 4, 2, 1)
        self.up_norm = norm(width // 2)
        self.up_again = nn.ConvTranspose2d(width // 2, width // 4, 4, 2, 1)
        self.up_again_norm = norm(width // 4)
        self.last = nn.Conv2d(width // 4, 1, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.blocks(self.first(z).view(-1, self.width, 7, 7))
        h = F.silu(self.up_norm(self.up(h)))
        h = F.silu(self.up_again_norm(self.up_again(h)))
        images: Tensor = self.last(h).float().tanh()
        return images


def system() -> System:
    G, C = Generator(), Critic(28, 1, (64, 128))
    G_ema = copy.deepcopy(G)
    opt_G, opt_C = adam(G), adam(C)
    done = 0

    def learn(x: Tensor, labels: Tensor, over: float) -> None:
        nonlocal done
        with autocast():
            fake = G(torch.randn(len(x), LATENT))
            losses.freeze(C, True)
            loss = losses.loss_real(C(x), C(fake))
            losses.freeze(C, False)
        opt_G.zero_grad()
        loss.backward()
        opt_G.step()
        fake = fake.detach()
        with autocast():
            loss = losses.loss_critic(C(x), C(fake))
            if done % PENALTY_EVERY == 0:
                penalty = losses.gradient_penalty(C, x) + losses.gradient_penalty(C, fake)
                loss = loss + GAMMA / 2 * penalty
        opt_C.zero_grad()
        loss.backward()
        opt_C.step()
        done += 1
        average(G_ema, G, done)

    def draw(n: int, generator: torch.Generator) -> Tensor:
        return in_batches(n, lambda m: G_ema(torch.randn(m, LATENT, generator=generator)))

    return System("GAN", learn, {"G": G_ema}, lambda: [Way("GAN", 1, draw)], (opt_G, opt_C))
