"""--dtype: what commands compute in, and where they say so."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from make_it_real import devices
from make_it_real.cli import app
from make_it_real.images.encode import encode


def mir(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def precision(path: str | Path) -> str | None:
    with Image.open(path) as image:
        assert "model" in image.info
        return image.info.get("precision")


@pytest.fixture
def noisy(here: Path) -> Path:
    path = here / "noisy.png"
    generator = torch.Generator().manual_seed(0)
    path.write_bytes(encode((0.3 * torch.randn(3, 48, 40, generator=generator)).clamp(-1, 1)))
    return path


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("named", [[], ["-m", "photos"]])
def test_photographs_take_bfloat16_where_it_is_fast(
    here: Path, noisy: Path, named: list[str], fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "fast_bf16", lambda device: fast)
    result = mir("project", noisy, *named, "-d", "cpu", "-o", "out.png")
    assert result.exit_code == 0, result.output
    assert precision("out.png") == ("bfloat16" if fast else None)
    assert ("photos on cpu, in bfloat16" in result.stderr) is fast
    chosen = mir("project", noisy, *named, "-d", "cpu", "-o", "32.png", "--dtype", "float32")
    assert chosen.exit_code == 0
    assert precision("32.png") is None


def test_a_seed_is_one_image_unless_bfloat16_is_asked_for(
    here: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "fast_bf16", lambda device: True)
    made = ["generate", "-m", tiny_model, "-n", "2", "-d", "cpu"]
    for name, words in (("a", []), ("b", ["--dtype", "auto"]), ("c", ["--dtype", "bfloat16"])):
        assert mir(*made, *words, "-o", f"{name}.png").exit_code == 0
    assert precision("a.png") is precision("b.png") is None
    assert Image.open("a.png").tobytes() == Image.open("b.png").tobytes()
    assert precision("c.png") == "bfloat16"
    assert Image.open("a.png").tobytes() != Image.open("c.png").tobytes()


def test_who_asks_for_bfloat16_in_vain_is_told(here: Path, noisy: Path) -> None:
    if devices.fast_bf16(torch.device("cpu")):
        pytest.skip("this processor has bfloat16")
    result = mir("project", noisy, "-m", "photos", "-d", "cpu", "--dtype", "bfloat16")
    assert result.exit_code == 0
    assert "--dtype float32 is faster" in result.stderr


def test_evaluate_says_what_it_measured_and_records_float32_alone(
    here: Path, noisy: Path, tiny_restorer: Path, tiny_model: Path
) -> None:
    (here / "data").mkdir()
    noisy.rename(here / "data" / "x.png")
    for dtype in ("float32", "bfloat16"):
        words = ["--crop", "16x16", "--dtype", dtype, "--json", "-d", "cpu"]
        result = mir("evaluate", "data", "-m", tiny_restorer, *words)
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["about"]["dtype"] == dtype
    for model in (tiny_model, tiny_restorer):
        refused = mir("evaluate", "data", "-m", model, "--dtype", "auto", "--record")
        assert refused.exit_code == 2
        assert "float32" in refused.stderr


@pytest.mark.parametrize("words", [["generate"], ["project", "x"], ["evaluate", "x"], ["app"]])
def test_other_numbers_are_refused(words: list[str]) -> None:
    result = mir(*words, "--dtype", "float16")
    assert result.exit_code == 2
    assert "bfloat16" in result.stderr
