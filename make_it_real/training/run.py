"""A training run's folder: what is told, logged and saved while a trainer trains."""

import copy
import json
import os
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event
from typing import Any, TextIO

import torch

import make_it_real
from make_it_real import distributed
from make_it_real.errors import ImageError, RunError, WeightsError
from make_it_real.files import make_folder, write_bytes
from make_it_real.images.encode import encode
from make_it_real.images.framing import Framing, measure
from make_it_real.images.pixels import to_images
from make_it_real.inference.scoring import calibrate
from make_it_real.models.critic import Critic
from make_it_real.models.ign import place
from make_it_real.training import checkpoint, compiling, early_stopping, finetune, losses, recipe
from make_it_real.training.early_stopping import EarlyStopping
from make_it_real.training.events import Ending, Logged, Notice, Pace, Step, Tell, duration, rate
from make_it_real.training.folder import CHECKPOINT, LOG, MODEL, results, sheet_path
from make_it_real.training.samples import sheet
from make_it_real.training.settings import list_nondefault
from make_it_real.training.trainer import Images, Trainer, train
from make_it_real.weights import model_file, pretrained, verify

LOG_EVERY = 25
# What a run will take is measured on so many steps after its first, or on those of 10 seconds.
MEASURED, MEASURED_SECONDS = 8, 10.0


