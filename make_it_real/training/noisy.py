"""Noisy photographs: f learns to tell them from others, and then weights of their own for them.

Each is trained alone, and all else of f stays as it is. So what f makes of pictures without noise
stays what it was, as far as its reader tells them.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations.life import NOISE, damaged
from make_it_real.models.ign import IGNConfig
from make_it_real.models.mixture import places
from make_it_real.models.unet import UNet
from make_it_real.training.config import PhotographConfig
from make_it_real.training.losses import Terms
from make_it_real.training.photographs import Draw, PhotographObjective


class NoisyObjective(PhotographObjective):
    """f, whose second set of weights alone is trained, and its average f_ema."""

    trained = ("f.noisy",)

    def __init__(self, model: IGNConfig, config: PhotographConfig, device: torch.device) -> None:
        if not model.mixed:
            raise ValueError(f"{config.alone} is trained alone, and the model is not mixed")
        super().__init__(model, config, device)
        self.f.requires_grad_(False)
        for name in self.trained:
            self.get_submodule(name).requires_grad_(True)


class ReaderObjective(NoisyObjective):
    """f, whose reader alone is trained, and its average f_ema.

    The kind of damage that a crop gets is its label, so each gets one kind.
    """

    trained = ("f.reader",)

    def __init__(self, model: IGNConfig, config: PhotographConfig, device: torch.device) -> None:
        super().__init__(model, config, device)
        kinds = config.damage.items()
        self.noise, self.others = (
            {kind: weight for kind, weight in kinds if (kind in NOISE) == wanted}
            for wanted in (True, False)
        )
        if not (self.noise and self.others):
            raise ValueError("the reader needs noise, and damage that is none")

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> Draw:
        """Draw a step for images x (B, 3, D, D): half of the crops Ax, the first ones, is noisy.

        Of the others a share is clean, as the config says.
        """
        y = x[..., : self.config.crop, : self.config.crop]
        noisy, others = y.tensor_split(2)
        clean, others = others.tensor_split([round(self.config.clean * len(others))])
        noisy = damaged(noisy, self.noise, 0.0, generator=generator)
        others = damaged(others, self.others, 0.0, generator=generator)
        return Draw(step, y[:0], y, torch.cat([noisy, clean, others]))

    def losses(self, d: Draw) -> Terms:
        """Compute L_restore, the cross-entropy of what the reader tells with what was done."""
        assert isinstance(self.f, UNet)
        logits = self.f.reader.logits(places(d.Ax))
        noisy, others = logits.tensor_split(2)
        labels = torch.cat([torch.ones_like(noisy), torch.zeros_like(others)])
        return {"restore": F.binary_cross_entropy_with_logits(logits, labels)}
