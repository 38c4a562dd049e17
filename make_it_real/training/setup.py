"""How a run begins, anew or from a model, or goes on: what is asked of it, put together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from make_it_real import distributed
from make_it_real.data.dataset import ImageSet, load
from make_it_real.data.image_folder import list_sides
from make_it_real.errors import SettingsError
from make_it_real.images.framing import described
from make_it_real.models.ign import IGNConfig
from make_it_real.training import checkpoint, early_stopping, finetune, recipe, resume
from make_it_real.training import config as configs
from make_it_real.training.early_stopping import EarlyStopping
from make_it_real.training.events import Notice, Tell
from make_it_real.training.folder import CHECKPOINT, MODEL, check_empty
from make_it_real.training.run import Run
from make_it_real.training.settings import parse_settings
from make_it_real.training.trainer import Trainer, begin
from make_it_real.weights import model_file, pretrained

COMPILED_FROM = 64
# Where all images have one side, up to this many pixels, they are trained on as they are.
OWN_SIDE = 128


@dataclass(frozen=True)
class Request:
    """What is asked of a run.

    data: paths of images, as one set. start: the model to start from. size, channels: of the
    images, where the files leave them open. overwrite: begin anew where there is a model or a run.
    new_data: go on with other images than the run was begun on. faces: find faces and align them;
    None does as the model at hand has it. source: the kind of z (``source.SOURCES``). recipe: the
    name of a recipe to follow; None takes the one for such images, if there is one. settings:
    NAME=VALUE of the objective's config (``settings.parse_settings``), for every stage. name,
    licence: for the model's file.
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


class _Parts(NamedTuple):
    """What a run is put together of: the images to train on, those held out, what tells the set."""

    trainer: Trainer[Any]
    images: ImageSet
    held_out: torch.Tensor
    about: dict[str, Any]


def open_run(request: Request, device: torch.device, tell: Tell) -> Run:
    """A run, begun or gone on with; its folder is still as it was.

    Raises SettingsError, DataError for images that can't be read or are all alike, and
    WeightsError for a checkpoint or a model that can't be read.
    """
    _check(request)
    if request.recipe:
        request = _of_recipe(request, recipe.load(request.recipe))
    saved = checkpoint.inspect(request.folder / CHECKPOINT) if request.resume else None
    settings = _settings(request, saved)
    model = None if request.start is None else model_file.resolve(request.start)
    if request.resume and (request.folder / MODEL).exists():
        model = request.folder / MODEL
    before = None if model is None else model_file.inspect(model)
    if request.faces is None:
        faces = None if before is None else described(before.framing).faces
        request = replace(request, faces=saved.images.get("faces", faces) if saved else faces)
    try:
        if saved is not None:
            parts = _resumed(request, saved, settings, device, tell)
        else:
            parts = _begun(request, settings, model, device, tell)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{', '.join(map(str, request.data))}: {error}") from error
    trainer, images = parts.trainer, parts.images
    distributed.same(trainer.objective.state_dict().values())
    _introduce(trainer, images, tell)
    if wants_compiling(trainer.config, device, images.pixels.shape[-1]):
        trainer.objective.compile_networks()
        tell(Notice("f and its critic are compiled in their first steps"))
    own = before if saved is not None else None
    return Run(
        request.folder, trainer, images, tell, name=request.name or (own.name if own else ""),
        licence=request.licence or (own.licence if own else ""), faces=bool(request.faces),
        about_images=parts.about, stopping=_stopping(parts, own, tell), anew=request.overwrite,
    )  # fmt: skip


def _settings(request: Request, saved: checkpoint.Saved | None) -> dict[str, Any]:
    """The settings that are asked for, without those that a run has already. SettingsError."""
    objective = request.objective or "adversarial"
    if saved is not None:
        names = ("objective", "size", "channels", "source", "faces")
        resume.check_kept(saved, {name: getattr(request, name) for name in names})
        objective = saved.config.objective
    try:
        settings = parse_settings(objective, request.settings)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    repair = saved is not None and getattr(saved.config, "critic_every", None) == 0
    if settings.get("critic_every") == 0 and request.start is None and not repair:
        raise SettingsError("critic_every is 0 in runs that begin --from a model")
    if saved is not None:
        if settings.get("steps", saved.step) < saved.step:
            raise SettingsError(f"steps: the run has done {saved.step:,} already")
        resume.check_kept(saved, settings)
        settings = {name: v for name, v in settings.items() if name not in resume.kept(saved)}
    return settings


def _stopping(
    parts: _Parts, before: model_file.ModelInfo | None, tell: Tell
) -> EarlyStopping | None:
    """What looks at held-out images; ``before``: the model that the run has made so far."""
    if distributed.rank() or not len(parts.held_out):
        return None
    best = before.figures.get("held_out_distance", float("inf")) if before else float("inf")
    stopping = EarlyStopping(parts.images.pixels, parts.held_out, best)
    floor = f"real ones lie {stopping.floor:.3f} from them"
    tell(Notice(f"{len(parts.held_out):,} images held out: {floor}"))
    return stopping


def _introduce(trainer: Trainer[Any], images: ImageSet, tell: Tell) -> None:
    """Tell what is trained, on what."""
    if images.note:
        tell(Notice(images.note))
    for reason in images.skipped[:10]:
        tell(Notice(f"left out: {reason}", "warning"))
    f, shape = trainer.objective.f, "×".join(map(str, images.pixels.shape[1:]))
    tell(Notice(
        f"{len(images):,} images of {shape}, "
        f"f of {sum(p.numel() for p in f.parameters()):,} parameters, on {trainer.device}"
    ))  # fmt: skip
    tell(Notice(f"{f.config}", "detail"))
    tell(Notice(f"{trainer.config}", "detail"))


