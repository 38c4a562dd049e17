"""A worker of folder jobs: takes a batch of files all the way, read, fit, f^k, write.

One bad file costs one line of the report and nothing else.
"""

import os
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import Any, cast

import torch
from torch import Tensor

from make_it_real import files
from make_it_real.errors import NoFaceError
from make_it_real.images.decode import Picture, check_size, read, read_bytes
from make_it_real.images.framing import Fitted, fit_all
from make_it_real.images.paste_back import outcome
from make_it_real.images.pixels import mean_abs
from make_it_real.inference import parts, whole
from make_it_real.inference.choice import Auto
from make_it_real.inference.jobs import Job
from make_it_real.inference.projection import LEAST_SIDE, project, project_with_change, weaken
from make_it_real.inference.report import Result, Status
from make_it_real.inference.room import Room, pixels_of
from make_it_real.inference.scoring import percentile
from make_it_real.inference.settings import Model, Settings
from make_it_real.inference.writer import EXISTS, Item, Writer, failure
from make_it_real.models.unet import UNet

# Decoded pictures that wait for f in one worker; at 12 bytes a pixel some 400 MB.
HELD_PIXELS = 32_000_000
# Pictures of any size that one worker may have, in pixels; with their results 1.2 GB.
ROOM = 50_000_000
# Pictures up to this size cost more Python than decoding.
SMALL_PIXELS = 65_536


