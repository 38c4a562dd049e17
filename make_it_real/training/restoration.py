"""Restoration only: f learns to repair damaged images, and still generates what it did before.

Every term has a known target, so no critic is needed, and a step takes a fraction of the time of
an adversarial one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from make_it_real.degradations.kinds import check_damage
from make_it_real.models.critic import Critic
from make_it_real.models.ign import IGN, IGNConfig, place
from make_it_real.training import augment
from make_it_real.training.config import AdversarialConfig
from make_it_real.training.losses import Terms, distance
from make_it_real.training.objective import Objective, average, frozen_copy, update, zero_grad


@dataclass(frozen=True)
class Draw:
    """What a step draws: x and its damaged version Ax (B, C, S, S), and z (B/4, C, S, S)."""

    step: int
    x: Tensor
    Ax: Tensor
    z: Tensor


class RestorationObjective(Objective):
    """f, its average f_ema, and f_before, the f that training started from.

    f should generate what f_before does. The critic C is not trained: it is kept for a later
    stage with critics.
    """

    config: AdversarialConfig

    def __init__(self, model: IGNConfig, config: AdversarialConfig, device: torch.device) -> None:
        check_damage(config.damage, model.channels)
        super().__init__(model, config, device)
        self.f_ema = frozen_copy(self.f)
        self.C = place(Critic(model.image_size, model.channels, config.critic_widths), device)
        self.f_before = frozen_copy(self.f)

    @property
    def shipped(self) -> IGN:
        return self.f_ema

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> Draw:
        sample = self.f.source.sample
        Ax = self.degraded(x, sample(len(x), generator), generator)
        return Draw(step, x, Ax, sample(len(x) // 4, generator))

    def losses(self, d: Draw) -> Terms:
        """Compute L_rec = D(f(x), x), L_idem = D(f(z), b) + D(f(b), b), L_restore = D(f(Ax), x).

        b = f_before(z). Where both parts of L_idem are 0, f(f(z)) = f(z).
        """
        kept = d.x[: self.config.kept * len(d.x) // 4]
        with torch.no_grad():
            b = self.fast("f_before")(d.z)
        given = [d.Ax, kept, d.z, b]
        f_Ax, fx, fz, fb = self.fast("f")(torch.cat(given)).split([len(y) for y in given])
        return {
            "rec": distance(fx, kept),
            "idem": distance(fz, b) + distance(fb, b),
            "restore": distance(f_Ax, d.x),
        }

    def step(self, optimizers: Mapping[str, Optimizer], draws: Sequence[Draw]) -> Terms:
        """Update f once, then its average."""
        zero_grad(optimizers.values())
        terms = self.backward(draws, vars(self.config.lambdas))
        update(optimizers.values())
        average(self.f_ema, self.f, draws[0].step + 1, self.config.ema)
        return terms

    def degraded(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        return augment.degraded(x, z, self.config, generator)
