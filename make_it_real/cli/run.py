"""A training run's folder: what mir train shows, logs and saves while a trainer trains."""

import copy
import json
import signal
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import make_it_real
from make_it_real import weights
from make_it_real.cli import common

if TYPE_CHECKING:
    from make_it_real.data import ImageSet
    from make_it_real.model import IGN
    from make_it_real.trainer import BaseRecord, BaseTrainer

CHECKPOINT = "checkpoint.safetensors"
MODEL = "model.safetensors"
LOG = "log.jsonl"
LOG_EVERY = 25


class Run:
    """A run's folder: what is written there while a trainer trains."""

    def __init__(
        self, folder: Path, trainer: "BaseTrainer", images: "ImageSet", name: str, licence: str
    ) -> None:
        from make_it_real.framing import measure
        from make_it_real.images import to_images

        self.folder, self.trainer, self.images = folder, trainer, images
        self.name, self.licence = name, licence
        self.framing = measure(to_images(images.pixels[:10_000]))
        self.stopped = False

    def follow(self, save_every: float, limit: float | None = None) -> bool:
        """Train, show, log and save every ``save_every`` seconds. True where it was stopped.

        limit: seconds of this call after which training ends, as it does after its last step.
        """
        from make_it_real.trainer import train as steps

        before = {s: signal.signal(s, self._stop) for s in (signal.SIGINT, signal.SIGTERM)}
        trainer, recent = self.trainer, deque["BaseRecord"](maxlen=LOG_EVERY)
        began = saved = since = time.monotonic()
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
                    if self.stopped or (limit is not None and time.monotonic() - began >= limit):
                        break
            self.save(calibrate=not self.stopped)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.stopped

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """Finish the step in hand: a half-applied one would not be worth saving."""
        self.stopped = True

    def save(self, *, calibrate: bool = False) -> None:
        """Write checkpoint, model and sample grid, each whole or not at all.

        calibrate: at the end of training, measure what ``mir score`` will refer to.
        """
        from make_it_real.scoring import calibrate as measured

        trainer = self.trainer
        trainer.save(self.folder / CHECKPOINT)
        # A copy, so that a network in training keeps its mode and statistics.
        f = copy.deepcopy(trainer.shipped).eval()
        info = weights.ModelInfo(
            name=self.name,
            config=asdict(trainer.f.config),
            framing=asdict(self.framing),
            data=f"{self.images.name}, {len(self.images):,} images",
            objective=trainer.title,
            steps=trainer.step,
            version=make_it_real.__version__,
            licence=self.licence,
            training=asdict(trainer.config),
            calibration=measured(f, self.images.pixels) if calibrate else {},
        )
        weights.save(f, info, self.folder / MODEL)
        self._samples(f, self.folder / "samples" / f"{trainer.step:06d}.png")

    def _samples(self, f: "IGN", path: Path) -> None:
        """64 images f(z) of seeds 0–63, above rows of x, A(x) and f(A(x))."""
        import torch

        from make_it_real import images as files
        from make_it_real.projection import generate, project

        pixels = self.images.pixels
        x = files.to_images(pixels[: 16 if len(pixels) >= 16 else len(pixels)]).to(f.device)
        generator = torch.Generator(f.device).manual_seed(0)
        Ax = self.trainer.damaged(x, f.source.sample(len(x), generator), generator)
        rows = [generate(f, range(64)), x, Ax, project(f, Ax)]
        files.make_folder(path.parent)
        sheet = files.grid(torch.cat(rows).cpu(), columns=16)
        files.write_bytes(path, files.encode(sheet), overwrite=True)


def _mean(records: "deque[BaseRecord]") -> dict[str, float]:
    """The last record with its loss terms averaged over all of them."""
    last = asdict(records[-1])
    terms = last.keys() - {"step", "lr"}
    means = {k: round(sum(getattr(r, k) for r in records) / len(records), 6) for k in terms}
    return {k: means.get(k, v) for k, v in last.items()}
