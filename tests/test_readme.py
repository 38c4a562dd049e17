"""Every command and every Python block of the README is run, in a folder of its own."""

import os
import random
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split(" #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the README's reader has it: examples, ``photos`` to train on, ``mnist``."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "photos").mkdir()
    for i in range(4):
        Image.new("RGB", (40, 30), (60 * i, 90, 200)).save(folder / "photos" / f"{i}.jpg")
    (folder / "mnist").mkdir()
    for split, count in (("train", 300), ("t10k", 250)):
        pixels = random.Random(0).randbytes(count * 28 * 28)
        header = struct.pack(">HBBIII", 0, 8, 3, count, 28, 28)
        (folder / "mnist" / f"{split}-images-idx3-ubyte").write_bytes(header + pixels)
        labels = struct.pack(">HBBI", 0, 8, 1, count) + bytes(i % 10 for i in range(count))
        (folder / "mnist" / f"{split}-labels-idx1-ubyte").write_bytes(labels)
    (folder / "bin").mkdir()
    mir = folder / "bin" / "mir"
    mir.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m make_it_real "$@"\n')
    mir.chmod(0o755)
    return folder


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def run(command: str, folder: Path) -> None:
    # The package under test is found from the folder too, where it is not installed.
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    search = os.pathsep.join(p for p in sys.path if p)
    environment = {**os.environ, "PATH": path, "PYTHONPATH": search, "MIR_DEVICE": "cpu"}
    result = subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, f"{command}\n{result.stderr}"


def test_every_command_works_in_the_order_of_the_readme(folder: Path) -> None:
    done = 0
    for command in COMMANDS:
        if "-m venv" in command:
            # What comes after the installation: here the package is installed already.
            parts = command.replace(".venv/bin/", "").split(" && ")
            command = " && ".join(part for part in parts if part.startswith("mir "))
        if command.startswith("mir evaluate"):
            command += " --n 200"
        if command.startswith("mir train-features"):
            command += " --epochs 1"
        elif command.startswith("mir train"):
            command += f" --batch 16 --steps {2 if '--resume' in command else 1}"
        if command:
            run(command, folder)
            done += 1
    assert done >= 10
    assert size(folder / "faces.png") == (8 * 66 - 2, 8 * 66 - 2)
    assert size(folder / "digits.png") == (8 * 30 - 2, 8 * 30 - 2)
    assert len(list((folder / "cleaned").iterdir())) == 20
    assert size(folder / "two.png") == (28, 28)
    assert size(folder / "faces" / "000080.png") == (64, 64)
    assert size(folder / "mine.png") == (8 * 66 - 2, 8 * 66 - 2)


def test_every_python_block_runs(folder: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        run(f"{sys.executable} - <<'END'\n{block}END", folder)


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    assert sum(bool(re.match(r"python3 .*pytest", c)) for c in COMMANDS) == 1


def test_the_tree_names_every_module() -> None:
    for module in sorted((ROOT / "make_it_real").glob("*.py")):
        if not module.name.startswith("__"):
            assert f"  {module.name} " in README, module.name
