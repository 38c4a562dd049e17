"""mir generate: which images are written where, what they record, and what is refused."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.cli.options import parse_seeds
from make_it_real.images.pixels import enlarged, grid, to_pixels
from make_it_real.inference import projection as generation
from make_it_real.inference.projection import generate
from make_it_real.inference.variations import shorten
from make_it_real.models.ign import IGN
from make_it_real.weights import model_file


def mir(model: Path, *arguments: object) -> Result:
    line = ["generate", "-m", str(model), "-d", "cpu", *map(str, arguments)]
    return CliRunner().invoke(app, line)


def pixels(source: Path | bytes) -> Tensor:
    """The pixels of a grey PNG, (1, H, W)."""
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
        assert image.mode == "L"
        return torch.from_numpy(np.array(image))[None]


def text(path: Path) -> dict[str, str]:
    with Image.open(path) as image:
        return {str(key): str(value) for key, value in image.info.items()}


def test_the_default_is_a_grid_of_64_seeds(here: Path, tiny_model: Path, tiny_f: IGN) -> None:
    result = mir(tiny_model)
    assert result.exit_code == 0, result.output
    assert result.stdout == "generated.png\n"
    assert result.stderr == "tiny on cpu\n"
    assert os.listdir(here) == ["generated.png"]
    sheet = pixels(here / "generated.png")
    assert sheet.shape == (1, 8 * 30 - 2, 8 * 30 - 2)
    assert torch.equal(sheet, to_pixels(grid(generate(tiny_f, range(64)))))


def test_a_grid_records_what_made_it(here: Path, tiny_model: Path) -> None:
    result = mir(tiny_model, "--seeds", "3,0-1,80", "--steps", 2, "-o", "deep/grid.PNG")
    assert result.exit_code == 0, result.output
    found = text(here / "deep" / "grid.PNG")
    assert found["model"] == "tiny"
    assert found["model-sha256"] == model_file.fingerprint(tiny_model)
    assert found["steps"] == "2"
    assert parse_seeds(found["seeds"]) == [3, 0, 1, 80]
    assert found["Software"].startswith("make-it-real ")


def test_a_folder_gets_one_file_a_seed(here: Path, tiny_model: Path, tiny_f: IGN) -> None:
    result = mir(tiny_model, "--seeds", "12,1234567", "-k", 2, "-o", "out")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["out/000012.png", "out/1234567.png"]
    assert sorted(os.listdir(here / "out")) == ["000012.png", "1234567.png"]
    wanted = to_pixels(generate(tiny_f, [12, 1234567], steps=2))
    assert torch.equal(pixels(here / "out/000012.png"), wanted[0])
    assert torch.equal(pixels(here / "out/1234567.png"), wanted[1])
    found = text(here / "out/000012.png")
    assert (found["seed"], found["steps"], found["model"]) == ("12", "2", "tiny")
    assert found["model-sha256"] == model_file.fingerprint(tiny_model)


def test_n_and_seed_count_on(here: Path, tiny_model: Path) -> None:
    assert mir(tiny_model, "--seed", 7, "-n", 3, "-o", "out").exit_code == 0
    assert sorted(os.listdir(here / "out")) == ["000007.png", "000008.png", "000009.png"]


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_one_seed_is_one_image_whatever_the_batch(
    here: Path, tiny_model: Path, tiny_f: IGN, batch: int
) -> None:
    assert mir(tiny_model, "--seeds", "0-4", "--batch", batch, "-o", "out").exit_code == 0
    for seed in range(5):
        alone = to_pixels(generate(tiny_f, [seed]))[0]
        apart = pixels(here / "out" / f"{seed:06d}.png").int() - alone.int()
        # The last bits of float arithmetic may tip the rounding of a pixel.
        assert apart.abs().max() <= 1


def test_grids_of_any_batch_are_alike(here: Path, tiny_model: Path) -> None:
    sheets = []
    for batch in (1, 3, 64):
        result = mir(tiny_model, "-n", 5, "--batch", batch, "-o", f"{batch}.png")
        assert result.exit_code == 0
        sheets.append(pixels(here / f"{batch}.png").int())
    assert sheets[0].shape == (1, 58, 88)
    assert all((sheet - sheets[0]).abs().max() <= 1 for sheet in sheets)


def test_default_names_take_the_next_free_number(here: Path, tiny_model: Path) -> None:
    for name in ("generated.png", "generated_2.png", "generated_3.png"):
        assert mir(tiny_model, "-n", 1).stdout == f"{name}\n"
    assert len(os.listdir(here)) == 3


def test_an_existing_grid_is_not_overwritten(here: Path, tiny_model: Path) -> None:
    (here / "grid.png").write_bytes(b"mine")
    result = mir(tiny_model, "-n", 1, "-o", "grid.png")
    assert result.exit_code == 1
    assert result.stderr == "mir: grid.png exists; --overwrite replaces it\n"
    assert (here / "grid.png").read_bytes() == b"mine"
    assert mir(tiny_model, "-n", 1, "-o", "grid.png", "--overwrite").exit_code == 0
    assert pixels(here / "grid.png").shape == (1, 28, 28)


def test_existing_files_of_a_folder_are_skipped_and_counted(here: Path, tiny_model: Path) -> None:
    (here / "out").mkdir()
    (here / "out/000001.png").write_bytes(b"mine")
    result = mir(tiny_model, "-n", 3, "-o", "out")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["out/000000.png", "out/000002.png"]
    assert "1 skipped" in result.stderr
    assert (here / "out/000001.png").read_bytes() == b"mine"

    result = mir(tiny_model, "-n", 3, "-o", "out")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "3 skipped" in result.stderr

    assert mir(tiny_model, "-n", 3, "-o", "out", "--overwrite").exit_code == 0
    assert pixels(here / "out/000001.png").shape == (1, 28, 28)
    assert sorted(os.listdir(here / "out")) == ["000000.png", "000001.png", "000002.png"]


def test_two_jobs_on_one_folder_make_each_seed_once(
    here: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other job writes seeds 1 and 4 after this one has looked, 1 while f is at work.
    original, other = generation.generate, iter([1, 4])

    def beside(*arguments: Any, **more: Any) -> Tensor:
        images = original(*arguments, **more)
        for seed in other:
            (here / f"out/{seed:06d}.png").write_bytes(b"theirs")
        return images

    monkeypatch.setattr(generation, "generate", beside)
    result = mir(tiny_model, "-n", 6, "--batch", 2, "-o", "out")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 4), result.stderr
    assert "2 skipped" in result.stderr
    assert [(here / f"out/{seed:06d}.png").read_bytes() for seed in (1, 4)] == [b"theirs"] * 2


@pytest.mark.parametrize("seeds", ["a", "", "1-", "0..3", "1.5", "0-3;5"])
def test_what_a_list_of_seeds_looks_like_is_said(here: Path, tiny_model: Path, seeds: str) -> None:
    for command in ("generate", "refine"):
        line = [command, "--seeds", seeds, "-m", str(tiny_model)]
        result = CliRunner().invoke(app, line, env={"COLUMNS": "200"})
        assert result.exit_code == 2
        assert f"--seeds: {seeds!r} is no list of seeds such as 5, 0-63 or 0-63,80" in result.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file names")
def test_names_that_are_no_text_may_be_mixed_and_drawn_like(here: Path, tiny_model: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    Image.effect_noise((28, 28), 80).save(here / name)
    for command, said in (
        (["generate", "-n", "1", "--like", name, "-o", "like.png"], "like"),
        (["mix", f"'{name}' + 3", "-o", "mix.png"], "mix"),
        (["interpolate", name, "3", "-o", "ends.png"], "ends"),
    ):
        line = ["-m", "make_it_real", *command, "-m", str(tiny_model), "-d", "cpu", "--json"]
        done = subprocess.run([sys.executable, *line], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        assert r"caf\udce9.png" in text(here / f"{said}.png")[said]


def test_a_slash_at_the_end_means_a_folder(here: Path, tiny_model: Path) -> None:
    assert mir(tiny_model, "-n", 1, "-o", "x.png/").exit_code == 0
    assert os.listdir(here / "x.png") == ["000000.png"]


def test_a_file_where_the_folder_should_be_is_an_error(here: Path, tiny_model: Path) -> None:
    (here / "out").write_text("mine")
    result = mir(tiny_model, "-n", 1, "-o", "out")
    assert result.exit_code == 1
    assert "can't make the folder out" in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert (here / "out").read_text() == "mine"


def test_stdout_gets_the_grid_and_nothing_else(here: Path, tiny_model: Path, tiny_f: IGN) -> None:
    result = mir(tiny_model, "-n", 2, "-o", "-")
    assert result.exit_code == 0
    wanted = to_pixels(grid(generate(tiny_f, range(2))))
    assert torch.equal(pixels(result.stdout_bytes), wanted)
    assert os.listdir(here) == []


def test_json_says_what_was_written(here: Path, tiny_model: Path) -> None:
    result = mir(tiny_model, "-n", 2, "-o", "out", "--json", "-q")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    rest = {"steps": 1, "model": "tiny"}
    assert lines == [{"seed": s, "output": f"out/00000{s}.png", **rest} for s in (0, 1)]
    assert result.stderr == ""
    (line,) = mir(tiny_model, "--seeds", "5", "-k", 2, "--json").stdout.splitlines()
    wanted = {"seeds": [5], "output": "generated.png", "steps": 2, "model": "tiny"}
    assert json.loads(line) == wanted


@pytest.mark.parametrize(
    ("written", "seeds"),
    [
        ("5", [5]), ("0-3", [0, 1, 2, 3]), ("0-2,80", [0, 1, 2, 80]), ("9,3", [9, 3]),
        (" 1 , 4-4 ", [1, 4]), (str(2**63 - 1), [2**63 - 1]),
    ],
)  # fmt: skip
def test_seeds_are_numbers_and_ranges(written: str, seeds: list[int]) -> None:
    assert parse_seeds(written) == seeds
    assert parse_seeds(shorten(seeds)) == seeds


@pytest.mark.parametrize(
    "written",
    [
        "", "x", "1-", "-1", "3-1", "1,,2", "1,1", "0-3,2", "1.5", "0-10000000", str(2**63),
        "1--2", "1-2-3", "1;2",
    ],
)  # fmt: skip
def test_other_seeds_are_refused(here: Path, tiny_model: Path, written: str) -> None:
    result = mir(tiny_model, f"--seeds={written}")
    assert result.exit_code == 2
    assert "--seeds" in result.stderr
    assert os.listdir(here) == []


@pytest.mark.parametrize(
    "options",
    [
        ["--n", "0"], ["--seed", "-1"], ["--steps", "0"], ["--batch", "0"], ["-o", "-", "--json"],
        ["--nothing"], ["surplus"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_exits_with_2(here: Path, tiny_model: Path, options: list[str]) -> None:
    assert mir(tiny_model, *options).exit_code == 2
    assert os.listdir(here) == []


@pytest.mark.parametrize("make", [False, True])
def test_a_missing_or_damaged_model_exits_with_4(here: Path, tmp_path: Path, make: bool) -> None:
    path = tmp_path / "bad.safetensors"
    if make:
        path.write_bytes(b"no model")
    result = mir(path, "-n", 1)
    assert result.exit_code == 4
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("mir: ")
    assert "bad.safetensors" in line
    assert os.listdir(here) == []


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "tpu:0"])
def test_a_device_that_is_not_there_exits_with_4(here: Path, tiny_model: Path, device: str) -> None:
    result = mir(tiny_model, "-n", 1, "-d", device)
    assert result.exit_code == 4
    (line,) = result.stderr.splitlines()
    assert device in line
    assert os.listdir(here) == []


@pytest.mark.parametrize(
    "arguments",
    [("-o", "d.jpg"), ("-o", ""), ("--seed", 2**63), ("--seed", 10**30), ("-o", "-", "--json")],
)
def test_outputs_and_seeds_that_make_no_sense_exit_with_2(
    here: Path, tiny_model: Path, arguments: tuple[str | int, ...]
) -> None:
    assert mir(tiny_model, "-n", 1, *arguments).exit_code == 2
    assert not os.listdir(here)


def test_a_folder_done_before_is_skipped_and_said(here: Path, tiny_model: Path) -> None:
    mir(tiny_model, "-n", 2, "-o", "out")
    again = mir(tiny_model, "-n", 3, "-o", "out", "--json")
    assert "2 skipped" in again.stderr
    assert [json.loads(line)["seed"] for line in again.stdout.splitlines()] == [2]


@pytest.mark.parametrize("output", ["grid.png", "folder"])
def test_scale_makes_each_pixel_a_square(here: Path, tiny_model: Path, output: str) -> None:
    def saved(scale: int) -> Tensor:
        target = f"{scale}/{output}"
        result = mir(tiny_model, "--seeds", "3-8", "-o", target, "--scale", scale)
        assert result.exit_code == 0, result.output
        return pixels(here / target if target.endswith("png") else here / target / "000003.png")

    small, large = saved(1), saved(3)
    assert torch.equal(large, enlarged(small, 3))


@pytest.mark.parametrize("scale", [0, 33])
def test_a_scale_out_of_range_is_wrong_usage(here: Path, tiny_model: Path, scale: int) -> None:
    assert mir(tiny_model, "--scale", scale).exit_code == 2
