"""Starting from a trained model: what fits is taken, and what doesn't is said."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from make_it_real.models.critic import Critic
from make_it_real.models.mixture_source import MixtureSource
from make_it_real.training import checkpoint, early_stopping, finetune
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.checkpoint import load_critic
from make_it_real.training.finetune import begin_from
from make_it_real.training.trainer import begin, train
from make_it_real.weights import model_file, pretrained
from tests.training.helpers import CPU, MODEL, mir, pictures


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> set[str]:
    return {name for name in a if torch.equal(a[name], b[name])}


def test_everything_is_taken_at_the_same_size(old: Path, critic: Critic) -> None:
    images = pictures()
    trainer, notes = begin_from(old, images, CPU, batch=16)
    f = pretrained.load(old).state_dict()
    parameters = {name for name in f if not name.startswith("source.")}
    for net in (trainer.objective.f, trainer.objective.f_ema):
        # One channel has nothing to mix: that part of the source is the same everywhere.
        assert same(f, net.state_dict()) - {"source.mixing"} == parameters
    assert same(critic.state_dict(), trainer.objective.C.state_dict()) == critic.state_dict().keys()
    # z has the new images' spectrum.
    fresh = begin(AdversarialObjective(MODEL, trainer.objective.config, CPU), images)
    for name in ("source.mean", "source.std"):
        assert torch.equal(
            trainer.objective.f.state_dict()[name], fresh.objective.f.state_dict()[name]
        )
    assert len(notes) == 1
    assert "f starts from old, sha256" in notes[0]
    assert trainer.config.start == f"old, sha256 {model_file.fingerprint(old)}"
    assert trainer.objective.config.critic_widths == (8, 16)
    assert (trainer.step, trainer.objective.f.training) == (0, True)
    next(train(trainer, images))
    assert trainer.step == 1


def test_another_law_of_z_takes_nothing_from_f(old: Path, critic: Critic) -> None:
    trainer, notes = begin_from(old, pictures(), CPU, "mixture", batch=16)
    assert trainer.objective.f.config == replace(MODEL, source="mixture")
    assert isinstance(trainer.objective.f.source, MixtureSource)
    assert float(trainer.objective.f_ema.source.get_buffer("deviations").max()) > 0
    f = pretrained.load(old).state_dict()
    parameters = {name for name in f if not name.startswith("source.")}
    assert same(f, trainer.objective.f_ema.state_dict()) >= parameters
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("size", "channels", "anew_f", "anew_C"),
    [
        (16, 1, {"expand", "position", "squeeze"}, {"head"}),
        (12, 3, {"last", "seen", "stem"}, {"down.0"}),
    ],
)  # fmt: skip
def test_what_does_not_fit_begins_anew_and_is_named(
    old: Path, critic: Critic, size: int, channels: int, anew_f: set[str], anew_C: set[str]
) -> None:
    images = pictures(size=size, channels=channels)
    trainer, notes = begin_from(old, images, CPU, batch=16)
    assert trainer.objective.f.config == replace(MODEL, image_size=size, channels=channels)
    assert len(notes) == 3
    named = [set(note.partition(": ")[2].split(", ")) for note in notes[1:]]
    # The biases of convolutions to a fixed number of channels fit, the weights don't.
    assert named == [anew_f, anew_C]
    f = pretrained.load(old).state_dict()
    now = trainer.objective.f.state_dict()
    taken = {
        name for name in f
        if not name.startswith("source.") and f[name].shape == now[name].shape
    }  # fmt: skip
    assert {"encode.0.conv1.weight", "merge.0.weight", "stem.bias"} <= taken
    for name in taken:
        assert torch.equal(f[name], trainer.objective.f.state_dict()[name]), name
    next(train(trainer, images))


def test_a_size_that_the_model_cannot_have_is_refused(old: Path) -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        begin_from(old, pictures(size=14), CPU)


def test_without_a_critic_a_new_one_gets_a_head_start(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "HEAD_START", 10)
    trainer, notes = begin_from(old, pictures(), CPU, batch=16, critic_widths=(8, 16), augment=0.5)
    assert notes[1:] == [
        "no critic beside it (old.critic.safetensors): a new one gets 10 steps alone"
    ]
    f = pretrained.load(old).state_dict()
    assert {n for n in f if not n.startswith("source.")} <= same(
        f, trainer.objective.f.state_dict()
    )
    fresh = begin(AdversarialObjective(MODEL, trainer.objective.config, CPU), pictures())
    z = fresh.objective.f.source.from_seeds(range(32))
    x = pictures(32).pixels.float() / 127.5 - 1

    def lead(C: Critic) -> float:
        with torch.no_grad():
            return float(C(x).mean() - C(trainer.objective.f(z)).mean())

    assert lead(trainer.objective.C) > lead(fresh.objective.C)
    assert trainer.step == 0


def test_mir_train_from_a_model_takes_its_size_and_says_what_it_does(
    photos: Path, old: Path, critic: Critic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_stopping, "CHECK_EVERY", 2)
    out = tmp_path / "run"
    options = ["--batch", 16, "--steps", 4, "--device", "cpu", "-v"]
    result = mir("train", photos, "--from", old, "-o", out, *options)
    assert result.exit_code == 0, result.output
    for said in ("f starts from old, sha256", "60% of what the critic sees", "4 images held out"):
        assert said in result.stderr, said
    assert "step 2: held-out distance" in result.stderr
    info = model_file.inspect(out / "model.safetensors")
    assert (info.config["image_size"], info.config["channels"]) == (12, 1)
    assert info.data == "photos, 20 images"
    assert info.training["hold_out"] == 4
    assert info.training["augment"] == 0.6
    assert info.steps in (2, 4)
    assert info.figures["held_out_distance"] > 0
    assert load_critic(out / "critic.safetensors").widths == (8, 16)

    again = mir("train", photos, "-o", out, "--resume", "--steps", 5, "--device", "cpu")
    assert again.exit_code == 0, again.output
    assert "4 images held out" in again.stderr
    # And from the run's folder, whose critic is found; at a size of one's own.
    third = mir(
        "train", photos, "--from", out, "-o", tmp_path / "third", "--size", 16,
        "--set", "hold_out=0", "--batch", 16, "--steps", 1, "--device", "cpu", "--set", "augment=0",
    )  # fmt: skip
    assert third.exit_code == 0, third.output
    assert "so begun anew in f: expand, position, squeeze" in third.stderr
    assert "so begun anew in the critic: head" in third.stderr
    assert "held out" not in third.stderr
    assert "the critic sees" not in third.stderr
    assert model_file.inspect(tmp_path / "third" / "model.safetensors").config["image_size"] == 16


def test_training_ends_where_nothing_gets_nearer_to_held_out_images(
    photos: Path, old: Path, critic: Critic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_stopping, "CHECK_EVERY", 1)
    monkeypatch.setattr(early_stopping, "PATIENCE", 2)
    stopping = early_stopping.EarlyStopping
    monkeypatch.setattr(stopping, "copied", lambda self, images: 0.5)
    distances = iter([3.0, 2.0, 4.0, 2.5])
    monkeypatch.setattr(stopping, "distance", lambda self, images: next(distances))
    out = tmp_path / "run"
    result = mir(
        "train", photos, "--from", old, "-o", out, "--batch", 16, "--steps", 99, "--device", "cpu"
    )
    assert result.exit_code == 0, result.output
    assert "stopped at step 4: no lower held-out distance than 2.000 in 2 steps" in result.stderr
    assert result.stderr.count("50% of what f makes are nearly training images") == 1
    info = model_file.inspect(out / "model.safetensors")
    assert (info.steps, info.figures["held_out_distance"]) == (2, 2.0)
    assert checkpoint.load(out / "checkpoint.safetensors", CPU).step == 4


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--from", "nowhere"], 4, "no model 'nowhere'"),
        (["--from", "OLD", "--objective", "ign"], 2, "--from begins a run"),
        (["--from", "OLD", "--size", "18"], 2, "multiple of 4"),
        (
            ["--objective", "ign", "--set", "augment=0.5"],
            2,
            "no setting augment of the objective ign",
        ),
    ],
    ids=lambda value: str(value),
)
def test_mir_train_from_refuses_what_does_not_work(
    photos: Path, old: Path, tmp_path: Path, options: list[str], code: int, message: str
) -> None:
    words = [str(old) if word == "OLD" else word for word in options]
    result = mir("train", photos, "-o", tmp_path / "run", "--device", "cpu", *words)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "run").exists()


def test_a_model_that_repairs_is_not_trained_to_make_images(
    photos: Path, tiny_restorer: Path, tmp_path: Path
) -> None:
    words = ["--from", tiny_restorer, "--objective", "adversarial"]
    result = mir("train", photos, "-o", tmp_path / "run", "--device", "cpu", *words)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "restorer repairs photographs, without z: leave out --objective adversarial" in line
    assert not (tmp_path / "run").exists()
