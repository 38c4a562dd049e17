"""Training f as an adversarial projector: ``losses.py``'s first objective, and its recipe."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from make_it_real import distributed
from make_it_real.data.dataset import ImageSet
from make_it_real.degradations.kinds import check_damage, randomly_degraded
from make_it_real.errors import WeightsError
from make_it_real.models import source as models_source
from make_it_real.models.critic import Critic
from make_it_real.models.ign import IGN, IGNConfig, place
from make_it_real.models.projected_critic import SIDES, Memory, ProjectedCritic, pooled
from make_it_real.models.spectral_source import Source
from make_it_real.training import losses
from make_it_real.training.augment import Augmentation, Draw
from make_it_real.training.config import BaseRecord, Step, TrainConfig
from make_it_real.training.trainer import BaseTrainer, average, fit_source, train

__all__ = ["TrainConfig", "Trainer", "begin", "train"]


@dataclass(frozen=True)
class Record(BaseRecord):
    """A step's loss terms; ``projected`` is the projected critic's own, 0 without one."""

    critic: float
    real: float
    rec: float
    idem: float
    idem_inner: float
    restore: float
    projected: float


class Trainer(BaseTrainer):
    """f, its average f_ema, the critic and their optimizers, on one device."""

    objective = "adversarial"
    title = "adversarial projector"
    config_class = TrainConfig
    config: TrainConfig

    def __init__(self, model: IGNConfig, config: TrainConfig, device: torch.device) -> None:
        check_damage(config.damage, model.channels)
        super().__init__(model, config, device)
        self.f_ema = copy.deepcopy(self.f)
        losses.freeze(self.f_ema, True)
        try:
            for law in config.laws:
                models_source.source(
                    law, self.f.source
                )  # Raises, better now than at the first step.
        except ValueError as error:
            raise WeightsError(str(error)) from error
        critic = Critic(model.image_size, model.channels, config.critic_widths)
        self.C = place(critic, device)
        self.nets |= {"f_ema": self.f_ema, "C": self.C}
        self.opt_f, self.opt_C = self.adam(self.f), self.adam(self.C)
        self.optimizers |= {"opt_f": self.opt_f, "opt_C": self.opt_C}
        self.f_before = copy.deepcopy(self.f_ema) if config.held else None
        if self.f_before is not None:
            self.nets["f_before"] = self.f_before
        self.P = place(ProjectedCritic(), device) if config.projected else None
        self.seen: list[Tensor] = []
        if self.P is not None:
            self.nets["P"] = self.P
            self.optimizers["opt_P"] = self.adam(self.P)
        self.memory = Memory().to(device) if config.energy else None
        if self.memory is not None:
            self.nets["memory"] = self.memory

    @property
    def shipped(self) -> IGN:
        return self.f_ema

    def damaged(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        """Ax: each image of x damaged in one drawn way, some in two."""
        n, config = len(x), self.config
        coins = torch.rand(3, n, 1, 1, 1, generator=generator, device=generator.device)
        once = randomly_degraded(x, config.damage, generator=generator)
        once = torch.where(coins[0] < config.blend, torch.lerp(x, z, coins[1]), once)
        twice = randomly_degraded(once, config.damage, generator=generator)
        return torch.where(coins[2] < config.twice, twice, once)

    def augmentation(self) -> Augmentation | None:
        """What is done to a batch's images before the critic sees them; None for nothing."""
        config = self.config
        if not config.augment:
            return None
        return Augmentation.draw(config.batch, config.augment, self.generator)

    @cached_property
    def law_sources(self) -> list[Source]:
        """What ``config.laws`` are drawn with: by the statistics that f's source has by now."""
        return [models_source.source(law, self.f.source) for law in self.config.laws]

    def sample(self, n: int) -> Tensor:
        """z (n, C, S, S), by the model's own law and those of ``config.laws``."""
        generator, config = self.generator, self.config
        z = self.f.source.sample(n, generator)
        if not config.laws or not config.law_share:
            return z
        coins = torch.rand(n, generator=generator, device=self.device) / config.law_share
        for i, source in enumerate(self.law_sources):
            drawn = (coins * len(self.law_sources)).floor() == i
            z = torch.where(drawn[:, None, None, None], source.sample(n, generator), z)
        return z

    @property
    def adversarial(self) -> bool:
        """Whether the critics have a part in this step."""
        every = self.config.critic_every
        return every > 0 and (self.step + 1) % every == 0

    @property
    def turn(self) -> int:
        """How many steps with the critics there have been."""
        return self.step // max(1, self.config.critic_every)

    def draw(self, pixels: Tensor) -> Draw:
        """Everything random of a step, for the whole batch, the same in every process."""
        config, generator = self.config, self.generator
        quarter = config.batch // 4
        x = self.batch(pixels)
        z = self.sample(len(x))
        whole = x[: config.restored * quarter] if self.adversarial else x
        Ax = self.damaged(whole, self.sample(len(whole)), generator)
        change = self.augmentation()
        rest = int(torch.randint(config.rest_steps, (), generator=generator, device=self.device))
        sigma = torch.rand(quarter, generator=generator, device=self.device)
        white = torch.randn(quarter, *x.shape[1:], generator=generator, device=self.device)
        return Draw(x, z, Ax, change, rest, config.rest_sigma * sigma, white)

    def loss_f(self, d: Draw) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """(f's loss on a part of the batch, its terms, what the critic is to call made)."""
        f, C, lambdas = self.fast("f"), self.fast("C"), self.config.lambdas
        x, half, quarter = d.x, len(d.x) // 2, len(d.x) // 4
        r = min(1.0, self.step / max(1, self.config.ramp))
        kept, whole = x[: self.config.kept * quarter], x[: len(d.Ax)]
        parts = [len(x), len(whole), len(kept)]
        fz, f_Ax, fx = f(torch.cat([d.z, d.Ax, kept])).split(parts)
        s, s_noisy = losses.resting_points(f, fz[:quarter], d.rest, d.sigma, d.white)
        target = torch.cat([s, fz[quarter:half].detach()])
        ff = f(torch.cat([s_noisy, fz[quarter:half].detach()]))

        with torch.no_grad():
            C_x = C(d.shown(x))
        losses.freeze(self.C, True)
        loss_real, realism = self._realism(d, fz, C_x)
        ff_z = ff[quarter:]
        loss_real_again = losses.loss_real(C_x[: len(ff_z)], C(d.shown(ff_z)))
        # Rolled by one in fours, so that no restored image is paired with its own original.
        loss_real_restored = losses.loss_real(
            C_x.view(-1, 4).roll(1, 1).flatten()[: len(whole)], C(d.shown(f_Ax))
        )
        losses.freeze(self.C, False)
        loss_rec = losses.distance(fx, kept)
        loss_idem = losses.distance(ff, target)
        loss_idem_inner = loss_idem.new_zeros(())
        if lambdas.idem_inner:
            loss_idem_inner = losses.loss_idem_inner(self.fast("f_ema"), fz[half:])
        loss_restore = losses.distance(f_Ax, whole)
        loss = (
            realism
            + lambdas.real_again * loss_real_again
            + lambdas.real_restored * loss_real_restored
            + lambdas.rec * loss_rec
            + lambdas.idem * r * loss_idem
            + lambdas.idem_inner * r * loss_idem_inner
            + lambdas.restore * loss_restore
        )
        fake = torch.cat([fz[half:], ff_z, f_Ax[:quarter]]).detach()
        return loss, (loss_real, loss_rec, loss_idem, loss_idem_inner, loss_restore), fake

    def loss_repair(self, d: Draw) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """As ``loss_f``, of a step without critics: nothing is made, the other terms are NaN.

        Where f(z) is held to b = f_before(z), L_idem is D(f(z), b) + D(f(b), b).
        """
        x, lambdas, f = d.x, self.config.lambdas, self.fast("f")
        kept, quarter = x[: self.config.kept * len(x) // 4], len(x) // 4
        shown = [d.Ax, kept]
        if self.f_before is not None:
            z = d.z[:quarter]
            with torch.no_grad():
                before = self.fast("f_before")(z)
            shown += [z, before]
        f_Ax, fx, *held = f(torch.cat(shown)).split([len(part) for part in shown])
        loss_rec, loss_restore = losses.distance(fx, kept), losses.distance(f_Ax, x)
        loss = lambdas.rec * loss_rec + lambdas.restore * loss_restore
        none = loss_idem = loss_rec.new_tensor(torch.nan)
        if held:
            loss_idem = torch.stack([losses.distance(made, before) for made in held]).sum()
            loss = loss + lambdas.idem * loss_idem
        return loss, (none, loss_rec, loss_idem, none, loss_restore), x[:0]

    def _realism(self, d: Draw, fz: Tensor, C_x: Tensor) -> tuple[Tensor, Tensor]:
        """(L_real of f(z), a term that leads f(z) by it and by the projected critic)."""
        C, P, weight = self.fast("C"), self.P, self.config.lambdas.real
        if P is None:
            loss = losses.loss_real(C_x, C(d.shown(fz)))
            return loss, weight * loss
        made = fz.detach().float().requires_grad_()
        shown = d.shown(made)
        loss = losses.loss_real(C_x, C(shown))
        (gradient,) = torch.autograd.grad(weight * loss, made, retain_graph=True)
        losses.freeze(P, True)
        seen = P.features(shown, self._side())
        # Coarse features are part of finer ones: by its own value alone each has one gradient.
        self.seen = [h.detach().requires_grad_() for h in seen]
        (other,) = torch.autograd.grad(seen, made, self._by_features(P, self.seen))
        losses.freeze(P, False)
        self.seen = [h.detach() for h in self.seen]
        return loss.detach(), losses.led(fz.float(), gradient, other, self.config.projected)

    def _by_features(self, P: ProjectedCritic, seen: list[Tensor]) -> Sequence[Tensor]:
        """The gradient by what the projected critic sees of f(z): of its heads, and with
        ``config.energy`` times its size that of the energy distance."""
        by_heads = torch.autograd.grad(losses.loss_real_projected(P(seen)), seen)
        if self.memory is None:
            return by_heads
        real, made = self.memory.recall(self._side())
        if not len(real):
            return by_heads
        by_energy = torch.autograd.grad(losses.loss_energy(pooled(seen), made, real), seen)
        size, other = (
            torch.stack([g.float().norm() for g in gs]).norm() for gs in (by_heads, by_energy)
        )
        scale = self.config.energy * size / other.clamp_min(1e-20)
        return [a + (scale * b).to(a.dtype) for a, b in zip(by_heads, by_energy, strict=True)]

    def _side(self) -> int:
        """What the projected critic sees images at in this step."""
        return SIDES[self.turn % len(SIDES)]

    def loss_critic(self, d: Draw, fake: Tensor) -> tuple[Tensor, Tensor]:
        """(the critic's loss on a part of the batch, the same without the penalty)."""
        C, config = self.fast("C"), self.config
        x, fake = d.shown(d.x), d.shown(fake)
        loss = losses.loss_critic(C(x), C(fake))
        if self.turn % config.penalty_every:
            return loss, loss
        # What is compiled can't be differentiated twice.
        penalty = losses.gradient_penalty(self.C, x) + losses.gradient_penalty(self.C, fake)
        return loss + config.gamma / 2 * penalty, loss

    def learn(self, draw: Draw) -> Step[Record]:
        """One update of f and one of the critic, by this process's parts of the batch."""
        lr, parts = self.set_learning_rate(), self._parts(draw)
        total = torch.zeros(7, device=self.device)
        self.opt_f.zero_grad(set_to_none=True)
        fakes = self._backward_f(parts, total)
        distributed.add_up_gradients(self.f.parameters())
        self.opt_f.step()
        if self.adversarial:
            self._learn_critics(draw, parts, fakes, total)
        else:
            total[[0, 6]] = torch.nan

        self.step += 1
        average(self.f_ema, self.f, self.step, self.config.ema)
        return Step(self.step, lr, distributed.add_up(total), Record)

    def _learn_critics(
        self, draw: Draw, parts: list[Draw], fakes: list[Tensor], total: Tensor
    ) -> None:
        self.opt_C.zero_grad(set_to_none=True)
        self._backward_critic(parts, fakes, total)
        distributed.add_up_gradients(self.C.parameters())
        self.opt_C.step()
        if self.P is not None:
            self.optimizers["opt_P"].zero_grad(set_to_none=True)
            self._backward_projected(self.P, draw, total)
            self.optimizers["opt_P"].step()

    def backward(self, draw: Draw) -> None:
        parts, total = self._parts(draw), torch.zeros(7, device=self.device)
        fakes = self._backward_f(parts, total)
        if not self.adversarial:
            return
        self._backward_critic(parts, fakes, total)
        if self.P is not None:
            self._backward_projected(self.P, draw, total)

    @property
    def kinds(self) -> dict[int, float]:
        every, penalty = self.config.critic_every, self.config.penalty_every
        if not every:
            return {0: 1.0}
        kinds = {every - 1: 1 / (every * penalty)}
        if penalty > 1:
            kinds[2 * every - 1] = (penalty - 1) / (every * penalty)
        if every > 1:
            kinds[0] = (every - 1) / every
        return kinds

    def _parts(self, draw: Draw) -> list[Draw]:
        """This process's parts of the batch."""
        count, first = distributed.size() * self.accumulate, distributed.rank() * self.accumulate
        return [draw.part(i, count) for i in range(first, first + self.accumulate)]

    def _backward_f(self, parts: list[Draw], total: Tensor) -> list[Tensor]:
        """Add f's gradients, and its terms to ``total``; what each part made, for the critic."""
        fakes, count = [], distributed.size() * self.accumulate
        losses_of = self.loss_f if self.adversarial else self.loss_repair
        for part in parts:
            with self.autocast():
                loss, terms, fake = losses_of(part)
            (loss / count).backward()
            fakes.append(fake)
            total[1:6] += torch.stack([t.detach().float() for t in terms]) / count
        return fakes

    def _backward_critic(self, parts: list[Draw], fakes: list[Tensor], total: Tensor) -> None:
        count = distributed.size() * self.accumulate
        for part, fake in zip(parts, fakes, strict=True):
            with self.autocast():
                loss, loss_critic = self.loss_critic(part, fake)
            (loss / count).backward()
            total[0] += loss_critic.detach().float() / count

    def _backward_projected(self, P: ProjectedCritic, draw: Draw, total: Tensor) -> None:
        """Add the projected critic's gradients, by what ``_realism`` has seen of f(z)."""
        with self.autocast():
            with torch.no_grad():
                seen = P.features(draw.shown(draw.x), self._side())
            loss = losses.loss_projected(P(seen), P(self.seen))
        loss.backward()
        if self.memory is not None:
            self.memory.take(self._side(), pooled(seen), pooled(self.seen))
        total[6] += loss.detach()


def begin(images: ImageSet, model: IGNConfig, config: TrainConfig, device: torch.device) -> Trainer:
    """A new trainer whose source has the statistics of (up to 30,000 of) the images."""
    trainer = Trainer(model, config, device)
    fit_source(trainer, images)
    return trainer
