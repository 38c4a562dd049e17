"""Training f as an adversarial projector: ``losses.py``'s first objective, and its recipe."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from make_it_real import distributed, losses
from make_it_real.augmentation import Augmentation
from make_it_real.critic import Critic
from make_it_real.data import ImageSet
from make_it_real.degradations import DEGRADATIONS, kept_out, randomly_degraded
from make_it_real.losses import Lambdas
from make_it_real.model import IGN, IGNConfig, place
from make_it_real.trainer import BaseConfig, BaseRecord, BaseTrainer, fit_source, train

__all__ = ["TrainConfig", "Trainer", "begin", "default_config", "default_model", "train"]

GREY_DAMAGE = (
    *("noise",) * 7, *("coarse-noise",) * 5, *("low-resolution",) * 6, *("mask",) * 2,
    *("blur",) * 2, "contrast", "light", "thin", "glass", "scan", *("lines",) * 2,
)  # fmt: skip
COLOUR_DAMAGE = (
    *("noise",) * 4, "low-resolution", *("mask",) * 2, "blur", "contrast", "light", "cast",
    *("grayscale",) * 2, *("sketch",) * 2, "jpeg", "salt-and-pepper", "scribbles",
)  # fmt: skip


@dataclass(frozen=True)
class TrainConfig(BaseConfig):
    """How f is trained, beside what every objective needs.

    blend: share of the damaged images that are (1 − t)·x + t·z, t uniform, instead of a
        kind from ``damage``; twice: share that is damaged a second time.
    ramp: steps over which idempotence is weighted in from 0 (asked for from step 0 it
        collapses f onto one image). gamma, penalty_every: the critic's gradient penalty.
    rest_steps, rest_sigma: f(s + ε) = s is asked of s up to f^(1+rest_steps)(z), ε's
        deviation up to rest_sigma. ema: decay of the averaged weights, which are what ships.
    augment: share of the critic's images, real and made alike, changed by ``augmentation.py``.
    """

    gamma: float = 1.0
    penalty_every: int = 4
    ramp: int = 1_000
    rest_steps: int = 4
    rest_sigma: float = 0.1
    ema: float = 0.999
    blend: float = 0.15
    twice: float = 0.25
    damage: tuple[str, ...] = GREY_DAMAGE
    critic_widths: tuple[int, ...] = (64, 128)
    augment: float = 0.0
    lambdas: Lambdas = field(default_factory=Lambdas)

    def __post_init__(self) -> None:
        object.__setattr__(self, "damage", tuple(self.damage))
        object.__setattr__(self, "critic_widths", tuple(self.critic_widths))
        if isinstance(self.lambdas, dict):
            object.__setattr__(self, "lambdas", Lambdas(**self.lambdas))
        if unknown := [kind for kind in self.damage if kind not in DEGRADATIONS]:
            raise ValueError(f"no such damage: {', '.join(unknown)}")


def check_damage(kinds: Sequence[str], channels: int) -> None:
    """Raise ValueError if one of the kinds is kept out of training on images of so many channels.

    What is kept out depends on the channels, which a config does not know: ``Trainer`` asks.
    """
    if found := [kind for kind in kept_out(channels) if kind in kinds]:
        raise ValueError(f"kept out of training on purpose: {', '.join(found)}")


@dataclass(frozen=True)
class Record(BaseRecord):
    """A step's loss terms."""

    critic: float
    real: float
    rec: float
    idem: float
    idem_inner: float
    restore: float


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
        critic = Critic(model.image_size, model.channels, config.critic_widths)
        self.C = place(critic, device)
        self.nets |= {"f_ema": self.f_ema, "C": self.C}
        self.opt_f, self.opt_C = self.adam(self.f), self.adam(self.C)
        self.optimizers |= {"opt_f": self.opt_f, "opt_C": self.opt_C}

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

    def draw(self, pixels: Tensor) -> "Draw":
        """Everything random of a step, for the whole batch, the same in every process."""
        config, generator, sample = self.config, self.generator, self.f.source.sample
        quarter = config.batch // 4
        x = self.batch(pixels)
        z = sample(len(x), generator)
        Ax = self.damaged(x, sample(len(x), generator), generator)
        change = self.augmentation()
        rest = int(torch.randint(config.rest_steps, (), generator=generator, device=self.device))
        sigma = torch.rand(quarter, generator=generator, device=self.device)
        white = torch.randn(quarter, *x.shape[1:], generator=generator, device=self.device)
        return Draw(x, z, Ax, change, rest, config.rest_sigma * sigma, white)

    def loss_f(self, d: "Draw") -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """(f's loss on a part of the batch, its terms, what the critic is to call made)."""
        f, C, lambdas = self.f, self.C, self.config.lambdas
        x, half, quarter = d.x, len(d.x) // 2, len(d.x) // 4
        r = min(1.0, self.step / max(1, self.config.ramp))
        fz, f_Ax, fx = f(torch.cat([d.z, d.Ax, x[:half]])).split([len(x), len(x), half])
        s, s_noisy = losses.resting_points(f, fz[:quarter], d.rest, d.sigma, d.white)
        target = torch.cat([s, fz[quarter:half].detach()])
        ff = f(torch.cat([s_noisy, fz[quarter:half].detach()]))

        with torch.no_grad():
            C_x = C(d.shown(x))
        losses.freeze(C, True)
        loss_real = losses.loss_real(C_x, C(d.shown(fz)))
        ff_z = ff[quarter:]
        loss_real_again = losses.loss_real(C_x[: len(ff_z)], C(d.shown(ff_z)))
        # Rolled by one in fours, so that no restored image is paired with its own original.
        loss_real_restored = losses.loss_real(
            C_x.view(-1, 4).roll(1, 1).flatten(), C(d.shown(f_Ax))
        )
        losses.freeze(C, False)
        loss_rec = losses.distance(fx, x[:half])
        loss_idem = losses.distance(ff, target)
        loss_idem_inner = losses.loss_idem_inner(self.f_ema, fz[half:])
        loss_restore = losses.distance(f_Ax, x)
        loss = (
            lambdas.real * loss_real
            + lambdas.real_again * loss_real_again
            + lambdas.real_restored * loss_real_restored
            + lambdas.rec * loss_rec
            + lambdas.idem * r * loss_idem
            + lambdas.idem_inner * r * loss_idem_inner
            + lambdas.restore * loss_restore
        )
        fake = torch.cat([fz[half:], ff_z, f_Ax[:quarter]]).detach()
        return loss, (loss_real, loss_rec, loss_idem, loss_idem_inner, loss_restore), fake

    def loss_critic(self, d: "Draw", fake: Tensor) -> tuple[Tensor, Tensor]:
        """(the critic's loss on a part of the batch, the same without the penalty)."""
        C, config = self.C, self.config
        x, fake = d.shown(d.x), d.shown(fake)
        loss = losses.loss_critic(C(x), C(fake))
        if self.step % config.penalty_every:
            return loss, loss
        penalty = losses.gradient_penalty(C, x) + losses.gradient_penalty(C, fake)
        return loss + config.gamma / 2 * penalty, loss

    def train_step(self, pixels: Tensor) -> Record:
        """One update of f and one of the critic, by this process's parts of the batch."""
        lr, count = self.set_learning_rate(), distributed.size() * self.accumulate
        draw, first = self.draw(pixels), distributed.rank() * self.accumulate
        parts = [draw.part(i, count) for i in range(first, first + self.accumulate)]
        fakes, total = [], torch.zeros(6, device=self.device)
        self.opt_f.zero_grad(set_to_none=True)
        for part in parts:
            with self.autocast():
                loss, terms, fake = self.loss_f(part)
            (loss / count).backward()
            fakes.append(fake)
            total[1:] += torch.stack([t.detach().float() for t in terms]) / count
        distributed.add_up_gradients(self.f.parameters())
        self.opt_f.step()

        self.opt_C.zero_grad(set_to_none=True)
        for part, fake in zip(parts, fakes, strict=True):
            with self.autocast():
                loss, loss_critic = self.loss_critic(part, fake)
            (loss / count).backward()
            total[0] += loss_critic.detach().float() / count
        distributed.add_up_gradients(self.C.parameters())
        self.opt_C.step()

        self.step += 1
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for average, current in zip(self.f_ema.parameters(), self.f.parameters(), strict=True):
                average.lerp_(current, 1 - decay)
        return Record(self.step, lr, *distributed.add_up(total).tolist())


