"""Training f: the loop is a generator of small records; the caller shows, logs and saves.

The recipe is ``losses.py``'s adversarial projector. Everything random comes from one seeded
generator, everything that has a state is in the checkpoint, and nothing is unpickled.
"""

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from make_it_real import devices, losses
from make_it_real.augmentation import Augmentation
from make_it_real.critic import Critic
from make_it_real.data import ImageSet
from make_it_real.degradations import DEGRADATIONS, randomly_degraded
from make_it_real.errors import WeightsError, one_line
from make_it_real.images import to_images
from make_it_real.losses import Lambdas
from make_it_real.model import IGN, IGNConfig, place
from make_it_real.tensorfile import save_tensors

GREY_DAMAGE = (
    *("noise",) * 7, *("coarse-noise",) * 4, *("low-resolution",) * 4, *("mask",) * 2,
    *("blur",) * 2, "contrast", "light", "thin", "glass", "scan", "lines",
)  # fmt: skip
COLOUR_DAMAGE = ("noise",) * 3 + (
    "low-resolution", "mask", "blur", "contrast", "light", "grayscale",
)  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """How f is trained.

    steps: optimizer steps in all; the learning rate falls linearly to zero over the last
        ``decay_steps``. batch: images x, and as many z, a step.
    blend: share of the damaged images that are (1 − t)·x + t·z, t uniform, instead of a
        kind from ``damage``; twice: share that is damaged a second time.
    ramp: steps over which idempotence is weighted in from 0 (asked for from step 0 it
        collapses f onto one image). gamma, penalty_every: the critic's gradient penalty.
    bf16: compute in bfloat16 where the device is fast at it; weights stay float32.
    rest_steps, rest_sigma: f(s + ε) = s is asked of s up to f^(1+rest_steps)(z), ε's
        deviation up to rest_sigma. ema: decay of the averaged weights, which are what ships.
    augment: share of the critic's images, real and made alike, changed by ``augmentation.py``.
    hold_out: images kept from training, to be measured against. start: the model that f
        started from, and the beginning of its hash.
    """

    steps: int = 12_000
    decay_steps: int = 3_000
    batch: int = 64
    lr: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.99
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
    flip: bool = False
    augment: float = 0.0
    hold_out: int = 0
    start: str = ""
    seed: int = 0
    bf16: bool = True
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
class Record:
    """What one step reports: its number from 1, the learning rate and the loss terms."""

    step: int
    lr: float
    critic: float
    real: float
    rec: float
    idem: float
    idem_inner: float
    restore: float


class Trainer:
    """f, its average f_ema, the critic and their optimizers, on one device."""

    def __init__(self, model: IGNConfig, config: TrainConfig, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.config, self.device, self.step = config, device, 0
        self.f = place(IGN(model), device)
        self.f_ema = copy.deepcopy(self.f)
        losses.freeze(self.f_ema, True)
        critic = Critic(model.image_size, model.channels, config.critic_widths)
        self.C = place(critic, device)
        self.opt_f, self.opt_C = (
            torch.optim.Adam(
                net.parameters(), lr=config.lr, betas=(config.beta1, config.beta2), fused=True
            )
            for net in (self.f, self.C)
        )
        self.generator = torch.Generator(device).manual_seed(config.seed)

    def autocast(self) -> AbstractContextManager[None]:
        enabled = self.config.bf16 and devices.fast_bf16(self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def learning_rate(self) -> float:
        left = self.config.steps - self.step
        return self.config.lr * min(1.0, left / max(1, self.config.decay_steps))

    def batch(self, pixels: Tensor) -> Tensor:
        """x: a random batch (B, C, H, W) in [−1, 1] out of the pixels (N, C, H, W)."""
        n = self.config.batch
        index = torch.randint(len(pixels), (n,), generator=self.generator, device=self.device)
        x = to_images(pixels[index.to(pixels.device)].to(self.device))
        if self.config.flip:
            coin = torch.rand(n, generator=self.generator, device=self.device) < 0.5
            x = torch.where(coin[:, None, None, None], x.flip(3), x)
        return x

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
        lr = self.learning_rate()
        for optimizer in (self.opt_f, self.opt_C):
            for group in optimizer.param_groups:
                group["lr"] = lr
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

    def state(self) -> dict[str, Tensor]:
        """Everything with a state, flat, as tensors."""
        out = {f"f.{k}": v for k, v in self.f.state_dict().items()}
        out |= {f"f_ema.{k}": v for k, v in self.f_ema.state_dict().items()}
        out |= {f"C.{k}": v for k, v in self.C.state_dict().items()}
        for name, optimizer in (("opt_f", self.opt_f), ("opt_C", self.opt_C)):
            for index, moments in optimizer.state_dict()["state"].items():
                out |= {f"{name}.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        out["generator"] = self.generator.get_state()
        return out

    def save(self, path: Path) -> None:
        """Write the checkpoint as one safetensors file, atomically."""
        header = {
            "step": self.step, "model": asdict(self.f.config), "config": asdict(self.config),
        }  # fmt: skip
        save_tensors(self.state(), {"mir_checkpoint": json.dumps(header)}, path)

    @classmethod
    def load(cls, path: Path, device: torch.device, **changes: Any) -> "Trainer":
        """Go on from a checkpoint; ``changes`` replace fields of its ``TrainConfig``.

        Raises WeightsError if the file is not a whole checkpoint.
        """
        try:
            with safe_open(path, "pt") as file:
                header = json.loads((file.metadata() or {})["mir_checkpoint"])
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            config = TrainConfig(**{**header["config"], **changes})
            self = cls(IGNConfig(**header["model"]), config, device)
            for name, net in (("f", self.f), ("f_ema", self.f_ema), ("C", self.C)):
                net.load_state_dict(_under(state, name))
            for name, optimizer in (("opt_f", self.opt_f), ("opt_C", self.opt_C)):
                moments: dict[int, dict[str, Tensor]] = {}
                parameters = dict(enumerate(optimizer.param_groups[0]["params"]))
                for key, value in _under(state, name).items():
                    index, kind = key.split(".")
                    # Fused Adam walks memory: moments must be laid out as their parameters.
                    if value.ndim:
                        value = torch.empty_like(parameters[int(index)]).copy_(value)
                    moments.setdefault(int(index), {})[kind] = value
                optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
            self.generator.set_state(state["generator"])
            self.step = int(header["step"])
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            reason = one_line(error)
            raise WeightsError(f"{path}: not a checkpoint to resume from ({reason})") from error
        return self


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}


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
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(config.seed))
    sample = to_images(images.pixels[order[:10_000]])
    for f in (trainer.f, trainer.f_ema):
        f.source.fit(sample.to(device))
    return trainer


def train(trainer: Trainer, images: ImageSet) -> Iterator[Record]:
    """Run the steps that are left, one record each. Stop iterating at any time to pause."""
    pixels = images.pixels.to(trainer.device)
    while trainer.step < trainer.config.steps:
        yield trainer.train_step(pixels)
