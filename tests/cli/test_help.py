"""Help pages: what is in which panel, that summaries are whole, that examples can be run."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from make_it_real.cli import app

GROUP: Any = typer.main.get_command(app)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its words after mir."""
    for name, command in GROUP.commands.items():
        inner = getattr(command, "commands", None)
        yield from ((f"{name} {n}", c) for n, c in (inner or {}).items())
        if inner is None:
            yield name, command


COMMANDS = dict(commands())


def shown(*words: str, columns: int = 80) -> str:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": str(columns)})
    assert result.exit_code == 0, result.output
    return result.stdout


def panel(page: str, title: str) -> str:
    """The lines of one panel, without its frame."""
    lines = page[page.index(f"─ {title} ─") :].splitlines()[1:]
    end = next(i for i, line in enumerate(lines) if line.startswith("╰"))
    return "\n".join(line.strip("│ ") for line in lines[:end])


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Make", ["generate", "project", "mix", "interpolate", "refine", "app"]),
        ("Measure", ["score", "evaluate", "degrade", "calibrate"]),
        ("Train", ["train", "train-features"]),
        ("Models and setup", ["doctor", "models"]),
    ],
)
def test_each_command_has_a_line_in_its_panel(title: str, names: list[str]) -> None:
    lines = panel(shown(), title).splitlines()
    assert [line.split()[0] for line in lines] == names
    for line in lines:
        assert line.rstrip().endswith("."), "a summary is whole on one line of 80 columns"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_fits_80_columns_and_ends_in_examples_that_parse(name: str) -> None:
    page = shown(*name.split())
    assert max(map(len, page.splitlines())) <= 80
    examples = [line.strip()[2:] for line in page.splitlines() if line.strip().startswith("$ ")]
    assert examples
    for example in examples:
        words = shlex.split(example)
        assert words[: 1 + len(name.split())] == ["mir", *name.split()]
        COMMANDS[name].make_context(name, words[1 + len(name.split()) :])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_texts_are_shown_to_the_letter(name: str) -> None:
    page = " ".join(shown(*name.split(), columns=300).replace("│", " ").split())
    for parameter in COMMANDS[name].params:
        text = getattr(parameter, "help", None)
        if text and not parameter.hidden:
            assert " ".join(text.split()) in page


def test_shared_options_stand_in_panels_of_their_own() -> None:
    page = shown("generate")
    for title, options in (
        ("Output", ["--output", "--scale", "--gallery", "--overwrite", "--json"]),
        ("Model", ["--model", "--device", "--dtype", "--batch"]),
        ("Messages", ["--quiet", "--verbose", "--debug"]),
    ):
        lines = panel(page, title).splitlines()
        assert [line.split()[0] for line in lines if line.startswith("--")] == options
    assert "<bool>" not in panel(page, "Messages")


@pytest.mark.parametrize("line", [["--version"], ["--nonsense"], ["generate", "--n", "0"]], ids=str)
def test_rich_is_imported_for_nothing_but_pages(line: list[str]) -> None:
    code = f"""
import sys
from make_it_real.cli import app
try:
    app({line!r})
except SystemExit:
    pass
assert not {{"rich", "torch"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_wrong_usage_is_told_in_plain_text() -> None:
    result = CliRunner().invoke(app, ["generate", "--n", "0"])
    assert result.exit_code == 2
    assert "Invalid value for '--n'" in result.stderr.splitlines()[-1]
