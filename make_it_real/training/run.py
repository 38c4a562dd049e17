"""A training run's folder: what mir train shows, logs and saves while a trainer trains."""

import copy
import json
import os
import signal
import time
from collections import deque
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from make_it_real._version import __version__
from make_it_real.cli import console
from make_it_real.files import make_folder, write_bytes
from make_it_real.weights import model_file

if TYPE_CHECKING:
    import torch

    from make_it_real.data.dataset import ImageSet
    from make_it_real.models.ign import IGN
    from make_it_real.training.config import Step
    from make_it_real.training.early_stopping import Watch
    from make_it_real.training.trainer import BaseTrainer


CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.safetensors"
LOG = "log.jsonl"
LOG_EVERY = 25
CHECK_EVERY = 200
PATIENCE = 10
COMPILED_FROM = 64


class Run:
    """A run's folder: what is written there while a trainer trains.

    watch: looks at held-out images every ``CHECK_EVERY`` steps. The model file is then that of
    the best check, and ``PATIENCE`` checks in a row without a better one end the training.
    faces: the images are aligned faces, for the model's header.
    effort: what a step costs and the device can do, if that was measured.
    """

    def __init__(
        self,
        folder: Path,
        trainer: "BaseTrainer",
        images: "ImageSet",
        name: str,
        licence: str,
        watch: "Watch | None" = None,
        effort: "Effort | None" = None,
        *,
        faces: bool = False,
    ) -> None:
        from make_it_real.images.framing import Framing, measure
        from make_it_real.images.pixels import to_images

        self.folder, self.trainer, self.images = folder, trainer, images
        self.name, self.licence = name, licence
        self.framing = Framing(faces=True)
        if not faces:
            self.framing = measure(to_images(images.pixels[:10_000]))
        self.stopped, self.watch, self.warned = False, watch, False
        self.effort, self.told = effort, False

    def follow(self, save_every: float, limit: float | None = None) -> bool:
        """Train, show, log and save every ``save_every`` seconds. True where it was stopped.

        limit: seconds of this call after which training ends, as it does after its last step.
        Of several processes the first alone writes; they stop together.
        """
        from make_it_real import distributed
        from make_it_real.training.trainer import train as steps

        before = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)}
        trainer, recent = self.trainer, deque["Step[Any]"](maxlen=LOG_EVERY)
        began = saved = since = time.monotonic()
        leads = distributed.rank() == 0
        log_file = self.folder / LOG if leads else Path(os.devnull)
        try:
            with (
                console.training_bar(trainer.config.steps) as show,
                log_file.open("a", encoding="utf-8") as log,
            ):
                for step in steps(trainer, self.images):
                    recent.append(step)
                    if step.number % LOG_EVERY == 0:
                        # Only here is a GPU waited for: until then it is ahead of this loop.
                        line = _mean(recent)
                        now = time.monotonic()
                        line |= self._speed(len(recent) / (now - since))
                        since = now
                        log.write(json.dumps(line) + "\n")
                        log.flush()
                        show(line)
                    done = step.number % CHECK_EVERY == 0 and leads and self._check()
                    if leads and time.monotonic() - saved > save_every:
                        self.save()
                        saved = time.monotonic()
                    done = done or (limit is not None and time.monotonic() - began >= limit)
                    if distributed.agreed(self.stopped or done):
                        break
            if leads:
                self.save(calibrate=not self.stopped)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.stopped

    def _speed(self, steps_per_second: float) -> dict[str, float]:
        """Images a second, and which share of the device's peak that is, for the log."""
        rate = steps_per_second * self.trainer.config.batch
        line = {"images_per_second": round(rate, 1)}
        if effort := self.effort:
            line["mfu"] = round(effort.flops * steps_per_second / effort.peak, 4)
            if not self.told:
                console.detail(f"{rate:.0f} images/s, {line['mfu']:.1%} of that")
                self.told = True
        return line

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Finish the step in hand: a half-applied one would not be worth saving."""
        self.stopped = True

    def _check(self) -> bool:
        """Look at held-out images, if that is asked for. True where training should end."""
        watch, trainer = self.watch, self.trainer
        if watch is None:
            return False
        from make_it_real.training.early_stopping import COPY_ALARM, COPY_SHARE

        made = watch.images(trainer.shipped)
        distance, copied = watch.distance(made), watch.copied(made)
        console.detail(
            f"step {trainer.step}: held-out distance {distance:.3f}, copies {copied:.1%}"
        )
        if copied > COPY_ALARM and not self.warned:
            self.warned = True
            console.complain(
                f"{copied:.0%} of what f makes are nearly training images ({COPY_SHARE:.0%} of "
                "held-out ones are): it learns them by heart; more images or fewer steps help"
            )
        if watch.improved(distance):
            self._save_model(held_out_distance=round(distance, 6), copied=round(copied, 6))
        elif watch.stale >= PATIENCE:
            console.say(
                f"stopped at step {trainer.step}: no lower held-out distance than {watch.best:.3f} "
                f"in {PATIENCE * CHECK_EVERY:,} steps; the model is the one that had it"
            )
            return True
        return False

    def save(self, *, calibrate: bool = False) -> None:
        """Write checkpoint, critic, model and sample grid, each whole or not at all.

        calibrate: at the end of training, measure what ``mir score`` will refer to.
        """
        from make_it_real.models.critic import Critic
        from make_it_real.training import checkpoint

        trainer = self.trainer
        trainer.save(self.folder / CHECKPOINT)
        if isinstance(critic := trainer.nets.get("C"), Critic):
            checkpoint.save_critic(critic, model_file.critic_path(self.folder / MODEL))
        if self.watch is None or self.watch.best == float("inf"):
            self._save_model()
        if calibrate:
            self._calibrate()
        f = copy.deepcopy(trainer.shipped).eval()
        self._samples(f, self.folder / "samples" / f"{trainer.step:06d}.png")

    def _calibrate(self) -> None:
        """Write the drift of the training images into the model's file, the best one's."""
        from make_it_real.inference.scoring import calibrate
        from make_it_real.models.ign import place
        from make_it_real.weights import pretrained, verify

        path = self.folder / MODEL
        f = place(pretrained.load(path), self.trainer.device)
        info = replace(model_file.inspect(path), calibration=calibrate(f, self.images.pixels))
        verify.save(f, info, path)

    def _save_model(self, **figures: Any) -> None:
        from make_it_real.weights import verify

        trainer = self.trainer
        # A copy, so that a network in training keeps its mode and statistics.
        f = copy.deepcopy(trainer.shipped).eval()
        info = model_file.ModelInfo(
            name=self.name,
            config=asdict(trainer.f.config),
            framing=asdict(self.framing),
            data=f"{self.images.name}, {len(self.images):,} images",
            objective=trainer.title,
            steps=trainer.step,
            version=__version__,
            licence=self.licence,
            training=asdict(trainer.config),
            figures=figures,
        )
        verify.save(f, info, self.folder / MODEL)

    def _samples(self, f: "IGN", path: Path) -> None:
        """64 images f(z) of seeds 0–63, above rows of x, A(x) and f(A(x))."""
        import torch

        from make_it_real.images import encode
        from make_it_real.images import pixels as images_pixels
        from make_it_real.images.pixels import grid
        from make_it_real.inference.projection import generate, project

        pixels = self.images.pixels
        x = images_pixels.to_images(pixels[: 16 if len(pixels) >= 16 else len(pixels)]).to(f.device)
        generator = torch.Generator(f.device).manual_seed(0)
        Ax = self.trainer.damaged(x, f.source.sample(len(x), generator), generator)
        rows = [generate(f, range(64)), x, Ax, project(f, Ax)]
        make_folder(path.parent)
        sheet = grid(torch.cat(rows).cpu(), columns=16)
        write_bytes(path, encode.encode(sheet), overwrite=True)


def _mean(steps: "deque[Step[Any]]") -> dict[str, float]:
    """The last step's record with its loss terms averaged over all of them."""
    from make_it_real.training.config import mean

    line = asdict(mean(steps))
    return {k: v if k in ("step", "lr") else round(v, 6) for k, v in line.items()}


