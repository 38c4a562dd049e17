"""The adversarial projector: critics judge f's images, where the paper uses f's own drift.

As in the paper, f is trained towards f(x) = x and f(f(z)) = f(z). A critic, trained beside f,
tells real images from f(z), f(f(z)) and f of damaged images. ``losses.py`` has the equations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from make_it_real.degradations.kinds import check_damage
from make_it_real.models.critic import Critic
from make_it_real.models.ign import IGN, IGNConfig, place
from make_it_real.models.projected_critic import SIDES, ProjectedCritic
from make_it_real.training import augment
from make_it_real.training.augment import Augmentation, Draw
from make_it_real.training.config import AdversarialConfig
from make_it_real.training.losses import (
    Terms,
    distance,
    frozen,
    gradient_penalty,
    led,
    loss_critic,
    loss_idem_inner,
    loss_projected,
    loss_real,
    loss_real_projected,
    mean,
    resting_points,
    weighted_sum,
)
from make_it_real.training.objective import Objective, average, frozen_copy, update, zero_grad


@dataclass(frozen=True)
class Generated:
    """What f generates, and f of that.

    fz: f(z), (B, C, S, S). s, f_s: resting points s and f(s + ε), (B/4, C, S, S). ff_z: f(f(z)) of
    the second quarter, where the gradient stops at f(z). leaf: a copy of f(z) without gradient to
    f. features: those of the projected critic for it, the finest first; empty without one.
    """

    fz: Tensor
    s: Tensor
    f_s: Tensor
    ff_z: Tensor
    leaf: Tensor
    features: list[Tensor]


@dataclass(frozen=True)
class Outputs:
    """f(x) of the images to keep, f(Ax), and what f generates, in steps with critics."""

    fx: Tensor
    f_Ax: Tensor  # noqa: N815
    generated: Generated | None


class AdversarialObjective(Objective):
    """f, its average f_ema, the critic C and, if ``config.projected``, the projected critic P."""

    config: AdversarialConfig

    def __init__(self, model: IGNConfig, config: AdversarialConfig, device: torch.device) -> None:
        check_damage(config.damage, model.channels)
        super().__init__(model, config, device)
        self.f_ema = frozen_copy(self.f)
        self.C = place(Critic(model.image_size, model.channels, config.critic_widths), device)
        self.P = place(ProjectedCritic(), device) if config.projected else None
        self.trained = ("f", "C", "P") if self.P is not None else ("f", "C")

    @property
    def shipped(self) -> IGN:
        return self.f_ema

    def has_critics(self, step: int) -> bool:
        """Tell whether a step, numbered from 0, trains with critics."""
        return (step + 1) % self.config.critic_every == 0

    def turn(self, step: int) -> int:
        """Count the steps with critics before this one."""
        return step // self.config.critic_every

    def lambdas(self, step: int) -> dict[str, float]:
        """Return λ_k of a step; those of idempotence rise from 0 over the first ``ramp`` steps."""
        lambdas: dict[str, float] = asdict(self.config.lambdas)
        ramp = min(1.0, step / max(1, self.config.ramp))
        return lambdas | {name: ramp * lambdas[name] for name in ("idem", "idem_inner")}

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> Draw:
        config, sample, quarter = self.config, self.f.source.sample, len(x) // 4
        z = sample(len(x), generator)
        whole = x[: config.restored * quarter] if self.has_critics(step) else x
        Ax = self.degraded(whole, sample(len(whole), generator), generator)
        change = None
        if config.augment:
            change = Augmentation.draw(len(x), config.augment, generator)
        rest = int(torch.randint(config.rest_steps, (), generator=generator, device=x.device))
        sigma = torch.rand(quarter, generator=generator, device=x.device)
        white = torch.randn(quarter, *x.shape[1:], generator=generator, device=x.device)
        return Draw(step, x, z, Ax, change, rest, config.rest_sigma * sigma, white)

    def forward(self, d: Draw) -> Outputs:
        """Apply f to the images of a step in one batch, and to some of its results in another."""
        f, quarter = self.fast("f"), len(d.x) // 4
        kept = d.x[: self.config.kept * quarter]
        if not self.has_critics(d.step):
            f_Ax, fx = f(torch.cat([d.Ax, kept])).split([len(d.Ax), len(kept)])
            return Outputs(fx, f_Ax, None)
        given = [d.z, d.Ax, kept]
        fz, f_Ax, fx = f(torch.cat(given)).split([len(y) for y in given])
        s, s_noisy = resting_points(f, fz[:quarter], d.rest, d.sigma, d.white)
        again = fz[quarter : 2 * quarter].detach()
        f_s, ff_z = f(torch.cat([s_noisy, again])).split(quarter)
        leaf, features = fz.detach().float().requires_grad_(), []
        if self.P is not None:
            features = self.P.features(d.shown(leaf), self._side(d.step))
        return Outputs(fx, f_Ax, Generated(fz, s, f_s, ff_z, leaf, features))

    def losses(self, d: Draw, y: Outputs | None = None) -> Terms:
        """Compute f's terms, with frozen critics. y: f's outputs, computed here if not given."""
        y = y or self(d)
        g, whole, kept = y.generated, d.x[: len(d.Ax)], d.x[: len(y.fx)]
        terms = {"rec": distance(y.fx, kept), "restore": distance(y.f_Ax, whole)}
        if g is None:
            return terms
        half, quarter = len(d.x) // 2, len(d.x) // 4
        # f(s + ε) = s and f(f(z)) = f(z) train the outer f, f_ema(f(z)) = f(z) the inner.
        target = torch.cat([g.s, g.fz[quarter:half].detach()])
        terms["idem"] = distance(torch.cat([g.f_s, g.ff_z]), target)
        if self.config.lambdas.idem_inner:
            terms["idem_inner"] = loss_idem_inner(self.fast("f_ema"), g.fz[half:])
        # f's images should look more real to the critic than x.
        C = self.fast("C")
        with torch.no_grad():
            C_x = C(d.shown(d.x))
        with frozen(self.C):
            terms["real"] = self._loss_real(d, g, C_x)
            terms["real_again"] = loss_real(C_x[:quarter], C(d.shown(g.ff_z)))
            # Roll within groups of four, so that no restored image is paired with its own original.
            others = C_x.view(-1, 4).roll(1, 1).flatten()[: len(whole)]
            terms["real_restored"] = loss_real(others, C(d.shown(y.f_Ax)))
        return terms

    def _loss_real(self, d: Draw, g: Generated, C_x: Tensor) -> Tensor:
        """Compute L_real of f(z), with the projected critic's gradient if there is one."""
        C, P = self.fast("C"), self.P
        if P is None:
            return loss_real(C_x, C(d.shown(g.fz)))
        loss = loss_real(C_x, C(d.shown(g.leaf)))
        with frozen(P):
            loss_P = loss_real_projected(P(g.features))
        gradient, other = (torch.autograd.grad(each, g.leaf)[0] for each in (loss, loss_P))
        return led(loss, g.fz.float(), gradient, other, self.config.projected)

    def losses_critics(self, d: Draw, y: Outputs) -> Terms:
        """Compute the critics' terms on x and on f's outputs, without gradient to f."""
        g, C, half, quarter = y.generated, self.fast("C"), len(d.x) // 2, len(d.x) // 4
        assert g is not None
        x = d.shown(d.x)
        fake = d.shown(torch.cat([g.fz[half:], g.ff_z, y.f_Ax[:quarter]]).detach())
        terms = {"critic": loss_critic(C(x), C(fake))}
        if self.turn(d.step) % self.config.penalty_every == 0:
            # Compiled networks can't be differentiated twice.
            C = self.C
            terms["penalty"] = gradient_penalty(C, x) + gradient_penalty(C, fake)
        if self.P is not None:
            with torch.no_grad():
                real = self.P.features(x, self._side(d.step))
            made = [h.detach() for h in g.features]
            terms["projected"] = loss_projected(self.P(real), self.P(made))
        return terms

    def _side(self, step: int) -> int:
        """Choose the side in pixels at which the projected critic sees images in a step."""
        return SIDES[self.turn(step) % len(SIDES)]

    def step(self, optimizers: Mapping[str, Optimizer], draws: Sequence[Draw]) -> Terms:
        """Update f and, in steps with critics, each critic; then f's average."""
        zero_grad(optimizers.values())
        steps, lambdas = [], self.lambdas(draws[0].step)
        lambdas_C = {"critic": 1.0, "penalty": self.config.gamma / 2, "projected": 1.0}
        for draw in draws:
            # f is trained by Σ λ_k L_k, where some terms come from the critics.
            with self.autocast():
                y = self(draw)
                terms = self.losses(draw, y)
                loss = weighted_sum(terms, lambdas)
            (loss / len(draws)).backward()
            # The critics are trained on f's outputs, without gradient to f.
            if y.generated is not None:
                with self.autocast():
                    critics = self.losses_critics(draw, y)
                    loss = weighted_sum(critics, lambdas_C)
                (loss / len(draws)).backward()
                terms |= critics
            steps.append(terms)
        update(optimizers.values())
        average(self.f_ema, self.f, draws[0].step + 1, self.config.ema)
        return mean(steps)

    def degraded(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        return augment.degraded(x, z, self.config, generator)
