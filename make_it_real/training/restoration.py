"""Restoration: f learns to repair damaged images, and goes on generating about what it did before.

Without critics every term has a known target, and a step takes a fraction of the time of an
adversarial one. But the mean absolute difference asks for the mean of all images that fit, which is
a blur where much is lost. With critics, what f makes of damaged images should look real, too.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.models.efficientnet_lite import STAGES
from make_it_real.models.ign import IGNConfig
from make_it_real.models.projected_critic import SIDES
from make_it_real.training import augment
from make_it_real.training.augment import Augmentation, Shown
from make_it_real.training.config import AdversarialConfig
from make_it_real.training.critics import CriticObjective, Judged, others
from make_it_real.training.feature_bank import FeatureBank
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
    L_restore of each, (B,). kinds: the number of its damage, (B,). z: (B/4, C, S, S). change:
    augmentation of the critics' images.
    """

    step: int
    x: Tensor
    Ax: Tensor
    fidelity: Tensor
    kinds: Tensor
    z: Tensor
    change: Augmentation | None


@dataclass(frozen=True)
class Outputs:
    """The terms that need no critic and, in steps with critics, x, and f(Ax) and f(z) as one."""

    terms: Terms
    seen: tuple[Judged, Judged] | None


class RestorationObjective(CriticObjective):
    """f, its average f_ema, f_before, the f that training started from, and critics of f's images.

    f should generate what f_before does, as much as λ of hold says. With ``critic_every`` 0 the
    critic C is not trained: it is kept for a later stage with critics. Where the config names kinds
    of damage that f is ``taught``, f_before says, too, what f should make of the others (Li and
    Hoiem 2016, "Learning without Forgetting"). bank: features of f's images of each kind of damage,
    and at last of f(z), where the config asks for their energy distance.
    """

    def __init__(self, model: IGNConfig, config: AdversarialConfig, device: torch.device) -> None:
        super().__init__(model, config, device)
        self.f_before = frozen_copy(self.f)
        # Up to which root mean square of its damage f is taught each kind: of the others, to none.
        most = dict.fromkeys(config.taught, math.inf) | dict(config.faint)
        self.taught = torch.tensor([most.get(kind, 0.0) for kind in config.damage], device=device)
        self.bank: FeatureBank | None = None
        if config.energy and config.critic_every:
            self.bank = FeatureBank(STAGES, len(config.damage) + 1, len(SIDES)).to(device)

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> Draw:
        sample, change = self.f.source.sample, None
        Ax, fidelity, kinds = augment.degraded(x, sample(len(x), generator), self.config, generator)
        z = sample(len(x) // 4, generator)
        if self.config.augment and self.has_critics(step):
            change = Augmentation.draw(len(x) + len(z), self.config.augment, generator)
        return Draw(step, x, Ax, fidelity, kinds, z, change)

    def forward(self, d: Draw) -> Outputs:
        """Compute the terms that need no critic, and let the critics see f(Ax) and f(z).

        L_rec = D(f(x), x), L_hold = D(f(z), f_before(z)), L_idem = D(f(s), s) with s = f_ema(z),
        L_restore = D(f(Ax), x), or D(f(Ax), f_before(Ax)) where f is not taught the damage, or not
        so much of it. L_rest pulls down the largest changes of x and s, so that f's gate leaves
        them alone.
        """
        kept = d.x[: self.config.kept * len(d.x) // 4]
        with torch.no_grad():
            shown = torch.cat([d.z, d.Ax]) if self.config.taught else d.z
            before, s = self.fast("f_before")(shown), self.fast("f_ema")(d.z)
        b, target, fidelity = before[: len(d.z)], d.x, d.fidelity
        if self.config.taught:
            taught = (d.Ax - d.x).square().mean((1, 2, 3)).sqrt() < self.taught[d.kinds]
            target = torch.where(taught[:, None, None, None], d.x, before[len(d.z) :])
            fidelity = torch.where(taught, d.fidelity, 1.0)
        given = [d.Ax, kept, d.z, s]
        f_Ax, fx, fz, fs = self.fast("f")(torch.cat(given)).split([len(y) for y in given])
        terms = {
            "rec": distance(fx, kept),
            "hold": distance(fz, b),
            "idem": distance(fs, s),
            "restore": loss_restore(f_Ax, target, fidelity),
        }
        if self.config.lambdas.rest:
            terms["rest"] = loss_rest(torch.cat([fx - kept, fs - s]), self.f.config.rest / 2)
        if not self.has_critics(d.step):
            return Outputs(terms, None)
        with torch.no_grad():
            x = self.judged(d.x, d.shown, d.step)
        return Outputs(terms, (x, self.judged(torch.cat([f_Ax, fz]), d.shown, d.step)))

    def losses(self, d: Draw, y: Outputs | None = None) -> Terms:
        y = y or self(d)
        if y.seen is None:
            return y.terms
        x, made = y.seen
        with torch.no_grad():
            C_x = self.fast("C")(d.shown(d.x))
        # f(z) has no original, so any image is another one.
        C_x = torch.cat([others(C_x), C_x[: len(d.z)]])
        energy = [] if self.bank is None else [self._energy(self.bank, d, x, made)]
        with frozen(self.C):
            terms = {"real_restored": self.loss_real(made, d.shown, C_x, *energy)}
        if self.config.lambdas.perceptual:
            terms["perceptual"] = self.loss_perceptual(made, x)
        return y.terms | terms

    def _energy(self, bank: FeatureBank, d: Draw, x: Judged, made: Judged) -> tuple[Tensor, float]:
        """Compute the gradient of the energy distance with respect to f's images, and its weight.

        The features that it is computed of are added to the bank.
        """
        side = self.side(d.step)
        bank.add_real(x.backbone, side)
        y = bank.scaled(made.backbone, side)
        kinds = F.pad(d.kinds, (0, len(d.z)), value=len(self.config.damage))
        (gradient,) = torch.autograd.grad(bank.distance(y, kinds), made.leaf, retain_graph=True)
        bank.add_made(y, kinds)
        return gradient, self.config.energy

    def losses_critics(self, d: Draw, y: Outputs) -> Terms:
        assert y.seen is not None
        x, made = y.seen
        # As many as x, f(z) among them.
        fake = made.images[len(d.z) :]
        return self.terms_critics(x, fake, [made], d.shown, d.step)
