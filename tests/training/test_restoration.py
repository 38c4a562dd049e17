"""Repair alone: what f learns, and what it goes on making."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from make_it_real.training import checkpoint, losses
from make_it_real.training.restoration import RestorationObjective
from tests.training.helpers import CPU, bars, begun_restoration, copied, run, same_state


def test_without_critics_f_learns_to_repair_and_goes_on_making_what_it_made() -> None:
    trainer = begun_restoration(beta1=0.9, kept=2, bf16=False)
    for parameter in trainer.objective.f_before.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=trainer.generator))
    trainer.objective.f.load_state_dict(trainer.objective.f_before.state_dict())
    before, C = copied(trainer.objective.f_before), copied(trainer.objective.C)
    (draw,) = trainer.draw(bars(4).pixels, 0)
    assert len(draw.Ax) == len(draw.x)
    shown: list[Tensor] = []
    trainer.objective.f.register_forward_hook(lambda net, args, out: shown.append(args[0]))
    terms = trainer.objective.losses(draw)
    made = trainer.objective.f_ema(draw.z)
    assert len(draw.z) == 4
    assert torch.equal(shown[0], torch.cat([draw.Ax, draw.x[:8], draw.z, made]))
    # f is f_before still, and its average the f that was before.
    moved = (trainer.objective.f(made) - made).abs().mean()
    torch.testing.assert_close(terms["idem"], moved)
    # But for rounding, which differs with the number of images at once.
    assert float(terms["hold"].detach()) < 1e-6
    lambdas = trainer.objective.config.lambdas
    wanted = lambdas.rec * terms["rec"] + lambdas.restore * terms["restore"] + lambdas.idem * moved
    torch.testing.assert_close(losses.weighted_sum(terms, vars(lambdas)), wanted)
    records = run(trainer, 5)
    assert all(r.keys() == {"step", "lr", "rec", "hold", "idem", "restore"} for r in records)
    for net, state in ((trainer.objective.f_before, before), (trainer.objective.C, C)):
        assert all(torch.equal(value, state[name]) for name, value in copied(net).items())
    assert any(not torch.equal(v, before[k]) for k, v in copied(trainer.objective.f).items())


def test_f_is_taught_some_damage_and_held_to_what_it_makes_of_the_rest() -> None:
    trainer = begun_restoration(
        damage={"blur": 1.0, "noise": 1.0}, taught=("blur",), blend=0.0, twice=0.0, bf16=False
    )
    f_before = trainer.objective.f_before
    for parameter in f_before.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=trainer.generator))
    (draw,) = trainer.draw(bars(4).pixels, 0)
    blurred = draw.kinds == 0
    assert 0 < int(blurred.sum()) < len(blurred)
    terms = trainer.objective.losses(draw)
    y, before = trainer.objective.f(draw.Ax), f_before(draw.Ax)
    missed = torch.cat([y[blurred] - draw.x[blurred], y[~blurred] - before[~blurred]])
    torch.testing.assert_close(terms["restore"], missed.abs().mean())


def test_of_faint_damage_f_is_taught_and_of_more_it_is_held_to_what_it_makes() -> None:
    trainer = begun_restoration(
        damage={"noise": 1.0}, taught=("noise",), faint={"noise": 0.4}, fidelity={"noise": 3.0},
        blend=0.0, twice=0.0, bf16=False,
    )  # fmt: skip
    f_before = trainer.objective.f_before
    for parameter in f_before.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=trainer.generator))
    (draw,) = trainer.draw(bars(4).pixels, 0)
    faint = (draw.Ax - draw.x).square().mean((1, 2, 3)).sqrt() < 0.4
    assert 0 < int(faint.sum()) < len(faint)
    terms = trainer.objective.losses(draw)
    y, before = trainer.objective.f(draw.Ax), f_before(draw.Ax)
    missed = torch.cat([3 * (y[faint] - draw.x[faint]), y[~faint] - before[~faint]])
    torch.testing.assert_close(terms["restore"], missed.abs().mean())


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"taught": ("jpeg",)}, "not among the damage: jpeg"), ({"critic_every": 1}, "needs held"),
        ({"faint": {"noise": 0.3}}, "faint is of a kind that is not taught: noise"),
        ({"faint": {"blur": 0}}, "faint of blur must be over 0"),
    ],
)  # fmt: skip
def test_what_can_not_be_taught_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        begun_restoration(**{"damage": {"blur": 1.0}, "taught": ("blur",)} | changes)


def test_a_run_that_holds_what_f_made_is_resumed_with_what_that_was(tmp_path: Path) -> None:
    trainer = begun_restoration()
    run(trainer, 3)
    checkpoint.save(trainer, tmp_path / "c.safetensors")
    again = checkpoint.load(tmp_path / "c.safetensors", CPU)
    assert run(trainer, 2) == run(again, 2)
    assert isinstance(again.objective, RestorationObjective)
    assert same_state(trainer, again)


def test_a_run_goes_on_with_critics_where_it_is_told_to(tmp_path: Path) -> None:
    trainer = begun_restoration()
    run(trainer, 2)
    checkpoint.save(trainer, tmp_path / "c.safetensors")
    again = checkpoint.load(tmp_path / "c.safetensors", CPU, critic_every=1)
    assert all(
        torch.equal(value, copied(again.objective.C)[name])
        for name, value in copied(trainer.objective.C).items()
    )
    assert "critic" in run(again, 1)[0]


def test_a_run_goes_on_with_the_energy_distance_where_it_is_told_to(tmp_path: Path) -> None:
    trainer = begun_restoration(held=True, critic_every=1)
    run(trainer, 1)
    checkpoint.save(trainer, tmp_path / "c.safetensors")
    again = checkpoint.load(tmp_path / "c.safetensors", CPU, energy=1.0)
    run(again, 2)
    assert int(again.objective.bank.count) == 32
    checkpoint.save(again, tmp_path / "c.safetensors")
    third = checkpoint.load(tmp_path / "c.safetensors", CPU)
    assert same_state(again, third)
