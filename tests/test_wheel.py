"""What a user gets: the built wheel, away from the checkout and without a network."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's contents, unpacked as an installer would."""
    pytest.importorskip("hatchling", reason="building the wheel needs hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(folder), str(ROOT)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def run(installed: Path, folder: Path, *words: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1"}
    # Nothing listens there: any attempt to use the network fails.
    environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "make_it_real", *words]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def test_the_wheel_works_offline_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    Image.new("L", (60, 40), 255).save(tmp_path / "a.png")
    run(installed, tmp_path, "generate", "--n", "4", "-o", "four.png")
    run(installed, tmp_path, "project", "a.png", "-m", "mnist")
    assert size(tmp_path / "four.png") == (130, 130)
    assert size(tmp_path / "a_real.png") == (28, 28)


def test_the_wheel_carries_weights_card_and_page_and_no_tests(installed: Path) -> None:
    names = {str(p.relative_to(installed)) for p in installed.rglob("*") if p.is_file()}
    bundled = {Path(n).name for n in names if n.startswith("make_it_real/bundled/")}
    assert bundled == {
        "README.md", "clothes-classifier.safetensors", "digits-classifier.safetensors",
        "faces.safetensors", "faces.critic.safetensors", "fashion.safetensors",
        "fashion.critic.safetensors", "mnist.safetensors", "mnist.critic.safetensors",
        "photos.safetensors", "face-check.safetensors",
    }  # fmt: skip
    page = {Path(n).name for n in names if n.startswith("make_it_real/app/page/")}
    assert page == {path.name for path in (ROOT / "make_it_real" / "app" / "page").iterdir()}
    assert {"index.html", "style.css", "main.js", "icon.svg"} <= page
    assert not any(name.startswith(("tests", "examples", "weights")) for name in names)
