"""Several processes: each draws its own images, and what they learn is the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from make_it_real.training import checkpoint
from make_it_real.weights import model_file
from tests.helpers import torchrun
from tests.training.helpers import CPU, mir, pictures

SCRIPT = """
import sys, weakref
from dataclasses import replace
import torch
from safetensors.torch import save_file
from make_it_real import distributed
distributed.begin(torch.device("cpu"))
from tests.training.helpers import CONFIG, begun, bars
from make_it_real.training import checkpoint
trainer = begun(replace(CONFIG, batch=32, steps=40, bf16=False, augment=0.5))
rank, before = distributed.rank(), distributed.average_gradients
kept = {}

def noted(parameters):
    parameters = list(parameters)
    if trainer.step == 0:
        kept.update({f"own.{len(p.shape)}.{i}": p.grad.clone() for i, p in enumerate(parameters)})
    before(parameters)
    if trainer.step == 0:
        kept.update({f"mean.{len(p.shape)}.{i}": p.grad.clone() for i, p in enumerate(parameters)})

distributed.average_gradients = noted
(draw,) = trainer.draw(bars().pixels, 0)
kept["x"] = draw.x
trainer.learn([draw])
for _ in range(19):
    trainer.train_step(bars().pixels)
state = {k: v.contiguous() for k, v in checkpoint.state(trainer).items()}
save_file(state, f"{sys.argv[1]}/state{rank}.safetensors")
save_file({k: v.contiguous() for k, v in kept.items()}, f"{sys.argv[1]}/kept{rank}.safetensors")
group = weakref.ref(torch.distributed.group.WORLD)
distributed.end()
assert group() is None, "the group and its threads outlive the training"
"""


def test_gradients_are_averaged_and_weights_stay_the_same(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    done = torchrun(tmp_path / "script.py", tmp_path)
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f"kept{rank}.safetensors") for rank in (0, 1))
    # Half a batch each, and not the same one.
    assert first["x"].shape == second["x"].shape == (16, 1, 12, 12)
    assert not torch.equal(first["x"], second["x"])
    means = [name for name in first if name.startswith("mean")]
    assert len(means) > 20
    for name in means:
        own = name.replace("mean", "own")
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], (first[own] + second[own]) / 2)
    assert any(not torch.equal(first[n], first[n.replace("mean", "own")]) for n in means)
    # All but where random numbers go on is the same after 20 steps.
    states = [load_file(tmp_path / f"state{rank}.safetensors") for rank in (0, 1)]
    different = {k for k, v in states[0].items() if not torch.equal(v, states[1][k])}
    assert different == {"generator"}


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
    trainer = checkpoint.load(out / "checkpoint.safetensors", CPU)
    assert trainer.step == 2
    # What the two read, each its share, is what one reads, in the same order.
    alone = [sys.executable, "-m", "make_it_real", *map(str, words), "--resume", "--steps", "3"]
    search = os.pathsep.join(filter(None, sys.path))
    after = subprocess.run(
        alone, env={**os.environ, "PYTHONPATH": search}, capture_output=True, text=True
    )
    assert after.returncode == 0, after.stderr
    assert model_file.inspect(out / "model.safetensors").steps == 3


@pytest.mark.parametrize("setting", ["accumulate=3", "accumulate=32"])
def test_parts_that_do_not_divide_a_batch_are_refused(
    folder: Path, tmp_path: Path, setting: str
) -> None:
    out = tmp_path / "run"
    line = [
        "train",
        folder,
        "-o",
        out,
        "--size",
        12,
        "--batch",
        64,
        "--device",
        "cpu",
        "--set",
        setting,
    ]
    result = mir(*line)
    assert result.exit_code == 2
    assert "need one that is a multiple of" in result.stderr
    assert not out.exists()
