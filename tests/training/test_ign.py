"""The paper's objective: what f learns, beside its copy."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from make_it_real.training import checkpoint
from make_it_real.training.lambdas import IGNLambdas
from tests.training.helpers import CPU, IGN_CONFIG, begun_ign, finite, run, same_state


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_f_learns_to_leave_images_as_they_are(norm: str) -> None:
    # In full precision: what bfloat16 rounds to differs among processors.
    records = run(begun_ign(replace(IGN_CONFIG, steps=60, lr=2e-3, bf16=False), norm))
    assert [record["step"] for record in records] == list(range(1, 61))
    # Processors differ in their last bits, and after 60 steps by some per cent of this.
    assert sum(record["rec"] for record in records[-5:]) / 5 < 0.6 * records[0]["rec"]
    for record in records:
        assert finite(record)
        assert record["tight"] <= 0


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_copy_is_f_of_before_the_step_in_f_s_own_mode(norm: str) -> None:
    trained = begun_ign(norm=norm)
    before = {k: v.clone() for k, v in trained.objective.f.named_parameters()}
    run(trained, 1)
    for name, value in trained.objective.f_copy.named_parameters():
        assert torch.equal(value, before[name])
        assert value.grad is None
    assert trained.objective.f_copy.training
    trained.objective.f.eval()
    run(trained, 1)
    assert not trained.objective.f_copy.training


def test_every_parameter_is_trained_and_no_statistics() -> None:
    trained = begun_ign()
    before = {k: v.clone() for k, v in trained.objective.f.state_dict().items()}
    run(trained, 2)
    still = {k for k, v in trained.objective.f.state_dict().items() if torch.equal(v, before[k])}
    assert still == {"source.mean", "source.std"}


def test_two_runs_with_one_seed_are_equal_and_another_seed_is_another_run() -> None:
    first, second = begun_ign(), begun_ign()
    assert run(first, 3) == run(second, 3)
    assert same_state(first, second)
    assert run(begun_ign(replace(IGN_CONFIG, seed=1)), 1) != run(begun_ign(), 1)


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("stop", [0, 1, 4])
def test_stopping_and_going_on_equals_never_stopping(tmp_path: Path, norm: str, stop: int) -> None:
    whole = begun_ign(norm=norm)
    records = run(whole)
    part = begun_ign(norm=norm)
    before = run(part, stop)
    checkpoint.save(part, tmp_path / "c.safetensors")
    resumed = checkpoint.load(tmp_path / "c.safetensors", CPU)
    assert before + run(resumed) == records
    assert same_state(resumed, whole)


def test_a_checkpoint_keeps_config_and_objective(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    config = replace(IGN_CONFIG, lambdas=IGNLambdas(1, 2, 3), tight_rec="x", clamp=2.0)
    checkpoint.save(begun_ign(config), path)
    assert checkpoint.inspect(path).config.objective == "ign"
    assert checkpoint.load(path, CPU).config == config
