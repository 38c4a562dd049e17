"""The adversarial projector: critics judge f's images, where the paper uses f's own drift.

As in the paper, f is trained towards f(x) = x and f(f(z)) = f(z). A critic, trained beside f,
tells real images from f(z), f(f(z)) and f of damaged images. ``losses.py`` has the equations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from make_it_real.training import augment
from make_it_real.training.augment import Augmentation, Draw
from make_it_real.training.critics import CriticObjective, Judged, others
from make_it_real.training.losses import (
    Terms,
    distance,
    frozen,
    loss_idem_inner,
    loss_real,
    loss_rest,
    loss_restore,
    resting_points,
)


@dataclass(frozen=True)
class Generated:
    """What f generates, f of that, and what the critics see.

    x, fz, f_Ax: as the critics see them, x (B, C, S, S) and f(z) as many. s, f_s: resting points s
    and f(s + ε), (B/4, C, S, S). ff_z: f(f(z)) of the second quarter, where the gradient stops at
    f(z).
    """

    x: Judged
    fz: Judged
    f_Ax: Judged  # noqa: N815
    s: Tensor
    f_s: Tensor
    ff_z: Tensor


@dataclass(frozen=True)
class Outputs:
    """f(x) of the images to keep, f(Ax), and what f generates, in steps with critics."""

    fx: Tensor
    f_Ax: Tensor  # noqa: N815
    generated: Generated | None


class AdversarialObjective(CriticObjective):
    """f and its critics, which judge f(z), f(f(z)) and f(Ax)."""

    def lambdas(self, step: int) -> dict[str, float]:
        """Return λ_k of a step; those of idempotence rise from 0 over the first ``ramp`` steps."""
        lambdas = super().lambdas(step)
        ramp = min(1.0, step / max(1, self.config.ramp))
        return lambdas | {name: ramp * lambdas[name] for name in ("idem", "idem_inner")}

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> Draw:
        config, sample, quarter = self.config, self.f.source.sample, len(x) // 4
        z = sample(len(x), generator)
        whole = x[: config.restored * quarter] if self.has_critics(step) else x
        Ax, fidelity, _ = augment.degraded(
            whole, sample(len(whole), generator), self.config, generator
        )
        change = None
        if config.augment:
            change = Augmentation.draw(len(x), config.augment, generator)
        rest = int(torch.randint(config.rest_steps, (), generator=generator, device=x.device))
        sigma = torch.rand(quarter, generator=generator, device=x.device)
        white = torch.randn(quarter, *x.shape[1:], generator=generator, device=x.device)
        return Draw(step, x, z, Ax, fidelity, change, rest, config.rest_sigma * sigma, white)

    def forward(self, d: Draw) -> Outputs:
        """Apply f to the images of a step in one batch, and to some of its results in another."""
        f, quarter = self.fast("f"), len(d.x) // 4
        kept = d.x[: self.config.kept * quarter]
        if not self.has_critics(d.step):
            f_Ax, fx = f(torch.cat([d.Ax, kept])).split([len(d.Ax), len(kept)])
            return Outputs(fx, f_Ax, None)
        given = [d.z, d.Ax, kept]
        fz, f_Ax, fx = f(torch.cat(given)).split([len(y) for y in given])
        s, s_noisy = resting_points(f, fz[:quarter], d.rest, d.sigma, d.white)
        again = fz[quarter : 2 * quarter].detach()
        f_s, ff_z = f(torch.cat([s_noisy, again])).split(quarter)
        with torch.no_grad():
            x = self.judged(d.x, d.shown, d.step)
        seen_z, seen_A = (self.judged(each, d.shown, d.step) for each in (fz, f_Ax))
        return Outputs(fx, f_Ax, Generated(x, seen_z, seen_A, s, f_s, ff_z))

    def losses(self, d: Draw, y: Outputs | None = None) -> Terms:
        """Compute f's terms, with frozen critics. y: f's outputs, computed here if not given."""
        y = y or self(d)
        g, whole, kept = y.generated, d.x[: len(d.Ax)], d.x[: len(y.fx)]
        restore = loss_restore(y.f_Ax, whole, d.fidelity)
        terms = {"rec": distance(y.fx, kept), "restore": restore}
        if g is None:
            return terms
        half, quarter = len(d.x) // 2, len(d.x) // 4
        # f(s + ε) = s and f(f(z)) = f(z) train the outer f, f_ema(f(z)) = f(z) the inner.
        fz = g.fz.images
        target = torch.cat([g.s, fz[quarter:half].detach()])
        terms["idem"] = distance(torch.cat([g.f_s, g.ff_z]), target)
        if self.config.lambdas.rest:
            moved = torch.cat([y.fx - kept, g.ff_z - fz[quarter:half].detach()])
            terms["rest"] = loss_rest(moved, self.f.config.rest / 2)
        if self.config.lambdas.idem_inner:
            terms["idem_inner"] = loss_idem_inner(self.fast("f_ema"), fz[half:])
        # f's images should look more real to the critic than x.
        C = self.fast("C")
        with torch.no_grad():
            C_x = C(d.shown(d.x))
        with frozen(self.C):
            terms["real"] = self.loss_real(g.fz, d.shown, C_x)
            terms["real_again"] = loss_real(C_x[:quarter], C(d.shown(g.ff_z)))
            terms["real_restored"] = self.loss_real(g.f_Ax, d.shown, others(C_x)[: len(whole)])
        if self.config.lambdas.perceptual:
            terms["perceptual"] = self.loss_perceptual(g.f_Ax, g.x)
        return terms

    def losses_critics(self, d: Draw, y: Outputs) -> Terms:
        g, half, quarter = y.generated, len(d.x) // 2, len(d.x) // 4
        assert g is not None
        fake = torch.cat([g.fz.images[half:], g.ff_z, g.f_Ax.images[:quarter]])
        return self.terms_critics(g.x, fake, [g.fz, g.f_Ax], d.shown, d.step)
