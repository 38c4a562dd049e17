"""Whether a run is faster compiled: steps are timed both ways, and the faster way goes on."""

import time
from collections.abc import Callable
from typing import Any

import torch

from make_it_real import distributed
from make_it_real.training.trainer import Trainer

# Steps of each way, in cycles from one gradient penalty to the next: those that are not timed, in
# which memory is set up and networks are compiled, and those that are.
SETUP_CYCLES, TIMED_CYCLES = 2, 4
# Compiling takes a minute or two, which a shorter run does not win back.
LEAST_STEPS = 2000


def tries(trainer: Trainer[Any]) -> bool:
    """Tell whether a run tries compiling: on CUDA, if nothing is set and enough steps are left."""
    config = trainer.config
    left = config.steps - trainer.step
    return config.compile is None and trainer.device.type == "cuda" and left >= LEAST_STEPS


class Trial:
    """Times some of a trainer's steps as they are, and as many compiled, and keeps the faster.

    clock: gives the time in seconds once the device has done what it was given; None is this
    machine's.
    """

    def __init__(self, trainer: Trainer[Any], clock: Callable[[], float] | None = None) -> None:
        cycle = getattr(trainer.config, "penalty_every", 1)
        self.trainer, self.clock = trainer, clock or (lambda: _now(trainer.device))
        self.setup, self.timed = SETUP_CYCLES * cycle, TIMED_CYCLES * cycle
        self.done, self.since = 0, 0.0
        self.seconds: list[float] = []

    def after_step(self) -> str | None:
        """Take note of a step that was done: None, or what was chosen and why, in one line."""
        trainer = self.trainer
        self.done += 1
        if self.done == self.setup:
            self.since = self.clock()
        if self.done < self.setup + self.timed:
            return None
        self.seconds.append((self.clock() - self.since) / self.timed)
        self.done = 0
        if len(self.seconds) == 1:
            trainer.objective.compile_networks()
            return None
        plain, compiled = self.seconds
        # Of several processes each times its own: if compiling slows one, all wait for it.
        slower = distributed.agreed(bool(trainer.compile_error) or compiled >= plain)
        if slower:
            trainer.objective.compiled = {}
        if trainer.compile_error:
            return f"not compiled: {trainer.compile_error}"
        way = "not compiled" if slower else "compiled"
        return f"{way}: a step takes {1e3 * compiled:.3g} ms compiled, {1e3 * plain:.3g} ms not"


def _now(device: torch.device) -> float:
    """Wait for a device, and return the time in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
