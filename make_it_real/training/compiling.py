"""How a run's steps are done fastest on a GPU: as they are, compiled, or replayed from recordings.

Each way is timed on some of the first steps, and the fastest goes on.
"""

import time
from collections.abc import Callable
from typing import Any

import torch

from make_it_real import distributed
from make_it_real.training.graphs import Graphs, Recorder
from make_it_real.training.trainer import Trainer

# Steps of each way, in cycles from one gradient penalty to the next: those that are not timed, in
# which memory is set up, networks are compiled and steps are recorded, and those that are.
SETUP_CYCLES, TIMED_CYCLES = 2, 4
# A step is recorded when one like it comes again, which most do within so many cycles.
RECORDED_CYCLES = 12
# Compiling takes a minute or two, which a shorter run does not win back.
LEAST_STEPS = 2000


def tries(trainer: Trainer[Any]) -> bool:
    """Tell whether a run tries this: on CUDA, if nothing is set and enough steps are left."""
    config = trainer.config
    left = config.steps - trainer.step
    return config.compile is None and trainer.device.type == "cuda" and left >= LEAST_STEPS


class Trial:
    """Times some of a trainer's steps as they are, compiled and recorded, and keeps the fastest.

    Recorded are the steps of the faster of the first two ways; of several processes, whose
    gradients are averaged in between, none are. clock: gives the time in seconds once the device
    has done what it was given; None is this machine's. recorder: None records on the GPU.
    """

    def __init__(
        self,
        trainer: Trainer[Any],
        clock: Callable[[], float] | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.cycle = getattr(trainer.config, "penalty_every", 1)
        self.trainer, self.clock = trainer, clock or (lambda: _now(trainer.device))
        self.recorder = recorder
        self.done, self.since, self.over = 0, 0.0, False
        self.seconds: list[float] = []

    def after_step(self) -> str | None:
        """Take note of a step that was done: None, or what was chosen and why, in one line.

        Later a step that comes for the first time may fail to be recorded, which is said, too.
        """
        if self.over:
            return self._failed()
        self.done += 1
        setup = self.cycle * (RECORDED_CYCLES if len(self.seconds) == 2 else SETUP_CYCLES)
        timed = self.cycle * TIMED_CYCLES
        if self.done == setup:
            self.since = self.clock()
        if self.done < setup + timed:
            return None
        self.seconds.append((self.clock() - self.since) / timed)
        self.done = 0
        return (self._compile, self._record, self._choose)[len(self.seconds) - 1]()

    def _compile(self) -> str | None:
        self.trainer.objective.compile_networks()
        return None

    def _record(self) -> str | None:
        trainer = self.trainer
        plain, compiled = self.seconds
        # Of several processes each times its own: if compiling slows one, all wait for it.
        if distributed.agreed(bool(trainer.compile_error) or compiled >= plain):
            trainer.objective.compiled = {}
        if distributed.size() > 1:
            return self._said()
        trainer.graphs = Graphs(trainer.objective, trainer.optimizers, self.recorder)
        return None

    def _choose(self) -> str | None:
        plain, compiled, recorded = self.seconds
        graphs = self.trainer.graphs
        assert graphs is not None
        if graphs.error or recorded >= (compiled if self.trainer.objective.compiled else plain):
            self.trainer.graphs = None
        return self._said(graphs.error)

    def _failed(self) -> str | None:
        graphs = self.trainer.graphs
        if graphs is None or not graphs.error:
            return None
        self.trainer.graphs = None
        return f"not recorded: {graphs.error}"

    def _said(self, error: str = "") -> str:
        """Say what was measured and chosen. error: why nothing was recorded."""
        trainer, self.over = self.trainer, True
        errors = ("", trainer.compile_error, error)
        labels = ("a step takes", "compiled", "recorded")
        parts = [
            f"{label}: {error}" if error else f"{label} {1e3 * seconds:.3g} ms"
            for label, seconds, error in zip(labels, self.seconds, errors, strict=False)
        ]
        chosen = {"compiled": trainer.objective.compiled, "recorded": trainer.graphs}
        ways = [way for way, used in chosen.items() if used]
        return f"{', '.join(parts)}; goes on {' and '.join(ways) or 'as it is'}"


def _now(device: torch.device) -> float:
    """Wait for a device, and return the time in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
