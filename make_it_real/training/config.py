"""How f is trained: the settings of every objective with their defaults, and default networks."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

from make_it_real.degradations.kinds import COLOUR_DAMAGE, GREY_DAMAGE, damage_weights
from make_it_real.models.ign import IGNConfig


@dataclass(frozen=True)
class AdversarialLambdas:
    """Weights of the terms of f's loss, by the terms' names."""

    real: float = 1.0
    real_again: float = 0.5
    real_restored: float = 0.5
    rec: float = 5.0
    idem: float = 5.0
    idem_inner: float = 1.0
    restore: float = 5.0


@dataclass(frozen=True)
class IGNLambdas:
    """Weights of the paper's three terms."""

    rec: float = 20.0
    idem: float = 20.0
    tight: float = 2.5


@dataclass(frozen=True)
class TrainingConfig:
    """What every objective needs to be told.

    steps: optimizer steps in all; the learning rate falls linearly to zero over the last
        ``decay_steps``. batch: images x, and as many z, a step, by all processes together.
    accumulate: parts that each process draws and works off its share of the batch in, for memory.
    flip: mirror images at random. hold_out: images kept from training, to be measured against.
    start: the model that f started from, and the beginning of its hash. recipe, stage: the recipe
    that a run follows, if it does, and the number of its stage, from 0.
    bf16: compute in bfloat16 where the device is fast at it; weights stay float32. compile: compile
        the networks; None does so where it pays (``setup.wants_compiling``).

    objective: its name on the command line and in checkpoints; title: in weights files. divisor:
    what every part of a batch must be a multiple of.
    """

    objective: ClassVar[str]
    title: ClassVar[str]
    divisor: ClassVar[int] = 1

    steps: int = 12_000
    decay_steps: int = 3_000
    batch: int = 64
    accumulate: int = 1
    lr: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.99
    flip: bool = False
    hold_out: int = 0
    start: str = ""
    recipe: str = ""
    stage: int = 0
    seed: int = 0
    bf16: bool = True
    compile: bool | None = None

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError("accumulate must be at least 1")
        if self.hold_out < 0:
            raise ValueError("hold_out must be at least 0")
        if self.batch < 1 or self.batch % self.divisor:
            raise ValueError(f"batch must be a multiple of {self.divisor}")


@dataclass(frozen=True)
class AdversarialConfig(TrainingConfig):
    """How f is trained as an adversarial projector, beside what every objective needs.

    damage: kinds of damage to learn to repair, by which weight each is drawn.
    blend: share of the damaged images that are (1 − t)·x + t·z, t uniform, instead of a
        kind from ``damage``; twice: share that is damaged a second time.
    ramp: steps over which idempotence is weighted in from 0 (asked for from step 0 it
        collapses f onto one image). gamma, penalty_every: the critic's gradient penalty.
    rest_steps, rest_sigma: f(s + ε) = s is asked of s up to f^(1+rest_steps)(z), ε's
        deviation up to rest_sigma. ema: decay of the averaged weights, which are what ships.
    augment: share of the critic's images, real and made alike, changed by ``augment.py``.
    restored, kept: quarters of the batch that are damaged, for f to restore, and that f is to
        leave as they are. More of them repair a little better, but take the time of steps by which
        f(z) gains more.
    critic_every: the critics have a part in every so many-th step; those between, several times
        cheaper, are of L_rec and L_restore alone, on whole batches of damaged images. 0: they have
        none, and f(z) is held to what the f that training starts from makes of z
        (``restoration.py``).
    projected: how much the projected critic (``projected_critic.py``) leads f(z), beside C, which
        leads it with 1; 0 does without.
    """

    objective: ClassVar[str] = "adversarial"
    title: ClassVar[str] = "adversarial projector"
    divisor: ClassVar[int] = 4

    gamma: float = 1.0
    penalty_every: int = 4
    ramp: int = 1_000
    rest_steps: int = 4
    rest_sigma: float = 0.1
    ema: float = 0.999
    blend: float = 0.15
    twice: float = 0.25
    damage: Mapping[str, float] = field(default_factory=lambda: dict(GREY_DAMAGE))
    critic_widths: tuple[int, ...] = (64, 128)
    augment: float = 0.0
    restored: int = 2
    kept: int = 1
    critic_every: int = 1
    projected: float = 0.0
    lambdas: AdversarialLambdas = field(default_factory=AdversarialLambdas)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "damage", damage_weights(self.damage))
        object.__setattr__(self, "critic_widths", tuple(self.critic_widths))
        if isinstance(self.lambdas, dict):
            object.__setattr__(self, "lambdas", AdversarialLambdas(**self.lambdas))
        if not (1 <= self.restored <= 4 and 1 <= self.kept <= 4):
            raise ValueError("restored and kept are quarters of the batch, 1 to 4")
        if not 0 <= self.augment <= 0.8:
            raise ValueError("augment lies between 0 and 0.8: from there on f imitates the changes")
        if self.critic_every < 0:
            raise ValueError("critic_every must be at least 0")
        if not 0 <= self.projected < float("inf"):
            raise ValueError("projected must be at least 0")


