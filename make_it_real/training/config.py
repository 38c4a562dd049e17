"""The settings of each objective with their defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

from make_it_real.degradations.kinds import (
    COLOUR_DAMAGE,
    GREY_DAMAGE,
    PHOTOGRAPH_DAMAGE,
    check_damage,
    damage_weights,
)
from make_it_real.models.ign import IGNConfig
from make_it_real.models.mixture import SORTS
from make_it_real.training.lambdas import AdversarialLambdas, IGNLambdas, PhotographLambdas
from make_it_real.training.losses import SMOOTH

# Side of JPEG's blocks in pixels, where colour has half the resolution.
JPEG_BLOCK = 16
# Parts of the restorer of photographs that may be trained alone.
PARTS = ("tone", "reader", *SORTS)


@dataclass(frozen=True)
class TrainingConfig:
    """The settings that all objectives share.

    steps: number of optimizer steps. decay_steps: number of last steps over which the learning
    rate falls linearly to zero. warm_up: number of first steps over which it rises. batch: number
    of images x in a step, and of z, over all processes.
    accumulate: number of parts that each process splits its share of the batch into, to save
    memory. flip: whether images are mirrored at random. hold_out: number of images that are not
    trained on, for early stopping. start: the model that f started from, and the beginning of its
    hash. recipe, stage: name of the recipe that a run follows, or "", and number of its stage, from
    0. bf16: whether to compute in bfloat16 where the device is fast at it; weights stay float32.
    compile: whether to compile the networks; None tries it on CUDA, and recorded steps too, and
    goes on in the fastest way (``compiling.Trial``).

    objective: name on the command line and in checkpoints. title: name in weights files. divisor:
    number that each part of a batch must be a multiple of.
    """

    objective: ClassVar[str]
    title: ClassVar[str]
    divisor: ClassVar[int] = 1

    steps: int = 12_000
    decay_steps: int = 3_000
    warm_up: int = 0
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
    """The settings of the adversarial projector.

    damage: weight of each kind of damage that f learns to repair. blend: share of the damaged
        images that are (1 − t)·x + t·z, with t uniform, instead. twice: share that is damaged a
        second time.
    ramp: number of first steps over which the weight of idempotence rises from 0. Without it f
        collapses onto one image.
    gamma: weight of the critic's gradient penalty. penalty_every: number of steps from one penalty
        to the next.
    rest_steps, rest_sigma: f(s + ε) = s is trained on s up to f^(1+rest_steps)(z), with standard
        deviations of ε up to rest_sigma.
    ema: decay of the averaged weights, which are those of the finished model.
    clip: largest norm of f's gradient, to which larger ones are scaled down; 0 for none.
    augment: share of the critic's images, real and generated, that ``augment.py`` changes.
    restored, kept: number of quarters of the batch that are damaged for f to restore, and that f
        should leave unchanged. Larger numbers repair slightly better, but slow down steps, from
        which f(z) gains more.
    critic_every: number of steps from one with critics to the next. Steps between train L_rec and
        L_restore only, on whole batches of damaged images, and are several times cheaper. 0:
        there are no critics, and f(z) is held.
    projected: weight of the projected critic (``projected_critic.py``) on what f makes, where C has
        1; 0 means that there is none.
    held: whether f should go on generating about what it did at the start, as much as λ of hold
        says, while critics judge its repairs and that (``restoration.py``).
    energy: weight of the energy distance (``feature_bank.py``) on what f makes, where C has 1; 0
        means that it is not asked for. It needs ``held``.
    fidelity: weight of L_restore for each kind of damage, 1 for those not named, and for what f is
        held to. A faint blur has one answer, a sketch has many.
    taught: the kinds of damage that f is to repair, while of the others it goes on making what it
        made at the start. None named means all. It needs f(z) to be held.
    faint: of kinds that f is taught, the largest root mean square of the damage, in image units,
        up to which it is: of noise of σ 0.15 there is one right answer, of σ 1 there are many.
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
    clip: float = 0.0
    blend: float = 0.15
    twice: float = 0.25
    damage: Mapping[str, float] = field(default_factory=lambda: dict(GREY_DAMAGE))
    critic_widths: tuple[int, ...] = (64, 128)
    augment: float = 0.0
    restored: int = 2
    kept: int = 1
    critic_every: int = 1
    projected: float = 0.0
    held: bool = False
    energy: float = 0.0
    fidelity: Mapping[str, float] = field(default_factory=dict)
    taught: tuple[str, ...] = ()
    faint: Mapping[str, float] = field(default_factory=dict)
    lambdas: AdversarialLambdas = field(default_factory=AdversarialLambdas)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "damage", damage_weights(self.damage))
        object.__setattr__(self, "critic_widths", tuple(self.critic_widths))
        object.__setattr__(self, "taught", tuple(self.taught))
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
        if not 0 <= self.energy < float("inf"):
            raise ValueError("energy must be at least 0")
        if self.energy and not self.held:
            raise ValueError("energy is of what f is held to make: it needs held")
        if not 0 <= self.clip < float("inf"):
            raise ValueError("clip must be at least 0")
        for kind, weight in self.fidelity.items():
            if kind not in self.damage:
                raise ValueError(f"fidelity is of a kind that is not among the damage: {kind}")
            if not 0 <= weight < float("inf"):
                raise ValueError(f"fidelity of {kind} must be at least 0")
        if unknown := [kind for kind in self.taught if kind not in self.damage]:
            raise ValueError(f"taught is a kind that is not among the damage: {unknown[0]}")
        if self.taught and not self.holds:
            raise ValueError("taught holds f to what it made: it needs held")
        for kind, most in self.faint.items():
            if kind not in self.taught:
                raise ValueError(f"faint is of a kind that is not taught: {kind}")
            if not most > 0:
                raise ValueError(f"faint of {kind} must be over 0")

    @property
    def holds(self) -> bool:
        """Whether f(z) is held at about what it was."""
        return self.held or self.critic_every == 0

    @property
    def needs_features(self) -> bool:
        """Whether P, or at least its backbone, is needed."""
        asked = self.projected or self.energy or self.lambdas.perceptual
        return bool(self.critic_every and asked)


