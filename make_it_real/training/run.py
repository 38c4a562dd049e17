"""A training run's folder: how a run begins or goes on, and what is logged and saved in it."""

import copy
import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any, Literal

import torch

import make_it_real
from make_it_real import distributed
from make_it_real.data.dataset import ImageSet, load
from make_it_real.errors import SettingsError
from make_it_real.files import make_folder, write_bytes
from make_it_real.images.encode import encode
from make_it_real.images.framing import Framing, described, measure
from make_it_real.images.pixels import grid, to_images
from make_it_real.inference.projection import generate, project
from make_it_real.inference.scoring import calibrate
from make_it_real.models.critic import Critic
from make_it_real.models.ign import IGN, IGNConfig, place
from make_it_real.training import augment, checkpoint, early_stopping, finetune, losses
from make_it_real.training import config as configs
from make_it_real.training.early_stopping import EarlyStopping
from make_it_real.training.trainer import Trainer, begin, train
from make_it_real.weights import model_file, pretrained, verify

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.safetensors"
LOG = "log.jsonl"
LOG_EVERY = 25
COMPILED_FROM = 64
# What a run that goes on can't change.
KEPT = ("norm", "seed", "start", "hold_out", "critic_widths", "projected")


@dataclass(frozen=True)
class Notice:
    """Something to be told to people: for all, as a warning, or for those who ask for details."""

    text: str
    kind: Literal["message", "warning", "detail"] = "message"


@dataclass(frozen=True)
class Logged:
    """A line of the log."""

    line: dict[str, float]


Tell = Callable[[Notice | Logged], None]


