"""The tone of photographs: what a step draws, that it is learnt and nothing else, and its stage."""

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

from make_it_real.data import graphics
from make_it_real.degradations.life import rounded
from make_it_real.errors import DataError, SettingsError
from make_it_real.models.tone import SIDE
from make_it_real.models.unet import UNet
from make_it_real.training import checkpoint, recipe, run, tone
from make_it_real.training.config import PhotographConfig
from make_it_real.training.events import Logged
from make_it_real.training.losses import distance
from make_it_real.training.photographs import PhotographObjective
from make_it_real.training.request import Request
from make_it_real.training.run import Run
from make_it_real.training.setup import open_run
from make_it_real.training.tone import ToneObjective
from make_it_real.training.trainer import Trainer, train
from make_it_real.weights import model_file
from tests.training.helpers import CPU, RESTORER, copied, resumed, same_state, scenes

MODEL = replace(RESTORER, tone=True, mixed=True)


def begun(**changes: Any) -> Trainer[ToneObjective]:
    settings: dict[str, Any] = {
        "steps": 40, "decay_steps": 20, "warm_up": 0, "batch": 10, "lr": 4e-3, "clean": 0.4,
        "alone": "tone", "graphics": 0.0, "lambdas": {"rec": 0.4, "restore": 0.6},
    }  # fmt: skip
    return Trainer(ToneObjective(MODEL, PhotographConfig(**settings | changes), CPU))


def tone_of(f: nn.Module) -> nn.Module:
    assert isinstance(f, UNet)
    return f.tone


# --- A step ---


def test_a_draw_has_windows_of_whole_pictures_clean_ones_and_faded_ones() -> None:
    trainer, images = begun(), scenes()
    sides = set()
    for step in range(10):
        (draw,) = trainer.draw(images, step)
        assert (len(draw.x), len(draw.y), len(draw.Ax)) == (4, 6, 6)
        sides.add(draw.x.shape[-1])
        for each in (draw.x, draw.y, draw.Ax):
            assert each.shape[-2] == each.shape[-1]
            torch.testing.assert_close(rounded(each), each)
        assert (draw.Ax != draw.y).flatten(1).any(1).all()
    assert tone.LEAST // 2 <= min(sides) < max(sides) <= SIDE // 2


def test_a_share_of_the_pictures_is_drawn_on_and_few_that_fade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graphics, "drawn", lambda place, generator: torch.full_like(place, 255))
    (draw,) = begun(batch=400, clean=0.5, graphics=0.8).draw(scenes(), 0)
    # White stays white, however bright a picture is made, but for noise.
    assert (draw.x.mean((1, 2, 3)) > 0.9).float().mean() == pytest.approx(0.8, abs=0.1)
    assert (draw.y == 1).flatten(1).all(1).float().mean() == pytest.approx(0.1, abs=0.05)


def test_what_stays_as_it_is_may_be_noisy_too() -> None:
    (draw,) = begun(batch=100, clean=0.5, flip=False).draw(torch.full((1, 3, SIDE, SIDE), 99), 0)
    spreads = draw.x.std((2, 3)).amax(1)
    assert float(spreads.median()) > 0
    assert float(spreads.max()) < 1.2 * tone.NOISE
    assert not draw.y.std((2, 3)).any()


def test_half_of_the_pictures_are_of_another_exposure() -> None:
    (draw,) = begun(batch=200, clean=0.0, flip=False).draw(scenes(1), 0)
    means = draw.y.mean((1, 2, 3))
    plain = means.median()
    plainly = (means - plain).abs() < 1e-3
    assert float(plainly.float().mean()) == pytest.approx(0.5, abs=0.1)
    assert float(means.min()) < float(plain) - 0.1 < float(plain) + 0.1 < float(means.max())


def test_the_terms_are_distances_of_what_the_tone_proposes() -> None:
    trainer = begun()
    f = trainer.objective.f
    assert isinstance(f, UNet)
    last = f.tone.layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.constant_(last.bias, 0.1)
    (draw,) = trainer.draw(scenes(), 0)
    terms = trainer.objective.losses(draw)
    assert terms.keys() == {"rec", "restore"}
    proposed = f.tone.proposal(torch.cat([draw.x, draw.Ax]))
    torch.testing.assert_close(terms["rec"], distance(proposed[:4], draw.x))
    torch.testing.assert_close(terms["restore"], distance(proposed[4:], draw.y))


def test_a_short_training_undoes_some_fading_and_changes_no_other_parameter() -> None:
    trainer, images = begun(steps=100), scenes()
    before = copied(trainer.objective.f)
    held = [trainer.draw(images, step)[0] for step in range(8)]
    for _ in train(trainer, images):
        pass
    untrained = {name for name in before if not name.startswith("tone.")}
    for f in (trainer.objective.f, trainer.objective.f_ema):
        after = copied(f)
        assert {name for name in before if torch.equal(before[name], after[name])} == untrained
    with torch.no_grad():
        left = sum(float(trainer.objective.losses(each)["restore"]) for each in held)
    assert left < 0.7 * sum(float(distance(each.Ax, each.y)) for each in held)


