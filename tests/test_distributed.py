"""A batch in parts, by one process or by two, teaches what it teaches as a whole."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from make_it_real.data.dataset import ImageSet
from make_it_real.models.ign import IGNConfig
from make_it_real.training import adversarial
from make_it_real.training.adversarial import Record, Trainer
from make_it_real.training.config import TrainConfig
from make_it_real.weights import model_file

CPU = torch.device("cpu")
MODEL = IGNConfig(12, 1, 8, (8, 16), 8, 2)
CONFIG = TrainConfig(
    steps=40, decay_steps=10, batch=64, ramp=5, critic_widths=(8, 16), augment=0.5, bf16=False
)

SCRIPT = """
import json, sys, weakref
from dataclasses import asdict
import torch
import test_distributed as here
from make_it_real import distributed
distributed.begin(torch.device("cpu"))
trainer = here.begun(accumulate=int(sys.argv[2]))
records = here.train(trainer, 20)
if distributed.rank() == 0:
    trainer.save(here.Path(sys.argv[1] + ".safetensors"))
    with open(sys.argv[1], "w") as file:
        json.dump([asdict(r) for r in records], file)
group = weakref.ref(torch.distributed.group.WORLD)
distributed.end()
assert group() is None, "the group and its threads outlive the training"
"""


def pictures(n: int = 40) -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 1, 12, 12), generator=generator)
    return ImageSet(pixels.byte(), None, "noise")


def begun(accumulate: int = 1, **changes: Any) -> Trainer:
    trainer = adversarial.begin(pictures(), MODEL, replace(CONFIG, **changes), CPU)
    trainer.accumulate = accumulate
    return trainer


def train(trainer: Trainer, steps: int) -> list[Record]:
    return [trainer.train_step(pictures().pixels).record() for _ in range(steps)]


def torchrun(*words: object, processes: int = 2) -> subprocess.CompletedProcess[str]:
    search = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": search, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def alike(a: list[Record], b: list[Record], tolerance: float) -> None:
    assert len(a) == len(b) == 20
    for one, other in zip(a, b, strict=True):
        for name, value in asdict(one).items():
            assert getattr(other, name) == pytest.approx(value, abs=tolerance), (one.step, name)


@pytest.fixture(scope="module")
def whole() -> tuple[Trainer, list[Record]]:
    trainer = begun()
    return trainer, train(trainer, 20)


@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_batch_in_parts_gives_the_losses_of_the_whole(
    whole: tuple[Trainer, list[Record]], accumulate: int
) -> None:
    trainer = begun(accumulate)
    alike(whole[1], train(trainer, 20), 1e-4)
    # Adam makes much of the last bits of small gradients: these are compared before any update.
    trainers = begun(), begun(accumulate)
    for one in trainers:
        train(one, 1)
    for net in ("f", "C"):
        ours, theirs = (one.nets[net].parameters() for one in trainers)
        for a, b in zip(ours, theirs, strict=True):
            assert a.grad is not None
            assert b.grad is not None
            torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-3)


def test_fewer_damaged_images_are_divided_too() -> None:
    whole, parts = begun(restored=2, kept=1), begun(2, restored=2, kept=1)
    ours, theirs = train(whole, 2), train(parts, 2)
    for one, other in zip(ours, theirs, strict=True):
        assert asdict(other) == pytest.approx(asdict(one), abs=1e-4)


def test_the_parts_of_a_draw_are_the_whole_and_keep_their_roles() -> None:
    draw = begun().draw(pictures().pixels)
    parts = [draw.part(i, 2) for i in range(2)]
    for name in ("x", "z", "Ax", "sigma", "white"):
        pieces = [getattr(part, name) for part in parts]
        rows = {tuple(row.flatten().tolist()) for piece in pieces for row in piece}
        assert rows == {tuple(row.flatten().tolist()) for row in getattr(draw, name)}, name
    # The first quarter of each part, which is disturbed, is of the first quarter of the batch.
    first = torch.cat([part.z[:8] for part in parts])
    assert torch.equal(first, draw.z[:16])
    assert torch.equal(
        torch.cat([part.shown(part.z)[:8] for part in parts]), draw.shown(draw.z)[:16]
    )
    assert draw.part(0, 1) is draw


def test_two_processes_and_one_give_the_same_losses(
    whole: tuple[Trainer, list[Record]], tmp_path: Path
) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = torchrun(tmp_path / "script.py", tmp_path / "records.json", 1)
    assert done.returncode == 0, done.stderr
    records = [Record(**r) for r in json.loads((tmp_path / "records.json").read_text())]
    alike(whole[1], records, 1e-4)
    # And one process goes on where the two stopped.
    resumed = Trainer.load(tmp_path / "records.json.safetensors", CPU)
    assert resumed.step == 20
    again = Trainer.load(tmp_path / "records.json.safetensors", CPU)
    again.accumulate = 2
    for one, other in zip(train(resumed, 3), train(again, 3), strict=True):
        assert asdict(one) == pytest.approx(asdict(other), abs=1e-4)


def test_mir_train_by_two_processes_and_on_by_one(tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "run"
    folder.mkdir()
    for i, pixels in enumerate(pictures(5).pixels):
        Image.fromarray(pixels[0].numpy()).save(folder / f"{i}.png")
    (folder / "3b.png").write_bytes(b"no image")
    words = ["train", folder, "-o", out, "--device", "cpu", "--seed", 1]
    options = ["--size", 12, "--channels", 1, "--batch", 32, "--steps", 2]
    done = torchrun("-m", "make_it_real", *words, *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out / 'model.safetensors'}\n"
    assert done.stderr.count("5 images of 1×12×12") == 1
    assert sorted(p.name for p in (out / "samples").iterdir()) == ["000002.png"]
    trainer = Trainer.load(out / "checkpoint.safetensors", CPU)
    assert trainer.step == 2
    # What the two read is what one reads, in the same order.
    alone = [sys.executable, "-m", "make_it_real", *map(str, words), "--resume", "--steps", "3"]
    search = os.pathsep.join(filter(None, sys.path))
    after = subprocess.run(
        alone, env={**os.environ, "PYTHONPATH": search}, capture_output=True, text=True
    )
    assert after.returncode == 0, after.stderr
    assert model_file.inspect(out / "model.safetensors").steps == 3


@pytest.mark.parametrize("words", [["--accumulate", "3"], ["--accumulate", "8"]])
def test_parts_that_do_not_divide_a_batch_are_refused(tmp_path: Path, words: list[str]) -> None:
    from typer.testing import CliRunner

    from make_it_real.cli import app

    for i, pixels in enumerate(pictures(3).pixels):
        Image.fromarray(pixels[0].numpy()).save(tmp_path / f"{i}.png")
    line = ["train", str(tmp_path), "-o", str(tmp_path / "run"), "--size", "12", "--batch", "64"]
    result = CliRunner().invoke(app, [*line, "--device", "cpu", *words])
    assert result.exit_code == 2
    assert not (tmp_path / "run").exists()


def test_a_step_of_one_part_is_the_plain_step() -> None:
    small = replace(CONFIG, batch=20, augment=0.0)
    trainer = adversarial.begin(pictures(), MODEL, small, CPU)
    assert trainer.train_step(pictures().pixels).number == 1
