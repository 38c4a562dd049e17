"""The paper's objective (Shocher et al. 2024): f, its frozen copy, and three terms.

There is no critic, no damage and no average of the weights. What the paper leaves open is a
setting: the source distribution, the norm, and which L_rec bounds L_tight.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from make_it_real.degradations.kinds import degraded
from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.training.config import IGNTrainingConfig
from make_it_real.training.losses import Lambdas, Terms, losses_ign
from make_it_real.training.objective import Objective, apply_gradients, frozen_copy, zero_grad


class IGNObjective(Objective):
    """f and its frozen copy, on one device."""

    config: IGNTrainingConfig
    f_copy: IGN

    def __init__(self, model: IGNConfig, config: IGNTrainingConfig, device: torch.device) -> None:
        super().__init__(model, config, device)
        # Not as a module of this one: its weights are f's, so it has no state of its own.
        self.__dict__["f_copy"] = frozen_copy(self.f)

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return (x, z), each (B, C, S, S)."""
        return x, self.f.source.sample(len(x), generator)

    def losses(self, draw: tuple[Tensor, Tensor]) -> Terms:
        """Compute the terms rec, idem and tight."""
        config = self.config
        return losses_ign(
            self.fast("f"), self.f_copy, *draw, clamp=config.clamp, tight_rec=config.tight_rec
        )

    def update(
        self,
        optimizers: Mapping[str, Optimizer],
        draws: Sequence[tuple[Tensor, Tensor]],
        lambdas: Lambdas,
    ) -> Terms:
        """Update f once. The copy is f before the update, and normalises as f does."""
        self.f_copy.load_state_dict(self.f.state_dict())
        self.f_copy.train(self.f.training)
        zero_grad(optimizers.values())
        terms = self.backward(draws, lambdas)
        apply_gradients(optimizers.values())
        return terms

    def degraded(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        """Add the paper's noise, σ 0.15, to x: this objective trains on no damage."""
        return degraded(x, "noise", generator=generator)
