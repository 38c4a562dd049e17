"""Compiling is tried, timed and kept where it is faster; training is the same either way."""

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from make_it_real import distributed
from make_it_real.training import compiling
from make_it_real.training.compiling import LEAST_STEPS, Trial
from make_it_real.training.trainer import Trainer
from tests.training.helpers import CONFIG, Compiled, bars, begun, same_state

# A cycle of 2 steps: 4 to set up and 8 that are timed, each way.
TRIED = replace(CONFIG, steps=60, penalty_every=2)
EACH = 12


def clock(plain: float, compiled: float) -> Iterator[float]:
    """The times at which steps begin and end that take so many seconds each."""
    return iter([0.0, 8 * plain, 100.0, 100.0 + 8 * compiled])


def tried(trainer: Trainer[Any], times: Iterator[float]) -> list[str | None]:
    trial = Trial(trainer, lambda: next(times))
    said = []
    for _ in range(2 * EACH):
        trainer.train_step(bars().pixels)
        said.append(trial.after_step())
    assert next(times, None) is None
    return said


@pytest.mark.parametrize("compiled", [0.5, 2.0])
def test_the_faster_way_goes_on(compiler: list[Compiled], compiled: float) -> None:
    plain, trainer = begun(TRIED), begun(TRIED)
    said = tried(trainer, clock(1.0, compiled))
    assert said[:-1] == [None] * (2 * EACH - 1)
    faster = compiled < 1
    word = "compiled" if faster else "not compiled"
    assert said[-1] == f"{word}: a step takes {1e3 * compiled:.3g} ms compiled, 1e+03 ms not"
    assert bool(trainer.objective.compiled) == faster
    # Each network was compiled, and not before the steps as they are.
    assert {id(c.net) for c in compiler if c.calls} == set(map(id, trainer.objective.children()))
    for _ in range(2 * EACH):
        plain.train_step(bars().pixels)
    assert same_state(plain, trainer)


def test_the_first_steps_are_not_compiled(compiler: list[Compiled]) -> None:
    trainer = begun(TRIED)
    trial = Trial(trainer)
    for step in range(EACH):
        assert compiler == []
        trainer.train_step(bars().pixels)
        assert trial.after_step() is None, step
    assert len(compiler) == len(list(trainer.objective.children()))


def test_a_failure_to_compile_is_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(net: object, dynamic: bool) -> Any:
        def fail(x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no compiler")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    trainer = begun(TRIED)
    assert tried(trainer, clock(1.0, 0.5))[-1] == "not compiled: no compiler"
    assert trainer.objective.compiled == {}


def test_processes_choose_alike(compiler: list[Compiled], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process is slower compiled, so that this one, which is not, leaves it as well."""
    asked = []

    def agreed(flag: bool) -> bool:
        asked.append(flag)
        return True

    monkeypatch.setattr(distributed, "agreed", agreed)
    trainer = begun(TRIED)
    said = tried(trainer, clock(1.0, 0.5))[-1]
    assert asked == [False]
    assert said is not None
    assert said.startswith("not compiled: a step takes")
    assert trainer.objective.compiled == {}


@pytest.mark.parametrize(
    ("device", "compile_", "left", "wanted"),
    [
        ("cuda", None, LEAST_STEPS, True),
        ("cuda", None, LEAST_STEPS - 1, False),
        ("cuda", True, LEAST_STEPS, False),
        ("cuda", False, LEAST_STEPS, False),
        ("cpu", None, LEAST_STEPS, False),
    ],
)
def test_it_is_tried_where_it_may_pay(
    device: str, compile_: bool | None, left: int, wanted: bool
) -> None:
    config = replace(CONFIG, compile=compile_, steps=left + 5)
    trainer: Any = SimpleNamespace(config=config, device=torch.device(device), step=5)
    assert compiling.tries(trainer) == wanted
