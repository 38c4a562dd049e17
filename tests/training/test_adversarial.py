"""Training: it learns, it repeats, it goes on where it stopped; and mir train around it."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.data.dataset import ImageSet
from make_it_real.degradations.kinds import COLOUR_DAMAGE
from make_it_real.errors import WeightsError
from make_it_real.models.architectures import build
from make_it_real.models.critic import Critic
from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.models.spectral_source import SpectralSource
from make_it_real.training import adversarial
from make_it_real.training import config as training_config
from make_it_real.training.adversarial import Record, Trainer
from make_it_real.training.config import TrainConfig, default_config, default_model
from make_it_real.training.losses import Lambdas
from make_it_real.training.trainer import train
from make_it_real.weights import model_file, pretrained

CPU = torch.device("cpu")
MODEL = IGNConfig(12, 1, 8, (8, 16), 8, 2)
CONFIG = TrainConfig(
    steps=8, decay_steps=3, batch=16, ramp=2, critic_widths=(8, 16), penalty_every=2
)


def bars(n: int = 2) -> ImageSet:
    """n plain images of 12×12: bright bars on black, each at another place."""
    pixels = torch.zeros(n, 1, 12, 12, dtype=torch.uint8)
    for i in range(n):
        pixels[i, 0, 2:10, 2 + i : 5 + i] = 255
    return ImageSet(pixels, None, "bars")


def begun(config: TrainConfig = CONFIG, model: IGNConfig = MODEL) -> Trainer:
    images = bars(4)
    if model.channels == 3:
        images = replace(images, pixels=images.pixels.expand(-1, 3, -1, -1))
    return adversarial.begin(images, model, config, CPU)


def run(trainer: Trainer, steps: int | None = None) -> list[Record]:
    images = bars(4)
    if trainer.f.config.channels == 3:
        images = replace(images, pixels=images.pixels.expand(-1, 3, -1, -1))
    return [step.record() for step in islice(train(trainer, images), steps)]


def same_state(a: Trainer, b: Trainer) -> bool:
    """Parameters, averages, critic, moments and the generator, all bit by bit."""
    states = a.state(), b.state()
    assert states[0].keys() == states[1].keys()
    assert a.step == b.step
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def copied(net: IGN | Critic) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.named_parameters()}


# --- Learning ---


def test_f_learns_to_leave_two_images_as_they_are() -> None:
    config = replace(CONFIG, steps=60, decay_steps=0, lr=2e-3)
    images = bars(2)
    trainer = adversarial.begin(images, MODEL, config, CPU)
    records = [step.record() for step in train(trainer, images)]
    assert [record.step for record in records] == list(range(1, 61))
    first, last = records[0].rec, sum(record.rec for record in records[-5:]) / 5
    assert last < 0.5 * first
    assert all(torch.tensor(list(asdict(record).values())).isfinite().all() for record in records)


def test_training_trains_f_and_the_critic_and_no_statistics() -> None:
    trainer = begun()
    f, C = copied(trainer.f), copied(trainer.C)
    assert isinstance(trainer.f.source, SpectralSource)
    std = trainer.f.source.std.clone()
    run(trainer, 3)
    assert [name for name, p in copied(trainer.f).items() if torch.equal(f[name], p)] == []
    # Only differences of logits are judged: what is added to all of them learns nothing.
    still = {name for name, p in copied(trainer.C).items() if torch.equal(C[name], p)}
    assert still <= {"head.bias"}
    assert torch.equal(trainer.f.source.std, std)


def test_attention_is_not_left_to_cudnn_while_training() -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    begun(CONFIG)
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_each_loss_trains_its_own_network(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = begun()
    seen: dict[str, dict[str, list[Tensor | None]]] = {}

    def note(name: str) -> None:
        gradients = {
            "f": [None if p.grad is None else p.grad.clone() for p in trainer.f.parameters()],
            "C": [None if p.grad is None else p.grad.clone() for p in trainer.C.parameters()],
        }
        seen[name] = gradients

    monkeypatch.setattr(trainer.opt_f, "step", lambda: note("after f's loss"))
    monkeypatch.setattr(trainer.opt_C, "step", lambda: note("after C's loss"))
    run(trainer, 1)
    first, second = seen["after f's loss"], seen["after C's loss"]
    assert all(gradient is not None for gradient in first["f"])
    assert all(gradient is None for gradient in first["C"])
    assert all(gradient is not None for gradient in second["C"])
    for before, after in zip(first["f"], second["f"], strict=True):
        assert before is not None
        assert after is not None
        assert torch.equal(before, after)


def test_the_critics_have_a_part_in_every_so_many_th_step_only() -> None:
    trainer = begun(replace(CONFIG, steps=7, critic_every=3, penalty_every=2))
    records, moved = [], []
    for _ in range(7):
        f, C, average = copied(trainer.f), copied(trainer.C), copied(trainer.f_ema)
        records += run(trainer, 1)
        assert any(not torch.equal(v, f[k]) for k, v in copied(trainer.f).items())
        assert any(not torch.equal(v, average[k]) for k, v in copied(trainer.f_ema).items())
        moved.append(any(not torch.equal(v, C[k]) for k, v in copied(trainer.C).items()))
    assert moved == [False, False, True, False, False, True, False]
    assert [r.critic > 0 for r in records] == moved
    assert [r.real > 0 for r in records] == moved
    assert all(r.rec > 0 and r.restore > 0 for r in records)


def test_a_step_without_critics_repairs_a_whole_batch() -> None:
    trainer = begun(replace(CONFIG, critic_every=2, restored=1, kept=3))
    draw = trainer.draw(bars(4).pixels)
    assert len(draw.Ax) == len(draw.x) == 16
    seen: list[Tensor] = []
    trainer.f.register_forward_hook(lambda net, args, out: seen.append(args[0]))
    trainer.learn(draw)
    assert [len(images) for images in seen] == [16 + 12]
    assert torch.equal(seen[0], torch.cat([draw.Ax, draw.x[:12]]))
    assert len(trainer.draw(bars(4).pixels).Ax) == 4


def test_without_critics_f_learns_to_repair_and_goes_on_making_what_it_made() -> None:
    trainer = begun(replace(CONFIG, critic_every=0, beta1=0.9, kept=2, bf16=False))
    assert trainer.f_before is not None
    for parameter in trainer.f_before.parameters():
        parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=trainer.generator))
    trainer.f.load_state_dict(trainer.f_before.state_dict())
    before, C = copied(trainer.f_before), copied(trainer.C)
    draw = trainer.draw(bars(4).pixels)
    assert len(draw.Ax) == len(draw.x)
    shown: list[Tensor] = []
    trainer.f.register_forward_hook(lambda net, args, out: shown.append(args[0]))
    loss, terms, fake = trainer.loss_repair(draw)
    made = trainer.f_before(draw.z[:4])
    assert torch.equal(shown[0], torch.cat([draw.Ax, draw.x[:8], draw.z[:4], made]))
    # f is f_before still: D(f(z), b) is 0, and D(f(b), b) what f moves of its own images.
    moved = (trainer.f(made) - made).abs().mean()
    torch.testing.assert_close(terms[2], moved)
    lambdas = trainer.config.lambdas
    wanted = lambdas.rec * terms[1] + lambdas.restore * terms[4] + lambdas.idem * moved
    torch.testing.assert_close(loss, wanted)
    assert len(fake) == 0
    records = run(trainer, 5)
    assert all(r.critic == r.real == 0 and r.restore > 0 and r.idem > 0 for r in records)
    for net, state in ((trainer.f_before, before), (trainer.C, C)):
        assert all(torch.equal(value, state[name]) for name, value in copied(net).items())
    assert any(not torch.equal(v, before[k]) for k, v in copied(trainer.f).items())


def test_a_run_that_holds_what_f_made_is_resumed_with_what_that_was(tmp_path: Path) -> None:
    trainer = begun(replace(CONFIG, critic_every=0))
    run(trainer, 3)
    trainer.save(tmp_path / "c.safetensors")
    again = Trainer.load(tmp_path / "c.safetensors", CPU)
    assert run(trainer, 2) == run(again, 2)
    for name, value in trainer.state().items():
        assert torch.equal(value, again.state()[name]), name


def test_momentum_is_for_repair_alone() -> None:
    model = IGNConfig(12, 1, 8, (8, 16), 8, 2)
    assert default_config(model).beta1 == 0
    assert default_config(model, critic_every=2).beta1 == 0
    assert default_config(model, critic_every=0).beta1 == 0.9


def test_terms_are_averaged_over_the_steps_that_have_them() -> None:
    trainer = begun(replace(CONFIG, critic_every=4))
    steps = list(islice(train(trainer, bars(4)), 8))
    mean = training_config.mean(steps)
    for name, over in (("critic", [3, 7]), ("real", [3, 7]), ("restore", list(range(8)))):
        wanted = [asdict(steps[i].record())[name] for i in over]
        assert asdict(mean)[name] == pytest.approx(sum(wanted) / len(wanted))


def test_the_source_takes_the_statistics_of_the_images() -> None:
    trainer = begun()
    for f in (trainer.f, trainer.f_ema):
        mean = f.source.sample(4000, torch.Generator().manual_seed(0)).mean(0)
        wanted = bars(4).pixels.float().mean(0) / 127.5 - 1
        torch.testing.assert_close(mean, wanted, atol=0.08, rtol=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"flip": True}, {"bf16": False}, {"ramp": 0}, {"rest_steps": 1}, {"blend": 1.0},
        {"twice": 1.0}, {"damage": ("glass", "lines")}, {"laws": ("white", "blend")},
    ],
    ids=str,
)  # fmt: skip
def test_other_settings_run(changes: dict[str, Any]) -> None:
    records = run(begun(replace(CONFIG, **changes)), 2)
    for record in records:
        assert torch.tensor(list(asdict(record).values())).isfinite().all()


def test_colour_images_train() -> None:
    trainer = begun(replace(CONFIG, damage=COLOUR_DAMAGE), replace(MODEL, channels=3))
    before = copied(trainer.f)
    run(trainer, 2)
    assert not torch.equal(before["stem.weight"], trainer.f.get_parameter("stem.weight"))


def test_flip_mirrors_about_half_of_the_images() -> None:
    trainer = begun(replace(CONFIG, flip=True, batch=400))
    one = bars(1).pixels
    x = trainer.batch(one)
    plain = one.float() / 127.5 - 1
    mirrored = (x == plain.flip(3)).flatten(1).all(1)
    assert torch.equal(~mirrored, (x == plain).flatten(1).all(1))
    assert 140 < int(mirrored.sum()) < 260


@pytest.mark.parametrize(("blend", "kinds"), [(0.0, False), (1.0, True)])
def test_blended_images_lie_between_x_and_z(blend: float, kinds: bool) -> None:
    trainer = begun(replace(CONFIG, blend=blend, twice=0.0, damage=("thin",)))
    x, z = -torch.ones(50, 1, 12, 12), torch.ones(50, 1, 12, 12)
    Ax = trainer.damaged(x, z, torch.Generator().manual_seed(0))
    # Thinning leaves a black image black; blending moves it towards z by t ~ U(0, 1).
    assert bool((Ax > -1).all()) is kinds
    t = (Ax.flatten(1).mean(1) + 1) / 2
    assert float(t.mean()) == pytest.approx(0.5 if kinds else 0.0, abs=0.1)


# --- The schedule and the average ---


def test_the_learning_rate_falls_to_zero_in_the_decay_steps() -> None:
    config = replace(CONFIG, steps=7, decay_steps=4, lr=1e-3)
    trainer = begun(config)
    rates = [record.lr for record in run(trainer)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    assert trainer.learning_rate() == 0
    assert trainer.step == 7
    assert run(trainer) == []


def test_no_decay_steps_keep_the_learning_rate() -> None:
    rates = [record.lr for record in run(begun(replace(CONFIG, steps=3, decay_steps=0)))]
    assert rates == [CONFIG.lr] * 3


@pytest.mark.parametrize("ema", [0.999, 0.25])
def test_f_ema_is_the_average_by_the_formula(ema: float) -> None:
    trainer = begun(replace(CONFIG, ema=ema, lr=1e-2))
    wanted = {name: value.double() for name, value in copied(trainer.f).items()}
    for step in range(1, 6):
        run(trainer, 1)
        decay = min(ema, (1 + step) / (10 + step))
        now = copied(trainer.f)
        wanted = {n: decay * w + (1 - decay) * now[n].double() for n, w in wanted.items()}
    for name, value in copied(trainer.f_ema).items():
        torch.testing.assert_close(value.double(), wanted[name], atol=1e-6, rtol=0)
        # It lags behind: the average is not f itself.
    assert not torch.equal(
        trainer.f_ema.get_parameter("last.weight"), trainer.f.get_parameter("last.weight")
    )


def test_averaging_builds_no_graph() -> None:
    trainer = begun()
    for _ in range(3):
        run(trainer, 1)
        for parameter in trainer.f_ema.parameters():
            assert not parameter.requires_grad
            assert parameter.grad_fn is None
            assert parameter.grad is None
            assert parameter.is_leaf


# --- The same again, and going on ---


def test_two_runs_with_one_seed_are_equal_bit_by_bit() -> None:
    trainers = [begun(), begun()]
    records = [run(trainer, 5) for trainer in trainers]
    assert records[0] == records[1]
    assert same_state(*trainers)


def test_training_leaves_the_global_generator_out() -> None:
    trainers = [begun(), begun()]
    records = []
    for seed, trainer in enumerate(trainers):
        torch.manual_seed(seed)
        records.append(run(trainer, 3))
    assert records[0] == records[1]


def test_another_seed_is_another_run() -> None:
    first, other = (run(begun(replace(CONFIG, seed=seed)), 1) for seed in (0, 1))
    assert first != other


@pytest.mark.parametrize("stop", [0, 1, 4, 7])
def test_stopping_and_going_on_equals_never_stopping(tmp_path: Path, stop: int) -> None:
    whole = begun()
    records = run(whole)
    part = begun()
    before = run(part, stop)
    part.save(tmp_path / "c.safetensors")
    torch.manual_seed(99)
    resumed = Trainer.load(tmp_path / "c.safetensors", CPU)
    assert resumed.step == stop
    assert same_state(resumed, part)
    assert before + run(resumed) == records
    assert same_state(resumed, whole)


def test_moments_lie_in_memory_as_their_parameters_do(tmp_path: Path) -> None:
    # The fused optimizer goes through memory and does not look at strides.
    trainer = begun()
    run(trainer, 1)
    trainer.save(tmp_path / "c.safetensors")
    resumed = Trainer.load(tmp_path / "c.safetensors", CPU)
    compared = 0
    for optimizer in (resumed.opt_f, resumed.opt_C):
        for parameter in optimizer.param_groups[0]["params"]:
            for kind in ("exp_avg", "exp_avg_sq"):
                assert optimizer.state[parameter][kind].stride() == parameter.stride()
                compared += not parameter.is_contiguous()
    assert compared > 0


def test_a_checkpoint_keeps_its_config(tmp_path: Path) -> None:
    config = replace(
        CONFIG, lambdas=Lambdas(rec=7.5), damage=("blur", "mask"), seed=3, flip=True, lr=1e-5
    )
    begun(config).save(tmp_path / "c.safetensors")
    assert Trainer.load(tmp_path / "c.safetensors", CPU).config == config
    changed = Trainer.load(tmp_path / "c.safetensors", CPU, steps=99, lr=0.5)
    assert changed.config == replace(config, steps=99, lr=0.5)
    assert changed.learning_rate() == 0.5
    assert changed.f.config == MODEL


def test_resuming_goes_on_freezing_the_average(tmp_path: Path) -> None:
    begun().save(tmp_path / "c.safetensors")
    resumed = Trainer.load(tmp_path / "c.safetensors", CPU)
    run(resumed, 1)
    assert not any(p.requires_grad for p in resumed.f_ema.parameters())
    assert all(p.requires_grad for p in resumed.f.parameters())


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    trainer = begun()
    run(trainer, 1)
    header = {"step": 1, "model": asdict(MODEL), "config": asdict(trainer.config)}
    return safetensors.torch.save(
        {name: t.contiguous() for name, t in trainer.state().items()},
        {"mir_checkpoint": json.dumps(header)},
    )


def not_resumed(path: Path) -> None:
    with pytest.raises(WeightsError, match="not a checkpoint to resume from") as caught:
        Trainer.load(path, CPU)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path: Path, checkpoint: bytes, share: float) -> None:
    path = tmp_path / "c.safetensors"
    path.write_bytes(checkpoint[: round(share * len(checkpoint))])
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
    tmp_path: Path, checkpoint: bytes, changes: dict[str, Any]
) -> None:
    length = struct.unpack("<Q", checkpoint[:8])[0]
    header = json.loads(checkpoint[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["mir_checkpoint"])
    header["__metadata__"]["mir_checkpoint"] = json.dumps(inner | changes)
    text = json.dumps(header).encode()
    path = tmp_path / "c.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + checkpoint[8 + length :])
    not_resumed(path)


@pytest.mark.parametrize(
    "key", ["f.stem.bias", "f_ema.last.bias", "C.head.bias", "generator", "opt_f.99.exp_avg"]
)
def test_a_checkpoint_of_other_tensors_is_refused(
    tmp_path: Path, checkpoint: bytes, key: str
) -> None:
    length = struct.unpack("<Q", checkpoint[:8])[0]
    metadata = json.loads(checkpoint[8 : 8 + length])["__metadata__"]
    tensors = safetensors.torch.load(checkpoint)
    if key in tensors:
        del tensors[key]
    else:
        tensors[key] = torch.zeros(3)
    safetensors.torch.save_file(tensors, tmp_path / "c.safetensors", metadata)
    not_resumed(tmp_path / "c.safetensors")


def test_f_sees_as_many_images_as_the_quarters_say() -> None:
    seen: list[int] = []
    trainer = begun(replace(CONFIG, restored=2, kept=1))
    trainer.f.register_forward_hook(lambda f, given, out: seen.append(len(given[0])))
    draw = trainer.draw(bars(4).pixels)
    assert len(draw.Ax) == 8
    trainer.loss_f(draw)
    # z, Ax and x; then, after some steps without gradient, f(s + ε) and f(f(z)).
    assert (seen[0], seen[-1]) == (16 + 8 + 4, 8)


@pytest.mark.parametrize("name", ["restored", "kept"])
@pytest.mark.parametrize("quarters", [0, 5])
def test_there_are_four_quarters(name: str, quarters: int) -> None:
    changes: dict[str, Any] = {name: quarters}
    with pytest.raises(ValueError, match="quarters"):
        replace(CONFIG, **changes)


# --- Defaults for a size ---


@pytest.mark.parametrize(
    ("size", "widths"),
    [
        (8, (64, 128)), (12, (64, 128)), (20, (64, 128)), (28, (64, 128)), (32, (64, 128)),
        (36, (64, 128)), (64, (64, 128, 256)), (96, (64, 128, 256, 256)),
        (128, (64, 128, 256, 256)),
    ],
)  # fmt: skip
def test_the_default_model_halves_to_about_eight_pixels(size: int, widths: tuple[int, ...]) -> None:
    model = default_model(size, 3)
    assert model.image_size == size
    assert model.channels == 3
    assert model.widths == widths
    deep = len(widths) > 2
    assert (model.bottleneck, model.attention) == ((512, True) if deep else (128, False))
    assert model.source == ("mixture" if size <= 64 else "spectral")
    # The weights of a model that is shipped, in float16, stay under 32 MB.
    assert sum(p.numel() for p in build(model).state_dict().values()) * 2 < 32e6


def test_the_default_model_of_digits_is_the_default_but_for_its_z() -> None:
    assert default_model(28, 1) == IGNConfig(source="mixture")


@pytest.mark.parametrize("size", [0, 2, 30, 33])
def test_sizes_that_cannot_be_halved_twice_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        default_model(size, 1)


def test_the_default_recipe_fits_the_model() -> None:
    grey = default_config(default_model(28, 1), steps=5)
    colour = default_config(default_model(64, 3))
    assert grey == TrainConfig(steps=5)
    assert "grayscale" in colour.damage
    assert "grayscale" not in grey.damage
    Critic(64, 3, colour.critic_widths)(torch.zeros(2, 3, 64, 64))


# --- mir train ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bars"
    path.mkdir()
    for i, pixels in enumerate(bars(5).pixels):
        Image.fromarray(pixels[0].numpy()).save(path / f"{i}.png")
    return path


OPTIONS = ["--size", "12", "--channels", "1", "--batch", "16", "--device", "cpu"]


def mir(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_mir_train_writes_a_model_and_goes_on_with_its_run(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = mir("train", folder, "-o", out, *OPTIONS, "--steps", 25, "--licence", "CC0-1.0")
    assert first.exit_code == 0, first.output
    assert first.stdout == f"{out / 'model.safetensors'}\n"
    assert "5 images of 1×12×12" in first.stderr
    assert sorted(os.listdir(out)) == [
        "checkpoint.safetensors", "critic.safetensors", "log.jsonl", "model.safetensors", "samples",
    ]  # fmt: skip
    assert os.listdir(out / "samples") == ["000025.png"]

    info = model_file.inspect(out / "model.safetensors")
    assert (info.name, info.steps, info.licence) == ("run", 25, "CC0-1.0")
    assert info.data == "bars, 5 images"
    model = pretrained.load(out / "model.safetensors")
    trainer = Trainer.load(out / "checkpoint.safetensors", CPU)
    assert torch.equal(
        model.get_parameter("last.weight"), trainer.f_ema.get_parameter("last.weight")
    )
    (line,) = (json.loads(text) for text in (out / "log.jsonl").read_text().splitlines())
    assert line["step"] == 25
    assert {"lr", "rec", "idem", "critic", "images_per_second"} <= line.keys()

    again = mir("train", folder, "-o", out, *OPTIONS)
    assert again.exit_code == 2
    assert "--resume goes on with it" in again.stderr
    assert model_file.inspect(out / "model.safetensors").steps == 25

    more = mir("train", folder, "-o", out, "--resume", "--steps", 27, "--device", "cpu", "-q")
    assert more.exit_code == 0, more.output
    assert model_file.inspect(out / "model.safetensors").steps == 27
    resumed = Trainer.load(out / "checkpoint.safetensors", CPU)
    assert (resumed.step, resumed.config.batch) == (27, 16)
    assert sorted(os.listdir(out / "samples")) == ["000025.png", "000027.png"]


def test_mir_train_refuses_to_resume_what_is_not_there(folder: Path, tmp_path: Path) -> None:
    result = mir("train", folder, "-o", tmp_path / "none", "--resume")
    assert result.exit_code == 2
    assert "is not there to resume from" in result.stderr
    assert not (tmp_path / "none").exists()


def test_mir_train_names_a_damaged_checkpoint(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"damaged")
    result = mir("train", folder, "-o", tmp_path, "--resume", "--device", "cpu")
    assert result.exit_code == 4
    assert "not a checkpoint to resume from" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "options", [["--batch", "18"], ["--channels", "2"], ["--steps", "0"], ["--size", "30"]]
)
def test_mir_train_refuses_options_that_do_not_work(
    folder: Path, tmp_path: Path, options: list[str]
) -> None:
    result = mir("train", folder, "-o", tmp_path / "run", *OPTIONS, *options)
    assert result.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_an_interrupted_run_is_kept(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "make_it_real", "train", str(folder), "-o", str(out)]
    command += [*OPTIONS, "--steps", "1000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        # The log is opened once the handler is there and training begins.
        while not (out / "log.jsonl").exists() and process.poll() is None:
            assert time.monotonic() < deadline, "training never began"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert "interrupted at step" in stderr
    assert "Traceback" not in stderr
    trainer = Trainer.load(out / "checkpoint.safetensors", CPU)
    assert trainer.step >= 1
    assert model_file.inspect(out / "model.safetensors").steps == trainer.step