@dataclass(frozen=True)
class Request:
    """What is asked of a run.

    data: paths of images, as one set. start: the model to start from. size, channels: of the
    images, where the files leave them open; source: the kind of z (``source.SOURCES``). settings:
    fields of the objective's config that are not to be as by default, and ``norm`` of the paper's
    network. faces: find faces and align them; None does as the model at hand has it. name,
    licence: for the model's file.
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
    settings: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""
    licence: str = ""
    cached: bool = True


def open_run(request: Request, device: torch.device, tell: Tell) -> "Run":
    """A run, begun or gone on with; its folder is still as it was.

    Raises SettingsError, DataError for images that can't be read, and WeightsError for a
    checkpoint or a model that can't.
    """
    _check(request)
    model = None if request.start is None else model_file.resolve(request.start)
    if request.resume:
        model = request.folder / MODEL
    if request.faces is None and model is not None and model.exists():
        faces = described(model_file.inspect(model).framing).faces
        request = replace(request, faces=faces)
    try:
        if request.resume:
            trainer, images, held_out = _resumed(request, device)
        else:
            trainer, images, held_out = _begun(request, model, device, tell)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{', '.join(map(str, request.data))}: {error}") from error
    distributed.same(trainer.objective.state_dict().values())
    if images.note:
        tell(Notice(images.note))
    for reason in images.skipped[:10]:
        tell(Notice(f"left out: {reason}", "warning"))
    f, shape = trainer.objective.f, "×".join(map(str, images.pixels.shape[1:]))
    tell(Notice(
        f"{len(images):,} images of {shape}, "
        f"f of {sum(p.numel() for p in f.parameters()):,} parameters, on {device}"
    ))  # fmt: skip
    tell(Notice(f"{f.config}", "detail"))
    tell(Notice(f"{trainer.config}", "detail"))
    if trainer.config.compile or (
        trainer.config.compile is None and compiling_pays(device, images.pixels.shape[-1])
    ):
        trainer.objective.compile_networks()
        tell(Notice("f and its critic are compiled in their first steps"))
    stopping = None
    if distributed.rank() == 0 and len(held_out):
        before = model_file.inspect(model).figures if request.resume and model else {}
        best = before.get("held_out_distance", float("inf"))
        stopping = EarlyStopping(images.pixels, held_out, best)
        floor = f"real ones lie {stopping.floor:.3f} from them"
        tell(Notice(f"{len(held_out):,} images held out: {floor}"))
    return Run(request, trainer, images, stopping, tell)


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
    if request.settings.get("critic_every") == 0 and request.start is None:
        raise SettingsError("critic_every is 0 in runs that begin --from a model")


def _resumed(request: Request, device: torch.device) -> tuple[Trainer[Any], ImageSet, torch.Tensor]:
    """(the trainer as it was saved, the images to train on, those held out)."""
    for name in KEPT:
        if name in request.settings:
            raise ValueError(f"{name}: a run keeps what it was begun with")
    trainer = checkpoint.load(request.folder / CHECKPOINT, device, **request.settings)
    model, config = trainer.objective.f.config, trainer.config
    images = _load(request, model.image_size, model.channels)
    if images.pixels.shape[1:] != (model.channels, model.image_size, model.image_size):
        raise ValueError("not the image size that this run was begun with")
    return trainer, *early_stopping.split(images, config.hold_out, config.seed)


def _begun(
    request: Request, start: Path | None, device: torch.device, tell: Tell
) -> tuple[Trainer[Any], ImageSet, torch.Tensor]:
    """(a new trainer, the images to train on, those held out)."""
    size, channels = request.size, request.channels
    if start is not None:
        first = pretrained.load(start).config
        size, channels = size or first.image_size, channels or first.channels
    images, settings = _load(request, size, channels), dict(request.settings)
    shape = images.pixels.shape[-1], images.pixels.shape[1]
    source: dict[str, Any] = {} if request.source is None else {"source": request.source}
    # Of many images this takes half a minute, in which nothing else is to be seen.
    tell(Notice("fitting z to the images"))
    model: IGNConfig
    config: configs.TrainingConfig
    if request.objective == "ign":
        model = configs.paper_model(*shape, norm=settings.pop("norm", "batch"), **source)
        config = configs.changed(configs.IGNTrainingConfig(), settings)
        images, held_out = early_stopping.split(images, config.hold_out, config.seed)
        return begin(checkpoint.build(model, config, device), images), images, held_out
    settings = _against_memorising(len(images), settings, start is not None, tell)
    images, held_out = early_stopping.split(images, settings["hold_out"], settings.get("seed", 0))
    if start is None:
        model = replace(configs.default_model(*shape), **source)
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
    if (fine_tuned and "hold_out" not in settings) or out["hold_out"] is None:
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


def compiling_pays(device: torch.device, size: int) -> bool:
    """Whether compiled networks win back what compiling takes: on CUDA, of images (S, S) large
    enough. Smaller ones have the GPU wait for its host either way."""
    return device.type == "cuda" and size >= COMPILED_FROM


class Run:
    """A run's folder: what is written there while a trainer trains.

    stopping: looks at held-out images. The model file is then that of the best check, and several
    checks in a row without a better one end the training. tell: is given what happens.
    """

    def __init__(
        self,
        request: Request,
        trainer: Trainer[Any],
        images: ImageSet,
        stopping: EarlyStopping | None,
        tell: Tell,
    ) -> None:
        self.folder, self.trainer, self.images = request.folder, trainer, images
        self.name = request.name or request.folder.resolve().name
        self.licence, self.stopping, self.tell = request.licence, stopping, tell
        self.framing = Framing(faces=True)
        if not request.faces:
            self.framing = measure(to_images(images.pixels[:10_000]))
        self.warned = False

    def follow(self, stop: Event, save_every: float, limit: float | None = None) -> bool:
        """Train, log and save every ``save_every`` seconds. True where ``stop`` ended it.

        limit: seconds of this call after which training ends, as it does after its last step.
        Of several processes the first alone writes; they stop together.
        """
        trainer, recent = self.trainer, deque[losses.Terms](maxlen=LOG_EVERY)
        leads, compiled = distributed.rank() == 0, bool(trainer.objective.compiled)
        stopped, began = False, time.monotonic()
        saved = since = began
        self.folder.mkdir(parents=True, exist_ok=True)
        log_file = self.folder / LOG if leads else Path(os.devnull)
        with log_file.open("a", encoding="utf-8") as log:
            for terms in train(trainer, self.images):
                recent.append(terms)
                if compiled and trainer.given_up:
                    compiled = False
                    self.tell(Notice(f"not compiled: {trainer.given_up}"))
                if trainer.step % LOG_EVERY == 0:
                    # Only here is a GPU waited for: until then it is ahead of this loop.
                    line, now = self._line(recent), time.monotonic()
                    rate = len(recent) * trainer.config.batch / (now - since)
                    line, since = line | {"images_per_second": round(rate, 1)}, now
                    print(json.dumps(line), file=log, flush=True)
                    self.tell(Logged(line))
                done = leads and self._over()
                if leads and time.monotonic() - saved > save_every:
                    self.save()
                    saved = time.monotonic()
                done = done or (limit is not None and time.monotonic() - began >= limit)
                stopped = stop.is_set()
                if distributed.agreed(stopped or done):
                    break
        if leads:
            self.save(calibrated=not stopped)
        return stopped

    def _line(self, recent: Sequence[losses.Terms]) -> dict[str, float]:
        """A line of the log: each term averaged over the steps that had it, and all processes."""
        mean = losses.mean(recent)
        values = distributed.add_up(torch.stack(list(mean.values()))) / distributed.size()
        terms = zip(mean, values.tolist(), strict=True)
        line = {"step": self.trainer.step, "lr": self.trainer.lr}
        return line | {name: round(value, 6) for name, value in terms}

    def _over(self) -> bool:
        """Look at held-out images, if it is time. True where training should end."""
        stopping, trainer = self.stopping, self.trainer
        if stopping is None or trainer.step % early_stopping.CHECK_EVERY:
            return False
        check = stopping.check(trainer.objective.shipped)
        step, alarm = trainer.step, early_stopping.COPY_ALARM
        said = f"step {step}: held-out distance {check.distance:.3f}, copies {check.copies:.1%}"
        self.tell(Notice(said, "detail"))
        if check.copies > alarm and not self.warned:
            self.warned = True
            self.tell(Notice(
                f"{check.copies:.0%} of what f makes are nearly training images "
                f"({early_stopping.COPY_SHARE:.0%} of held-out ones are): it learns them by heart; "
                "more images or fewer steps help", "warning"
            ))  # fmt: skip
        if check.best:
            self._save_model(
                held_out_distance=round(check.distance, 6), copied=round(check.copies, 6)
            )
        if stopping.over:
            steps = early_stopping.PATIENCE * early_stopping.CHECK_EVERY
            self.tell(Notice(
                f"stopped at step {step}: no lower held-out distance than {stopping.best:.3f} "
                f"in {steps:,} steps; the model is the one that had it"
            ))  # fmt: skip
        return stopping.over

    def save(self, *, calibrated: bool = False) -> None:
        """Write checkpoint, critic, model and sample grid, each whole or not at all.

        calibrated: at the end of training, measure what ``mir score`` will refer to.
        """
        trainer = self.trainer
        checkpoint.save(trainer, self.folder / CHECKPOINT)
        if isinstance(critic := dict(trainer.objective.named_children()).get("C"), Critic):
            checkpoint.save_critic(critic, model_file.critic_path(self.folder / MODEL))
        if self.stopping is None or self.stopping.best == float("inf"):
            self._save_model()
        if calibrated:
            self._calibrate()
        f = copy.deepcopy(trainer.objective.shipped).eval()
        self._samples(f, self.folder / "samples" / f"{trainer.step:06d}.png")
        self.tell(Notice(f"step {trainer.step}: saved in {self.folder}", "detail"))

    def _calibrate(self) -> None:
        """Write the drift of the training images into the model's file, the best one's."""
        path = self.folder / MODEL
        f = place(pretrained.load(path), self.trainer.device)
        info = replace(model_file.inspect(path), calibration=calibrate(f, self.images.pixels))
        verify.save(f, info, path)

    def _save_model(self, **figures: Any) -> None:
        trainer = self.trainer
        # A copy, so that a network in training keeps its mode and statistics.
        f = copy.deepcopy(trainer.objective.shipped).eval()
        info = model_file.ModelInfo(
            name=self.name,
            config=asdict(f.config),
            framing=asdict(self.framing),
            data=f"{self.images.name}, {len(self.images):,} images",
            objective=trainer.config.title,
            steps=trainer.step,
            version=make_it_real.__version__,
            licence=self.licence,
            training=asdict(trainer.config),
            figures=figures,
        )
        verify.save(f, info, self.folder / MODEL)

    def _samples(self, f: IGN, path: Path) -> None:
        """64 images f(z) of seeds 0–63, above rows of x, A(x) and f(A(x))."""
        x = to_images(self.images.pixels[:16]).to(f.device)
        generator = torch.Generator(f.device).manual_seed(0)
        z = f.source.sample(len(x), generator)
        Ax = self.trainer.objective.degraded(x, z, generator)
        rows = [generate(f, range(64)), x, Ax, project(f, Ax)]
        make_folder(path.parent)
        sheet = grid(torch.cat(rows).cpu(), columns=16)
        write_bytes(path, encode(sheet), overwrite=True)
