"""How a run begins, anew or from a model, or goes on: what is asked of it, put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from make_it_real import distributed
from make_it_real.data.dataset import ImageSet, load
from make_it_real.errors import SettingsError
from make_it_real.images.framing import described
from make_it_real.models.ign import IGNConfig
from make_it_real.training import augment, checkpoint, early_stopping, finetune, recipe
from make_it_real.training import config as configs
from make_it_real.training.early_stopping import EarlyStopping
from make_it_real.training.run import CHECKPOINT, MODEL, Notice, Run, Tell
from make_it_real.training.settings import parse_settings
from make_it_real.training.trainer import Trainer, begin
from make_it_real.weights import model_file, pretrained

COMPILED_FROM = 64
# What a run that goes on can't change.
KEPT = ("norm", "seed", "hold_out", "critic_widths", "projected")


@dataclass(frozen=True)
class Request:
    """What is asked of a run.

    data: paths of images, as one set. start: the model to start from. size, channels: of the
    images, where the files leave them open. faces: find faces and align them; None does as the
    model at hand has it. source: the kind of z (``source.SOURCES``). recipe: the name of a recipe
    to follow; None takes the one for such images, if there is one. settings: NAME=VALUE of the
    objective's config (``settings.parse_settings``), for every stage. name, licence: for the
    model's file.
    """

    folder: Path
    data: Sequence[Path]
    objective: str = "adversarial"
    start: str | None = None
    resume: bool = False
    size: int | None = None
    channels: int | None = None
    faces: bool | None = None
    source: str | None = None
    recipe: str | None = None
    settings: Sequence[str] = ()
    name: str = ""
    licence: str = ""
    cached: bool = True


def open_run(request: Request, device: torch.device, tell: Tell) -> Run:
    """A run, begun or gone on with; its folder is still as it was.

    Raises SettingsError, DataError for images that can't be read, and WeightsError for a
    checkpoint or a model that can't.
    """
    _check(request)
    if request.recipe:
        request = _of_recipe(request, recipe.load(request.recipe))
    objective = request.objective
    if request.resume:
        objective = checkpoint.objective_of(request.folder / CHECKPOINT)
    try:
        settings = parse_settings(objective, request.settings)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if settings.get("critic_every") == 0 and request.start is None:
        raise SettingsError("critic_every is 0 in runs that begin --from a model")
    model = None if request.start is None else model_file.resolve(request.start)
    if request.resume:
        model = request.folder / MODEL
    if request.faces is None and model is not None and model.exists():
        faces = described(model_file.inspect(model).framing).faces
        request = replace(request, faces=faces)
    try:
        if request.resume:
            trainer, images, held_out = _resumed(request, settings, device)
        else:
            trainer, images, held_out = _begun(request, settings, model, device, tell)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{', '.join(map(str, request.data))}: {error}") from error
    distributed.same(trainer.objective.state_dict().values())
    _introduce(trainer, images, tell)
    if wants_compiling(trainer.config, device, images.pixels.shape[-1]):
        trainer.objective.compile_networks()
        tell(Notice("f and its critic are compiled in their first steps"))
    stopping = None
    if distributed.rank() == 0 and len(held_out):
        before = model_file.inspect(model).figures if request.resume and model else {}
        best = before.get("held_out_distance", float("inf"))
        stopping = EarlyStopping(images.pixels, held_out, best)
        floor = f"real ones lie {stopping.floor:.3f} from them"
        tell(Notice(f"{len(held_out):,} images held out: {floor}"))
    return Run(
        request.folder, trainer, images, tell, name=request.name, licence=request.licence,
        faces=bool(request.faces), stopping=stopping,
    )  # fmt: skip


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
    checkpoint_path = request.folder / CHECKPOINT
    if request.folder.exists() and not request.folder.is_dir():
        raise SettingsError(f"-o {request.folder} is a file; name a folder")
    if request.resume and not checkpoint_path.exists():
        raise SettingsError(f"{checkpoint_path} is not there to resume from")
    if not request.resume and checkpoint_path.exists():
        raise SettingsError(f"{request.folder} holds a run; --resume goes on with it")
    if request.start is not None and (request.resume or request.objective != "adversarial"):
        raise SettingsError("--from begins a run of --objective adversarial")
    if request.recipe and (request.resume or request.start or request.objective != "adversarial"):
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
    request: Request, settings: dict[str, Any], device: torch.device
) -> tuple[Trainer[Any], ImageSet, torch.Tensor]:
    """(the trainer as it was saved, the images to train on, those held out)."""
    for name in KEPT:
        if name in settings:
            raise ValueError(f"{name}: a run keeps what it was begun with")
    trainer = checkpoint.load(request.folder / CHECKPOINT, device, **settings)
    model, config = trainer.objective.f.config, trainer.config
    images = _load(request, model.image_size, model.channels)
    if images.pixels.shape[1:] != (model.channels, model.image_size, model.image_size):
        raise ValueError("not the image size that this run was begun with")
    return trainer, *early_stopping.split(images, config.hold_out, config.seed)


def _begun(
    request: Request,
    settings: dict[str, Any],
    start: Path | None,
    device: torch.device,
    tell: Tell,
) -> tuple[Trainer[Any], ImageSet, torch.Tensor]:
    """(a new trainer, the images to train on, those held out)."""
    size, channels = request.size, request.channels
    if start is not None:
        first = pretrained.load(start).config
        size, channels = size or first.image_size, channels or first.channels
    images = _load(request, size, channels)
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
        return begin(checkpoint.build(model, config, device), images), images, held_out
    chosen = recipe.load(request.recipe) if request.recipe else None
    if chosen is None and start is None:
        chosen = recipe.choose(*shape)
    if chosen is not None:
        settings = recipe.begin_with(chosen, settings)
    settings = _against_memorising(len(images), settings, start is not None, tell)
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
    return trainer, images, held_out


def _load(request: Request, size: int | None, channels: int | None) -> ImageSet:
    return load(
        list(request.data), size=size, channels=channels, faces=bool(request.faces),
        cached=request.cached,
    )  # fmt: skip


def _against_memorising(
    n: int, settings: Mapping[str, Any], fine_tuned: bool, tell: Tell
) -> dict[str, Any]:
    """The settings, with those that keep f from learning n images by heart where they are open."""
    out = {"augment": augment.share_for(n), "hold_out": 0, **settings}
    if fine_tuned and "hold_out" not in settings:
        out["hold_out"] = early_stopping.share_out(n)
        if not out["hold_out"]:
            least = early_stopping.LEAST
            tell(Notice(f"under {least} images none is held out: training runs to its last step"))
    if out["augment"]:
        tell(Notice(
            f"{n:,} images: {out['augment']:.0%} of what the critic sees, real and made alike, "
            "is moved, masked or lit at random (augment)"
        ))  # fmt: skip
    return out


def wants_compiling(config: configs.TrainingConfig, device: torch.device, size: int) -> bool:
    """Whether to compile the networks: as set, else where it wins back what compiling takes.

    That is on CUDA, of images (S, S) large enough: smaller ones have the GPU wait for its host
    either way.
    """
    if config.compile is not None:
        return config.compile
    return device.type == "cuda" and size >= COMPILED_FROM
