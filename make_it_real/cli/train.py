"""mir train: f from a data set of one's own."""

import json
import signal
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

import make_it_real
from make_it_real import weights
from make_it_real.cli import common

if TYPE_CHECKING:
    from make_it_real.data import ImageSet
    from make_it_real.training import Record, Trainer

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.safetensors"
LOG = "log.jsonl"
LOG_EVERY = 25


@common.command
def train(
    data: Annotated[
        Path, typer.Argument(help="A folder or zip of images, or a folder of IDX files.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")],
    steps: Annotated[int, typer.Option("--steps", min=1, help="Optimizer steps in all.")] = 12_000,
    decay_steps: Annotated[
        int, typer.Option("--decay-steps", min=0, help="Last steps, with falling learning rate.")
    ] = 3_000,
    batch: Annotated[int, typer.Option("--batch", min=16, help="Images a step, of 4.")] = 64,
    lr: Annotated[float, typer.Option("--lr", min=0, help="Learning rate of Adam.")] = 2e-4,
    size: Annotated[
        int | None, typer.Option("--size", min=8, help="Side in pixels, for images [64].")
    ] = None,
    channels: Annotated[
        int | None, typer.Option("--channels", min=1, max=3, help="1 or 3, for images [3].")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror images at random.")] = False,
    damage: Annotated[
        str | None,
        typer.Option(
            "--damage", help="Kinds to learn to repair, by commas; twice: twice as often."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of everything random.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    save_every: Annotated[
        float, typer.Option("--save-every", min=0, help="Minutes between checkpoints.")
    ] = 3.0,
    name: Annotated[str | None, typer.Option("--name", help="Of the model [the folder's].")] = None,
    licence: Annotated[str, typer.Option("--licence", help="Of the weights, for their card.")] = "",
    device: common.Device = "auto",
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Train f on images of your own; the run's folder gets model, checkpoint, samples and log.

    Ctrl-C saves and exits with 130; --resume goes on from there. --resume takes a new --steps,
    --decay-steps, --lr and --damage; the rest stays as the run was begun.
    """
    checkpoint = output / CHECKPOINT
    if output.exists() and not output.is_dir():
        raise typer.BadParameter(f"-o {output} is a file; name a folder")
    if resume and not checkpoint.exists():
        raise typer.BadParameter(f"{checkpoint} is not there to resume from")
    if not resume and checkpoint.exists():
        raise typer.BadParameter(f"{output} holds a run; --resume goes on with it")
    if channels == 2:
        raise typer.BadParameter("--channels is 1 or 3")
    if batch % 4:
        raise typer.BadParameter("--batch must be a multiple of 4")

    from make_it_real import devices, training
    from make_it_real.data import load

    chosen = devices.pick(device)
    changes: dict[str, Any] = {"steps": steps, "decay_steps": decay_steps, "lr": lr}
    if damage is not None:
        changes["damage"] = tuple(damage.split(","))
        try:
            training.TrainConfig(damage=changes["damage"])
        except ValueError as error:
            raise typer.BadParameter(f"--damage: {error}") from error
    if resume:
        trainer = training.Trainer.load(checkpoint, chosen, **changes)
        config = trainer.f.config
        images = load(data, size=config.image_size, channels=config.channels)
        if images.pixels.shape[1:] != (config.channels, config.image_size, config.image_size):
            raise typer.BadParameter(f"{data}: not the image size that this run was begun with")
    else:
        images = load(data, size=size, channels=channels)
        try:
            config = training.default_model(images.pixels.shape[-1], images.pixels.shape[1])
        except ValueError as error:
            raise typer.BadParameter(f"{data}: {error}") from error
        wanted = training.default_config(config, batch=batch, flip=flip, seed=seed, **changes)
        trainer = training.begin(images, config, wanted, chosen)
    for reason in images.skipped[:10]:
        common.complain(f"left out: {reason}")
    common.say(
        f"{len(images):,} images of {'×'.join(map(str, images.pixels.shape[1:]))}, "
        f"f of {sum(p.numel() for p in trainer.f.parameters()):,} parameters, on {chosen}"
    )

    common.detail(f"{trainer.f.config}\n{trainer.config}")

    run = Run(output, trainer, images, name or output.resolve().name, licence)
    output.mkdir(parents=True, exist_ok=True)
    if run.follow(save_every * 60):
        common.complain(f"interrupted at step {trainer.step}; --resume goes on from {checkpoint}")
        raise typer.Exit(common.INTERRUPTED)
    print(output / MODEL)


class Run:
    """A run's folder: what is written there while a trainer trains."""

    def __init__(
        self, folder: Path, trainer: "Trainer", images: "ImageSet", name: str, licence: str
    ) -> None:
        from make_it_real.framing import measure
        from make_it_real.images import to_images

        self.folder, self.trainer, self.images = folder, trainer, images
        self.name, self.licence = name, licence
        self.framing = measure(to_images(images.pixels[:10_000]))
        self.stopped = False

    def follow(self, save_every: float) -> bool:
        """Train, show, log and save every ``save_every`` seconds. True where it was stopped."""
        from make_it_real.training import train as steps

        before = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)}
        trainer, recent = self.trainer, deque["Record"](maxlen=LOG_EVERY)
        saved = since = time.monotonic()
        try:
            with (
                common.training_bar(trainer.config.steps) as show,
                (self.folder / LOG).open("a", encoding="utf-8") as log,
            ):
                for record in steps(trainer, self.images):
                    recent.append(record)
                    if record.step % LOG_EVERY == 0:
                        now = time.monotonic()
                        line = _mean(recent) | {"images_per_second": round(
                            len(recent) * trainer.config.batch / (now - since), 1
                        )}  # fmt: skip
                        since = now
                        log.write(json.dumps(line) + "\n")
                        log.flush()
                        show(line)
                    if time.monotonic() - saved > save_every:
                        self.save()
                        saved = time.monotonic()
                    if self.stopped:
                        break
            self.save()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.stopped

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Finish the step in hand: a half-applied one would not be worth saving."""
        self.stopped = True

    def save(self) -> None:
        """Write checkpoint, model and sample grid, each whole or not at all."""
        trainer = self.trainer
        trainer.save(self.folder / CHECKPOINT)
        info = weights.ModelInfo(
            name=self.name,
            config=asdict(trainer.f.config),
            framing=asdict(self.framing),
            data=f"{self.images.name}, {len(self.images):,} images",
            objective="adversarial projector",
            steps=trainer.step,
            version=make_it_real.__version__,
            licence=self.licence,
            training=asdict(trainer.config),
        )
        weights.save(trainer.f_ema, info, self.folder / MODEL)
        self._samples(self.folder / "samples" / f"{trainer.step:06d}.png")

    def _samples(self, path: Path) -> None:
        """64 images f(z) of seeds 0–63, above rows of x, A(x) and f(A(x))."""
        import torch

        from make_it_real import images as files
        from make_it_real.projection import generate, project

        f, pixels = self.trainer.f_ema, self.images.pixels
        x = files.to_images(pixels[: 16 if len(pixels) >= 16 else len(pixels)]).to(f.device)
        generator = torch.Generator(f.device).manual_seed(0)
        Ax = self.trainer.damaged(x, f.source.sample(len(x), generator), generator)
        rows = [generate(f, range(64)), x, Ax, project(f, Ax)]
        files.make_folder(path.parent)
        sheet = files.grid(torch.cat(rows).cpu(), columns=16)
        files.write_bytes(path, files.encode(sheet), overwrite=True)


def _mean(records: "deque[Record]") -> dict[str, float]:
    """The last record with its loss terms averaged over all of them."""
    last = asdict(records[-1])
    terms = last.keys() - {"step", "lr"}
    means = {k: round(sum(getattr(r, k) for r in records) / len(records), 6) for k in terms}
    return {k: means.get(k, v) for k, v in last.items()}
