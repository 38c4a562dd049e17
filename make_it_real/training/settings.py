"""Settings as text: read from NAME=VALUE, and which of a config's are not as by default."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, get_args, get_origin, get_type_hints

from make_it_real.models.ign import IGNConfig
from make_it_real.training import recipe
from make_it_real.training.config import (
    CONFIGS,
    AdversarialConfig,
    IGNTrainingConfig,
    TrainingConfig,
    default_config,
    default_model,
    paper_model,
)


def setting_types(objective: str) -> dict[str, Any]:
    """The settings of an objective and their types; λ are ``lambdas.NAME``, norm the network's."""
    config = CONFIGS[objective]
    known = {name: hint for name, hint in get_type_hints(config).items() if name in _names(config)}
    lambdas = known.pop("lambdas")
    known |= {f"lambdas.{field.name}": float for field in fields(lambdas)}
    return known | ({"norm": str} if objective == "ign" else {})


# What a run started from and follows is recorded, not set.
RECORDED = frozenset(("start", "recipe", "stage"))


def _names(config: type[TrainingConfig]) -> list[str]:
    return [field.name for field in fields(config) if field.name not in RECORDED]


def parse_settings(objective: str, texts: Iterable[str]) -> dict[str, Any]:
    """Settings out of NAME=VALUE, typed as the objective has them, for ``with_settings``.

    Raises ValueError for a name that is none, with all that there are, and for a value that is
    of another type.
    """
    known = setting_types(objective)
    settings: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if name not in known:
            raise ValueError(
                f"no setting {name} of the objective {objective}; there are {', '.join(known)}"
            )
        try:
            parsed = _value(value, known[name])
        except (ValueError, KeyError) as error:
            raise ValueError(f"{name}: {value!r} is no value for it") from error
        group, _, term = name.partition(".")
        settings |= {group: settings.get(group, {}) | {term: parsed}} if term else {name: parsed}
    return settings


def _value(text: str, hint: Any) -> Any:
    """A text as a value of an annotated type. Raises ValueError and KeyError."""
    words = {"true": True, "false": False, "none": None}
    if hint is bool:
        return {"true": True, "false": False}[text]
    if type(None) in get_args(hint):
        return words[text]
    if get_origin(hint) is tuple:
        return tuple(_value(part, get_args(hint)[0]) for part in text.split(","))
    if get_origin(hint) is Mapping:
        pairs = [part.partition("=") for part in text.split(",")]
        return {kind: float(weight) if equals else 1.0 for kind, equals, weight in pairs}
    return hint(text)


def list_nondefault(config: TrainingConfig, model: IGNConfig) -> list[str]:
    """The names of the settings that are not as they are by default for such a model, or by the
    recipe that the run follows.

    With them those of the model that a run sets: the source and, of the paper's network, the norm.
    """
    plain: TrainingConfig = IGNTrainingConfig()
    default = paper_model if isinstance(config, IGNTrainingConfig) else default_model
    usual = default(model.image_size, model.channels)
    if config.recipe:
        followed = recipe.load(config.recipe)
        plain, usual = followed.stages[config.stage], followed.model
    elif isinstance(config, AdversarialConfig):
        plain = replace(default_config(model, critic_every=config.critic_every), critic_every=1)
    ours, theirs = asdict(config), asdict(plain)
    lambdas, others = ours.pop("lambdas"), theirs.pop("lambdas")
    names = [name for name in _names(type(config)) if ours.get(name) != theirs.get(name)]
    names += [f"lambdas.{name}" for name in lambdas if lambdas[name] != others[name]]
    return names + [n for n in ("source", "norm") if getattr(model, n) != getattr(usual, n)]
