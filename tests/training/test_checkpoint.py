"""Checkpoints: going on equals never stopping; what is none is refused; critics come back."""

import json
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from make_it_real.errors import WeightsError
from make_it_real.models.critic import Critic
from make_it_real.training import checkpoint
from make_it_real.training.checkpoint import load_critic, save_critic
from make_it_real.training.lambdas import AdversarialLambdas
from make_it_real.weights.model_file import critic_path
from tests.training.helpers import CONFIG, CPU, MODEL, begun, run, same_state


@pytest.mark.parametrize("stop", [0, 1, 4, 7])
def test_stopping_and_going_on_equals_never_stopping(tmp_path: Path, stop: int) -> None:
    whole = begun()
    records = run(whole)
    part = begun()
    before = run(part, stop)
    checkpoint.save(part, tmp_path / "c.safetensors")
    torch.manual_seed(99)
    resumed = checkpoint.load(tmp_path / "c.safetensors", CPU)
    assert resumed.step == stop
    assert same_state(resumed, part)
    assert before + run(resumed) == records
    assert same_state(resumed, whole)


def test_moments_lie_in_memory_as_their_parameters_do(tmp_path: Path) -> None:
    # The fused optimizer goes through memory and does not look at strides.
    trainer = begun()
    run(trainer, 1)
    checkpoint.save(trainer, tmp_path / "c.safetensors")
    resumed = checkpoint.load(tmp_path / "c.safetensors", CPU)
    compared = 0
    for optimizer in (resumed.optimizers["f"], resumed.optimizers["C"]):
        for parameter in optimizer.param_groups[0]["params"]:
            for kind in ("exp_avg", "exp_avg_sq"):
                assert optimizer.state[parameter][kind].stride() == parameter.stride()
                compared += not parameter.is_contiguous()
    assert compared > 0


def test_a_checkpoint_keeps_its_config(tmp_path: Path) -> None:
    config = replace(
        CONFIG,
        lambdas=AdversarialLambdas(rec=7.5),
        damage={"blur": 2, "mask": 1},
        seed=3,
        flip=True,
        lr=1e-5,
    )
    checkpoint.save(begun(config), tmp_path / "c.safetensors")
    assert checkpoint.load(tmp_path / "c.safetensors", CPU).config == config
    changed = checkpoint.load(tmp_path / "c.safetensors", CPU, steps=99, lr=0.5)
    assert changed.config == replace(config, steps=99, lr=0.5)
    assert changed.learning_rate() == 0.5
    assert changed.objective.f.config == MODEL


def test_resuming_goes_on_freezing_the_average(tmp_path: Path) -> None:
    checkpoint.save(begun(), tmp_path / "c.safetensors")
    resumed = checkpoint.load(tmp_path / "c.safetensors", CPU)
    run(resumed, 1)
    assert not any(p.requires_grad for p in resumed.objective.f_ema.parameters())
    assert all(p.requires_grad for p in resumed.objective.f.parameters())


@pytest.fixture(scope="module")
def whole() -> bytes:
    trainer = begun()
    run(trainer, 1)
    header = {"step": 1, "model": asdict(MODEL), "config": asdict(trainer.config)}
    return safetensors.torch.save(
        {name: t.contiguous() for name, t in checkpoint.state(trainer).items()},
        {"mir_checkpoint": json.dumps(header)},
    )


def not_resumed(path: Path) -> None:
    with pytest.raises(WeightsError, match="not a checkpoint to resume from") as caught:
        checkpoint.load(path, CPU)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, whole: bytes, share: float) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(whole[: round(share * len(whole))])
    not_resumed(path)


def test_no_checkpoint_and_no_safetensors_file_are_refused(tmp_path: Path) -> None:
    not_resumed(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("This is not a checkpoint at all.")
    not_resumed(tmp_path / "text.safetensors")


def test_a_model_is_no_checkpoint(tiny_model: Path) -> None:
    not_resumed(tiny_model)


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "many"}, {"step": None}, {"model": {"image_size": 30}}, {"model": None},
        {"model": asdict(MODEL) | {"blocks": 4}}, {"config": {"colour": "blue"}},
        {"model": asdict(MODEL) | {"bottleneck": 16}}, {"config": None},
        {"config": {"damage": ["jpeg"]}}, {"config": {"damage": ["scratches"]}},
        {"config": {"critic_widths": [8, 8]}},
    ],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_with_another_header_is_refused(
    tmp_path: Path, whole: bytes, changes: dict[str, Any]
) -> None:
    with_header(tmp_path / "c.safetensors", whole, changes)
    not_resumed(tmp_path / "c.safetensors")


OLD = {"energy": 0.0, "laws": [], "law_share": 0.2, "spread": 1.0}


