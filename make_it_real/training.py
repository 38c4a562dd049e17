"""Training f as an adversarial projector: ``losses.py``'s first objective, and its recipe."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from make_it_real import losses
from make_it_real.augmentation import Augmentation
from make_it_real.critic import Critic
from make_it_real.data import ImageSet
from make_it_real.degradations import DEGRADATIONS, randomly_degraded
from make_it_real.losses import Lambdas
from make_it_real.model import IGN, IGNConfig, place
from make_it_real.trainer import BaseConfig, BaseRecord, BaseTrainer, fit_source, train

__all__ = ["TrainConfig", "Trainer", "begin", "default_config", "default_model", "train"]

GREY_DAMAGE = (
    *("noise",) * 7, *("coarse-noise",) * 4, *("low-resolution",) * 4, *("mask",) * 2,
    *("blur",) * 2, "contrast", "light", "thin", "glass", "scan", "lines",
)  # fmt: skip
COLOUR_DAMAGE = ("noise",) * 3 + (
    "low-resolution", "mask", "blur", "contrast", "light", "grayscale",
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
        kept_out = [kind for kind in self.damage if not DEGRADATIONS[kind].trained]
        if kept_out:
            raise ValueError(f"kept out of training on purpose: {', '.join(kept_out)}")


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

    def shown(self) -> Callable[[Tensor], Tensor]:
        """What a step does to all images before the critic sees them: one drawn law for all."""
        config = self.config
        if not config.augment:
            return lambda images: images
        change = Augmentation.draw(config.batch, config.augment, self.generator)
        return lambda images: change[: len(images)](images)

    def damaged(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        """Ax: each image of x damaged in one drawn way, some in two."""
        n, config = len(x), self.config
        coins = torch.rand(3, n, 1, 1, 1, generator=generator, device=generator.device)
        once = randomly_degraded(x, config.damage, generator=generator)
        once = torch.where(coins[0] < config.blend, torch.lerp(x, z, coins[1]), once)
        twice = randomly_degraded(once, config.damage, generator=generator)
        return torch.where(coins[2] < config.twice, twice, once)

    def train_step(self, pixels: Tensor) -> Record:
        """One update of the critic and one of f."""
        config, step = self.config, self.step
        f, C, lambdas, generator = self.f, self.C, config.lambdas, self.generator
        half, quarter = config.batch // 2, config.batch // 4
        lr = self.set_learning_rate()
        r = min(1.0, step / max(1, config.ramp))

        x = self.batch(pixels)
        z = f.source.sample(len(x), generator)
        Ax = self.damaged(x, f.source.sample(len(x), generator), generator)
        shown = self.shown()
        with self.autocast():
            fz, f_Ax, fx = f(torch.cat([z, Ax, x[:half]])).split([len(x), len(x), half])
            rest = int(
                torch.randint(config.rest_steps, (), generator=generator, device=self.device)
            )
            sigma = config.rest_sigma * torch.rand(quarter, generator=generator, device=self.device)
            s, s_noisy = losses.resting_points(f, fz[:quarter], rest, sigma, generator)
            target = torch.cat([s, fz[quarter:half].detach()])
            ff = f(torch.cat([s_noisy, fz[quarter:half].detach()]))

            with torch.no_grad():
                C_x = C(shown(x))
            losses.freeze(C, True)
            loss_real = losses.loss_real(C_x, C(shown(fz)))
            ff_z = ff[quarter:]
            loss_real_again = losses.loss_real(C_x[: len(ff_z)], C(shown(ff_z)))
            # Rolled by one, so that a restored image is not paired with its own original.
            loss_real_restored = losses.loss_real(C_x.roll(1), C(shown(f_Ax)))
            losses.freeze(C, False)
            loss_rec = losses.distance(fx, x[:half])
            loss_idem = losses.distance(ff, target)
            loss_idem_inner = losses.loss_idem_inner(self.f_ema, fz[half:])
            loss_restore = losses.distance(f_Ax, x)
            loss_f = (
                lambdas.real * loss_real
                + lambdas.real_again * loss_real_again
                + lambdas.real_restored * loss_real_restored
                + lambdas.rec * loss_rec
                + lambdas.idem * r * loss_idem
                + lambdas.idem_inner * r * loss_idem_inner
                + lambdas.restore * loss_restore
            )
        self.opt_f.zero_grad(set_to_none=True)
        loss_f.backward()
        self.opt_f.step()

        with self.autocast():
            x, fake = shown(x), shown(torch.cat([fz[half:], ff_z, f_Ax[:quarter]]).detach())
            loss_C = loss_critic = losses.loss_critic(C(x), C(fake))
            if step % config.penalty_every == 0:
                penalty = losses.gradient_penalty(C, x) + losses.gradient_penalty(C, fake)
                loss_C = loss_critic + config.gamma / 2 * penalty
        self.opt_C.zero_grad(set_to_none=True)
        loss_C.backward()
        self.opt_C.step()

        self.step += 1
        decay = min(config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for average, current in zip(self.f_ema.parameters(), self.f.parameters(), strict=True):
                average.lerp_(current, 1 - decay)
        terms = (loss_critic, loss_real, loss_rec, loss_idem, loss_idem_inner, loss_restore)
        return Record(self.step, lr, *torch.stack([t.detach().float() for t in terms]).tolist())


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