class Worker:
    """Does batches, from files to files. Several threads use it at once."""

    def __init__(
        self, model: Model | Auto, settings: Settings, turn: AbstractContextManager[Any],
        stop: Event, room: int = ROOM,
    ) -> None:  # fmt: skip
        """room: pixels of pictures of any size that all threads together may have in memory."""
        self.model, self.settings, self.turn, self.stop = model, settings, turn, stop
        self.room = Room(room)
        self.writer = Writer(settings)
        self.closed = False
        self.files, self.small = Lock(), True
        self.swept: set[Path] = set()

    def stopping(self) -> bool:
        return self.closed or self.stop.is_set()

    def do(self, jobs: list[Job]) -> list[Result]:
        """Read, project and write one batch, in parts where its pictures are large."""
        results: list[Result] = []
        waiting = deque(jobs)
        larger = self.settings.scale**2
        pixels = larger * max(map(pixels_of, jobs)) if self.model.any_size else 0
        with self.room.take(pixels):
            while waiting and not self.stopping():
                results += self.flush(self.read_some(waiting))
        return results

    def read_some(self, jobs: deque[Job]) -> list[Item | Result]:
        """Take jobs off the front and read them, up to as many pixels as may wait for f."""
        held: list[Item | Result] = []
        pixels = 0
        with self.files_turn():
            while jobs and pixels < HELD_PIXELS and not self.stopping():
                held.append(item := self.read(jobs.popleft()))
                pixels += item.picture.colour[0].numel() if isinstance(item, Item) else 0
        self.small = pixels <= SMALL_PIXELS * len(held)
        return held

    def files_turn(self) -> AbstractContextManager[Any]:
        """Return the lock for reading and writing.

        With small files nearly all time is spent in Python, which runs one thread at a time: two
        workers would slow each other, and f in a third. Large files are decoded side by side.
        """
        return self.files if self.small else nullcontext()

    def flush(self, held: list[Item | Result]) -> list[Result]:
        """Project and write what was read: results in order, none for what ``stop`` left out."""
        # Pictures at their own size go through f alone, others with those of the same model.
        groups: dict[int, list[Item]] = {}
        for item in held:
            if isinstance(item, Item):
                key = id(item) if item.model.any_size else id(item.model)
                groups.setdefault(key, []).append(item)
        written: dict[int, list[Result]] = {}
        for items in groups.values():
            if self.stopping() and written:
                break
            if items[0].model.any_size:
                written[id(items[0])] = [self.restore(items[0])]
            else:
                written |= zip(map(id, items), self.project(items), strict=False)
        results = ([one] if isinstance(one, Result) else written.get(id(one), []) for one in held)
        return [result for some in results for result in some]

    def read(self, job: Job) -> Item | Result:
        """Read and fit the picture of a job; a Result where that is all, or fails."""
        start, settings = time.perf_counter(), self.settings
        source, target = str(job.source), str(job.output)
        if not settings.to_stdout:
            if job.output.parent not in self.swept:
                self.swept.add(job.output.parent)
                files.sweep(job.output.parent)
            outputs = settings.variations.outputs(job.source, job.output)
            if not settings.overwrite and all(map(os.path.lexists, outputs)):
                status: Status = "skipped" if job.within else "failed"
                return Result(source, target, status, EXISTS)
        try:
            data = read_bytes(job.source) if job.data is None else job.data
            picture = read(data, max_pixels=settings.max_pixels)
            model, why = self.model(picture) if isinstance(self.model, Auto) else (self.model, "")
            fitted, reason, notes = self.fit(picture, model)
        except Exception as error:
            return Result(source, target, "failed", failure(error))
        cautions = picture.warnings + (fitted[0].warnings if fitted else ())
        restore = model.any_size or settings.restore_size
        if restore is None:
            larger = max(picture.colour.shape[1:]) > model.f.config.image_size
            drawn = bool(fitted) and fitted[0].drawn
            restore = larger and model.framing.background is None and not drawn
        if settings.to_stdout and not restore and len(fitted) > 1:
            cautions += (f"stdout takes one image, so of {len(fitted)} faces only the largest",)
            fitted = fitted[:1]
        seconds = time.perf_counter() - start
        return Item(
            job, data, picture, model, why, fitted, restore, reason, cautions, notes, seconds
        )

    def fit(
        self, picture: Picture, model: Model
    ) -> tuple[tuple[Fitted, ...], str, tuple[str, ...]]:
        """Fit a picture: (the images for f, why f has nothing to do, other notes)."""
        settings, config = self.settings, model.f.config
        if model.any_size:
            height, width = picture.colour.shape[1:]
            small = min(height, width) < LEAST_SIDE
            check_size(settings.scale * width, settings.scale * height, settings.max_pixels)
            return (), f"a side has less than {LEAST_SIDE} pixels" * small, picture.notes
        try:
            fitted = fit_all(
                picture,
                config.image_size,
                config.channels,
                model.framing,
                how=settings.how,
                invert=settings.invert,
            )
        except NoFaceError as error:
            if settings.how == "faces":
                raise
            others = f"0 of {error.others} faces: too small, turned away or none"
            return (), str(error), (*picture.notes, others) if error.others else picture.notes
        return fitted, "", tuple(dict.fromkeys(note for one in fitted for note in one.done))

    def restore(self, item: Item) -> Result:
        """Apply an f of any size to a picture as it is, and write it."""
        start, settings, job = time.perf_counter(), self.settings, item.job
        result = Result(
            str(job.source), str(job.output), "changed", item.reason,
            warnings=item.warnings, done=item.notes, model=item.model.name, why=item.why,
        )  # fmt: skip
        done = None
        try:
            if item.reason:
                done = whole.Restored(outcome(item.picture, (), restore=True), 0.0)
            else:
                f = cast(UNet, item.model.f)
                with self.turn:
                    done = whole.restore(
                        f, item.picture, settings.steps,
                        strength=settings.strength, tile=settings.tile, scale=settings.scale,
                    )  # fmt: skip
                if settings.scale > 1:
                    result = replace(result, done=(*item.notes, f"enlarged {settings.scale} times"))
        except Exception as error:
            result = replace(result, status="failed", reason=failure(error))
        if done:
            if settings.drift:
                result = replace(result, drift_before=done.drift)
            made = done.outcome
            with self.files_turn():
                result = self.writer.write(item, job.output, lambda: made, result)
        return replace(result, seconds=round(item.seconds + time.perf_counter() - start, 6))

    def project(self, items: list[Item]) -> list[list[Result]]:
        """Apply f^k to fitted pictures and write them: Results of each, until ``stop`` is set."""
        start = time.perf_counter()
        model = items[0].model
        channels, size = model.f.config.channels, model.f.config.image_size
        nothing = torch.empty(0, channels, size, size)
        x = torch.cat([nothing, *(one.image[None] for item in items for one in item.fitted)])
        with self.turn:
            y, figures = self.apply(model, x)
        share = (time.perf_counter() - start) / max(1, len(x))
        results: list[list[Result]] = []
        first = 0
        with self.files_turn():
            for item in items:
                if self.stopping() and results:
                    break
                mine = slice(first, first + len(item.fitted))
                some = {name: each[mine] for name, each in figures.items()}
                results.append(parts.write(self.writer, item, y[mine], some, share))
                first = mine.stop
        return results

    def apply(self, model: Model, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Apply f^k to fitted pictures x (N, C, S, S): (y (N, V, C, S, S), figures).

        V: number of variants of each. figures: fields of Result by name, each (N, V).
        """
        settings, figures = self.settings, dict[str, Tensor]()

        def f_of(images: Tensor, steps: int = 1) -> Tensor:
            # A photo of many faces comes to more images than a batch takes.
            return project(model.f, images, steps, batch=settings.batch)

        # The first step tells how real the inputs are; the others follow from its results.
        if model.quantiles:
            fx, r = project_with_change(model.f, x, batch=settings.batch)
            changes = r.abs().mean((1, 2, 3)).tolist()
            ranks = [percentile(model.quantiles, one) for one in changes]
            figures["percentile"] = torch.tensor(ranks, dtype=torch.float64)[:, None]
        else:
            fx = f_of(x)
        if settings.drift:
            figures["drift_before"] = mean_abs(fx.cpu(), x)[:, None]
        if settings.variations.noise:
            y = settings.variations.project(
                model.f, x, settings.steps, batch=settings.batch, strength=settings.strength
            )
        else:
            y = fx if settings.steps == 1 else f_of(fx, settings.steps - 1)
            if settings.strength < 1:
                y = weaken(y, x, settings.strength)
            y = y[:, None]
        if settings.drift:
            flat = y.flatten(0, 1)
            figures["drift_after"] = mean_abs(f_of(flat), flat).view(y.shape[:2]).cpu()
        return y.cpu(), {name: each.expand(y.shape[:2]) for name, each in figures.items()}
