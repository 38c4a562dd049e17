"""Recorded steps do what the steps do: a recorder stands in that repeats on the memory it had."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from make_it_real.training import graphs
from make_it_real.training.graphs import Graphs, Work, layout, tensors
from make_it_real.training.losses import Terms
from make_it_real.training.trainer import Trainer
from tests.training.helpers import (
    CONFIG,
    Repeated,
    bars,
    begun,
    begun_ign,
    begun_restoration,
    same_state,
    scenes,
)
from tests.training.test_host import begun_photographs

# λ of these steps are as exact in float32 as in float64.
LONG = replace(CONFIG, steps=80, ramp=4)
BEGUN: dict[str, Callable[[], Trainer[Any]]] = {
    "adversarial": lambda: begun(LONG),
    "critics in every other step": lambda: begun(replace(LONG, critic_every=2, augment=0.5)),
    "two parts": lambda: begun(replace(LONG, accumulate=2, rest_steps=1)),
    "restoration": lambda: begun_restoration(steps=80),
    "ign": begun_ign,
    "ign with batch norm": lambda: begun_ign(norm="batch"),
    "photographs": begun_photographs,
}


def recorded(trainer: Trainer[Any], recorder: Repeated | None = None) -> Graphs:
    made = Graphs(trainer.objective, trainer.optimizers, recorder or Repeated())
    trainer.graphs = made
    return made


@pytest.mark.parametrize("name", BEGUN)
def test_training_is_the_same(name: str) -> None:
    """All that differs from step to step is read anew: a recording keeps its own tensors."""
    plain, trainer, recorder = BEGUN[name](), BEGUN[name](), Repeated()
    made = recorded(trainer, recorder)
    pixels = scenes() if name == "photographs" else bars().pixels
    for step in range(20):
        a, b = plain.train_step(pixels), trainer.train_step(pixels)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[term], b[term]) for term in a), step
    assert same_state(plain, trainer)
    assert made.error == ""
    # Once to compare it, and then for most of the steps.
    assert recorder.recorded == sum(one is not None for one in made.recordings.values())
    assert recorder.replayed - recorder.recorded == 20 - len(made.recordings) - recorder.recorded
    assert recorder.replayed > 4


def test_a_recording_of_each_phase() -> None:
    """Penalties, their absence, and how often f is applied before noise is added."""
    trainer = begun(LONG)
    made = recorded(trainer)
    for _ in range(40):
        trainer.train_step(bars().pixels)
    assert len(made.recordings) == 2 * CONFIG.rest_steps
    keys: list[Any] = list(made.recordings)
    assert {key[0] for key in keys} == {(True, False), (False, False)}


def test_the_learning_rate_is_read_anew() -> None:
    """On a GPU it is a tensor, which a recorded step reads."""
    trainer = begun(LONG)
    optimizer = trainer.optimizers["f"]
    lr = optimizer.param_groups[0]["lr"] = torch.tensor(1.0)
    trainer.train_step(bars().pixels)
    assert optimizer.param_groups[0]["lr"] is lr
    assert float(lr) == pytest.approx(trainer.lr)


def test_one_that_fails_leaves_steps_as_they_are() -> None:
    class Broken(Repeated):
        def record(self, work: Work) -> Work:
            raise RuntimeError("operation not permitted")

    plain, trainer = begun(LONG), begun(LONG)
    made = recorded(trainer, Broken())
    for _ in range(24):
        plain.train_step(bars().pixels)
        trainer.train_step(bars().pixels)
    assert same_state(plain, trainer)
    assert made.error == "operation not permitted"
    assert made.recordings == {}


@pytest.mark.parametrize("fault", ["nothing is done", "another draw is read", "terms are others"])
def test_one_that_does_something_else_is_noticed(fault: str) -> None:
    class Faulty(Repeated):
        def record(self, work: Work) -> Work:
            kept: Terms = {}

            def replay() -> Terms:
                if fault == "another draw is read":
                    next(tensors(draws)).neg_()
                    return work()
                if fault == "terms are others":
                    return {name: 2 * term + 1 for name, term in work().items()}
                state = {k: v.clone() for k, v in trainer.objective.state_dict().items()}
                kept.update(work())
                trainer.objective.load_state_dict(state)
                return kept

            return replay

    plain, trainer = begun(LONG), begun(LONG)
    made = recorded(trainer, Faulty())
    draws: list[Any] = []
    read = graphs.Recording.read

    def noted(self: graphs.Recording, *given: Any) -> None:
        draws[:] = self.draws
        read(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs.Recording, "read", noted)
        for _ in range(24):
            plain.train_step(bars().pixels)
            trainer.train_step(bars().pixels)
    assert made.error == "a recorded step does not do what the step does"
    # What it did was undone.
    assert same_state(plain, trainer)


def test_all_tensors_of_a_draw_are_found() -> None:
    draws = begun(replace(CONFIG, augment=0.5, accumulate=2)).draw(bars(4).pixels, 0)
    draw = draws[0]
    assert draw.change is not None
    found = list(tensors(draws))
    assert {id(t) for t in found} >= {id(draw.x), id(draw.white), id(draw.change.hole)}
    assert len(found) == 2 * 9
    copied = copy.deepcopy(draws)
    assert layout(copied) == layout(draws)
    assert not {id(t) for t in tensors(copied)} & {id(t) for t in found}


def test_draws_are_alike_but_for_their_values_and_their_step() -> None:
    trainer = begun(CONFIG)
    draw = trainer.draw(bars(4).pixels, 0)[0]
    assert layout(replace(draw, step=7, x=draw.x + 1)) == layout(draw)
    assert layout(replace(draw, rest=draw.rest + 1)) != layout(draw)
    assert layout(replace(draw, Ax=draw.Ax[1:])) != layout(draw)
    assert hash(layout(draw)) == hash(layout(copy.deepcopy(draw)))
