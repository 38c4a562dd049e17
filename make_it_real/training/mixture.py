"""Sorts of photographs: f learns weights of their own for each of them, and then to tell them.

Each is trained alone, and all else of f stays as it is. So what f makes of other pictures stays
what it was, as far as its reader tells them.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.degradations.life import BLUR, COMPRESSION, ENLARGED, NOISE, damaged
from make_it_real.models.ign import IGNConfig
from make_it_real.models.mixture import SORTS, places
from make_it_real.models.unet import UNet
from make_it_real.training.config import PhotographConfig
from make_it_real.training.losses import Network, Terms
from make_it_real.training.photographs import AGAIN, Draw, PhotographObjective

# The kinds of damage that make a picture one of each sort. What is sent or of the web gets two.
KINDS = {"noisy": NOISE, "compressed": COMPRESSION, "blurred": BLUR, "enlarged": ENLARGED}


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
        self.sorts = {sort: self._among(kinds) for sort, kinds in KINDS.items()}
        known = {kind for of in self.sorts.values() for kind in of}
        self.others = self._among(set(config.damage) - known)

    def _among(self, kinds: Collection[str]) -> dict[str, float]:
        return {kind: weight for kind, weight in self.config.damage.items() if kind in kinds}

    def _by(self, sorts: Sequence[str], x: Tensor, generator: torch.Generator) -> Tensor:
        """Damage crops x (N, C, H, W), each by one of the kinds that these sorts have."""
        weights = {kind: weight for sort in sorts for kind, weight in self.sorts[sort].items()}
        return damaged(x, weights, 0.0, generator=generator)

    def _noisy(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Damage crops x (N, C, H, W) by noise, a share of them by kinds of no sort, too."""
        return self._marked(self._by(["noisy"], x, generator), generator)

    def _marked(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Damage the config's share of lives among crops x (N, C, H, W) by kinds of no sort."""
        coins = torch.rand(len(x), generator=generator, device=generator.device)
        chosen = coins < self.config.life
        x[chosen] = damaged(x[chosen], self.others, 0.0, generator=generator)
        return x

    def _sent(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Damage crops x (N, C, H, W) as noisy ones, and then by compression."""
        return self._by(["compressed"], self._noisy(x, generator), generator)

    def _of_web(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Damage crops x (N, C, H, W) by blur or a small size, some more, then by compression."""
        x = self._marked(self._by(["blurred", "enlarged"], x, generator), generator)
        return self._by(["compressed"], x, generator)


class DeltaObjective(PartObjective):
    """f, of which the delta for a sort of pictures alone is trained, and its average f_ema.

    All crops are taken for pictures of that sort.
    """

    def __init__(self, model: IGNConfig, config: PhotographConfig, device: torch.device) -> None:
        super().__init__(model, config, device)
        kinds = {
            "noisy": ["noisy"], "sent": ["noisy", "compressed"],
            "web": ["blurred", "enlarged", "compressed"],
        }  # fmt: skip
        needed = kinds.get(config.alone, [])
        if not all(self.sorts[sort] for sort in needed) or (needed and not self.others):
            raise ValueError(f"{config.alone} pictures need damage of their sort, and some of none")

    def _damaged(self, x: Tensor, generator: torch.Generator) -> Tensor:
        ways = {"noisy": self._noisy, "sent": self._sent, "web": self._of_web_or_compressed}
        return ways.get(self.config.alone, super()._damaged)(x, generator)

    def _of_web_or_compressed(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Damage crops x (N, C, H, W) as those of the web, but one in three by compression alone.

        The reader can't tell well whether a compressed picture was sharp before.
        """
        sharp, soft = x.tensor_split([len(x) // 3])
        sharp = self._by(["compressed"], sharp, generator)
        return torch.cat([sharp, self._of_web(soft, generator)])

    def fast(self, name: str) -> Network:
        network: Callable[..., Tensor] = super().fast(name)
        return partial(network, sort=self.config.alone)


class ReaderObjective(PartObjective):
    """f, whose reader alone is trained, and its average f_ema.

    What a crop gets is its label: damage of one sort, or of none. Damage of none over noise changes
    nothing.
    """

    def __init__(self, model: IGNConfig, config: PhotographConfig, device: torch.device) -> None:
        super().__init__(model, config, device)
        if not (all(self.sorts.values()) and self.others):
            raise ValueError("the reader needs damage of each sort, and some of none")

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> Draw:
        """Draw a step for images x (B, 3, D, D): crops Ax, as many of each sort as of none.

        The first ones are of none. Of these a share is clean, as the config says.
        """
        y = x[..., : self.config.crop, : self.config.crop]
        others, noisy, compressed, blurred, enlarged, sent, web = y.tensor_split(1 + len(SORTS))
        clean, others = others.tensor_split([round(self.config.clean * len(others))])

        others = damaged(others, self.others, 0.0, generator=generator)
        compressed = self._by(["compressed"], compressed, generator)
        blurred = self._by(["blurred"], blurred, generator)
        enlarged = self._by(["enlarged"], enlarged, generator)
        noisy, sent = self._noisy(noisy, generator), self._sent(sent, generator)
        web = self._of_web(web, generator)
        crops = (clean, others, noisy, compressed, blurred, enlarged, sent, web)
        return Draw(step, y[:0], y, torch.cat(crops))

    def losses(self, d: Draw) -> Terms:
        """Compute L_restore, the cross-entropy of what the reader tells with what was done.

        With a learned gate, L_idem is that of f's own results, of a crop in so many of each sort,
        which are of none: what was repaired is not repaired again. It counts as far as f changed
        the crop.
        """
        parts = d.Ax.tensor_split(1 + len(SORTS))
        labels = [torch.full((len(part),), i, device=d.Ax.device) for i, part in enumerate(parts)]
        terms = {"restore": F.cross_entropy(self._logits(d.Ax), torch.cat(labels))}
        if self.config.lambdas.idem and self.f.config.learned_gate:
            made = map(self._repaired, [part[::AGAIN] for part in parts[1:]], SORTS)
            results, opened = map(torch.cat, zip(*made, strict=True))
            none = torch.zeros(len(results), dtype=torch.long, device=d.Ax.device)
            again = F.cross_entropy(self._logits(results), none, reduction="none")
            terms["idem"] = (opened * again).mean()
        return terms

    def _logits(self, images: Tensor) -> Tensor:
        assert isinstance(self.f, UNet)
        return self.f.reader.logits(places(images))

    @torch.no_grad()
    def _repaired(self, images: Tensor, sort: str) -> tuple[Tensor, Tensor]:
        """Compute f of images taken for a sort, of 8-bit values, and how far it changes each."""
        assert isinstance(self.f, UNet)
        f: Callable[..., Tensor] = self.fast("f")
        results, share = self._moved(images, *self.f.split(f(images, sort=sort)))
        return results, share.mean((1, 2, 3))
