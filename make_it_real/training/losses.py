"""Both objectives, term by term: the adversarial projector's, and the paper's (``losses_ign``).

Symbols: x ~ target, z ~ source, Ax a corrupted x, C the critic; f_fz = f(s) for s = f(z) with
the gradient stopped, f_ema the averaged weights. D is the mean absolute difference (L1), as
in the paper. f(x) = x and f(f(z)) = f(z) are asked for as there (L_rec, L_idem); what looks real
is said by a critic trained beside f (a relativistic pairing with zero-centred gradient penalties:
Huang et al. 2024, "The GAN is dead; long live the GAN!") in place of the paper's L_tight.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Lambdas:
    """Weights of the terms of f's loss."""

    real: float = 1.0
    real_again: float = 0.5
    real_restored: float = 0.5
    rec: float = 5.0
    idem: float = 5.0
    idem_inner: float = 1.0
    restore: float = 5.0


@dataclass(frozen=True)
class PublishedLambdas:
    """Weights of the paper's three terms."""

    rec: float = 20.0
    idem: float = 20.0
    tight: float = 2.5


def distance(a: Tensor, b: Tensor) -> Tensor:
    """D(a, b): mean absolute difference, a scalar."""
    return (a - b).abs().mean()


def distances(a: Tensor, b: Tensor) -> Tensor:
    """D(a, b) per image (N,), of images (N, C, H, W)."""
    return (a - b).abs().mean((1, 2, 3))


def losses_ign(
    f: Network, f_copy: Network, x: Tensor, z: Tensor, *, clamp: float = 1.5, tight_rec: str = "z"
) -> tuple[Tensor, Tensor, Tensor]:
    """L_rec, L_idem and L_tight as published, each a mean over the batch.

    Shocher et al. 2024, figure 3: f_copy has f's weights, frozen, so that L_idem trains the
    inner f alone; L_tight = tanh(L/b)·b of L = −D(f(sg f(z)), sg f(z)) trains the outer
    alone and is bounded by b = ``clamp`` · L_rec of the same image. tight_rec says which L_rec:
    "z", D(f(z), z), as in the talk, or "x", D(f(x), x), as in many public
    copies. b is a bound, not a goal: no gradient goes through it.
    """
    fx, fz = f(x), f(z)
    fz_fixed = fz.detach()
    f_fz, ff_z = f_copy(fz), f(fz_fixed)
    loss_rec = distances(fx, x)
    loss_idem = distances(f_fz, fz)
    loss_tight = -distances(ff_z, fz_fixed)
    bound = clamp * (distances(fz_fixed, z) if tight_rec == "z" else loss_rec.detach())
    bound = bound.clamp_min(1e-8)
    loss_tight = (loss_tight / bound).tanh() * bound
    return loss_rec.mean(), loss_idem.mean(), loss_tight.mean()


def loss_real(C_x: Tensor, C_fake: Tensor) -> Tensor:
    """softplus(C(x) − C(fake)) of logits (B,), paired: f is to look more real than the real."""
    return F.softplus(C_x.detach() - C_fake).mean()


def loss_critic(C_x: Tensor, C_fake: Tensor) -> Tensor:
    """softplus(C(fake) − C(x)) of logits (B,), the critic's side of ``loss_real``."""
    return F.softplus(C_fake - C_x).mean()


def loss_real_projected(logits: list[Tensor]) -> Tensor:
    """−C(fake), mean over each resolution's logits and added over resolutions."""
    return torch.stack([-each.float().mean() for each in logits]).sum()


def loss_projected(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """The hinge loss (Lim & Ye 2017) of each resolution's logits, added: the critic's side."""
    pairs = zip(real, fake, strict=True)
    return torch.stack(
        [F.relu(1 - x.float()).mean() + F.relu(1 + y.float()).mean() for x, y in pairs]
    ).sum()


def loss_energy(made: Tensor, earlier: Tensor, real: Tensor) -> Tensor:
    """E|a − r| − E|a − a′| of features a = made (N, D), a′ = earlier made and r = real ones (M, D).

    Half of what depends on ``made`` in the energy distance (Székely & Rizzo 2013; between what a
    generator makes and what is real: Bellemare et al. 2017): a is drawn to where real features
    are and away from where made ones already are, so that few places shall not stand for all.
    """
    return torch.cdist(made, real).mean() - torch.cdist(made, earlier).mean()


def led(images: Tensor, gradient: Tensor, other: Tensor, weight: float) -> Tensor:
    """A scalar whose gradient by images (N, C, H, W) is gradient + weight·(|g|/|o|)·other.

    |·| is the mean norm over images: the second gradient gets ``weight`` times the first one's
    size, however large it is by itself. Gradients that are led into f this way need one pass
    back through f, and none twice through what they came from.
    """
    size, other_size = (g.flatten(1).norm(dim=1).mean() for g in (gradient, other))
    total: Tensor = gradient + weight * size / other_size.clamp_min(1e-20) * other
    out: Tensor = (images * total.detach()).sum()
    return out


def gradient_penalty(C: Network, images: Tensor) -> Tensor:
    """‖∇C(images)‖², summed over pixels, mean over images (R1 on x, R2 on f's images)."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(C(images).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def loss_idem_inner(f_ema: Network, fz: Tensor) -> Tensor:
    """D(f_ema(f(z)), f(z)), gradient to the inner f alone, as the paper's L_idem."""
    return distance(f_ema(fz), fz)


def resting_points(
    f: Network, fz: Tensor, steps: int, sigma: Tensor, white: Tensor
) -> tuple[Tensor, Tensor]:
    """(s, s + ε): what was generated, further applied, and the same a little disturbed.

    Asking f(s + ε) = s of s = f^(1+steps)(z) makes f a contraction around what it generates,
    so that f^k comes to rest. white: standard normal noise of fz's shape; sigma (N,) is ε's
    standard deviation, an image each. No gradient.
    """
    with torch.no_grad():
        s = fz.detach()
        for _ in range(steps):
            s = f(s)
        return s, s + sigma[:, None, None, None] * white


def freeze(network: nn.Module, frozen: bool) -> None:
    """Stop (or allow) gradients to the network's parameters, not those through it."""
    for parameter in network.parameters():
        parameter.requires_grad_(not frozen)
