"""The tone of photographs: f learns to undo fading and casts of whole pictures, and no more.

Only f.tone is trained, which reads no more of a picture than its histograms. It repairs pictures
with a known target and leaves clean ones alone, as the restorer of photographs does with crops.
"""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

from make_it_real.degradations.kinds import TONE_DAMAGE, randomly_degraded
from make_it_real.degradations.life import rounded
from make_it_real.models.ign import IGNConfig
from make_it_real.models.tone import SIDE
from make_it_real.models.unet import UNet
from make_it_real.training.config import PhotographConfig
from make_it_real.training.losses import Terms, distance
from make_it_real.training.photographs import Draw, PhotographObjective

# Every second place of a window is seen, of so many places a side at least: a thousand pictures
# would soon be known by heart.
LEAST = 56
# Standard deviation of the logarithm of the exponent that changes exposures, and the largest one of
# noise.
EXPOSURE = 0.25
NOISE = 0.1


class ToneObjective(PhotographObjective):
    """f, whose tone alone is trained, and its average f_ema."""

    trained = ("f.tone",)

    def __init__(self, model: IGNConfig, config: PhotographConfig, device: torch.device) -> None:
        if not model.tone:
            raise ValueError("the tone is trained alone, and the model has none")
        super().__init__(model, config, device)

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> Draw:
        """Draw a step for x (B, 3, SIDE, SIDE), the places of whole photographs.

        Half of them are made brighter or darker first, as good photographs may be, too.
        """
        device = generator.device
        side, top, left = torch.rand(3, generator=generator, device=device).tolist()
        size = LEAST + int(side * (SIDE - LEAST + 1))
        top, left = (int(each * (SIDE - size + 1)) for each in (top, left))
        x = x[:, :, top : top + size : 2, left : left + size : 2]
        coins = torch.rand(len(x), 1, 1, 1, generator=generator, device=device) < 0.5
        amount = EXPOSURE * torch.randn(len(x), 1, 1, 1, generator=generator, device=device)
        exponent = (coins * amount).exp().to(x)
        x = rounded(((x + 1) / 2) ** exponent * 2 - 1)
        kept = self.config.kept(len(x))
        clean, y = self._noisy(x[:kept], generator), x[kept:]
        return Draw(step, clean, y, self._damaged(y, generator))

    def losses(self, d: Draw) -> Terms:
        """Compute L_rec = D(t(x), x) and L_restore = D(t(Ax), y), where t is f.tone's proposal.

        D is L1: its kink at 0 holds good pictures still, and fading is far from it.
        """
        assert isinstance(self.f, UNet)
        t = self.f.tone.proposal
        terms = {"restore": distance(t(d.Ax), d.y)}
        if len(d.x):
            terms["rec"] = distance(t(d.x), d.x)
        return terms

    def autocast(self) -> AbstractContextManager[None]:
        # The curves have more digits than bfloat16.
        return torch.autocast(self.device.type, enabled=False)

    def _damaged(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return self._noisy(randomly_degraded(x, TONE_DAMAGE, generator=generator), generator)

    def _noisy(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Add white noise to places (N, 3, S, S), mostly little, in 8-bit values."""
        device = generator.device
        sigma = NOISE * torch.rand(len(x), 1, 1, 1, generator=generator, device=device) ** 2
        white = torch.randn(x.shape, generator=generator, device=device)
        return rounded(x + (sigma * white).to(x))
