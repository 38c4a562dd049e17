"""Every command and Python block of the README is run; those of the pages beside it are parsed."""

import os
import random
import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image

from make_it_real.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ("README.md", "weights/README.md", "examples/README.md", "examples/training.md")


def commands(text: str) -> list[str]:
    """The lines of a page's shell blocks, without their comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]


COMMANDS = commands(README)


def calls(page: str) -> dict[str, bool]:
    """Every ``mir …`` of a page, and whether it stands in a block and so is whole.

    Those with placeholders (…, MODEL) stay out. What stands within a line may leave out what the
    command is to work on.
    """
    text = (ROOT / page).read_text(encoding="utf-8")
    lines = [re.sub(r"^torchrun .*-m make_it_real", "mir", line) for line in commands(text)]
    parts = [part.strip() for line in lines for part in re.split(r"&&|\||>", line)]
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    spans = [" ".join(span.split()) for span in re.findall(r"`(mir [^`]+)`", prose)]
    whole = dict.fromkeys(spans, False) | {p.removeprefix(".venv/bin/"): True for p in parts}
    placeholder = re.compile(r"…|\b[A-Z]{4,}\b")
    return {p: w for p, w in whole.items() if p.startswith("mir ") and not placeholder.search(p)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the README's reader has it: examples, ``photos`` to train on, ``mnist``."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(ROOT / "examples", folder / "examples")
    (folder / "photos").mkdir()
    for i in range(4):
        Image.new("RGB", (150, 120), (60 * i, 90, 200)).save(folder / "photos" / f"{i}.jpg")
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
    assert size(folder / "large.png") == (2 * 600, 2 * 400)
    assert len(list((folder / "cleaned").iterdir())) == 20
    assert size(folder / "two.png") == (28, 28)
    assert size(folder / "four.png") == (2 * 66 - 2, 2 * 66 - 2)
    assert size(folder / "coloured" / "hopper.png") == (512, 600)
    assert size(folder / "mine.png") == (8 * 66 - 2, 8 * 66 - 2)


def test_every_python_block_runs(folder: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        run(f"{sys.executable} - <<'END'\n{block}END", folder)


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    assert sum(bool(re.match(r"python3 .*pytest", c)) for c in COMMANDS) == 1


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_has_its_options(page: str) -> None:
    failures = []
    for call, whole in calls(page).items():
        try:
            parse(shlex.split(call)[1:], whole)
        except ValueError as error:
            failures.append(f"{call}: {error}")
    assert not failures, "\n".join(failures)


def parse(words: list[str], whole: bool) -> None:
    """Let mir's own parser read a command line, and run nothing.

    whole: nothing that the command must be given may lack. What the library alone can tell, such
    as a name after --set, is not looked at. Raises ValueError for a command or an option that
    there is not, and for a value that does not fit.
    """
    command = typer.main.get_command(app)
    words = [word for word in words if word not in ("--help", "--offline")]
    while isinstance(command, typer.core.TyperGroup) and words:
        if words[0] not in command.commands:
            raise ValueError(f"no command {words[0]}")
        command, words = command.commands[words[0]], words[1:]
    try:
        command.make_context("mir", words)
    except Exception as error:
        if whole or (words and type(error).__name__ != "MissingParameter"):
            raise ValueError(str(error)) from error


@pytest.mark.parametrize(
    "words", ["nosuch", "generate --nosuch 1", "generate --n none", "models nosuch", "project"]
)
def test_a_command_that_there_is_not_is_noticed(words: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(words.split(), whole=True)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert targets
    for target in targets:
        name, _, heading = target.partition("#")
        if "://" in target:
            continue
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}
            assert heading in anchors, target


def test_the_tree_names_every_folder() -> None:
    folders = {path.parent for path in (ROOT / "make_it_real").rglob("*.py")}
    for folder in sorted(folders - {ROOT / "make_it_real"}):
        assert re.search(rf"^ +{folder.name}/ ", README, re.MULTILINE), folder


def test_the_readme_is_two_screens_long() -> None:
    assert len(README.splitlines()) <= 220
    assert len(README.split()) <= 2_300
