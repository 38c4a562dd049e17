"""The critics that judge f's images: C of pixels and P of ImageNet features.

They judge f(z) and f of damaged images alike, and are trained beside f on what it makes.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from make_it_real.degradations.kinds import check_damage
from make_it_real.models.critic import Critic
from make_it_real.models.ign import IGN, IGNConfig, place
from make_it_real.models.projected_critic import SIDES, ProjectedCritic
from make_it_real.training import augment
from make_it_real.training.config import AdversarialConfig
from make_it_real.training.losses import (
    Lambdas,
    Terms,
    beside,
    frozen,
    gradient_penalty,
    led,
    loss_critic,
    loss_perceptual,
    loss_projected,
    loss_real,
    loss_real_projected,
    mean,
    weighted_sum,
)
from make_it_real.training.objective import (
    Objective,
    apply_gradients,
    average,
    frozen_copy,
    zero_grad,
)

Show = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Judged:
    """Images of f, and what the critics see of them.

    images: with their gradient to f, (n, C, S, S). leaf: a copy without, from which the critics'
    gradients are taken. backbone, mixed: the features of P's backbone for the leaf, and their
    mixtures that P's heads see, each the finest first; empty without P.
    """

    images: Tensor
    leaf: Tensor
    backbone: list[Tensor]
    mixed: list[Tensor]


def others(C_x: Tensor) -> Tensor:
    """Return logits (N,) in another order, N a multiple of 4: each image gets another one's.

    A restored image should not be compared with its own original. The order changes within groups
    of four, so that a part of a batch has the same pairs as the whole.
    """
    return C_x.view(-1, 4).roll(1, 1).flatten()


class CriticObjective(Objective):
    """f, its average f_ema, the critic C and, where the config needs it, the projected critic P.

    P's backbone also gives the features of the perceptual loss.
    """

    config: AdversarialConfig

    def __init__(self, model: IGNConfig, config: AdversarialConfig, device: torch.device) -> None:
        check_damage(config.damage, model.channels)
        super().__init__(model, config, device)
        self.f_ema = frozen_copy(self.f)
        self.C = place(Critic(model.image_size, model.channels, config.critic_widths), device)
        self.P = place(ProjectedCritic(), device) if config.needs_features else None
        if config.critic_every:
            self.trained = ("f", "C") if self.P is None else ("f", "C", "P")

    @property
    def shipped(self) -> IGN:
        return self.f_ema

    @property
    def lambdas_critics(self) -> dict[str, float]:
        """Weights of the terms of the critics' loss."""
        return {"critic": 1.0, "penalty": self.config.gamma / 2, "projected": 1.0}

    def has_critics(self, step: int) -> bool:
        """Tell whether a step, numbered from 0, trains with critics."""
        return bool(self.config.critic_every) and (step + 1) % self.config.critic_every == 0

    def turn(self, step: int) -> int:
        """Count the steps with critics before this one."""
        return step // self.config.critic_every

    def side(self, step: int) -> int:
        """Tell at which of ``SIDES`` P sees images in a step: its number."""
        return self.turn(step) % len(SIDES)

    def phase(self, step: int) -> Hashable:
        if not self.has_critics(step):
            return ()
        penalty = self.turn(step) % self.config.penalty_every == 0
        return penalty, self.P is not None and self.side(step)

    def losses(self, draw: Any, y: Any = None) -> Terms:
        """Compute f's terms, with frozen critics. y: f's outputs, computed here if not given."""
        raise NotImplementedError

    def losses_critics(self, draw: Any, y: Any) -> Terms:
        """Compute the critics' terms on x and on f's outputs y, without gradient to f."""
        raise NotImplementedError

    def update(
        self, optimizers: Mapping[str, Optimizer], draws: Sequence[Any], lambdas: Lambdas
    ) -> Terms:
        """Update f, with its gradient clipped, and in steps with critics these too."""
        zero_grad(optimizers.values())
        steps = []
        for draw in draws:
            # f is trained by Σ λ_k L_k, where some terms come from the critics.
            with self.autocast():
                y = self(draw)
                terms = self.losses(draw, y)
                loss = weighted_sum(terms, lambdas)
            (loss / len(draws)).backward()
            # The critics are trained on f's outputs, without gradient to f.
            if self.has_critics(draw.step):
                with self.autocast():
                    critics = self.losses_critics(draw, y)
                    loss = weighted_sum(critics, self.lambdas_critics)
                (loss / len(draws)).backward()
                terms |= critics
            steps.append(terms)
        apply_gradients([optimizers["f"]], self.config.clip or math.inf)
        apply_gradients(optimizer for name, optimizer in optimizers.items() if name != "f")
        return mean(steps)

    def follow(self, step: int) -> None:
        average(self.f_ema, self.f, step + 1, self.config.ema)

    def degraded(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        return augment.degraded(x, z, self.config, generator).images

    def judged(self, images: Tensor, show: Show, step: int) -> Judged:
        """Let P's backbone see images (n, C, S, S). show: the augmentation of the critics' images.

        The side at which it sees them differs from step to step.
        """
        leaf = images.detach().float().requires_grad_(images.requires_grad)
        if self.P is None:
            return Judged(images, leaf, [], [])
        backbone = self.P.backbone(show(leaf), SIDES[self.side(step)])
        return Judged(images, leaf, backbone, self.P.mix(backbone))

    def loss_real(self, y: Judged, show: Show, C_x: Tensor, *more: tuple[Tensor, float]) -> Tensor:
        """Compute how much more real C finds x than y, (n,) logits of x, led by P where it is.

        more: gradients with respect to y that lead it too, each with its weight, where C's has 1.
        """
        loss = loss_real(C_x, self.fast("C")(show(y.leaf)))
        (total,) = torch.autograd.grad(loss, y.leaf)
        if self.P is not None and self.config.projected:
            with frozen(self.P):
                loss_P = loss_real_projected(self.P(y.mixed))
            (other,) = torch.autograd.grad(loss_P, y.leaf, retain_graph=True)
            more = (*more, (other, self.config.projected))
        return led(loss, y.images.float(), beside(total, *more))

    def loss_perceptual(self, y: Judged, x: Judged) -> Tensor:
        """Compute the distance of the backbone's features of the first images of y and of x."""
        n = min(len(y.leaf), len(x.leaf))
        loss = loss_perceptual([h[:n] for h in y.backbone], [h[:n] for h in x.backbone])
        (gradient,) = torch.autograd.grad(loss, y.leaf, retain_graph=True)
        return led(loss, y.images.float(), gradient)

    def terms_critics(
        self, x: Judged, fake: Tensor, made: Sequence[Judged], show: Show, step: int
    ) -> Terms:
        """Compute the critics' terms on x and on f's outputs, without gradient to f.

        fake: the images that C is shown, as many as x. made: what P is shown.
        """
        C, real = self.fast("C"), show(x.leaf)
        fake = show(fake.detach())
        terms = {"critic": loss_critic(C(real), C(fake))}
        if self.turn(step) % self.config.penalty_every == 0:
            # Compiled networks can't be differentiated twice.
            terms["penalty"] = gradient_penalty(self.C, real) + gradient_penalty(self.C, fake)
        if self.P is not None and self.config.projected:
            mixed = [
                torch.cat(each).detach() for each in zip(*(y.mixed for y in made), strict=True)
            ]
            terms["projected"] = loss_projected(self.P(x.mixed), self.P(mixed))
        return terms
