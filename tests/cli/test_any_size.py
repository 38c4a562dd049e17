"""Commands with a model that repairs pictures of any size: what they do, and what they refuse."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.images.encode import encode
from make_it_real.inference import scoring
from make_it_real.weights import model_file, pretrained


def mir(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def pictures(here: Path) -> Path:
    """Two pictures of different sizes in a folder, of which one is grey."""
    folder = here / "pictures"
    folder.mkdir()
    for name, shape in (("colour", (3, 20, 33)), ("grey", (1, 41, 16))):
        generator = torch.Generator().manual_seed(len(name))
        image = (0.4 * torch.randn(shape, generator=generator)).clamp(-1, 1)
        (folder / f"{name}.png").write_bytes(encode(image))
    return folder


# --- nothing of its own to make ---


@pytest.mark.parametrize(
    "words",
    [
        ["generate"], ["generate", "--seeds", "3", "-o", "x.png"], ["mix", "3 - 5"],
        ["interpolate", "1", "2"], ["refine", "--seeds", "0-3"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_needs_a_source_is_refused_in_one_line(
    here: Path, tiny_restorer: Path, words: list[str]
) -> None:
    result = mir(*words, "-m", tiny_restorer)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "restorer repairs pictures (mir project) and has none of its own to make" in line
    assert all(name in line for name in model_file.makers())
    assert not list(here.iterdir())


# --- models ---


def test_models_show_verify_and_export_it(tiny_restorer: Path, tmp_path: Path) -> None:
    assert "any size" in mir("models", "info", tiny_restorer).stdout
    found = json.loads(mir("models", "verify", tiny_restorer, "--json").stdout)
    assert (found["ok"], found["images"], found["difference"]) == (True, 4, 0)
    result = mir("models", "export", tiny_restorer, "-o", tmp_path / "f.pt2")
    assert result.exit_code == 0, result.output
    assert "from torch over images of several sizes" in result.stderr


# --- score ---


def test_score_looks_at_pictures_at_their_own_size(pictures: Path, tiny_restorer: Path) -> None:
    result = mir("score", pictures, "-m", tiny_restorer, "--heat", "heat.png", "--json")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["change"] for line in lines] == sorted(
        (line["change"] for line in lines), reverse=True
    )
    f = pretrained.load(tiny_restorer)
    for line in lines:
        with Image.open(line["input"]) as image:
            data = torch.tensor(list(image.convert("RGB").tobytes()), dtype=torch.uint8)
            x = data.view(1, image.height, image.width, 3).permute(0, 3, 1, 2).float() / 127.5 - 1
        _, r = f.with_change(x)
        assert line["change"] == pytest.approx(float(r.abs().mean()), abs=2e-6)
    with Image.open("heat.png") as sheet:
        # Rows of x, f(x) and the heat map, each at its picture's size, with gaps of 2.
        assert sheet.size == (3 * 33 + 4, 20 + 2 + 41)


def test_score_has_a_gallery_and_a_threshold(pictures: Path, tiny_restorer: Path) -> None:
    result = mir("score", pictures, "-m", tiny_restorer, "--gallery", "g.html", "--threshold", 0)
    assert result.exit_code == 1
    assert "2 of 2 above 0" in result.stderr
    assert Path("g.html").stat().st_size > 1_000


def test_pictures_that_are_too_small_fail_alone(pictures: Path, tiny_restorer: Path) -> None:
    (pictures / "small.png").write_bytes(encode(torch.zeros(3, 7, 30)))
    result = mir("score", pictures, "-m", tiny_restorer)
    assert result.exit_code == 1
    assert "small.png: 30×7 pixels: no side may be under 8" in result.stderr
    assert len(result.stdout.splitlines()) == 2
    assert mir("score", pictures / "small.png", "-m", tiny_restorer).exit_code == 3


@pytest.mark.parametrize("command", ["score", "refine"])
@pytest.mark.parametrize("words", [["--fit", "pad"], ["--invert"], ["--no-invert"]], ids=str)
def test_options_of_framing_are_refused(
    command: str, words: list[str], pictures: Path, tiny_restorer: Path
) -> None:
    result = mir(command, pictures, "-m", tiny_restorer, *words)
    assert result.exit_code == 2
    assert "is not for restorer, which takes pictures as they are" in result.stderr


def test_calibrate_measures_the_middles_of_photographs(pictures: Path, tiny_restorer: Path) -> None:
    result = mir("calibrate", pictures, "-m", tiny_restorer)
    assert result.exit_code == 0, result.output
    calibration = model_file.inspect(tiny_restorer).calibration
    assert calibration["n"] == 2
    assert len(scoring.checked(calibration)) == len(scoring.LEVELS)
    scored = mir("score", pictures, "-m", tiny_restorer, "--json").stdout.splitlines()
    assert all(json.loads(line)["percentile"] is not None for line in scored)


# --- refine ---


def test_refine_takes_pictures_of_one_size(pictures: Path, tiny_restorer: Path) -> None:
    words = ["--steps", 3, "--at", "0,1,3", "-o", "strip.png", "-m", tiny_restorer]
    result = mir("refine", pictures / "colour.png", *words)
    assert result.exit_code == 0, result.output
    with Image.open("strip.png") as strip:
        assert strip.size == (3 * 33 + 4, 20)
    both = mir("refine", pictures, *words, "--overwrite")
    assert both.exit_code == 2
    assert "the pictures differ in size" in both.stderr
