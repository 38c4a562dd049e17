"""Recipes of the bundled models: a TOML file each in ``recipes/``, read as settings.

A recipe names its data, its network with the source, and its stages. Each stage is a training
that goes on from the one before. A recipe may name another one as its base, and say only what
differs.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib.resources import files
from typing import Any

from make_it_real.errors import SettingsError, one_line
from make_it_real.models.ign import IGNConfig
from make_it_real.training.config import CONFIGS, AdversarialConfig, TrainingConfig


@dataclass(frozen=True)
class Recipe:
    """One recipe.

    data, licence: description and licence of the images. start: name of the bundled model that it
    starts from, or "". model: the network and its source. stages: settings of each stage, in
    order. first: those settings of the first stage that the file names.
    """

    name: str
    data: str
    licence: str
    start: str
    model: IGNConfig
    stages: tuple[TrainingConfig, ...]
    first: Mapping[str, Any]

    @property
    def needs_features(self) -> bool:
        """Whether a stage needs an ImageNet network's features: the extra ``lite1``."""
        return any(isinstance(s, AdversarialConfig) and s.needs_features for s in self.stages)


def names() -> list[str]:
    """List the names of all recipes, sorted."""
    found = files(__package__).joinpath("recipes").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in found if file.name.endswith(".toml"))


def load(name: str) -> Recipe:
    """Load the recipe of a bundled model. Raises SettingsError for any other name."""
    if name not in names():
        raise SettingsError(f"no recipe {name!r}: there are {', '.join(names())}")
    return parse(name, _read(name))


def _read(name: str) -> dict[str, Any]:
    """Read the fields of a recipe's file. What a recipe with a base leaves out is as there."""
    text = files(__package__).joinpath("recipes", f"{name}.toml").read_text("utf-8")
    own = tomllib.loads(text)
    if "base" not in own:
        return own
    base = _read(own.pop("base"))
    return {**base, **own, "model": {**base["model"], **own.get("model", {})}}


def parse(name: str, fields: Mapping[str, Any]) -> Recipe:
    """Build a recipe from the fields of its file. Raises SettingsError for invalid ones."""
    try:
        stages = [dict(stage) for stage in fields["stages"]]
        return Recipe(
            name=name,
            data=fields["data"],
            licence=fields["licence"],
            start=fields.get("start", ""),
            model=IGNConfig(**fields["model"]),
            stages=tuple(CONFIGS[stage.pop("objective")](**stage) for stage in stages),
            first=stages[0],
        )
    except (LookupError, TypeError, ValueError) as error:
        raise SettingsError(f"the recipe {name}: {one_line(error)}") from error


def begin_with(recipe: Recipe, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run's first stage, with some of them changed."""
    out = {**recipe.first, **changes, "recipe": recipe.name}
    if isinstance(changes.get("lambdas"), Mapping):
        out["lambdas"] = {**recipe.first.get("lambdas", {}), **changes["lambdas"]}
    return out


def stages(config: TrainingConfig) -> list[TrainingConfig]:
    """Return the settings of all stages of the run that a config belongs to.

    Settings that differ from the recipe's in this stage are changed in the other stages too. A
    run that follows no recipe has one stage.
    """
    if not config.recipe:
        return [config]
    own = load(config.recipe).stages
    names = [f.name for f in fields(config) if f.name not in ("recipe", "stage", "start")]
    here = own[config.stage]
    changes = {n: getattr(config, n) for n in names if getattr(config, n) != getattr(here, n)}
    out = []
    for number, stage in enumerate(own):
        known = {f.name for f in fields(stage)}
        changed = {name: value for name, value in changes.items() if name in known}
        out.append(replace(stage, **changed, recipe=config.recipe, stage=number))
    return [*out[: config.stage], config, *out[config.stage + 1 :]]


def choose(image_size: int, channels: int) -> Recipe | None:
    """Find the recipe for images of this size and number of channels that starts from no model.

    Recipes that need an extra are not chosen unasked.
    """
    for name in names():
        recipe = load(name)
        shape = recipe.model.image_size, recipe.model.channels
        if shape == (image_size, channels) and not (recipe.start or recipe.needs_features):
            return recipe
    return None
