"""GAN: a generator of images out of a vector, against the critic and by the loss that f has.

I. Goodfellow et al., *Generative Adversarial Networks*, NeurIPS 2014; the loss is the relativistic
pairing with gradient penalties of Huang et al. 2024, as in ``make_it_real.training.losses``.
"""

import copy

import torch
from common import EMA, System, Way, adam, autocast, in_batches
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.models.critic import Critic
from make_it_real.models.layers import ResidualBlock, norm
from make_it_real.training import losses
from make_it_real.training.objective import average

LATENT = 128
GAMMA, PENALTY_EVERY, ADJUST_EVERY = 1.0, 4, 4


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


class View:
    """What the critic is shown of images: the images themselves. Children show them otherwise."""

    channels = 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def draw(self, n: int) -> Tensor:
        """What is drawn for a batch, one number an image (N,)."""
        return torch.zeros(n, device=self.device)

    def shown(self, images: Tensor, drawn: Tensor) -> Tensor:
        """What is shown of images (N, 1, S, S), (N, channels, S, S)."""
        return images

    def adjust(self, margins: Tensor) -> None:
        """Told by how much the critic finds each real image more real than its pair (N,)."""


def system(device: torch.device, name: str = "GAN", view: View | None = None) -> System:
    view = view or View(device)
    G, C = Generator().to(device), Critic(28, view.channels, (64, 128)).to(device)
    G_ema = copy.deepcopy(G)
    opt_G, opt_C = adam(G), adam(C)
    done = 0

    def learn(x: Tensor, labels: Tensor, over: float) -> None:
        nonlocal done
        drawn = view.draw(len(x))
        with autocast(device):
            fake = G(torch.randn(len(x), LATENT, device=device))
            with losses.frozen(C):
                loss = losses.loss_real(C(view.shown(x, drawn)), C(view.shown(fake, drawn)))
        opt_G.zero_grad()
        loss.backward()
        opt_G.step()
        shown_x, shown_fake = view.shown(x, drawn), view.shown(fake.detach(), drawn)
        with autocast(device):
            C_x, C_fake = C(shown_x), C(shown_fake)
            loss = losses.loss_critic(C_x, C_fake)
            if done % PENALTY_EVERY == 0:
                of_x = losses.gradient_penalty(C, shown_x)
                loss = loss + GAMMA / 2 * (of_x + losses.gradient_penalty(C, shown_fake))
        opt_C.zero_grad()
        loss.backward()
        opt_C.step()
        if done % ADJUST_EVERY == 0:
            view.adjust((C_x - C_fake).detach())
        done += 1
        average(G_ema, G, done, EMA)

    def draw(n: int, generator: torch.Generator) -> Tensor:
        def made(m: int) -> Tensor:
            images: Tensor = G_ema(torch.randn(m, LATENT, generator=generator, device=device))
            return images

        return in_batches(n, made, device)

    return System(name, learn, {"G": G_ema}, lambda: [Way(name, 1, draw)], (opt_G, opt_C))
