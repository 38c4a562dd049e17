"""mir train: a run's folder, begun, gone on with, stopped, and what is refused."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest
import torch
from torch import Tensor

from make_it_real.training import checkpoint, compiling
from make_it_real.training.events import Notice
from make_it_real.training.graphs import Graphs
from make_it_real.training.run import Run
from make_it_real.weights import model_card, model_file, pretrained
from tests.training.helpers import (
    CONFIG,
    CPU,
    OPTIONS,
    Compiled,
    Repeated,
    bars,
    begun,
    begun_ign,
    mir,
    run,
)


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
    trainer = checkpoint.load(out / "checkpoint.safetensors", CPU)
    assert torch.equal(
        model.get_parameter("last.weight"), trainer.objective.f_ema.get_parameter("last.weight")
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
    resumed = checkpoint.load(out / "checkpoint.safetensors", CPU)
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
    trainer = checkpoint.load(out / "checkpoint.safetensors", CPU)
    assert trainer.step >= 1
    assert model_file.inspect(out / "model.safetensors").steps == trainer.step


def test_mir_train_by_the_paper_s_objective(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = mir(
        "train", folder, "-o", out, *OPTIONS, "--objective", "ign", "--steps", 25, "--set",
        "norm=group", "--source", "white", "--set", "tight_rec=x", "--set", "clamp=2",
        "--set", "lambdas.rec=10", "--set", "lambdas.idem=11", "--set", "lambdas.tight=1.5",
    )  # fmt: skip
    assert first.exit_code == 0, first.output
    info = model_file.inspect(out / "model.safetensors")
    assert info.objective == "idempotent generative network, as published"
    assert (info.config["architecture"], info.config["source"]) == ("dcgan", "white")
    assert info.training["lambdas"] == {"rec": 10.0, "idem": 11.0, "tight": 1.5}
    assert (info.training["tight_rec"], info.training["clamp"]) == ("x", 2.0)
    assert model_card.training_command(info) == (
        "mir train DATA -o RUN --size 12 --channels 1 --objective ign --steps 25 --batch 16 "
        "--set clamp=2.0 --set tight_rec=x --set lambdas.rec=10.0 --set lambdas.idem=11.0 "
        "--set lambdas.tight=1.5 --source white --set norm=group"
    )
    (line,) = (json.loads(text) for text in (out / "log.jsonl").read_text().splitlines())
    assert {"rec", "idem", "tight", "images_per_second"} <= line.keys()
    assert (out / "samples" / "000025.png").exists()

    more = mir("train", folder, "-o", out, "--resume", "--steps", 27, "--device", "cpu", "-q")
    assert more.exit_code == 0, more.output
    assert model_file.inspect(out / "model.safetensors").steps == 27
    made = mir("generate", "-m", out, "-n", 2, "-o", tmp_path / "g.png", "-d", "cpu")
    assert made.exit_code == 0, made.output


@pytest.mark.parametrize("objective", ["ign", "adversarial"])
def test_minutes_end_a_run_as_its_last_step_does(
    folder: Path, tmp_path: Path, objective: str
) -> None:
    out = tmp_path / "run"
    result = mir("train", folder, "-o", out, *OPTIONS, "--objective", objective, "--minutes", 0)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out / 'model.safetensors'}\n"
    assert checkpoint.inspect(out / "checkpoint.safetensors").config.objective == objective
    assert model_file.inspect(out / "model.safetensors").steps == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--set", "norm=batch"], ["--set", "clamp=2"], ["--set", "tight_rec=z"],
        ["--set", "lambdas.tight=3"], ["--objective", "ign", "--damage", "noise"],
        ["--objective", "ign", "--set", "lambdas.real=1"],
        ["--objective", "ign", "--set", "lambdas.rec=many"],
        ["--objective", "ign", "--set", "clamp=0"], ["--set", "critic_every=0"],
        ["--objective", "gan"],
    ],
    ids=str,
)  # fmt: skip
def test_options_of_the_other_objective_are_refused(
    folder: Path, tmp_path: Path, options: list[str]
) -> None:
    result = mir("train", folder, "-o", tmp_path / "run", *OPTIONS, *options)
    assert result.exit_code == 2, result.output
    assert not (tmp_path / "run").exists()


def test_the_adversarial_projector_takes_another_law_too(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = mir("train", folder, "-o", out, *OPTIONS, "--steps", 1, "--source", "white")
    assert result.exit_code == 0, result.output
    assert model_file.inspect(out / "model.safetensors").config["source"] == "white"


def test_samples_leave_a_network_in_training_as_it_is(folder: Path, tmp_path: Path) -> None:
    trained = begun_ign(norm="batch")
    run(trained, 2)

    def running() -> list[Tensor]:
        return [v.clone() for k, v in trained.objective.f.state_dict().items() if "running" in k]

    before = running()
    Run(tmp_path, trained, bars(), lambda event: None).save()
    assert trained.objective.f.training
    assert all(torch.equal(a, b) for a, b in zip(before, running(), strict=True))


def test_mir_train_compiles_where_it_is_asked_to(
    folder: Path,
    tmp_path: Path,
    compiler: list[Compiled],
) -> None:
    words = ["--size", 12, "--channels", 1, "--batch", 16, "--device", "cpu", "--steps", 1]
    assert mir("train", folder, "-o", tmp_path / "plain", *words).exit_code == 0
    assert compiler == []
    result = mir("train", folder, "-o", tmp_path / "run", *words, "--set", "compile=true")
    assert result.exit_code == 0, result.output
    assert "f and its critic are compiled in their first steps" in result.stderr
    assert all(c.calls for c in compiler)
    assert checkpoint.load(tmp_path / "run" / "checkpoint.safetensors", CPU).step == 1


def test_a_run_tells_which_way_it_goes_on(
    tmp_path: Path, compiler: list[Compiled], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "tries", lambda trainer: True)
    monkeypatch.setattr(compiling, "Graphs", lambda f, adam, _: Graphs(f, adam, Repeated()))
    told: list[object] = []
    trainer = begun(replace(CONFIG, steps=60, penalty_every=2))
    Run(tmp_path, trainer, bars(), told.append).follow(Event(), 1e9)
    lines = [one.text for one in told if isinstance(one, Notice) and "compiled" in one.text]
    assert len(lines) == 1
    times = r"a step takes [\d.]+ ms, compiled [\d.]+ ms, recorded [\d.]+ ms"
    ways = r"as it is|compiled|recorded|compiled and recorded"
    assert (found := re.fullmatch(rf"{times}; goes on ({ways})", lines[0]))
    assert bool(trainer.objective.compiled) == ("compiled" in found[1])
    assert bool(trainer.graphs) == ("recorded" in found[1])
    assert all(c.calls for c in compiler)


def test_what_cannot_be_compiled_is_told_and_trained(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(net: object, dynamic: bool) -> object:
        def fail(x: Tensor) -> Tensor:
            raise RuntimeError("no compiler")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    words = [*OPTIONS, "--steps", 3, "--set", "compile=true"]
    result = mir("train", folder, "-o", tmp_path / "run", *words)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("not compiled: no compiler\n") == 1
    assert model_file.inspect(tmp_path / "run" / "model.safetensors").steps == 3


def test_mir_train_takes_several_sets_and_refuses_what_it_must(
    folder: Path, tmp_path: Path
) -> None:
    out, second = tmp_path / "run", tmp_path / "second"
    shutil.copytree(folder, second)
    words = ["--set", "critic_every=2", "--steps", 1, "--no-cache"]
    result = mir("train", folder, second, "-o", out, *OPTIONS, *words)
    assert result.exit_code == 0, result.output
    assert "10 images of 1×12×12" in result.stderr
    assert checkpoint.load(out / "checkpoint.safetensors", CPU).objective.config.critic_every == 2
    for options, said in (
        (["--damage", "jpeg"], "kept out of training on purpose: jpeg"),
        (["--damage", "rain"], "no such damage: rain"),
        (["--set", "projected=2"], "projected: a run keeps what it was begun with"),
        (["--set", "clamp=2"], "no setting clamp of the objective adversarial; there are steps, "),
    ):
        refused = mir("train", folder, "-o", out, "--resume", "--device", "cpu", *options)
        assert refused.exit_code == 2, refused.output
        assert said in refused.stderr
    more = ["--resume", "--device", "cpu", "--steps", 2, "--damage", "glass=2,mask", "--new-data"]
    result = mir("train", folder, "-o", out, *more)
    assert result.exit_code == 0, result.output
    config = checkpoint.load(out / "checkpoint.safetensors", CPU).objective.config
    assert config.damage == {"glass": 2, "mask": 1}
    assert (config.steps, config.batch, config.critic_every) == (2, 16, 2)
    command = model_card.training_command(model_file.inspect(out / "model.safetensors"))
    assert command == (
        "mir train DATA -o RUN --size 12 --channels 1 --steps 2 --batch 16 "
        "--damage glass=2,mask --set augment=0.6 --set critic_every=2"
    )


def test_a_projected_critic_is_in_the_checkpoint(folder: Path, tmp_path: Path) -> None:
    words = [*OPTIONS, "--steps", 1, "--set", "projected=2", "--set", "accumulate=2"]
    result = mir("train", folder, "-o", tmp_path / "run", *words)
    assert result.exit_code == 0, result.output
    assert b"P.heads." in (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
