"""The equations: the paper's three terms (``losses_ign``), and the adversarial projector's.

Symbols: x ~ target, z ~ source, Ax a corrupted x, C the critic; f_fz = f(s) for s = f(z) with
the gradient stopped, f_ema the averaged weights. D is the mean absolute difference (L1), as
in the paper. f(x) = x and f(f(z)) = f(z) are asked for as there (L_rec, L_idem); what looks real
is said by a critic trained beside f (a relativistic pairing with zero-centred gradient penalties:
Huang et al. 2024, "The GAN is dead; long live the GAN!") in place of the paper's L_tight.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Network = Callable[[Tensor], Tensor]
Terms = dict[str, Tensor]


def weighted_sum(terms: Terms, lambdas: Mapping[str, float]) -> Tensor:
    """Σ λ_k L_k over the terms, a scalar. Raises KeyError for a term that has no λ."""
    return torch.stack([lambdas[name] * term.float() for name, term in terms.items()]).sum()


def mean(steps: Sequence[Terms]) -> Terms:
    """Each term averaged over those of the steps that have it, without gradient."""
    names = dict.fromkeys(name for terms in steps for name in terms)
    return {
        name: torch.stack([terms[name].detach().float() for terms in steps if name in terms]).mean()
        for name in names
    }


def distance(a: Tensor, b: Tensor) -> Tensor:
    """D(a, b): mean absolute difference, a scalar."""
    return (a - b).abs().mean()


def distances(a: Tensor, b: Tensor) -> Tensor:
    """D(a, b) per image (N,), of images (N, C, H, W)."""
    return (a - b).abs().mean((1, 2, 3))


def losses_ign(
    f: Network, f_copy: Network, x: Tensor, z: Tensor, *, clamp: float = 1.5, tight_rec: str = "z"
) -> Terms:
    """rec, idem and tight as published, each a mean over the batch.

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
    return {"rec": loss_rec.mean(), "idem": loss_idem.mean(), "tight": loss_tight.mean()}


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


def led(loss: Tensor, images: Tensor, gradient: Tensor, other: Tensor, weight: float) -> Tensor:
    """``loss``, but with the gradient by images (N, C, H, W) g + weight·(|g|/|o|)·o.

    g = gradient, o = other; |·| is the mean norm over images: o gets ``weight`` times g's size,
    however large it is by itself. Gradients that are led into f this way need one pass back
    through f, and none twice through what they came from.
    """
    size, other_size = (g.flatten(1).norm(dim=1).mean() for g in (gradient, other))
    total: Tensor = gradient + weight * size / other_size.clamp_min(1e-20) * other
    way = (images * total.detach()).sum()
    return loss.detach() + way - way.detach()


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


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """No gradient to the network's parameters from what is computed here, only through it."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
