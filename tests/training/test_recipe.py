"""Recipes: each is whole, and what is none is said in one line."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from make_it_real.errors import SettingsError
from make_it_real.models.architectures import build
from make_it_real.training import checkpoint, recipe, run
from make_it_real.training.events import Logged
from make_it_real.training.request import Request
from make_it_real.training.restoration import RestorationObjective
from make_it_real.training.run import Run
from make_it_real.training.setup import open_run
from make_it_real.weights import model_card, model_file, pretrained
from tests.benchmarks.flops import flops
from tests.training.helpers import CPU, MODEL


@pytest.mark.parametrize("name", sorted({*recipe.names()} - {"faces-small"}))
def test_a_recipe_makes_a_bundled_model(name: str) -> None:
    found = recipe.load(name)
    bundled = model_file.inspect(model_file.resolve(name))
    assert found.licence == bundled.licence
    wanted = asdict(found.model)
    # The digits' z had another source when the weights that ship were trained.
    ignored = {"source"} if name == "mnist" else set()
    for field, value in bundled.config.items():
        if field not in ignored:
            assert wanted[field] == (tuple(value) if isinstance(value, list) else value), field
    for stage in found.stages:
        assert stage.steps > stage.decay_steps > 0


def test_a_recipe_differs_from_its_base_where_it_says_so() -> None:
    base, small = recipe.load("faces"), recipe.load("faces-small")
    assert replace(small.model, patches=base.model.patches) == base.model
    assert small.stages == base.stages
    assert (small.data, small.licence) == (base.data, base.licence)
    f = build(small.model).eval()
    with torch.no_grad():
        assert flops(lambda: f(torch.zeros(1, 3, 64, 64))) < 2.4e9


def test_a_recipe_is_chosen_by_the_images() -> None:
    digits = recipe.choose(28, 1)
    assert digits is not None
    assert digits.name == "mnist"
    assert recipe.choose(28, 3) is None
    assert recipe.choose(30, 1) is None
    # Needs an extra, so it is not chosen unasked.
    assert recipe.load("faces").needs_features
    assert recipe.choose(64, 3) is None


def test_what_is_no_recipe_is_refused() -> None:
    with pytest.raises(SettingsError, match="no recipe 'mnits': there are faces, faces-small"):
        recipe.load("mnits")
    fields = {"data": "x", "licence": "", "model": {"image_size": 28, "channels": 1}}
    for stages in ([{"objective": "none"}], [{"objective": "adversarial", "stepz": 3}]):
        with pytest.raises(SettingsError, match="the recipe x: "):
            recipe.parse("x", {**fields, "stages": stages})


# --- Stages ---

STAGE = {
    "objective": "adversarial", "steps": 4, "decay_steps": 2, "batch": 16,
    "critic_widths": [8, 16], "damage": {"noise": 1}, "augment": 0.0,
}  # fmt: skip
TWO = {
    "data": "pictures",
    "licence": "CC0-1.0",
    "model": asdict(MODEL),
    "stages": [STAGE, {**STAGE, "steps": 5, "critic_every": 0}],
}


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recipe of two stages, with critics and without, and a log of each step."""
    found = recipe.parse("two", TWO)
    monkeypatch.setattr(recipe, "load", lambda name: found)
    monkeypatch.setattr(run, "LOG_EVERY", 1)


def opened(folder: Path, photos: Path, **changes: Any) -> Run:
    changes = {"recipe": "two"} | changes
    return open_run(Request(folder, [photos], cached=False, **changes), CPU, lambda event: None)


def stop_at(running: Run, step: int) -> None:
    """Follow a run until a step."""
    stop = Event()

    def tell(event: object) -> None:
        if isinstance(event, Logged) and event.line["step"] == step:
            stop.set()

    running.tell = tell
    assert running.follow(stop, 1e9)


def logged(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()]


def test_all_stages_of_a_recipe_run(two: None, tmp_path: Path, photos: Path) -> None:
    folder = tmp_path / "run"
    running = opened(folder, photos)
    assert running.steps == 9
    assert not running.follow(Event(), 1e9)
    assert logged(folder) == list(range(1, 10))
    info = model_file.inspect(folder / "model.safetensors")
    assert (info.steps, info.licence) == (9, "CC0-1.0")
    assert model_card.training_command(info) == "mir train DATA -o RUN --recipe two"
    trainer = checkpoint.load(folder / "checkpoint.safetensors", CPU)
    assert isinstance(trainer.objective, RestorationObjective)
    assert (trainer.config.stage, trainer.step) == (1, 5)


def test_a_stage_begins_with_what_the_one_before_made(
    two: None, tmp_path: Path, photos: Path
) -> None:
    folder = tmp_path / "run"
    running = opened(folder, photos)
    stop_at(running, 4)
    first = pretrained.load(folder / "model.safetensors").state_dict()
    critic = running.trainer.objective.get_submodule("C").state_dict()
    stop_at(opened(folder, photos, recipe=None, resume=True), 5)
    second = checkpoint.load(folder / "checkpoint.safetensors", CPU).objective
    assert isinstance(second, RestorationObjective)
    for name, value in second.f_before.state_dict().items():
        assert torch.equal(value, first[name]), name
    for name, value in second.C.state_dict().items():
        assert torch.equal(value, critic[name]), name


@pytest.mark.parametrize("step", [2, 4, 7])
def test_a_recipe_goes_on_in_the_middle_of_any_stage(
    two: None, tmp_path: Path, photos: Path, step: int
) -> None:
    folder = tmp_path / "run"
    stop_at(opened(folder, photos), step)
    again = opened(folder, photos, recipe=None, resume=True)
    assert (again.step, again.steps) == (step, 9)
    assert not again.follow(Event(), 1e9)
    assert logged(folder) == list(range(1, 10))


def test_settings_hold_for_every_stage(two: None, tmp_path: Path, photos: Path) -> None:
    running = opened(tmp_path / "run", photos, settings=["steps=3", "lambdas.rec=7"])
    stages = recipe.stages(running.trainer.config)
    assert [stage.steps for stage in stages] == [3, 3]
    assert [getattr(stage, "critic_every") for stage in stages] == [1, 0]  # noqa: B009
    assert [vars(getattr(stage, "lambdas"))["rec"] for stage in stages] == [7, 7]  # noqa: B009


def test_a_recipe_begins_alone(tmp_path: Path, photos: Path) -> None:
    for changes in ({"start": "mnist"}, {"objective": "ign"}):
        with pytest.raises(SettingsError, match="--recipe begins a run by itself"):
            opened(tmp_path / "run", photos, recipe="mnist", **changes)
    with pytest.raises(SettingsError, match="the recipe mnist is of 28×28 images of 1 channel"):
        opened(tmp_path / "run", photos, recipe="mnist", size=32)
