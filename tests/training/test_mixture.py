"""Sorts of photographs: what tells them, and what they get, is learnt alone, nothing else is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from make_it_real.degradations.life import BLUR, COMPRESSION, ENLARGED, NOISE, rounded
from make_it_real.models.mixture import SORTS, places
from make_it_real.models.unet import UNet
from make_it_real.training.config import PhotographConfig
from make_it_real.training.lambdas import PhotographLambdas
from make_it_real.training.mixture import DeltaObjective, ReaderObjective
from make_it_real.training.trainer import Trainer, train
from tests.training.helpers import CPU, JUDGED, RESTORER, copied, resumed, same_state, scenes

MODEL = replace(RESTORER, mixed=True)
GATED = replace(JUDGED, mixed=True)
ONE_EACH = {"noise": 1.0, "jpeg": 1.0, "blur": 1.0, "downscale": 1.0, "scratches": 1.0}


def begun(**changes: Any) -> Trainer[ReaderObjective]:
    settings: dict[str, Any] = {
        "steps": 40, "decay_steps": 20, "warm_up": 0, "batch": 28, "lr": 3e-3, "crop": 32,
        "alone": "reader", "graphics": 0.0, "lambdas": {"restore": 1.0},
        "damage": {**ONE_EACH, "poisson": 0.5},
    }  # fmt: skip
    return Trainer(ReaderObjective(MODEL, PhotographConfig(**settings | changes), CPU))


def detail(images: torch.Tensor) -> torch.Tensor:
    return images.diff(dim=3).square().mean((1, 2, 3))


def test_a_draw_has_as_many_crops_of_each_sort_as_of_none() -> None:
    (draw,) = begun(damage=ONE_EACH, clean=0.5, life=0.0).draw(scenes(), 0)
    assert (len(draw.x), len(draw.y), len(draw.Ax)) == (0, 28, 28)
    assert draw.Ax.shape[2:] == (32, 32)
    torch.testing.assert_close(rounded(draw.Ax), draw.Ax)
    assert torch.equal(draw.Ax[:2], draw.y[:2])
    assert (draw.Ax[2:] != draw.y[2:]).flatten(1).any(1).all()
    assert (detail(draw.Ax)[4:8] > detail(draw.y)[4:8]).all()
    # White noise is in every pixel; compression leaves large parts of these pictures even.
    assert float(detail(draw.Ax)[8:12].mean()) < float(detail(draw.Ax)[4:8].mean())
    assert (detail(draw.Ax)[12:20] < detail(draw.y)[12:20]).all()
    assert (detail(draw.Ax)[24:] < detail(draw.y)[24:]).all()


def test_each_kind_is_of_one_sort_or_of_none() -> None:
    objective = begun().objective
    assert objective.sorts == {
        "noisy": {"noise": 1.0, "poisson": 0.5}, "compressed": {"jpeg": 1.0},
        "blurred": {"blur": 1.0}, "enlarged": {"downscale": 1.0},
    }  # fmt: skip
    assert objective.others == {"scratches": 1.0}
    assert {"anisotropic-blur", "defocus"} < set(BLUR)
    assert "motion-blur" not in BLUR
    assert "salt-and-pepper" not in NOISE
    kinds = [*NOISE, *COMPRESSION, *BLUR, *ENLARGED]
    assert len(set(kinds)) == len(kinds)


Done = list[tuple[int, str]]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Done:
    """How many crops get a kind, instead of getting it."""
    told: Done = []

    def named(x: torch.Tensor, weights: dict[str, float], *_: Any, **__: Any) -> torch.Tensor:
        told.append((len(x), " or ".join(weights)))
        return x

    monkeypatch.setattr("make_it_real.training.mixture.damaged", named)
    return told


def test_other_kinds_after_the_first_change_no_sort(done: Done) -> None:
    for life, over in ((0.0, 0), (1.0, 12)):
        done.clear()
        begun(damage=ONE_EACH, batch=84, clean=1 / 3, life=life).draw(scenes(), 0)
        assert done[0] == (8, "scratches")
        assert done[1:4] == [(12, "jpeg"), (12, "blur"), (12, "downscale")]
        noisy, sent, web = done[4:6], done[6:9], done[9:]
        assert noisy == [(12, "noise"), (over, "scratches")]
        assert sent == [(12, "noise"), (over, "scratches"), (12, "jpeg")]
        assert web == [(12, "blur or downscale"), (over, "scratches"), (12, "jpeg")]


@pytest.mark.parametrize(
    ("sort", "first", "after", "only"),
    [
        ("noisy", ["noise"], [], 0),
        ("sent", ["noise"], ["jpeg"], 0),
        ("web", ["blur", "downscale"], ["jpeg"], 2),
    ],
)
def test_what_is_sent_or_of_the_web_is_compressed_at_last_and_a_share_is_marked(
    sort: str, first: list[str], after: list[str], only: int, done: Done
) -> None:
    config = PhotographConfig(
        batch=8, crop=24, alone=sort, clean=0.25, off_grid=0.0, damage=ONE_EACH
    )
    n = 6 - only
    for life, marked in ((0.0, 0), (1.0, n)):
        done.clear()
        Trainer(DeltaObjective(MODEL, replace(config, life=life), CPU)).draw(scenes(), 0)
        wanted = [(n, " or ".join(first)), (marked, "scratches"), *((n, kind) for kind in after)]
        if only:
            wanted.insert(0, (only, "jpeg"))
        assert done[: len(wanted)] == wanted
        assert {count for count, _ in done[len(wanted) :]} <= {0}
    for kind in (*first, "scratches", *after):
        damage = {name: 1.0 for name in config.damage if name != kind}
        with pytest.raises(ValueError, match=f"{sort} pictures need damage of their sort"):
            DeltaObjective(MODEL, replace(config, damage=damage), CPU)


def test_a_short_training_tells_the_sorts_and_changes_no_other_parameter() -> None:
    trainer, images = begun(steps=200), scenes()
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
            told = f.reader.logits(places(draw.Ax)).argmax(1)
        assert float((told == torch.arange(7).repeat_interleave(4)).float().mean()) >= 0.75


@pytest.mark.parametrize("sort", SORTS)
def test_the_weights_for_a_sort_of_pictures_learn_alone(sort: str) -> None:
    config = PhotographConfig(batch=8, crop=24, lr=3e-3, warm_up=0, alone=sort)
    trainer = Trainer(DeltaObjective(MODEL, config, CPU))
    before = copied(trainer.objective.f)
    for _ in range(3):
        trainer.train_step(scenes())
    for f in (trainer.objective.f, trainer.objective.f_ema):
        after = copied(f)
        changed = {name for name in before if not torch.equal(before[name], after[name])}
        assert changed
        assert all(name.startswith(f"deltas.{sort}.") for name in changed)


def test_it_is_resumed_bit_for_bit(tmp_path: Path) -> None:
    trainer = begun(steps=6)
    again = resumed(trainer, scenes(), tmp_path / "c.safetensors")
    assert isinstance(again.objective, ReaderObjective)
    assert same_state(trainer, again)


def test_what_it_cannot_learn_from_is_refused() -> None:
    for alone, chosen in (("reader", ReaderObjective), ("noisy", DeltaObjective)):
        with pytest.raises(ValueError, match=f"{alone} is trained alone, and the model is not"):
            chosen(RESTORER, PhotographConfig(alone=alone), CPU)
    for missing in ("scratches", "blur", "downscale"):
        damage = {kind: weight for kind, weight in ONE_EACH.items() if kind != missing}
        with pytest.raises(ValueError, match="damage of each sort, and some of none"):
            begun(damage=damage)
    with pytest.raises(
        ValueError,
        match="alone is tone, reader, noisy, compressed, blurred, enlarged, sent or web, not 'f'",
    ):
        PhotographConfig(alone="f")


def test_what_f_repaired_is_of_none_as_far_as_it_was_changed() -> None:
    config = PhotographConfig(
        batch=28, crop=32, alone="reader", graphics=0.0, damage=ONE_EACH,
        lambdas=PhotographLambdas(restore=1.0, idem=1.0),
    )  # fmt: skip
    trainer = Trainer(ReaderObjective(GATED, config, CPU))
    f, (draw,) = trainer.objective.f, trainer.draw(scenes(), 0)
    assert isinstance(f, UNet)
    for sort in SORTS:
        conv = f.deltas.get_submodule(f"{sort}.1.conv2")
        torch.nn.init.normal_(conv.get_parameter("weight"), std=0.1)
    weight, bias = f.last.get_parameter("weight"), f.last.get_parameter("bias")

    def again(logit: float) -> tuple[torch.Tensor, torch.Tensor]:
        """What L_idem is with the gate's logit everywhere, and what it should be wide open."""
        torch.nn.init.zeros_(weight[12:])
        torch.nn.init.constant_(bias[12:], logit)
        first = draw.Ax.tensor_split(7)[1:]
        with torch.no_grad():
            made = [f.split(f(x[:1], sort=sort))[0] for x, sort in zip(first, SORTS, strict=True)]
            none = f.reader.logits(places(rounded(torch.cat(made)))).log_softmax(1)[:, 0]
        return trainer.objective.losses(draw)["idem"], -none.mean()

    given, expected = again(20.0)
    assert float(expected) > 0.1
    torch.testing.assert_close(given, expected)
    given.backward()
    trained = {name for name, parameter in f.named_parameters() if parameter.grad is not None}
    assert trained == {f"reader.{name}" for name, _ in f.reader.named_parameters()}
    assert float(again(-20.0)[0].detach()) == 0
    without = replace(config, lambdas=PhotographLambdas(restore=1.0, idem=0.0))
    assert set(ReaderObjective(GATED, without, CPU).losses(draw)) == {"restore"}