@dataclass(frozen=True)
class IGNTrainingConfig(TrainingConfig):
    """The paper's settings: batches of 256, Adam at 1e-4 with β (0.5, 0.999), no decay.

    clamp, tight_rec: bound of L_tight, as in ``losses.losses_ign``.
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


@dataclass(frozen=True)
class PhotographConfig(TrainingConfig):
    """The settings of the restorer of photographs, which learns on crops.

    crop: side of the crops in pixels. clean: share of the crops that f should leave unchanged.
    graphics: share of the crops on which text and the like is drawn (``data/graphics.py``); where
        the tone is trained, of the clean pictures, and an eighth as often on the others.
    damage: weight of each kind of damage that f learns to repair, levels in ``life.RANGES``. life:
        share of the damaged crops that get several of these, in the order of ``life.LIFE``; where
        noisy, sent or web ones alone are trained, that get marks and the like after the first kind.
        grey: share of the crops that lose their colour first. off_grid: share of the crops that are
        cut out after the damage, so that JPEG's blocks do not begin at their edges.
    flip: whether crops are mirrored and transposed at random. clip: largest norm of f's gradient.
    ema: decay of the averaged weights, which are those of the finished model.
    smooth: ε of the distance of clean crops. Near 0 f leaves them exactly alone, but can't learn
        any more to undo what good pictures have too, such as a mild blur: for the last steps.
    alone: a part of f that alone is trained, all else staying as it is. "tone": on whole pictures
        with damage of its own. "reader": what tells the sorts of pictures. "noisy", "compressed",
        "blurred", "enlarged", "sent" (noisy, then compressed), "web" (blurred or enlarged, then
        compressed): the weights that such pictures get.
    """

    objective: ClassVar[str] = "photographs"
    title: ClassVar[str] = "restoration of photographs"

    steps: int = 40_000
    decay_steps: int = 12_000
    batch: int = 32
    lr: float = 1e-3
    beta1: float = 0.9
    flip: bool = True
    crop: int = 64
    clean: float = 0.11
    graphics: float = 0.1
    life: float = 0.12
    grey: float = 0.05
    off_grid: float = 0.15
    damage: Mapping[str, float] = field(default_factory=lambda: dict(PHOTOGRAPH_DAMAGE))
    warm_up: int = 200
    clip: float = 1.0
    ema: float = 0.999
    smooth: float = SMOOTH
    alone: str = ""
    lambdas: PhotographLambdas = field(default_factory=PhotographLambdas)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "damage", damage_weights(self.damage))
        check_damage(self.damage, 3, any_size=True)
        if isinstance(self.lambdas, dict):
            object.__setattr__(self, "lambdas", PhotographLambdas(**self.lambdas))
        if self.hold_out:
            raise ValueError("hold_out must be 0: nothing is generated that could be compared")
        if self.crop < 16:
            raise ValueError("crop must be at least 16")
        for name in ("clean", "graphics", "life", "grey", "off_grid"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share, from 0 to 1")
        if not (self.clip > 0 and self.smooth > 0):
            raise ValueError("clip and smooth must be over 0")
        if self.alone not in ("", *PARTS):
            raise ValueError(f"alone is {', '.join(PARTS[:-1])} or {PARTS[-1]}, not {self.alone!r}")

    @property
    def drawn_side(self) -> int:
        """Side of the crops that are drawn: those damaged off the grid are cut out of them."""
        return self.crop + JPEG_BLOCK

    def kept(self, n: int) -> int:
        """Count the clean images of n, the first ones: at least one is damaged."""
        return min(round(self.clean * n), n - 1)


CONFIGS: dict[str, type[TrainingConfig]] = {
    config.objective: config for config in (AdversarialConfig, IGNTrainingConfig, PhotographConfig)
}

# Settings of earlier versions, with the values at which they had no effect.
_RETIRED: dict[str, Any] = {
    "laws": [], "law_share": 0.3, "spread": 1.0,
}  # fmt: skip

# Settings that earlier versions did not have, with the values that stand for what they did.
_ADDED: dict[str, Any] = {"graphics": 0.0}


def read_config(objective: str, settings: dict[str, Any]) -> TrainingConfig:
    """Read the config from ``settings``, as ``asdict`` of this or an earlier version gave them.

    Raises ValueError for a setting that was used and no longer exists, TypeError and KeyError
    for other contents.
    """
    known = dict(settings)
    for name, unused in _RETIRED.items():
        if (value := known.pop(name, unused)) != unused and name != "law_share":
            raise ValueError(f"{name} is {value}, which this version no longer trains with")
    config = CONFIGS[objective]
    names = {field.name for field in fields(config)}
    return config(**{name: value for name, value in _ADDED.items() if name in names} | known)


Config = TypeVar("Config", bound=TrainingConfig)


def with_settings(config: Config, changes: Mapping[str, Any]) -> Config:
    """Replace fields of the config; a mapping for ``lambdas`` replaces those that it names.

    Raises ValueError for invalid values and unknown names.
    """
    known = {field.name for field in fields(config)}
    if unknown := sorted(changes.keys() - known):
        raise ValueError(f"no setting {unknown[0]} of the objective {config.objective}")
    if isinstance(lambdas := changes.get("lambdas"), Mapping):
        kept: Any = getattr(config, "lambdas")  # noqa: B009
        changes = {**changes, "lambdas": replace(kept, **lambdas)}
    return replace(config, **changes)


def default_config(model: IGNConfig, **changes: Any) -> AdversarialConfig:
    """Choose the settings for a network. changes: fields of ``AdversarialConfig``."""
    config = AdversarialConfig(critic_widths=model.widths)
    if model.channels > 1:
        config = replace(config, damage=COLOUR_DAMAGE)
    if len(model.widths) > 2:
        config = replace(
            config, critic_widths=(*model.widths, 512), gamma=2.0, penalty_every=8,
            lambdas=AdversarialLambdas(restore=25.0),
        )  # fmt: skip
    if changes.get("critic_every") == 0:
        # Without critics the targets do not change, which allows momentum.
        config = replace(config, beta1=0.9)
    return with_settings(config, changes)
