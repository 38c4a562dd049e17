"""mir doctor, and what is told of an installation."""

import json
import tomllib
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from make_it_real import devices, installation
from make_it_real.cli import app
from make_it_real.errors import WeightsError
from make_it_real.models.ign import IGN
from make_it_real.weights import verify

ROOT = Path(__file__).parents[2]


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", "-d", "cpu", *arguments])


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the model takes a second, and passes."""
    found = {"images": 4, "difference": 0, "tensors": "0"}
    monkeypatch.setattr(verify, "check", lambda f, path: found)


def test_all_is_well_here() -> None:
    result = doctor("--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["test"]["ok"]
    assert report["test"]["difference"] <= verify.TOLERANCE
    assert report["versions"]["torch"] == torch.__version__
    assert set(report["models"]) == {"faces", "fashion", "mnist", "photos"}


def test_it_fits_80_columns_and_names_what_there_is(
    checked: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pixels").mkdir()
    (tmp_path / "pixels" / "x").write_bytes(bytes(2_500_000))
    monkeypatch.setenv("MIR_CACHE", str(tmp_path / "pixels"))
    monkeypatch.setattr(installation, "find_spec", lambda name: None if name == "cv2" else True)
    monkeypatch.chdir(ROOT)
    result = doctor()
    assert result.exit_code == 0, result.output
    lines = {line[:16].strip(): line[17:] for line in result.stdout.splitlines()}
    assert lines["device"] == devices.describe(torch.device("cpu"))
    assert lines["cached images"].startswith("2.5 MB in 1 file, ")
    assert lines["extra heic"] == "installed"
    assert lines["extra faces"] == "missing, for faces in photos: pip install -e '.[faces]'"
    assert lines["model mnist"].endswith(" MB")
    assert "faces makes its images here" in lines["test"]
    assert all(len(line) <= 80 for what, line in lines.items() if "cached" not in what)


def test_a_model_that_makes_other_images_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(f: IGN, path: Path) -> None:
        raise WeightsError("f makes other images")

    monkeypatch.setattr(verify, "check", check)
    result = doctor()
    assert result.exit_code == 1
    assert "failed: f makes other images" in result.stdout
    assert not json.loads(doctor("--json").stdout)["test"]["ok"]


def test_without_a_home_folder_there_is_no_cache(
    checked: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_CACHE_HOME", "MIR_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    result = doctor()
    assert result.exit_code == 0, result.output
    assert "there is no home folder" in result.stdout


def test_the_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert set(installation.EXTRAS) == set(extras) - {"dev"}


def test_an_extra_is_installed_from_the_clone_or_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert installation.install_command("heic") == f"pip install -e '{ROOT}[heic]'"
    monkeypatch.setattr(installation, "__file__", str(tmp_path / "site" / "installation.py"))
    assert installation.install_command("heic") == "pip install 'make-it-real[heic]'"
