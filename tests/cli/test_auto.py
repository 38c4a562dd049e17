"""mir project without -m: each picture goes to the model for it, and mir says which and why."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.images import decode
from make_it_real.inference.choice import Auto, Choice, choose
from make_it_real.inference.settings import Model
from make_it_real.models.ign import IGN


def mir(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["project", "-d", "cpu", *arguments])


@pytest.fixture
def folder(here: Path) -> Path:
    """A noisy photograph (made of soft blobs), a drawing, and 64×64 pixels of noise."""
    inside = here / "pictures"
    inside.mkdir()
    random = np.random.default_rng(0)
    small = Image.fromarray(random.integers(20, 235, (6, 8, 3), dtype=np.uint8))
    photograph = np.asarray(small.resize((160, 120), Image.Resampling.BICUBIC)).astype(float)
    noisy = (photograph + random.normal(0, 20, photograph.shape)).clip(0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(inside / "photograph.png")
    noise = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(inside / "small.png")
    sheet = Image.new("RGB", (300, 300), "white")
    ImageDraw.Draw(sheet).ellipse((60, 60, 240, 240), outline="black", width=7)
    sheet.save(inside / "drawing.png")
    return inside


def test_each_picture_goes_to_its_model(folder: Path) -> None:
    result = mir(str(folder), "--json", "-o", "out")
    assert result.exit_code == 0, result.output
    lines = {Path(line["input"]).stem: line for line in map(json.loads, result.stdout.splitlines())}
    assert {name: line["model"] for name, line in lines.items()} == {
        "photograph": "photos", "drawing": "faces", "small": "faces",
    }  # fmt: skip
    assert lines["photograph"]["why"].startswith("photograph: ")
    assert lines["drawing"]["why"].startswith("drawing: ")
    assert "64×64" in lines["small"]["why"]
    assert lines["photograph"]["status"] == "changed"
    with Image.open("out/photograph.png") as written:
        assert any("photos" in value for value in written.info.values() if isinstance(value, str))


def test_a_result_is_that_of_the_model_named(folder: Path) -> None:
    """What auto makes of a photograph is what -m photos makes of it, byte for byte in pixels."""
    assert mir(str(folder / "photograph.png"), "-o", "auto.png").exit_code == 0
    named = mir(str(folder / "photograph.png"), "-m", "photos", "-o", "named.png")
    assert named.exit_code == 0
    assert Image.open("auto.png").tobytes() == Image.open("named.png").tobytes()


def test_verbose_says_why(folder: Path) -> None:
    result = mir("-v", str(folder / "drawing.png"))
    assert result.exit_code == 0
    assert "drawing: " in result.stderr
    assert "so faces" in result.stderr


@pytest.mark.parametrize("option", [["--crop"], ["--fit", "pad"], ["--invert"]])
def test_options_of_one_model_need_its_name(folder: Path, option: list[str]) -> None:
    result = mir(str(folder), *option)
    assert result.exit_code == 2
    assert "name it by -m" in " ".join(result.stderr.split())


def test_photographs_are_enlarged_without_a_name(folder: Path) -> None:
    result = mir(str(folder / "photograph.png"), "--scale", "2", "-o", "large.png")
    assert result.exit_code == 0
    with Image.open("large.png") as large, Image.open(folder / "photograph.png") as given:
        assert large.size == (2 * given.width, 2 * given.height)
    result = mir(str(folder / "photograph.png"), "--scale", "5")
    assert result.exit_code == 2
    assert "up to 4 times" in " ".join(result.stderr.split())


def test_models_are_loaded_once_and_when_they_are_needed(folder: Path, tiny_f: IGN) -> None:
    loaded = []

    def load(name: str) -> Model:
        from make_it_real.images.framing import Framing

        loaded.append(name)
        return Model(tiny_f, Framing(), name)

    auto = Auto(tiny_f.device, load)
    photograph = decode.read(folder / "photograph.png")
    assert auto(photograph)[0].name == "photos"
    assert auto(photograph)[0].name == "photos"
    assert loaded == ["photos"]
    assert choose(decode.read(folder / "small.png")) == Choice(
        "faces", "of the model's size, 64×64"
    )


def test_an_icon_is_no_face(here: Path) -> None:
    icon = Image.new("RGBA", (64, 64))
    ImageDraw.Draw(icon).ellipse((4, 4, 60, 60), "red")
    icon.save("icon.png")
    icon.putalpha(255)
    icon.save("opaque.png")
    assert choose(decode.read(here / "icon.png")) == Choice(
        "photos", "icon: 64×64 and partly transparent"
    )
    assert choose(decode.read(here / "opaque.png")).model == "photos"
