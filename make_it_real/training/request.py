"""What is asked of a run, and what of it is refused."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from make_it_real.errors import SettingsError
from make_it_real.training import checkpoint, recipe, resume
from make_it_real.training.config import AdversarialConfig, PhotographConfig, TrainingConfig
from make_it_real.training.folder import CHECKPOINT, check_empty
from make_it_real.training.settings import parse_settings


@dataclass(frozen=True)
class Request:
    """What is asked of a run.

    data: paths of images, as one set. start: the model to start from. size, channels: of the
    images, where the files leave them open; of photographs the shorter side that larger ones are
    reduced to. overwrite: begin anew where there is a model or a run. new_data: go on with other
    images than the run was begun on. faces: find faces and align them; None does as the model at
    hand has it. source: the kind of z (``source.SOURCES``). recipe: the name of a recipe to follow;
    None takes the one for such images, if there is one. settings: NAME=VALUE of the objective's
    config (``settings.parse_settings``), for every stage. name, licence: for the model's file.
    """

    folder: Path
    data: Sequence[Path]
    objective: str | None = None
    start: str | None = None
    resume: bool = False
    overwrite: bool = False
    new_data: bool = False
    size: int | None = None
    channels: int | None = None
    faces: bool | None = None
    source: str | None = None
    recipe: str | None = None
    settings: Sequence[str] = ()
    name: str = ""
    licence: str = ""
    cached: bool = True


def check(request: Request) -> None:
    """Refuse what can't be begun or gone on with; SettingsError."""
    resumed = request.resume
    if resumed and request.overwrite:
        raise SettingsError("--resume goes on with a run and --overwrite begins anew: give one")
    if request.new_data and not resumed:
        raise SettingsError("--new-data goes with --resume")
    if resumed and not (request.folder / CHECKPOINT).exists():
        raise SettingsError(f"{request.folder / CHECKPOINT} is not there to resume from")
    if not resumed and not request.overwrite:
        check_empty(request.folder)
    if request.start is not None and (resumed or request.objective == "ign"):
        raise SettingsError("--from begins a run of --objective adversarial or photographs")
    if request.recipe and (
        resumed or request.start or request.objective not in (None, "adversarial")
    ):
        raise SettingsError("--recipe begins a run by itself: leave --from and --objective out")


def check_photographs(request: Request) -> None:
    """Refuse what a run on photographs of any size has no use for; SettingsError."""
    if request.faces:
        raise SettingsError("--faces: photographs are trained on as they are")
    if request.source is not None:
        raise SettingsError("--source: the restorer of photographs has no z")
    if request.channels not in (None, 3):
        raise SettingsError("--channels: photographs have 3, grey ones three equal ones")


def follow_recipe(request: Request, chosen: recipe.Recipe) -> Request:
    """The request with what a recipe says of objective, images and the model to start from."""
    model, licence = chosen.model, request.licence or chosen.licence
    objective = chosen.stages[0].objective
    if isinstance(chosen.stages[0], PhotographConfig):
        return replace(request, objective=objective, licence=licence)
    if (request.size or model.image_size, request.channels or model.channels) != (
        model.image_size, model.channels,
    ):  # fmt: skip
        raise SettingsError(
            f"the recipe {chosen.name} is of {model.image_size}×{model.image_size} images of "
            f"{model.channels} channel(s)"
        )
    return replace(
        request,
        objective=objective,
        size=model.image_size,
        channels=model.channels,
        start=chosen.start or None,
        licence=licence,
    )


def read_settings(
    request: Request, objective: str, saved: checkpoint.Saved | None
) -> dict[str, Any]:
    """The settings that are asked for, without those that a run has already. SettingsError."""
    if saved is not None:
        names = ("objective", "size", "channels", "source", "faces")
        resume.check_kept(saved, {name: getattr(request, name) for name in names})
    try:
        settings = parse_settings(objective, request.settings)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    held = settings.get("held") or settings.get("critic_every") == 0
    if held and request.start is None and not (saved is not None and _is_held(saved.config)):
        raise SettingsError("f(z) is held, by held or critic_every 0, in runs --from a model")
    if settings.get("alone") and request.start is None and saved is None:
        raise SettingsError("a part of f is trained alone in runs that begin --from a model")
    if saved is not None:
        if settings.get("steps", saved.step) < saved.step:
            raise SettingsError(f"steps: the run has done {saved.step:,} already")
        resume.check_kept(saved, settings)
        settings = {name: v for name, v in settings.items() if name not in resume.kept(saved)}
    return settings


def _is_held(config: TrainingConfig) -> bool:
    return isinstance(config, AdversarialConfig) and config.holds
