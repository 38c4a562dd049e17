"""Restoration: f learns to repair damaged images, and still generates what it did before.

Without critics every term has a known target, and a step takes a fraction of the time of an
adversarial one. But the mean absolute difference asks for the mean of all images that fit, which is
a blur where much is lost. With critics, what f makes of damaged images should look real, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from make_it_real.models.ign import IGNConfig
from make_it_real.training import augment
from make_it_real.training.augment import Augmentation
from make_it_real.training.config import AdversarialConfig
from make_it_real.training.critics import CriticObjective, Judged, others
from make_it_real.training.losses import (
    Terms,
    distance,
    frozen,
    loss_rest,
    loss_restore,
    mean,
    weighted_sum,
)
from make_it_real.training.objective import frozen_copy, zero_grad


@dataclass(frozen=True)
class Draw:
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

    def shown(self, images: Tensor) -> Tensor:
        """Augment images (n, C, S, S), n ≤ B, for the critics."""
        return images if self.change is None else self.change[slice(len(images))](images)


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

    def forward(self, d: Draw) -> tuple[Terms, Tensor]:
        """Compute the terms that need no critic, and f(Ax).

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
        return terms, f_Ax

    def losses(self, d: Draw) -> Terms:
        terms: Terms
        terms, f_Ax = self(d)
        if not self.has_critics(d.step):
            return terms
        return terms | self.losses_judged(d, *self.look(d, f_Ax))

    def look(self, d: Draw, f_Ax: Tensor) -> tuple[Judged, Judged]:
        """Return x and f(Ax) as the critics see them."""
        with torch.no_grad():
            x = self.judged(d.x, d.shown, d.step)
        return x, self.judged(f_Ax, d.shown, d.step)

    def losses_judged(self, d: Draw, x: Judged, y: Judged) -> Terms:
        """Compute f's terms of f(Ax) that critics and features give, with frozen critics."""
        with torch.no_grad():
            C_x = self.fast("C")(d.shown(d.x))
        with frozen(self.C):
            terms = {"real_restored": self.loss_real(y, d.shown, others(C_x))}
        if self.config.lambdas.perceptual:
            terms["perceptual"] = self.loss_perceptual(y, x)
        return terms

    def step(self, optimizers: Mapping[str, Optimizer], draws: Sequence[Draw]) -> Terms:
        """Update f and, in steps with critics, each critic; then f's average."""
        zero_grad(optimizers.values())
        steps, lambdas = [], asdict(self.config.lambdas)
        for draw in draws:
            with self.autocast():
                terms, f_Ax = self(draw)
                critics: Terms = {}
                if self.has_critics(draw.step):
                    x, y = self.look(draw, f_Ax)
                    terms |= self.losses_judged(draw, x, y)
                loss = weighted_sum(terms, lambdas)
            (loss / len(draws)).backward()
            if self.has_critics(draw.step):
                with self.autocast():
                    critics = self.terms_critics(x, f_Ax, [y], draw.shown, draw.step)
                    loss = weighted_sum(critics, self.lambdas_critics)
                (loss / len(draws)).backward()
            steps.append(terms | critics)
        self.update(optimizers, draws[0].step)
        return mean(steps)

    def degraded(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        return augment.degraded(x, z, self.config, generator)[0]
