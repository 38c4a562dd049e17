"""The fastest way to do steps is found by timing them; training is the same whichever it is."""

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
from tests.training.helpers import CONFIG, Compiled, Repeated, bars, begun, same_state

# A cycle of 2 steps: 2 to set up and 4 that are timed; of recorded ones 8 and 4.
TRIED = replace(CONFIG, steps=200, penalty_every=2)
EACH, RECORDED = 6, 12
ALL = 2 * EACH + RECORDED


@pytest.fixture(autouse=True)
def few_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, cycles in {"SETUP": 1, "TIMED": 2, "RECORDED": 4}.items():
        monkeypatch.setattr(compiling, f"{name}_CYCLES", cycles)


def clock(*seconds: float) -> Iterator[float]:
    """The times at which the timed steps of each way begin and end."""
    return iter([time for one in seconds for time in (0.0, 4 * one)])


def tried(
    trainer: Trainer[Any], times: Iterator[float], recorder: Repeated | None = None
) -> list[str | None]:
    trial = Trial(trainer, lambda: next(times), recorder or Repeated())
    said: list[str | None] = []
    while not (said and said[-1]):
        trainer.train_step(bars().pixels)
        said.append(trial.after_step())
    assert next(times, None) is None
    return said


@pytest.mark.parametrize(
    ("compiled", "recorded", "ways"),
    [
        (0.5, 0.25, "compiled and recorded"),
        (0.5, 1.0, "compiled"),
        (2.0, 0.5, "recorded"),
        (2.0, 1.5, "as it is"),
    ],
)
def test_the_fastest_way_goes_on(
    compiler: list[Compiled], compiled: float, recorded: float, ways: str
) -> None:
    plain, trainer = begun(TRIED), begun(TRIED)
    said = tried(trainer, clock(1.0, compiled, recorded))
    assert said[:-1] == [None] * (ALL - 1)
    times = f"compiled {1e3 * compiled:.3g} ms, recorded {1e3 * recorded:.3g} ms"
    assert said[-1] == f"a step takes 1e+03 ms, {times}; goes on {ways}"
    assert bool(trainer.objective.compiled) == ("compiled" in ways)
    assert bool(trainer.graphs) == ("recorded" in ways)
    # Each network was compiled, and not before the steps as they are.
    assert {id(c.net) for c in compiler if c.calls} == set(map(id, trainer.objective.children()))
    for _ in range(8):
        trainer.train_step(bars().pixels)
    for _ in range(ALL + 8):
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
    said = tried(trainer, clock(1.0, 0.5, 0.75))[-1]
    assert said == "a step takes 1e+03 ms, compiled: no compiler, recorded 750 ms; goes on recorded"
    assert trainer.objective.compiled == {}


def test_a_failure_to_record_is_the_reason(compiler: list[Compiled]) -> None:
    class Broken(Repeated):
        def record(self, work: Any) -> Any:
            raise RuntimeError("no graphs")

    trainer = begun(TRIED)
    said = tried(trainer, clock(1.0, 0.5, 0.25), Broken())[-1]
    assert said == "a step takes 1e+03 ms, compiled 500 ms, recorded: no graphs; goes on compiled"
    assert trainer.graphs is None


def test_a_later_failure_to_record_is_said_once(compiler: list[Compiled]) -> None:
    trainer, times = begun(TRIED), clock(1.0, 2.0, 0.5)
    trial = Trial(trainer, lambda: next(times), Repeated())
    for _ in range(ALL):
        trainer.train_step(bars().pixels)
        trial.after_step()
    assert trainer.graphs is not None
    assert trial.after_step() is None
    trainer.graphs.error = "no memory"
    assert trial.after_step() == "not recorded: no memory"
    assert trainer.graphs is None
    assert trial.after_step() is None


def test_processes_choose_alike(compiler: list[Compiled], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process is slower compiled, so that this one, which is not, leaves it as well."""
    asked = []

    def agreed(flag: bool) -> bool:
        asked.append(flag)
        return True

    monkeypatch.setattr(distributed, "agreed", agreed)
    trainer = begun(TRIED)
    said = tried(trainer, clock(1.0, 0.5, 2.0))[-1]
    assert asked == [False]
    assert said is not None
    assert said.endswith("goes on as it is")
    assert trainer.objective.compiled == {}


def test_several_processes_record_nothing(
    compiler: list[Compiled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "agreed", lambda flag: flag)
    trainer, times = begun(TRIED), clock(1.0, 0.5)
    trial = Trial(trainer, lambda: next(times))
    for _ in range(2 * EACH - 1):
        trainer.train_step(bars().pixels)
        assert trial.after_step() is None
    trainer.train_step(bars().pixels)
    monkeypatch.setattr(distributed, "size", lambda: 2)
    assert trial.after_step() == "a step takes 1e+03 ms, compiled 500 ms; goes on compiled"
    assert trainer.graphs is None


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
