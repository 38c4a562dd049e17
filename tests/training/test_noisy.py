"""Noisy photographs: what tells them, and what they get, is learnt alone, and nothing else is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from make_it_real.degradations.life import NOISE, rounded
from make_it_real.models.mixture import places
from make_it_real.models.unet import UNet
from make_it_real.training.config import PhotographConfig
from make_it_real.training.noisy import NoisyObjective, ReaderObjective
from make_it_real.training.trainer import Trainer, train
from tests.training.helpers import CPU, RESTORER, copied, resumed, same_state, scenes

MODEL = replace(RESTORER, mixed=True)


def begun(**changes: Any) -> Trainer[ReaderObjective]:
    settings: dict[str, Any] = {
        "steps": 40, "decay_steps": 20, "warm_up": 0, "batch": 8, "lr": 3e-3, "crop": 32,
        "alone": "reader", "graphics": 0.0, "lambdas": {"restore": 1.0},
        "damage": {"noise": 1.0, "blur": 1.0, "poisson": 0.5},
    }  # fmt: skip
    return Trainer(ReaderObjective(MODEL, PhotographConfig(**settings | changes), CPU))


def detail(images: torch.Tensor) -> torch.Tensor:
    return images.diff(dim=3).square().mean((1, 2, 3))


def test_the_first_half_of_a_draw_is_noisy_and_the_second_is_not() -> None:
    (draw,) = begun(damage={"noise": 1.0, "blur": 1.0}, clean=0.5).draw(scenes(), 0)
    assert (len(draw.x), len(draw.y), len(draw.Ax)) == (0, 8, 8)
    assert draw.Ax.shape[2:] == (32, 32)
    torch.testing.assert_close(rounded(draw.Ax), draw.Ax)
    assert (detail(draw.Ax)[:4] > detail(draw.y)[:4]).all()
    assert torch.equal(draw.Ax[4:6], draw.y[4:6])
    assert (detail(draw.Ax)[6:] < detail(draw.y)[6:]).all()


def test_noise_is_told_apart_from_the_rest() -> None:
    objective = begun().objective
    assert objective.noise == {"noise": 1.0, "poisson": 0.5}
    assert objective.others == {"blur": 1.0}
    assert "salt-and-pepper" not in NOISE


def test_a_short_training_tells_noise_from_blur_and_changes_no_other_parameter() -> None:
    trainer, images = begun(steps=120), scenes()
    before = copied(trainer.objective.f)
    for _ in train(trainer, images):
        pass
    untrained = {name for name in before if not name.startswith("reader.")}
    for f in (trainer.objective.f, trainer.objective.f_ema):
        after = copied(f)
        assert {name for name in before if torch.equal(before[name], after[name])} == untrained
        assert isinstance(f, UNet)
        (draw,) = trainer.draw(images, 1000)
        with torch.no_grad():
            noisy = f.reader(places(draw.Ax)) > 0.5
        right = torch.cat([noisy[:4], ~noisy[4:]])
        assert float(right.float().mean()) >= 0.75


def test_the_weights_for_noisy_pictures_learn_alone() -> None:
    config = PhotographConfig(batch=8, crop=24, lr=3e-3, warm_up=0, alone="noisy")
    trainer = Trainer(NoisyObjective(MODEL, config, CPU))
    before = copied(trainer.objective.f)
    for _ in range(3):
        trainer.train_step(scenes())
    for f in (trainer.objective.f, trainer.objective.f_ema):
        after = copied(f)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed
        assert all(name.startswith("noisy.") for name in changed)


def test_it_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    trainer = begun(steps=6)
    again = resumed(trainer, scenes(), tmp_path / "c.safetensors")
    assert isinstance(again.objective, ReaderObjective)
    assert same_state(trainer, again)


def test_what_it_cannot_learn_from_is_refused() -> None:
    for alone, chosen in (("reader", ReaderObjective), ("noisy", NoisyObjective)):
        with pytest.raises(ValueError, match=f"{alone} is trained alone, and the model is not"):
            chosen(RESTORER, PhotographConfig(alone=alone), CPU)
    with pytest.raises(ValueError, match="noise, and damage that is none"):
        begun(damage={"blur": 1.0})
    with pytest.raises(ValueError, match="alone is tone, reader or noisy, not 'f'"):
        PhotographConfig(alone="f")