def _check(request: Request) -> None:
    """Refuse what can't be begun or gone on with; SettingsError."""
    resumed, adversarial = request.resume, request.objective in (None, "adversarial")
    if resumed and request.overwrite:
        raise SettingsError("--resume goes on with a run and --overwrite begins anew: give one")
    if request.new_data and not resumed:
        raise SettingsError("--new-data goes with --resume")
    if resumed and not (request.folder / CHECKPOINT).exists():
        raise SettingsError(f"{request.folder / CHECKPOINT} is not there to resume from")
    if not resumed and not request.overwrite:
        check_empty(request.folder)
    if request.start is not None and (resumed or not adversarial):
        raise SettingsError("--from begins a run of --objective adversarial")
    if request.recipe and (resumed or request.start or not adversarial):
        raise SettingsError("--recipe begins a run by itself: leave --from and --objective out")


def _of_recipe(request: Request, chosen: recipe.Recipe) -> Request:
    """The request with what a recipe says of the images and of the model to start from."""
    model = chosen.model
    if (request.size or model.image_size, request.channels or model.channels) != (
        model.image_size, model.channels,
    ):  # fmt: skip
        raise SettingsError(
            f"the recipe {chosen.name} is of {model.image_size}×{model.image_size} images of "
            f"{model.channels} channel(s)"
        )
    return replace(
        request,
        size=model.image_size,
        channels=model.channels,
        start=chosen.start or None,
        licence=request.licence or chosen.licence,
    )


def _resumed(
    request: Request,
    saved: checkpoint.Saved,
    settings: dict[str, Any],
    device: torch.device,
    tell: Tell,
) -> _Parts:
    """A run with its trainer as it was saved."""
    trainer = checkpoint.load(request.folder / CHECKPOINT, device, **settings)
    model, config = trainer.objective.f.config, trainer.config
    images = _load(request, model.image_size, model.channels)
    if images.pixels.shape[1:] != (model.channels, model.image_size, model.image_size):
        raise ValueError("not the image size that this run was begun with")
    if note := resume.check_images(saved, images, request.new_data):
        tell(Notice(note))
    return _Parts(
        trainer,
        *early_stopping.split(images, config.hold_out, config.seed),
        resume.describe(images),
    )


def _begun(
    request: Request,
    settings: dict[str, Any],
    start: Path | None,
    device: torch.device,
    tell: Tell,
) -> _Parts:
    """A run with a new trainer."""
    size, channels = request.size, request.channels
    if start is not None:
        first = pretrained.load(start).config
        size, channels = size or first.image_size, channels or first.channels
    images = _load(request, size or _own_side(request, tell), channels)
    about = resume.describe(images)
    shape = images.pixels.shape[-1], images.pixels.shape[1]
    source: dict[str, Any] = {} if request.source is None else {"source": request.source}
    # Of many images this takes half a minute, in which nothing else is to be seen.
    tell(Notice("fitting z to the images"))
    model: IGNConfig
    config: configs.TrainingConfig
    if request.objective == "ign":
        model = configs.paper_model(*shape, norm=settings.pop("norm", "batch"), **source)
        config = configs.with_settings(configs.IGNTrainingConfig(), settings)
        images, held_out = early_stopping.split(images, config.hold_out, config.seed)
        trainer = begin(checkpoint.build(model, config, device), images)
        return _Parts(trainer, images, held_out, about)
    chosen = recipe.load(request.recipe) if request.recipe else None
    if chosen is None and start is None:
        chosen = recipe.choose(*shape)
    if chosen is not None:
        settings = recipe.begin_with(chosen, settings)
    settings = early_stopping.against_memorising(len(images), settings, start is not None, tell)
    images, held_out = early_stopping.split(images, settings["hold_out"], settings.get("seed", 0))
    if start is None:
        model = chosen.model if chosen else configs.default_model(*shape)
        model = replace(model, **source)
        config = configs.default_config(model, **settings)
        trainer = begin(checkpoint.build(model, config, device), images)
    else:
        trainer, notes = finetune.begin_from(start, images, device, request.source, **settings)
        for note in notes:
            tell(Notice(note))
    return _Parts(trainer, images, held_out, about)


def _own_side(request: Request, tell: Tell) -> int | None:
    """The side that all images have, or None where the loader chooses; which is told."""
    # Faces are cut out of larger images; IDX files say their own size.
    sides = set() if request.faces else list_sides(request.data)
    if not sides:
        return None
    least, most = min(sides), max(sides)
    if least == most and 8 <= least <= OWN_SIDE:
        side = least - least % 4
        tell(Notice(f"the images have {least} pixels a side: trained at {side}×{side}"))
        return side
    range_ = f"{least} pixels" if least == most else f"{least} to {most} pixels"
    tell(Notice(f"the images have {range_} a side: trained at 64×64; --size sets another"))
    return None


def _load(request: Request, size: int | None, channels: int | None) -> ImageSet:
    return load(
        list(request.data), size=size, channels=channels, faces=bool(request.faces),
        cached=request.cached,
    )  # fmt: skip


def wants_compiling(config: configs.TrainingConfig, device: torch.device, size: int) -> bool:
    """Whether to compile the networks: as set, else where it wins back what compiling takes.

    That is on CUDA, of images (S, S) large enough: smaller ones have the GPU wait for its host
    either way.
    """
    if config.compile is not None:
        return config.compile
    return device.type == "cuda" and size >= COMPILED_FROM
