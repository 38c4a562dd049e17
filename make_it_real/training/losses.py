"""The losses: the paper's three terms (``losses_ign``), and those of the adversarial projector.

Symbols: x ~ target, z ~ source, Ax a damaged x, C the critic, f_ema the averaged weights. D is
the mean absolute difference (L1), as in the paper. Both objectives ask for f(x) = x (L_rec) and
f(f(z)) = f(z) (L_idem). In place of the paper's L_tight, the adversarial projector has a critic
that is trained beside f, with a relativistic pairing and zero-centred gradient penalties (Huang
et al. 2024, "The GAN is dead; long live the GAN!").
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from make_it_real.images.pixels import mean_abs

Network = Callable[[Tensor], Tensor]
Terms = dict[str, Tensor]
Lambdas = Mapping[str, float] | Mapping[str, Tensor]

# Where the distance of photographs turns from square to straight, in image units: 4 8-bit levels.
SMOOTH = 0.03
# Damage that a gate should open for: root mean square, nearly one 8-bit level.
SEEN = 0.006
# Harm that is plain to see, mean square: 8 8-bit levels. It counts so many times as much as good.
PLAIN, HARM = 0.004, 8


def weighted_sum(terms: Terms, lambdas: Lambdas) -> Tensor:
    """Compute Σ λ_k L_k over the terms, a scalar. Raises KeyError for a term that has no λ."""
    return torch.stack([lambdas[name] * term.float() for name, term in terms.items()]).sum()


def mean(steps: Sequence[Terms]) -> Terms:
    """Average each term over the steps that have it, without gradient."""
    names = dict.fromkeys(name for terms in steps for name in terms)
    return {
        name: torch.stack([terms[name].detach().float() for terms in steps if name in terms]).mean()
        for name in names
    }


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Compute D(a, b), the mean absolute difference, a scalar."""
    return (a - b).abs().mean()


def loss_restore(f_Ax: Tensor, x: Tensor, fidelity: Tensor) -> Tensor:
    """Compute D(f(Ax), x) of images (N, C, H, W), each weighed by its fidelity, (N,)."""
    return (fidelity * mean_abs(f_Ax, x)).mean()


def distance_charbonnier(a: Tensor, b: Tensor, smooth: float = SMOOTH) -> Tensor:
    """Compute the mean over images of √(mean (a − b)² + ε²) − ε, a scalar, with ε = smooth.

    Charbonnier et al. 1994, of a whole image: nearly its root mean square difference, which is what
    PSNR measures, but smooth at 0. A distance with a kink there, such as L1, pulls f back with the
    same force however little it changes a good image, and so f never begins to undo what a good
    image looks much like, such as a mild blur.
    """
    power = (a - b).float().square().mean((1, 2, 3))
    return ((power + smooth**2).sqrt() - smooth).mean()