@dataclass(frozen=True)
class Effort:
    """flops: operations of a step of this process; peak: what its device does in a second."""

    flops: float
    peak: float


def compiling_pays(device: "torch.device", size: int) -> bool:
    """Whether compiled networks win back what compiling takes: on CUDA, of images (S, S) large
    enough. Smaller ones have the GPU wait for its host either way."""
    return device.type == "cuda" and size >= COMPILED_FROM


def prepare(trainer: "BaseTrainer", images: "ImageSet", compiled: bool | None) -> Effort | None:
    """Compile f where that is asked for, or pays, and measure where someone will look at it.

    compiled: None compiles where ``compiling_pays``, if that works.
    """
    on_gpu = trainer.device.type == "cuda"
    if compiled or (compiled is None and compiling_pays(trainer.device, images.pixels.shape[-1])):
        reason = trainer.compile(images.pixels)
        console.say(
            "f and its critic are compiled" if reason is None else f"not compiled: {reason}"
        )
    if not on_gpu and not console.is_verbose():
        return None

    import torch

    from make_it_real.throughput import matmul_peak

    with trainer.autocast():
        low = torch.is_autocast_enabled(trainer.device.type)
    dtype = torch.bfloat16 if low else torch.float32
    effort = Effort(trainer.step_flops(images.pixels), matmul_peak(trainer.device, dtype))
    console.detail(
        f"a step takes {effort.flops / 1e9:.4g} GFLOP; matrix products reach "
        f"{effort.peak / 1e9:.4g} GFLOP/s in {str(dtype).removeprefix('torch.')} here"
    )
    return effort
