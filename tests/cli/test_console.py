"""What commands say wherever it goes: narrow encodings, closed streams."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from make_it_real.cli import console

NAMES = ("a.png", "03 \u2013 \u0141\u00f3d\u017a.png", "\u4e2d.png")


def run(
    *arguments: object, shell: str = "", encoding: str = "utf-8", folder: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """mir in a process of its own. shell: redirections, such as >&-."""
    words = [sys.executable, "-m", "make_it_real", *map(str, arguments)]
    line = ["sh", "-c", f'exec "$@" {shell}', "sh", *words]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    # Python looks for its packages beside the tests, wherever it is started.
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(line, capture_output=True, env=environment, cwd=folder, check=False)


@pytest.fixture
def pictures(here: Path) -> Path:
    """A folder of pictures whose names few encodings can express."""
    folder = here / "in"
    folder.mkdir()
    for name in NAMES:
        Image.new("L", (28, 28), 90).save(folder / name)
    return folder


# --- what an encoding can't express ---


@pytest.mark.parametrize("encoding", ["cp1252"])
def test_names_that_stdout_cannot_express_are_escaped(
    pictures: Path, tiny_model: Path, encoding: str
) -> None:
    done = run("project", "in", "-m", tiny_model, "-d", "cpu", encoding=encoding, folder=Path.cwd())
    assert done.returncode == 0, done.stderr
    assert len(os.listdir("in_real")) == len(NAMES)
    shown = done.stdout.decode(encoding).splitlines()
    assert len(shown) == len(NAMES)
    assert any(line.endswith(r"\u4e2d.png") for line in shown)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_help_is_shown_in_any_encoding(encoding: str) -> None:
    code = """
import json, sys
import typer
from make_it_real.cli import app

group = typer.main.get_command(app)
lines = [[]] + [[name] for name in group.commands]
lines += [["models", name] for name in group.commands["models"].commands]
codes = []
for line in lines:
    try:
        app([*line, "--help"])
    except SystemExit as error:
        codes.append(error.code)
sys.stderr.write(json.dumps([len(lines), codes]))
"""
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, env=environment, check=False)
    count, codes = json.loads(done.stderr)
    assert count > 15
    assert codes == [0] * count
    text = done.stdout.decode(encoding)
    assert ("╭" in text) is (encoding == "utf-8")


@pytest.mark.parametrize(
    ("text", "encoding", "written"),
    [
        ("caf\udce9.png", "utf-8", b"caf\xe9.png"),
        ("caf\udce9.png", "ascii", b"caf\xe9.png"),
        ("\u2013 \u0141", "cp1252", b"\x96 \\u0141"),
        ("\u2212\udcff\U0001f600", "ascii", b"\\u2212\xff\\U0001f600"),
        ("\ud800", "utf-8", b"\\ud800"),
    ],
)
def test_bytes_stay_bytes_and_all_else_is_escaped(
    monkeypatch: pytest.MonkeyPatch, text: str, encoding: str, written: bytes
) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding=encoding))
    console.prepare_streams()
    sys.stdout.write(text)
    sys.stdout.flush()
    assert buffer.getvalue() == written


# --- streams that are closed ---


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_stop_nothing(pictures: Path, tiny_model: Path, closed: str) -> None:
    (pictures / "bad.png").write_bytes(b"no image")
    done = run(
        "project", "in/a.png", "in/bad.png", "-m", tiny_model, "-d", "cpu", "-o", "out",
        shell=closed, folder=Path.cwd(),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert os.listdir("out") == ["a.png"]
    with Image.open("out/a.png") as image:
        assert image.size == (28, 28)
    assert b"Traceback" not in done.stdout + done.stderr
    if "2" not in closed:
        assert len([line for line in done.stderr.splitlines() if b"bad.png" in line]) == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["--version"], 0), (["--help"], 0), (["--nonsense"], 2), (["project", "none.png"], 3)],
    ids=str,
)
def test_exit_codes_stay_where_all_streams_are_closed(
    here: Path, arguments: list[str], code: int
) -> None:
    assert run(*arguments, shell="<&- >&- 2>&-", folder=here).returncode == code
