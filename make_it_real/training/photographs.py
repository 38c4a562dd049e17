"""The restorer of photographs: f learns on crops of any photographs, and makes none of its own.

f repairs crops with a known target, leaves clean ones alone and leaves its own results alone. There
is no critic and no z: the paper's f(f(z)) = f(z) becomes f(f(Ax)) = f(Ax) for damaged crops Ax.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from make_it_real.degradations.life import damaged, rounded
from make_it_real.images.pixels import LUMA
from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.models.unet import UNet
from make_it_real.training.config import PhotographConfig
from make_it_real.training.losses import (
    Lambdas,
    Terms,
    distance,
    distance_charbonnier,
    loss_gate,
)
from make_it_real.training.objective import (
    Objective,
    apply_gradients,
    average,
    frozen_copy,
    zero_grad,
)

# One in so many of f's results is given to f again.
AGAIN = 4


@dataclass(frozen=True)
class Draw:
    """What a step draws: clean crops x and damaged ones Ax, with y, what they were.

    x: (K, 3, S, S). y, Ax: (B − K, 3, S, S).
    """

    step: int
    x: Tensor
    y: Tensor
    Ax: Tensor


class PhotographObjective(Objective):
    """f and its average f_ema."""

    config: PhotographConfig

    def __init__(self, model: IGNConfig, config: PhotographConfig, device: torch.device) -> None:
        super().__init__(model, config, device)
        self.f_ema = frozen_copy(self.f)

    @property
    def shipped(self) -> IGN:
        return self.f_ema

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> Draw:
        """Draw a step for images x (B, 3, D, D), with D the config's ``drawn_side``."""
        config, side = self.config, self.config.crop
        coins = torch.rand(2, len(x), generator=generator, device=generator.device).to(x.device)
        luma = rounded(torch.einsum("nchw,c->nhw", x, x.new_tensor(LUMA)))[:, None]
        x = torch.where((coins[0] < config.grey)[:, None, None, None], luma, x)
        kept = config.kept(len(x))
        clean, others = x[:kept, :, :side, :side], x[kept:]
        y, Ax = others[..., :side, :side].clone(), others[..., :side, :side].clone()
        off = coins[1, kept:] < config.off_grid
        # Most crops are damaged as they are; the others are cut out of what was damaged.
        Ax[~off] = self._damaged(Ax[~off], generator)
        wide = self._damaged(others[off], generator)
        most = config.drawn_side - side + 1
        shift = torch.randint(most, (2,), generator=generator, device=generator.device)
        top, left = shift.tolist()
        window = (..., slice(top, top + side), slice(left, left + side))
        y[off], Ax[off] = others[off][window], wide[window]
        return Draw(step, clean, y, Ax)

    def losses(self, d: Draw) -> Terms:
        """Compute L_rec = D(f(x), x), L_restore = D(f(Ax), y), L_idem = |f(s) − s|.

        D is ``distance_charbonnier``, in L_rec with the config's ``smooth``. s is f(Ax) of some
        crops, rounded to 8 bits, without gradient: f should leave alone what it reads again from a
        file. A learned gate has a term of its own (``loss_gate``), and L_idem asks of it, instead
        of the change, to be closed for s.
        """
        assert isinstance(self.f, UNet)
        f, given = self.fast("f"), torch.cat([d.x, d.Ax])
        proposed, logits = self.f.split(f(given))
        fx, f_Ax = proposed.split([len(d.x), len(d.Ax)])
        terms = {"restore": distance_charbonnier(f_Ax, d.y)}
        if len(d.x):
            terms["rec"] = distance_charbonnier(fx, d.x, self.config.smooth)
        lambdas, learned = self.config.lambdas, self.f.config.learned_gate
        if learned and lambdas.gate:
            with torch.no_grad():
                truth = torch.cat([d.x, d.y])
                before, after = (
                    self.f.around((images - truth).float().square().mean(1, keepdim=True))
                    for images in (given, proposed)
                )
            terms["gate"] = loss_gate(logits, before, after)
        if lambdas.idem and learned:
            opened = logits[len(d.x) :: AGAIN]
            terms["idem"] = self._opened_again(d.Ax[::AGAIN], f_Ax[::AGAIN], opened)
        elif lambdas.idem:
            s = rounded(f_Ax.detach().float()[::AGAIN])
            terms["idem"] = distance(f(s), s)
        return terms

    def _opened_again(self, Ax: Tensor, proposed: Tensor, logits: Tensor) -> Tensor:
        """Compute how much the learned gate opens again where it was open for Ax, a scalar."""
        assert isinstance(self.f, UNet)
        s, share = self._moved(Ax, proposed, logits)
        _, again = self.f.split(self.fast("f")(s))
        # Where the gate was closed, s is still damaged.
        return ((share > 0.5) * F.softplus(again)).mean()

    @torch.no_grad()
    def _moved(self, Ax: Tensor, proposed: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Compute f(Ax) of 8-bit values from what it proposes, and how far its gate is open."""
        assert isinstance(self.f, UNet)
        share = self.f.opened(logits.sigmoid())
        return rounded(self.f.moved(Ax, proposed.clamp(-1, 1) - Ax, share).float()), share

    def update(
        self, optimizers: Mapping[str, Optimizer], draws: Sequence[Draw], lambdas: Lambdas
    ) -> Terms:
        """Update f once."""
        zero_grad(optimizers.values())
        terms = self.backward(draws, lambdas)
        apply_gradients(optimizers.values(), self.config.clip)
        return terms

    def follow(self, step: int) -> None:
        average(self.f_ema, self.f, step + 1, self.config.ema)

    def _damaged(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return damaged(x, self.config.damage, self.config.life, generator=generator)

    def degraded(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        return self._damaged(x, generator)