def test_photographs_train_all_but_the_tone_the_reader_and_the_deltas() -> None:
    config = PhotographConfig(batch=4, crop=24, lr=1e-2, warm_up=0)
    trainer = Trainer(PhotographObjective(MODEL, config, CPU))
    before = copied(trainer.objective.f)
    trainer.train_step(scenes())
    after = copied(trainer.objective.f)
    same = {name for name in before if torch.equal(before[name], after[name])}
    apart = {name for name in before if name.startswith(("tone.", "reader.", "deltas."))}
    assert len({name.split(".")[0] for name in apart}) == 3
    assert apart <= same
    assert "last.weight" not in same


def test_it_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    trainer = begun(steps=6)
    again = resumed(trainer, scenes(), tmp_path / "c.safetensors")
    assert isinstance(again.objective, ToneObjective)
    assert same_state(trainer, again)


def test_a_model_without_tone_is_refused() -> None:
    with pytest.raises(ValueError, match="the model has none"):
        ToneObjective(RESTORER, PhotographConfig(alone="tone"), CPU)


# --- The recipe ---


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for i, picture in enumerate(scenes().pictures):
        Image.fromarray(picture.permute(1, 2, 0).numpy()).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recipe of photographs with a small network, and a log of each step."""
    found = replace(recipe.load("photos"), model=MODEL)
    monkeypatch.setattr(recipe, "load", lambda name: found)
    monkeypatch.setattr(run, "LOG_EVERY", 1)


def opened(folder: Path, album: Path, **changes: Any) -> Run:
    request = Request(folder, [album], cached=False, **changes)
    return open_run(request, CPU, lambda event: None)


SETTINGS = ["steps=3", "decay_steps=1", "batch=6", "crop=24"]


@pytest.mark.usefixtures("small")
def test_the_recipe_runs_and_goes_on_within_the_tone(album: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    running = opened(folder, album, recipe="photos", settings=SETTINGS)
    assert [stage.steps for stage in running.stages] == [3] * 13
    stop = Event()
    tones = [copied(tone_of(running.trainer.objective.f_ema))]

    def tell(event: object) -> None:
        if isinstance(event, Logged) and event.line["step"] == 10:
            assert event.line.keys() >= {"rec", "restore"}
            assert "idem" not in event.line
            stop.set()

    running.tell = tell
    assert running.follow(stop, 1e9)
    again = opened(folder, album, resume=True)
    assert isinstance(again.trainer.objective, ToneObjective)
    assert [getattr(stage, "crop") for stage in again.stages] == [24] * 13  # noqa: B009
    assert not again.follow(Event(), 1e9)
    end = checkpoint.load(folder / "checkpoint.safetensors", CPU)
    assert (end.config.stage, end.step) == (12, 3)
    tones.append(copied(tone_of(end.objective.f_ema)))
    assert not torch.equal(tones[0]["layers.4.weight"], tones[1]["layers.4.weight"])
    info = model_file.inspect(folder / "model.safetensors")
    assert (info.steps, info.objective) == (39, "restoration of photographs")
    assert info.training["alone"] == "reader"


@pytest.mark.usefixtures("small")
def test_the_tone_alone_goes_on_from_a_model(album: Path, tmp_path: Path) -> None:
    settings = ["alone=tone", *SETTINGS]
    with pytest.raises(SettingsError, match="begin --from a model"):
        opened(tmp_path / "run", album, objective="photographs", settings=settings)
    first = opened(tmp_path / "a", album, recipe="photos", settings=[*SETTINGS, "steps=1"])
    first.follow(Event(), 1e9)
    second = opened(tmp_path / "b", album, start=str(tmp_path / "a"), settings=settings)
    assert isinstance(second.trainer.objective, ToneObjective)
    second.follow(Event(), 1e9)
    with pytest.raises(SettingsError, match="alone: a run keeps what it was begun with"):
        opened(tmp_path / "b", album, resume=True, settings=["alone=reader"])


@pytest.mark.usefixtures("small")
def test_photographs_are_large_enough_for_every_stage(tmp_path: Path) -> None:
    """Enough for crops of 64×64 and their margin of 16 is too small for 96×96 of later stages."""
    for i in range(3):
        Image.new("RGB", (111, 140), (60 * i, 0, 0)).save(tmp_path / f"{i}.png")
    with pytest.raises(DataError, match="no side may be under 112"):
        opened(tmp_path / "run", tmp_path, recipe="photos")
