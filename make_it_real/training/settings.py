"""Settings as text: parse NAME=VALUE, and list those of a config that are not the default."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from typing import Any, get_args, get_origin, get_type_hints

from make_it_real.models.ign import IGNConfig
from make_it_real.training import recipe
from make_it_real.training.config import (
    CONFIGS,
    AdversarialConfig,
    IGNTrainingConfig,
    PhotographConfig,
    TrainingConfig,
    default_config,
)
from make_it_real.training.networks import default_model, paper_model


def setting_types(objective: str) -> dict[str, Any]:
    """Return the types of an objective's settings by name; λ_k is ``lambdas.k``."""
    config = CONFIGS[objective]
    known = {name: hint for name, hint in get_type_hints(config).items() if name in _names(config)}
    lambdas = known.pop("lambdas")
    known |= {f"lambdas.{field.name}": float for field in fields(lambdas)}
    return known | ({"norm": str} if objective == "ign" else {})


# A run records these; they can't be set.
RECORDED = frozenset(("start", "recipe", "stage"))


def _names(config: type[TrainingConfig]) -> list[str]:
    return [field.name for field in fields(config) if field.name not in RECORDED]


def parse_settings(objective: str, texts: Iterable[str]) -> dict[str, Any]:
    """Parse NAME=VALUE into settings of the objective's types, for ``with_settings``.

    Raises ValueError for an unknown name, with the list of known ones, and for a value of another
    type.
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
    """Parse a text as a value of an annotated type. Raises ValueError and KeyError."""
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
    """List the settings that differ from the recipe that the run follows, or from the default.

    The default is that for such a model. The model's source and norm, which a run can set, are
    among the settings.
    """
    plain: TrainingConfig
    if isinstance(config, PhotographConfig):
        plain, usual = PhotographConfig(), recipe.load("photos").model
    elif isinstance(config, IGNTrainingConfig):
        plain, usual = IGNTrainingConfig(), paper_model(model.image_size, model.channels)
    else:
        plain, usual = config, default_model(model.image_size, model.channels)
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