@dataclass(frozen=True)
class IGNTrainingConfig(TrainingConfig):
    """The paper's settings: batches of 256, Adam at 1e-4 with β (0.5, 0.999), no decay.

    clamp, tight_rec: the bound of L_tight, see ``losses.losses_ign``.
    """

    objective: ClassVar[str] = "ign"
    title: ClassVar[str] = "idempotent generative network, as published"

    decay_steps: int = 0
    batch: int = 256
    lr: float = 1e-4
    beta1: float = 0.5
    beta2: float = 0.999
    clamp: float = 1.5
    tight_rec: str = "z"
    lambdas: IGNLambdas = field(default_factory=IGNLambdas)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.lambdas, dict):
            object.__setattr__(self, "lambdas", IGNLambdas(**self.lambdas))
        if self.tight_rec not in ("z", "x"):
            raise ValueError(f"tight_rec is z or x, not {self.tight_rec!r}")
        if self.clamp <= 0:
            raise ValueError("clamp must be over 0")


CONFIGS: dict[str, type[TrainingConfig]] = {
    config.objective: config for config in (AdversarialConfig, IGNTrainingConfig)
}

# Settings of earlier versions, by what they were where nobody used them.
_RETIRED: dict[str, Any] = {
    "energy": 0.0, "laws": [], "law_share": 0.3, "spread": 1.0,
}  # fmt: skip


def read_config(objective: str, settings: dict[str, Any]) -> TrainingConfig:
    """The config that ``asdict`` made ``settings`` of, by this version or an earlier one.

    Raises ValueError for a setting that is no longer there and was used, TypeError and KeyError
    for what never was a config.
    """
    known = dict(settings)
    for name, unused in _RETIRED.items():
        if (value := known.pop(name, unused)) != unused and name != "law_share":
            raise ValueError(f"{name} is {value}, which this version no longer trains with")
    return CONFIGS[objective](**known)


Config = TypeVar("Config", bound=TrainingConfig)


def with_settings(config: Config, changes: Mapping[str, Any]) -> Config:
    """The config with some of its fields replaced, of ``lambdas`` those that a mapping names.

    Raises ValueError for values that mean nothing and names that are no fields.
    """
    known = {field.name for field in fields(config)}
    if unknown := sorted(changes.keys() - known):
        raise ValueError(f"no setting {unknown[0]} of the objective {config.objective}")
    if isinstance(lambdas := changes.get("lambdas"), Mapping):
        kept: Any = getattr(config, "lambdas")  # noqa: B009
        changes = {**changes, "lambdas": replace(kept, **lambdas)}
    return replace(config, **changes)


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


def default_config(model: IGNConfig, **changes: Any) -> AdversarialConfig:
    """The settings for a network; ``changes`` are fields of ``AdversarialConfig``."""
    config = AdversarialConfig(critic_widths=model.widths)
    if model.channels > 1:
        config = replace(config, damage=COLOUR_DAMAGE)
    if len(model.widths) > 2:
        config = replace(
            config, critic_widths=(*model.widths, 512), gamma=2.0, penalty_every=8,
            lambdas=AdversarialLambdas(restore=25.0),
        )  # fmt: skip
    if changes.get("critic_every") == 0:
        # What repair alone asks for is steady enough for momentum.
        config = replace(config, beta1=0.9)
    return with_settings(config, changes)


def paper_model(image_size: int, channels: int, **changes: Any) -> IGNConfig:
    """The paper's DCGAN for a size: halved (rounding up) to 4 pixels, the code 512 wide.

    Raises ValueError for sizes that don't come to 2 to 4 pixels so.
    """
    widths: list[int] = []
    side = image_size
    while side > 4:
        widths.append(min(512, 64 * 2 ** len(widths)))
        side = (side + 1) // 2
    settings: dict[str, Any] = {
        "widths": tuple(widths), "bottleneck": 512, "dead_zone": 0.0, "rest": 0.0,
        "architecture": "dcgan", "norm": "batch", "source": "published",
    }  # fmt: skip
    return IGNConfig(image_size, channels, **settings | changes)
