"""mir evaluate --batch-statistics: an f with batch norm is measured in both ways."""

import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.evaluation import measurements
from make_it_real.models.architectures import build
from make_it_real.training.networks import paper_model
from make_it_real.weights import model_file


def mir(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_mir_evaluate_measures_batch_norm_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "REST_STEPS", 3)
    monkeypatch.setattr(measurements, "DAMAGE", measurements.DAMAGE[:1])
    random = torch.Generator().manual_seed(0)
    for split, count in (("train", 220), ("t10k", 260)):
        pixels = torch.randint(0, 256, (count, 784), dtype=torch.uint8, generator=random)
        header = struct.pack(">HBBIII", 0, 8, 3, count, 28, 28)
        images = header + pixels.numpy().tobytes()
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(images)
        labels = struct.pack(">HBBI", 0, 8, 1, count) + bytes(i % 10 for i in range(count))
        (tmp_path / f"{split}-labels-idx1-ubyte").write_bytes(labels)
    small: dict[str, Any] = {"widths": (8, 16), "bottleneck": 8}
    paths = {}
    for norm in ("batch", "group"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            f = build(paper_model(28, 1, norm=norm, **small))
        paths[norm] = tmp_path / f"{norm}.safetensors"
        model_file.save(f, model_file.ModelInfo(norm, asdict(f.config)), paths[norm])
    options = ["-n", 200, "--test-images", 200, "--json"]
    running = mir("evaluate", tmp_path, "-m", paths["batch"], *options)
    own = mir("evaluate", tmp_path, "-m", paths["batch"], *options, "--batch-statistics")
    assert running.exit_code == 0, running.output
    assert own.exit_code == 0, own.output
    assert json.loads(running.stdout)["fidelity"] != json.loads(own.stdout)["fidelity"]
    before = paths["batch"].read_bytes()
    for model_, extra in (("group", []), ("batch", ["--record"])):
        refused = mir(
            "evaluate", tmp_path, "-m", paths[model_], *options, "--batch-statistics", *extra
        )
        assert refused.exit_code == 2, refused.output
    assert mir("evaluate", tmp_path, "-m", paths["group"], *options, "--record").exit_code == 2
    assert paths["batch"].read_bytes() == before