def loss_gate(logits: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Compute the cross-entropy of a gate's logits with whether f's change repairs, a scalar.

    logits, before, after: (N, 1, H, W). before, after: how far the pixels' surroundings are from
    the truth, mean square, before f's change and after it. The gate should open where f brings them
    nearer and they were at least ``SEEN`` away. It counts as much as the change does to them, and
    up to ``HARM`` times as much where that is harm: a highlight taken away for dust is lost.
    """
    repairs = (after < before) & (before > SEEN**2)
    counts = ((before - after).abs() / (before + 1e-5)).clamp_max(1)
    counts = counts * (1 + (HARM - 1) * ((after - before) / PLAIN).clamp(0, 1))
    wrong = F.binary_cross_entropy_with_logits(logits, repairs.float(), reduction="none")
    return (counts * wrong).mean()


def losses_ign(
    f: Network, f_copy: Network, x: Tensor, z: Tensor, *, clamp: float = 1.5, tight_rec: str = "z"
) -> Terms:
    """Compute the published terms rec, idem and tight, each a mean over the batch.

    Shocher et al. 2024, figure 3. x, z: (N, C, H, W). f_copy has f's weights, frozen, so that
    L_idem trains the inner f only. L_tight = tanh(L/b)·b, where L = −D(f(sg f(z)), sg f(z)) and sg
    stops the gradient, trains the outer f only. Its bound is b = ``clamp`` · L_rec of the same
    image, without gradient. tight_rec chooses that L_rec: "z" for D(f(z), z), as in the authors'
    talk, or "x" for D(f(x), x), as in many public implementations.
    """
    fx, fz = f(x), f(z)
    fz_fixed = fz.detach()
    f_fz, ff_z = f_copy(fz), f(fz_fixed)
    loss_rec = mean_abs(fx, x)
    loss_idem = mean_abs(f_fz, fz)
    loss_tight = -mean_abs(ff_z, fz_fixed)
    bound = clamp * (mean_abs(fz_fixed, z) if tight_rec == "z" else loss_rec.detach())
    bound = bound.clamp_min(1e-8)
    loss_tight = (loss_tight / bound).tanh() * bound
    return {"rec": loss_rec.mean(), "idem": loss_idem.mean(), "tight": loss_tight.mean()}


def loss_real(C_x: Tensor, C_fake: Tensor) -> Tensor:
    """Compute softplus(C(x) − C(fake)) of logits (B,): f's images should look more real."""
    return F.softplus(C_x.detach() - C_fake).mean()


def loss_critic(C_x: Tensor, C_fake: Tensor) -> Tensor:
    """Compute softplus(C(fake) − C(x)) of logits (B,): the critic's side of ``loss_real``."""
    return F.softplus(C_fake - C_x).mean()


def loss_real_projected(logits: list[Tensor]) -> Tensor:
    """Compute −C(fake): the mean of each resolution's logits, summed over resolutions."""
    return torch.stack([-each.float().mean() for each in logits]).sum()


def loss_projected(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Compute the critic's hinge loss (Lim & Ye 2017), summed over resolutions."""
    pairs = zip(real, fake, strict=True)
    return torch.stack(
        [F.relu(1 - x.float()).mean() + F.relu(1 + y.float()).mean() for x, y in pairs]
    ).sum()


def led(loss: Tensor, images: Tensor, gradient: Tensor) -> Tensor:
    """Return ``loss`` with a gradient with respect to images that was computed before.

    images, gradient: (N, C, H, W). Losses of f's images that are differentiated down to the images
    and led on from there need one backward pass through f together.
    """
    way = (images * gradient.detach()).sum()
    return loss.detach() + way - way.detach()


def beside(gradient: Tensor, *others: tuple[Tensor, float]) -> Tensor:
    """Compute g + Σ weight·(|g|/|o|)·o of gradients g and o with respect to images, (N, C, H, W).

    others: each o with its weight. |·| is the mean norm over images, so o counts ``weight`` times
    as much as g, whatever its own scale.
    """

    def size(gradient: Tensor) -> Tensor:
        norm: Tensor = gradient.flatten(1).norm(dim=1).mean()
        return norm

    total = gradient
    for other, weight in others:
        total = total + weight * size(gradient) / size(other).clamp_min(1e-20) * other
    return total


def loss_perceptual(y: Sequence[Tensor], x: Sequence[Tensor]) -> Tensor:
    """Compute the mean |y − x| of features (N, c, h, w), summed over the first three resolutions.

    Each position's features are first scaled to a mean square of 1, as Zhang et al. 2018 (LPIPS)
    do. Fine features tell whether textures and edges are as in x, which a distance of pixels
    hardly does.
    """

    def scaled(h: Tensor) -> Tensor:
        return h / (h.square().mean(1, keepdim=True).sqrt() + 1e-3)

    pairs = zip(y[:3], x[:3], strict=True)
    return torch.stack([distance(scaled(a.float()), scaled(b.float())) for a, b in pairs]).sum()


def loss_rest(change: Tensor, margin: float) -> Tensor:
    """Compute how far the root mean square of changes (N, C, H, W) exceeds ``margin``, the mean.

    f's gate leaves an image alone whose change is small. L1 shrinks all changes alike; this pulls
    down those few that would still move.
    """
    rms = (change.float().square().mean((1, 2, 3)) + 1e-8).sqrt()
    excess: Tensor = F.relu(rms - margin)
    return excess.mean()


def gradient_penalty(C: Network, images: Tensor) -> Tensor:
    """Compute the mean of ‖∇C‖² over images (N, C, H, W): R1 on x, R2 on f's images."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(C(images).sum(), images, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean()


def loss_idem_inner(f_ema: Network, fz: Tensor) -> Tensor:
    """Compute D(f_ema(f(z)), f(z)). It trains the inner f only, as the paper's L_idem does."""
    return distance(f_ema(fz), fz)


def resting_points(
    f: Network, fz: Tensor, steps: int, sigma: Tensor, white: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute s = f^steps(fz) and s + ε, each of fz's shape (N, C, H, W), without gradient.

    Training f(s + ε) = s makes f a contraction around what it generates, so that f^k comes to
    rest. sigma: standard deviation of ε for each image, (N,). white: standard normal noise of
    fz's shape.
    """
    with torch.no_grad():
        s = fz.detach()
        for _ in range(steps):
            s = f(s)
        return s, s + sigma[:, None, None, None] * white


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Keep gradients from the network's parameters, but let them pass through it to its input."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