class Run:
    """A run's folder: what is written there while a trainer trains.

    tell: is given what happens. name, licence: for the model's header, as is faces: the images are
    aligned faces. about_images: what the checkpoint is to know of the data set
    (``resume.describe``). stopping: looks at held-out images. The model file is then that of the
    best check, and several checks in a row without a better one end the training. anew: replace
    what an earlier run left.
    """

    def __init__(
        self,
        folder: Path,
        trainer: Trainer[Any],
        images: Images,
        tell: Tell,
        *,
        name: str = "",
        licence: str = "",
        faces: bool = False,
        about_images: Mapping[str, Any] | None = None,
        stopping: EarlyStopping | None = None,
        anew: bool = False,
    ) -> None:
        self.folder, self.trainer, self.images, self.tell = folder, trainer, images, tell
        # Once: recipes are files, and each step tells how many there are.
        self.stages = recipe.stages(trainer.config)
        self.name, self.licence = name or folder.resolve().name, licence
        self.stopping, self.anew = stopping, anew
        self.about_images = {**(about_images or {}), "faces": faces}
        self.ending: Ending = "steps"
        self.framing = Framing(faces=faces)
        if not faces and trainer.objective.f.config.image_size:
            self.framing = measure(to_images(images.pixels[:10_000]))
        self.warned = self.estimated = False

    def follow(self, stop: Event, save_every: float, limit: float | None = None) -> bool:
        """Train, log and save every ``save_every`` seconds. True where ``stop`` ended it.

        limit: seconds of this call after which training ends, as it does after its last step.
        Of several processes the first alone writes; they stop together. ``ending`` then says why.
        Raises RunError where something can't be written.
        """
        with self._writing():
            self._follow(stop, save_every, limit)
        return stop.is_set()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn what is raised where the folder can't be written to into one line."""
        try:
            yield
        except (OSError, ImageError, WeightsError) as error:
            reason = error.strerror or error if isinstance(error, OSError) else error
            on = "nothing was saved yet"
            if (self.folder / CHECKPOINT).exists():
                on = "--resume goes on from what was saved last"
            raise RunError(f"step {self.step:,} can't be saved: {reason}; {on}") from error

    def _follow(self, stop: Event, save_every: float, limit: float | None) -> None:
        leads = distributed.rank() == 0
        until = None if limit is None else time.monotonic() + limit
        self.folder.mkdir(parents=True, exist_ok=True)
        log_file = self.folder / LOG if leads else Path(os.devnull)
        with log_file.open("w" if self.anew else "a", encoding="utf-8") as log:
            while self._follow_stage(log, stop, save_every, until) and self._go_on():
                pass
        if stop.is_set():
            self.ending = "interrupted"
        if leads:
            self.save(calibrated=not stop.is_set())

    def _follow_stage(
        self, log: TextIO, stop: Event, save_every: float, until: float | None
    ) -> bool:
        """Train the stage at hand. True where it ended with its last step."""
        trainer, recent = self.trainer, deque[losses.Terms](maxlen=LOG_EVERY)
        leads, compiled = distributed.rank() == 0, bool(trainer.objective.compiled)
        saved = since = time.monotonic()
        pace: Pace | None = None
        trial = compiling.Trial(trainer) if compiling.tries(trainer) else None
        for terms in train(trainer, self.images):
            recent.append(terms)
            self.tell(Step(self.step, self.steps, trainer.config.batch, terms))
            pace = self._measure(pace, terms, until)
            if compiled and trainer.compile_error:
                compiled = False
                self.tell(Notice(f"not compiled: {trainer.compile_error}"))
            if trial and (said := trial.after_step()):
                self.tell(Notice(said))
                compiled = bool(trainer.objective.compiled)
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
            if done:
                self.ending = "held-out"
            elif until is not None and time.monotonic() >= until:
                self.ending, done = "minutes", True
            if distributed.agreed(stop.is_set() or done):
                return False
        return True

    def _measure(self, pace: Pace | None, terms: losses.Terms, until: float | None) -> Pace | None:
        """Time the first steps, and then tell once how long all will take."""
        if self.estimated:
            return None
        # A GPU is waited for: it must have done what is timed.
        float(next(iter(terms.values())))
        if pace is None:
            # The first step is not timed: much is set up in it.
            return Pace(self.step)
        pace.add(self.step)
        (start, first), (end, last) = pace.marks[0], pace.marks[-1]
        if last - first == MEASURED or end - start > MEASURED_SECONDS:
            self.estimated = True
            left = None if until is None else until - time.monotonic()
            self.tell(Notice(self._estimate((end - start) / (last - first), left)))
        return pace

    def _estimate(self, seconds: float, limit: float | None) -> str:
        """How long the steps that are left will take, at so many seconds each."""
        left, speed = self.steps - self.step, rate(self.trainer.config.batch / seconds)
        if limit is not None and limit < left * seconds:
            reached = f"{self.step + round(limit / seconds):,} of {self.steps:,} steps"
            return f"about {reached} in {duration(limit)} at about {speed} (--minutes)"
        hint = "" if limit is not None or left * seconds < 60 else "; --minutes ends it sooner"
        return f"{left:,} steps at about {speed}: {duration(left * seconds)}{hint}"

    def _go_on(self) -> bool:
        """Begin the next stage from what this one made. False where there is none."""
        number = self.trainer.config.stage + 1
        if number == len(self.stages):
            return False
        following = self.stages[number]
        self.trainer = finetune.next_stage(self.trainer, following)
        distributed.same(self.trainer.objective.state_dict().values())
        self.tell(Notice(
            f"stage {number + 1} of {len(self.stages)}: "
            f"{following.steps:,} steps, {following.title}"
        ))  # fmt: skip
        return True

    @property
    def step(self) -> int:
        """How many steps are done, those of earlier stages included."""
        earlier = self.stages[: self.trainer.config.stage]
        return self.trainer.step + sum(stage.steps for stage in earlier)

    @property
    def steps(self) -> int:
        """How many steps all stages have."""
        return sum(stage.steps for stage in self.stages)

    def _line(self, recent: Sequence[losses.Terms]) -> dict[str, float]:
        """A line of the log: each term averaged over the steps that had it, and all processes."""
        mean = losses.mean(recent)
        values = distributed.add_up(torch.stack(list(mean.values()))) / distributed.size()
        terms = zip(mean, values.tolist(), strict=True)
        line = {"step": self.step, "lr": self.trainer.lr}
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
        checkpoint.save(trainer, self.folder / CHECKPOINT, self.about_images)
        if self.anew:
            # What an earlier run left would be taken for this one's.
            for path in results(self.folder):
                if path.name != MODEL:
                    path.unlink()
            self.anew = False
        if isinstance(critic := dict(trainer.objective.named_children()).get("C"), Critic):
            checkpoint.save_critic(critic, model_file.critic_path(self.folder / MODEL))
        if self.stopping is None or self.stopping.best == float("inf"):
            self._save_model()
        if calibrated:
            self._calibrate()
        path = sheet_path(self.folder, self.step)
        make_folder(path.parent)
        write_bytes(path, encode(sheet(trainer.objective, self.images.pixels)), overwrite=True)
        self.tell(Notice(f"step {self.step}: saved in {self.folder}", "detail"))

    def _calibrate(self) -> None:
        """Calibrate the model's file, the best one's, with the training images."""
        path = self.folder / MODEL
        f = place(pretrained.load(path), self.trainer.device)
        info = replace(model_file.inspect(path), calibration=calibrate(f, self.images.pixels))
        verify.save(f, info, path)

    def _save_model(self, **figures: Any) -> None:
        trainer = self.trainer
        # A copy, so that a network in training keeps its mode and statistics.
        f = copy.deepcopy(trainer.objective.shipped).eval()
        nondefault = list_nondefault(trainer.config, f.config)
        info = model_file.ModelInfo(
            name=self.name,
            config=asdict(f.config),
            framing=asdict(self.framing),
            data=f"{self.images.name}, {len(self.images):,} images",
            objective=trainer.config.title,
            steps=self.step,
            version=make_it_real.__version__,
            licence=self.licence,
            training=asdict(trainer.config) | {"nondefault": nondefault},
            figures=figures,
        )
        verify.save(f, info, self.folder / MODEL)
