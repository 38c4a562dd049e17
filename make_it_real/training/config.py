"""How f is trained as an adversarial projector: every setting, and what they are by default."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from make_it_real.degradations import kinds
from make_it_real.degradations.kinds import DEGRADATIONS
from make_it_real.models.ign import IGNConfig
from make_it_real.models.source import LAWS
from make_it_real.training.losses import Lambdas, PublishedLambdas

R = TypeVar("R", bound="BaseRecord")


@dataclass(frozen=True)
class BaseConfig:
    """What every objective needs to be told.

    steps: optimizer steps in all; the learning rate falls linearly to zero over the last
        ``decay_steps``. batch: images x, and as many z, a step. flip: mirror images at random.
    hold_out: images kept from training, to be measured against. start: the model that f
        started from, and the beginning of its hash.
    spread: z is drawn so many times as wide as the images are (``Source.widen``).
    bf16: compute in bfloat16 where the device is fast at it; weights stay float32.
    """

    steps: int = 12_000
    decay_steps: int = 3_000
    batch: int = 64
    lr: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.99
    flip: bool = False
    hold_out: int = 0
    start: str = ""
    seed: int = 0
    spread: float = 1.0
    bf16: bool = True


@dataclass(frozen=True)
class BaseRecord:
    """What one step reports: its number from 1 and the learning rate; children add losses."""

    step: int
    lr: float


@dataclass(frozen=True)
class Step(Generic[R]):
    """What one step gave: its number, from 1, and learning rate, and its terms (K,).

    The terms are still on the device: to read them is to wait for it; those that had no part
    in this step are NaN. ``kind`` is the record that they are of.
    """

    number: int
    lr: float
    terms: Tensor
    kind: type[R]

    def record(self) -> R:
        return mean([self])


def mean(steps: Sequence[Step[R]]) -> R:
    """The last step's number and rate, with each term averaged over the steps that had it."""
    last = steps[-1]
    terms = torch.stack([step.terms for step in steps]).double().nanmean(0).nan_to_num(0)
    return last.kind(last.number, last.lr, *terms.tolist())


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
    restored, kept: quarters of the batch that are damaged, for f to restore, and that f is to
        leave as they are. More of them repair a little better, but take the time of steps by which
        f(z) gains more.
    laws: other laws of z (``laws.LAWS``) that a share of ``law_share`` of all z is drawn by,
        one of them at random each; the rest is drawn by the model's own.
    critic_every: the critics have a part in every so many-th step; those between, several times
        cheaper, are of L_rec and L_restore alone, on whole batches of damaged images. 0: they have
        none, and f(z) is held to what the f that training starts from makes of z.
    projected: how much the projected critic (``projected.py``) leads f(z), beside C, which
        leads it with 1; 0 does without. energy: how much of that way is the energy distance
        between the features it sees of made and of real images, beside its heads' 1.
    """

    gamma: float = 1.0
    penalty_every: int = 4
    ramp: int = 1_000
    rest_steps: int = 4
    rest_sigma: float = 0.1
    ema: float = 0.999
    blend: float = 0.15
    twice: float = 0.25
    damage: tuple[str, ...] = kinds.GREY_DAMAGE
    critic_widths: tuple[int, ...] = (64, 128)
    augment: float = 0.0
    restored: int = 2
    kept: int = 1
    laws: tuple[str, ...] = ()
    law_share: float = 0.3
    critic_every: int = 1
    projected: float = 0.0
    energy: float = 0.0
    lambdas: Lambdas = field(default_factory=Lambdas)

    @property
    def held(self) -> bool:
        """Whether f is to go on making what it made before, instead of being led by critics."""
        return self.critic_every == 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "damage", tuple(self.damage))
        object.__setattr__(self, "critic_widths", tuple(self.critic_widths))
        object.__setattr__(self, "laws", tuple(self.laws))
        if isinstance(self.lambdas, dict):
            object.__setattr__(self, "lambdas", Lambdas(**self.lambdas))
        if unknown := [kind for kind in self.damage if kind not in DEGRADATIONS]:
            raise ValueError(f"no such damage: {', '.join(unknown)}")
        if not (1 <= self.restored <= 4 and 1 <= self.kept <= 4):
            raise ValueError("restored and kept are quarters of the batch, 1 to 4")
        if unknown := [law for law in self.laws if law not in LAWS]:
            raise ValueError(f"no such law of z: {', '.join(unknown)} ({', '.join(LAWS)})")
        if not 0 <= self.law_share <= 1:
            raise ValueError("law_share must lie in [0, 1]")
        if self.critic_every < 0:
            raise ValueError("critic_every must be at least 0")
        if not 0 <= self.projected < float("inf"):
            raise ValueError("projected must be at least 0")
        if not 0 <= self.energy < float("inf") or (self.energy and not self.projected):
            raise ValueError("energy must be at least 0, and needs a projected critic")


def default_model(image_size: int, channels: int) -> IGNConfig:
    """The network for a size: halved until at most 8 pixels a side are left, at least twice.

    Raises ValueError for sizes that are no multiple of 4.
    """
    widths = [64, 128]
    side = image_size // 4
    while side > 8 and side % 2 == 0:
        widths.append(256)
        side //= 2
    # Components are images: of larger ones they would outweigh the network.
    source = "mixture" if image_size <= 64 else "spectral"
    if len(widths) == 2:
        return IGNConfig(image_size, channels, 16, tuple(widths), 128, source=source)
    return IGNConfig(
        image_size, channels, 16, tuple(widths), 512, blocks=2, attention=True, code=64, fine=1,
        filters=True, source=source, dead_zone=0.004, rest=0.02,
    )  # fmt: skip


def default_config(model: IGNConfig, **changes: Any) -> TrainConfig:
    """The recipe for a network; ``changes`` are fields of ``TrainConfig``."""
    deep = len(model.widths) > 2
    settings: dict[str, Any] = {
        "damage": kinds.GREY_DAMAGE if model.channels == 1 else kinds.COLOUR_DAMAGE,
        "critic_widths": (*model.widths, 512) if deep else model.widths,
        "gamma": 2.0 if deep else 1.0,
        "penalty_every": 8 if deep else 4,
        "lambdas": Lambdas(restore=25.0) if deep else Lambdas(),
    }
    if changes.get("critic_every") == 0:
        # What repair alone asks for is steady enough for momentum.
        settings["beta1"] = 0.9
    return TrainConfig(**settings | changes)


@dataclass(frozen=True)
class PublishedConfig(BaseConfig):
    """The paper's settings: batches of 256, Adam at 1e-4 with β (0.5, 0.999), no decay.

    clamp, tight_rec: the bound of L_tight, see ``losses.losses_ign``.
    """

    decay_steps: int = 0
    batch: int = 256
    lr: float = 1e-4
    beta1: float = 0.5
    beta2: float = 0.999
    clamp: float = 1.5
    tight_rec: str = "z"
    lambdas: PublishedLambdas = field(default_factory=PublishedLambdas)

    def __post_init__(self) -> None:
        if isinstance(self.lambdas, dict):
            object.__setattr__(self, "lambdas", PublishedLambdas(**self.lambdas))
        if self.tight_rec not in ("z", "x"):
            raise ValueError(f"tight_rec is z or x, not {self.tight_rec!r}")
        if self.clamp <= 0:
            raise ValueError("clamp must be over 0")
