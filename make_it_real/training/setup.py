"""How a run begins, anew or from a model, or goes on: what is asked of it, put together."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from make_it_real import distributed
from make_it_real.data import photographs
from make_it_real.data.dataset import ImageSet, load
from make_it_real.data.image_folder import list_sides
from make_it_real.data.photographs import PhotographSet
from make_it_real.errors import SettingsError
from make_it_real.images.framing import described
from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.training import checkpoint, early_stopping, finetune, networks, recipe, resume
from make_it_real.training import config as configs
from make_it_real.training.config import PhotographConfig
from make_it_real.training.early_stopping import EarlyStopping
from make_it_real.training.events import Notice, Tell
from make_it_real.training.folder import CHECKPOINT, MODEL
from make_it_real.training.request import (
    Request,
    check,
    check_photographs,
    follow_recipe,
    read_settings,
)
from make_it_real.training.run import Run
from make_it_real.training.trainer import Images, Trainer, begin
from make_it_real.weights import model_file, pretrained

# Where all images have one side, up to this many pixels, they are trained on as they are.
OWN_SIDE = 128


class _Parts(NamedTuple):
    """What a run is put together of: the images to train on, those held out, what tells the set."""

    trainer: Trainer[Any]
    images: Images
    held_out: torch.Tensor
    about: dict[str, Any]


def open_run(request: Request, device: torch.device, tell: Tell) -> Run:
    """A run, begun or gone on with; its folder is still as it was.

    Raises SettingsError, DataError for images that can't be read or are all alike, and
    WeightsError for a checkpoint or a model that can't be read.
    """
    check(request)
    if request.recipe:
        request = follow_recipe(request, recipe.load(request.recipe))
    saved = checkpoint.inspect(request.folder / CHECKPOINT) if request.resume else None
    model = None if request.start is None else model_file.resolve(request.start)
    if request.resume and (request.folder / MODEL).exists():
        model = request.folder / MODEL
    before = None if model is None else model_file.inspect(model)
    objective = _objective(request, saved, before)
    settings = read_settings(request, objective, saved)
    if objective == PhotographConfig.objective:
        check_photographs(request)
    if request.faces is None:
        faces = None if before is None else described(before.framing).faces
        request = replace(request, faces=saved.images.get("faces", faces) if saved else faces)
    try:
        if saved is not None:
            parts = _resumed(request, saved, settings, device, tell)
        else:
            begun = _begun
            if objective == PhotographConfig.objective:
                begun = _begun_photographs
            parts = begun(request, settings, model, device, tell)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{', '.join(map(str, request.data))}: {error}") from error
    trainer, images = parts.trainer, parts.images
    distributed.same(trainer.objective.state_dict().values())
    _introduce(trainer, images, tell)
    if trainer.config.compile:
        trainer.objective.compile_networks()
        critic = "C" in trainer.optimizers
        what = "f and its critic are compiled in their" if critic else "f is compiled in its"
        tell(Notice(f"{what} first steps"))
    own = before if saved is not None else None
    return Run(
        request.folder, trainer, images, tell, name=request.name or (own.name if own else ""),
        licence=request.licence or (own.licence if own else ""), faces=bool(request.faces),
        about_images=parts.about, stopping=_stopping(parts, own, tell), anew=request.overwrite,
    )  # fmt: skip


def _objective(
    request: Request, saved: checkpoint.Saved | None, before: model_file.ModelInfo | None
) -> str:
    """The objective of a run: the one that it has, the one asked for, or the model's."""
    if saved is not None:
        return saved.config.objective
    asked = request.objective
    if before is not None and before.repairs:
        if asked not in (None, PhotographConfig.objective):
            raise SettingsError(
                f"--from: {before.name} repairs photographs, without z: leave out --objective "
                f"{asked}"
            )
        return PhotographConfig.objective
    return asked or "adversarial"


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


def _introduce(trainer: Trainer[Any], images: Images, tell: Tell) -> None:
    """Tell what is trained, on what."""
    if images.note:
        tell(Notice(images.note))
    for reason in images.skipped[:10]:
        tell(Notice(f"left out: {reason}", "warning"))
    f, shape = trainer.objective.f, "×".join(map(str, images.pixels.shape[1:]))
    what = f"images of {shape}"
    if isinstance(trainer.config, PhotographConfig):
        what = f"photographs in crops of {trainer.config.crop}×{trainer.config.crop}"
        if trainer.config.alone == "tone":
            what = "whole photographs"
    tell(Notice(
        f"{len(images):,} {what}, "
        f"f of {sum(p.numel() for p in f.parameters()):,} parameters, on {trainer.device}"
    ))  # fmt: skip
    tell(Notice(f"{f.config}", "detail"))
    tell(Notice(f"{trainer.config}", "detail"))


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
    if isinstance(config, PhotographConfig):
        request = replace(request, size=resume.kept(saved)["size"])
        photos = _load_photographs(request, config)
        if note := resume.check_images(saved, photos, request.new_data):
            tell(Notice(note))
        return _Parts(trainer, photos, photos.pixels[:0], _describe(request, photos))
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
        model = networks.paper_model(*shape, norm=settings.pop("norm", "batch"), **source)
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
        model = chosen.model if chosen else networks.default_model(*shape)
        model = replace(model, **source)
        config = configs.default_config(model, **settings)
        trainer = begin(checkpoint.build(model, config, device), images)
    else:
        trainer, notes = finetune.begin_from(start, images, device, request.source, **settings)
        for note in notes:
            tell(Notice(note))
    return _Parts(trainer, images, held_out, about)


def _begun_photographs(
    request: Request,
    settings: dict[str, Any],
    start: Path | None,
    device: torch.device,
    tell: Tell,
) -> _Parts:
    """A run with a new trainer, on photographs of any size."""
    chosen = recipe.load(request.recipe) if request.recipe else None
    if start is None:
        chosen = chosen or recipe.choose(0, 3)
    if chosen is not None:
        settings = recipe.begin_with(chosen, settings)
    model = (chosen or recipe.load("photos")).model
    old: IGN | None = None
    if start is not None:
        old = pretrained.load(start)
        model = old.config
        if model.image_size:
            raise ValueError("--from: a model of one size, not one for photographs of any size")
        settings["start"] = finetune.origin(start)
        tell(Notice(f"f starts from {settings['start']}…"))
    config = configs.with_settings(PhotographConfig(), settings)
    images = _load_photographs(request, config)
    trainer = Trainer(checkpoint.build(model, config, device))
    if old is not None:
        for net in trainer.objective.children():
            net.load_state_dict(old.state_dict())
    return _Parts(trainer, images, images.pixels[:0], _describe(request, images))


def _load_photographs(request: Request, config: PhotographConfig) -> PhotographSet:
    """Load those that are large enough for the crops of every stage."""
    stages = [stage for stage in recipe.stages(config) if isinstance(stage, PhotographConfig)]
    least = max(stage.drawn_side for stage in stages)
    return photographs.load(request.data, side=request.size, least=least, cached=request.cached)


def _describe(request: Request, images: PhotographSet) -> dict[str, Any]:
    """What tells a set of photographs from others, and the side that they were reduced to."""
    return {**resume.describe(images), "side": request.size or photographs.SIDE}


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