def test_settings_that_are_no_longer_there_do_no_harm_where_nobody_used_them(
    tmp_path: Path, whole: bytes
) -> None:
    path, config = tmp_path / "c.safetensors", asdict(CONFIG)
    for name in ("accumulate", "compile"):
        del config[name]
    config["damage"] = [kind for kind, n in config["damage"].items() for _ in range(n)]
    with_header(path, whole, {"config": config | OLD})
    assert checkpoint.load(path, CPU).config == CONFIG
    used = (
        ("energy", 1.0, "it needs held"),
        ("laws", ["white"], "laws is .*no longer trains with"),
        ("spread", 1.3, "spread is .*no longer trains with"),
    )
    for name, value, message in used:
        with_header(path, whole, {"config": config | OLD | {name: value}})
        with pytest.raises(WeightsError, match=message):
            checkpoint.load(path, CPU)


def with_header(path: Path, whole: bytes, changes: dict[str, Any]) -> None:
    """Write the checkpoint with some of its header's fields changed."""
    length = struct.unpack("<Q", whole[:8])[0]
    header = json.loads(whole[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["mir_checkpoint"])
    header["__metadata__"]["mir_checkpoint"] = json.dumps(inner | changes)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + whole[8 + length :])


@pytest.mark.parametrize(
    "key", ["f.stem.bias", "f_ema.last.bias", "C.head.bias", "generator", "opt_f.99.exp_avg"]
)
def test_a_checkpoint_of_other_tensors_is_refused(tmp_path: Path, whole: bytes, key: str) -> None:
    length = struct.unpack("<Q", whole[:8])[0]
    metadata = json.loads(whole[8 : 8 + length])["__metadata__"]
    tensors = safetensors.torch.load(whole)
    if key in tensors:
        del tensors[key]
    else:
        tensors[key] = torch.zeros(3)
    safetensors.torch.save_file(tensors, tmp_path / "c.safetensors", metadata)
    not_resumed(tmp_path / "c.safetensors")


def test_the_critic_lies_beside_its_model() -> None:
    assert critic_path(Path("run/model.safetensors")) == Path("run/critic.safetensors")
    assert critic_path(Path("w/mnist.safetensors")) == Path("w/mnist.critic.safetensors")


@pytest.mark.parametrize("quantized", [False, True])
def test_a_critic_comes_back(tmp_path: Path, quantized: bool) -> None:
    C, path = Critic(12, 3, (8, 16)), tmp_path / "critic.safetensors"
    save_critic(C, path, quantized=quantized)
    found = load_critic(path)
    assert (found.image_size, found.channels, found.widths) == (12, 3, (8, 16))
    for name, value in C.state_dict().items():
        # Half a level of the largest weight of each row; biases are kept in float16.
        tolerance = float(value.abs().max()) / 254 if quantized else 0.0
        torch.testing.assert_close(found.state_dict()[name], value, atol=tolerance, rtol=0)
    full = tmp_path / "full.safetensors"
    save_critic(C, full)
    assert (path.stat().st_size < 0.5 * full.stat().st_size) is quantized


def test_a_quantized_critic_needs_its_scales(tmp_path: Path) -> None:
    path = tmp_path / "critic.safetensors"
    save_critic(Critic(12, 3, (8, 16)), path, quantized=True)
    with safetensors.safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = safetensors.torch.load_file(path)
    del tensors["head.weight.scale"]
    safetensors.torch.save_file(tensors, path, metadata)
    with pytest.raises(WeightsError, match=r"missing, the first head.weight.scale"):
        load_critic(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2}, {"widths": [8]}, {"widths": "88"}, {"widths": [8, 24]}, {"image_size": 16},
        {"channels": 1}, {"image_size": None}, {"channels": -1}, {"colour": "blue"},
        {"widths": [1] * 1000}, {"image_size": 2**70}, {"widths": 7},
    ],
    ids=str,
)  # fmt: skip
def test_a_critic_of_another_header_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    path = tmp_path / "critic.safetensors"
    save_critic(Critic(12, 3, (8, 16)), path)
    raw = path.read_bytes()
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["mir_critic"]) | changes
    header["__metadata__"]["mir_critic"] = json.dumps(inner)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])
    with pytest.raises(WeightsError) as caught:
        load_critic(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_model_is_no_critic(tiny_model: Path) -> None:
    with pytest.raises(WeightsError, match="not a critic"):
        load_critic(tiny_model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"damage": {"jpeg": 1}}, "kept out of training on purpose: jpeg"),
        ({"damage": {"rain": 1}}, "no such damage: rain"), ({"clamp": 2.0}, "no setting clamp"),
    ],
    ids=str,
)  # fmt: skip
def test_changes_that_mean_nothing_are_no_fault_of_the_checkpoint(
    tmp_path: Path, whole: bytes, changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "c.safetensors").write_bytes(whole)
    with pytest.raises(ValueError, match=message):
        checkpoint.load(tmp_path / "c.safetensors", CPU, **changes)
