"""Sorts of photographs: f learns to tell them, and then weights of their own for each of them.

Each is trained alone, and all else of f stays as it is. So what f makes of other pictures stays
what it was, as far as its reader tells them.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations.life import BLUR, COMPRESSION, NOISE, damaged
from make_it_real.models.ign import IGNConfig
from make_it_real.models.mixture import SORTS, places
from make_it_real.models.unet import UNet
from make_it_real.training.config import PhotographConfig
from make_it_real.training.losses import Network, Terms
from make_it_real.training.photographs import Draw, PhotographObjective

# The kinds of damage that make a picture one of each sort.
KINDS = dict(zip(SORTS, (NOISE, COMPRESSION, BLUR), strict=True))
# How strong damage is at most that does not change a picture's sort, in [0, 1].
MILD = 0.25


class PartObjective(PhotographObjective):
    """f, of which a part alone is trained, and its average f_ema."""

    def __init__(self, model: IGNConfig, config: PhotographConfig, device: torch.device) -> None:
        if not model.mixed:
            raise ValueError(f"{config.alone} is trained alone, and the model is not mixed")
        super().__init__(model, config, device)
        part = f"deltas.{config.alone}" if config.alone in SORTS else config.alone
        self.trained = (f"f.{part}",)
        self.f.requires_grad_(False)
        self.f.get_submodule(part).requires_grad_(True)


class DeltaObjective(PartObjective):
    """f, of which the delta for a sort of pictures alone is trained, and its average f_ema.

    All crops are taken for pictures of that sort.
    """

    def fast(self, name: str) -> Network:
        network: Callable[..., Tensor] = super().fast(name)
        return partial(network, sort=self.config.alone)


class ReaderObjective(PartObjective):
    """f, whose reader alone is trained, and its average f_ema.

    The kind of damage that a crop gets is its label, so each gets one kind, or noise and
    compression, of which one is mild.
    """

    def __init__(self, model: IGNConfig, config: PhotographConfig, device: torch.device) -> None:
        super().__init__(model, config, device)
        kinds = config.damage.items()
        self.sorts = [
            {kind: weight for kind, weight in kinds if kind in of} for of in KINDS.values()
        ]
        known = {kind for of in self.sorts for kind in of}
        self.others = {kind: weight for kind, weight in kinds if kind not in known}
        if not (all(self.sorts) and self.others):
            raise ValueError("the reader needs damage of each sort, and some of none")

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> Draw:
        """Draw a step for images x (B, 3, D, D): crops Ax, as many of each sort as of none.

        The first ones are of none, and of these a share is clean, as the config says. Of noisy
        crops the config's share of lives is compressed a little afterwards, and of compressed ones
        as many are a little noisy before.
        """
        y = x[..., : self.config.crop, : self.config.crop]
        others, noisy, compressed, blurred = y.tensor_split(1 + len(SORTS))
        clean, others = others.tensor_split([round(self.config.clean * len(others))])
        noise, compression, blur = self.sorts
        others = damaged(others, self.others, 0.0, generator=generator)
        noisy = self._mildly(
            damaged(noisy, noise, 0.0, generator=generator), compression, generator
        )
        compressed = self._mildly(compressed, noise, generator)
        compressed = damaged(compressed, compression, 0.0, generator=generator)
        blurred = damaged(blurred, blur, 0.0, generator=generator)
        return Draw(step, y[:0], y, torch.cat([clean, others, noisy, compressed, blurred]))

    def _mildly(
        self, x: Tensor, weights: Mapping[str, float], generator: torch.Generator
    ) -> Tensor:
        """Damage the first of crops x a little, the config's share of lives."""
        first, others = x.tensor_split([round(self.config.life * len(x))])
        first = damaged(first, weights, 0.0, generator=generator, strength=MILD)
        return torch.cat([first, others])

    def losses(self, d: Draw) -> Terms:
        """Compute L_restore, the cross-entropy of what the reader tells with what was done."""
        assert isinstance(self.f, UNet)
        logits = self.f.reader.logits(places(d.Ax))
        parts = logits.tensor_split(1 + len(SORTS))
        labels = [torch.full((len(part),), i, device=d.Ax.device) for i, part in enumerate(parts)]
        return {"restore": F.cross_entropy(logits, torch.cat(labels))}
