"""Training f by the objective as published (Shocher et al. 2024), beside ``training.py``.

No critic, no damage, no average of the weights: f alone, its copy, and three terms. What the
paper does not fix is an option: the source's law, the norm, and which L_rec bounds L_tight.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from make_it_real.data.dataset import ImageSet
from make_it_real.degradations.kinds import degraded
from make_it_real.models.ign import IGNConfig
from make_it_real.training import losses
from make_it_real.training.config import BaseRecord, PublishedConfig, Step
from make_it_real.training.trainer import BaseTrainer, fit_source


@dataclass(frozen=True)
class PublishedRecord(BaseRecord):
    """A step's loss terms, unweighted; tight is bounded and never above 0."""

    rec: float
    idem: float
    tight: float


class PublishedTrainer(BaseTrainer):
    """f, its frozen copy and f's optimizer, on one device."""

    objective = "ign"
    title = "idempotent generative network, as published"
    config_class = PublishedConfig
    config: PublishedConfig

    def __init__(self, model: IGNConfig, config: PublishedConfig, device: torch.device) -> None:
        super().__init__(model, config, device)
        self.f_copy = copy.deepcopy(self.f)
        losses.freeze(self.f_copy, True)
        self.opt_f = self.adam(self.f)
        self.optimizers |= {"opt_f": self.opt_f}

    def draw(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(x, z), a batch of each."""
        x = self.batch(pixels)
        return x, self.f.source.sample(len(x), self.generator)

    def learn(self, draw: tuple[Tensor, Tensor]) -> Step[PublishedRecord]:
        """One update of f. f_copy is refreshed first and normalises as f does."""
        lr = self.set_learning_rate()
        self.opt_f.zero_grad(set_to_none=True)
        terms = self._backward(draw)
        self.opt_f.step()
        self.step += 1
        return Step(self.step, lr, terms, PublishedRecord)

    def backward(self, draw: tuple[Tensor, Tensor]) -> None:
        self._backward(draw)

    def _backward(self, draw: tuple[Tensor, Tensor]) -> Tensor:
        """Add f's gradients; its terms (3,)."""
        config, lambdas = self.config, self.config.lambdas
        self.f_copy.load_state_dict(self.f.state_dict())
        self.f_copy.train(self.f.training)
        with self.autocast():
            terms = losses.losses_ign(
                self.fast("f"), self.f_copy, *draw,
                clamp=config.clamp, tight_rec=config.tight_rec,
            )  # fmt: skip
            loss_rec, loss_idem, loss_tight = terms
            loss = lambdas.rec * loss_rec + lambdas.idem * loss_idem + lambdas.tight * loss_tight
        loss.backward()
        return torch.stack([t.detach().float() for t in terms])

    def damaged(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        """The paper's noise, σ 0.15: this f is not taught any damage."""
        return degraded(x, "noise", generator=generator)


def default_model(image_size: int, channels: int, **changes: Any) -> IGNConfig:
    """The paper's DCGAN for a size: halved (rounding up) to 4 pixels, the code 512 wide.

    Raises ValueError for sizes that don't come to 2 to 4 pixels so.
    """
    widths: list[int] = []
    side = image_size
    while side > 4:
        widths.append(min(512, 64 * 2 ** len(widths)))
        side = (side + 1) // 2
    settings: dict[str, Any] = {
        "widths": tuple(widths), "bottleneck": 512, "dead_zone": 0.0, "rest": 0.0,
        "architecture": "dcgan", "norm": "batch", "source": "published",
    }  # fmt: skip
    return IGNConfig(image_size, channels, **settings | changes)


def begin(
    images: ImageSet, model: IGNConfig, config: PublishedConfig, device: torch.device
) -> PublishedTrainer:
    """A new trainer whose source has the statistics of (up to 30,000 of) the images."""
    trainer = PublishedTrainer(model, config, device)
    fit_source(trainer, images)
    return trainer
