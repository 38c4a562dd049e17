"""Restoration: f learns to repair damaged images, and still generates what it did before.

Without critics every term has a known target, and a step takes a fraction of the time of an
adversarial one. But the mean absolute difference asks for the mean of all images that fit, which is
a blur where much is lost. With critics, what f makes of damaged images should look real, too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from make_it_real.models.ign import IGNConfig
from make_it_real.training import augment
from make_it_real.training.augment import Augmentation, Shown
from make_it_real.training.config import AdversarialConfig
from make_it_real.training.critics import CriticObjective, Judged, others
from make_it_real.training.losses import (
    Terms,
    distance,
    frozen,
    loss_rest,
    loss_restore,
)
from make_it_real.training.objective import frozen_copy


@dataclass(frozen=True)
class Draw(Shown):
    """What a step draws.

    step: its number, from 0. x and its damaged version Ax: (B, C, S, S). fidelity: the weight of
    L_restore of each, (B,). z: (B/4, C, S, S). change: augmentation of the critics' images.
    """

    step: int
    x: Tensor
    Ax: Tensor
    fidelity: Tensor
    z: Tensor
    change: Augmentation | None


@dataclass(frozen=True)
class Outputs:
    """The terms that need no critic and, in steps with critics, x and f(Ax) as these see them."""

    terms: Terms
    seen: tuple[Judged, Judged] | None


class RestorationObjective(CriticObjective):
    """f, its average f_ema, f_before, the f that training started from, and critics of repairs.

    f should generate what f_before does. With ``critic_every`` 0 the critic C is not trained: it is
    kept for a later stage with critics.
    """

    def __init__(self, model: IGNConfig, config: AdversarialConfig, device: torch.device) -> None:
        super().__init__(model, config, device)
        self.f_before = frozen_copy(self.f)

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> Draw:
        sample, change = self.f.source.sample, None
        Ax, fidelity = augment.degraded(x, sample(len(x), generator), self.config, generator)
        z = sample(len(x) // 4, generator)
        if self.config.augment and self.has_critics(step):
            change = Augmentation.draw(len(x), self.config.augment, generator)
        return Draw(step, x, Ax, fidelity, z, change)

    def forward(self, d: Draw) -> Outputs:
        """Compute the terms that need no critic, and let the critics see f(Ax).

        L_rec = D(f(x), x), L_idem = D(f(z), b) + D(f(b), b) with b = f_before(z), L_restore =
        D(f(Ax), x). Where both parts of L_idem are 0, f(f(z)) = f(z). L_rest pulls down the
        largest changes of x and b, so that f's gate leaves them alone.
        """
        kept = d.x[: self.config.kept * len(d.x) // 4]
        with torch.no_grad():
            b = self.fast("f_before")(d.z)
        given = [d.Ax, kept, d.z, b]
        f_Ax, fx, fz, fb = self.fast("f")(torch.cat(given)).split([len(y) for y in given])
        terms = {
            "rec": distance(fx, kept),
            "idem": distance(fz, b) + distance(fb, b),
            "restore": loss_restore(f_Ax, d.x, d.fidelity),
        }
        if self.config.lambdas.rest:
            terms["rest"] = loss_rest(torch.cat([fx - kept, fb - b]), self.f.config.rest / 2)
        if not self.has_critics(d.step):
            return Outputs(terms, None)
        with torch.no_grad():
            x = self.judged(d.x, d.shown, d.step)
        return Outputs(terms, (x, self.judged(f_Ax, d.shown, d.step)))

    def losses(self, d: Draw, y: Outputs | None = None) -> Terms:
        y = y or self(d)
        if y.seen is None:
            return y.terms
        x, f_Ax = y.seen
        with torch.no_grad():
            C_x = self.fast("C")(d.shown(d.x))
        with frozen(self.C):
            terms = {"real_restored": self.loss_real(f_Ax, d.shown, others(C_x))}
        if self.config.lambdas.perceptual:
            terms["perceptual"] = self.loss_perceptual(f_Ax, x)
        return y.terms | terms

    def losses_critics(self, d: Draw, y: Outputs) -> Terms:
        assert y.seen is not None
        x, f_Ax = y.seen
        return self.terms_critics(x, f_Ax.images, [f_Ax], d.shown, d.step)