@dataclass(frozen=True)
class Draw:
    """A batch, or a part of one: x, z and Ax (B, C, S, S), and what else a step draws.

    change: of what the critic sees; rest: how often f is applied to fz before it is disturbed
    by ``sigma`` (B/4,) times ``white`` (B/4, C, S, S).
    """

    x: Tensor
    z: Tensor
    Ax: Tensor
    change: Augmentation | None
    rest: int
    sigma: Tensor
    white: Tensor

    def shown(self, images: Tensor) -> Tensor:
        """What the critic sees of images (n ≤ B, C, S, S)."""
        return images if self.change is None else self.change[slice(len(images))](images)

    def part(self, i: int, count: int) -> "Draw":
        """The i-th of ``count`` equal parts. The batch's quarters have roles: each is divided.

        So the mean over all parts of a loss is that of the whole, as is its gradient.
        """
        if count == 1:
            return self
        b = len(self.x)

        def share(values: Tensor) -> Tensor:
            quarters = 4 if len(values) == b else 1
            return values.view(quarters, count, -1, *values.shape[1:])[:, i].flatten(0, 1)

        change = self.change
        if change is not None:
            change = Augmentation(*map(share, (change.shift, change.hole, change.light)))
        return Draw(
            share(self.x), share(self.z), share(self.Ax), change, self.rest,
            share(self.sigma), share(self.white),
        )  # fmt: skip


def default_model(image_size: int, channels: int) -> IGNConfig:
    """The network for a size: halved until at most 8 pixels a side are left, at least twice.

    Raises ValueError for sizes that are no multiple of 4.
    """
    widths = [64, 128]
    side = image_size // 4
    while side > 8 and side % 2 == 0:
        widths.append(256)
        side //= 2
    deep = len(widths) > 2
    return IGNConfig(image_size, channels, 32 if deep else 16, tuple(widths), 512 if deep else 128)


def default_config(model: IGNConfig, **changes: Any) -> TrainConfig:
    """The recipe for a network; ``changes`` are fields of ``TrainConfig``."""
    deep = len(model.widths) > 2
    settings: dict[str, Any] = {
        "damage": GREY_DAMAGE if model.channels == 1 else COLOUR_DAMAGE,
        "critic_widths": (*model.widths, 512) if deep else model.widths,
        "gamma": 2.0 if deep else 1.0,
    }
    return TrainConfig(**settings | changes)


def begin(images: ImageSet, model: IGNConfig, config: TrainConfig, device: torch.device) -> Trainer:
    """A new trainer whose source has the statistics of (up to 10,000 of) the images."""
    trainer = Trainer(model, config, device)
    fit_source(trainer, images)
    return trainer
