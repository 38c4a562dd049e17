"""Options and checks of the commands that write a few files of their own choosing."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from make_it_real.cli import common
from make_it_real.errors import ImageError

if TYPE_CHECKING:
    from make_it_real.inputs import Fitting, Loaded
    from make_it_real.jobs import Result
    from make_it_real.model import IGNConfig
    from make_it_real.weights import ModelInfo

Gallery = Annotated[
    Path | None,
    typer.Option("--gallery", help="Write one HTML file that shows them, before and after."),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Search subfolders.")]
Invert = Annotated[
    bool | None, typer.Option("--invert/--no-invert", help="Swap dark and bright, or never do.")
]
FitWord = Literal["auto", "faces", "pad", "crop", "stretch"]
Fit = Annotated[
    FitWord,
    typer.Option(
        "--fit", help="auto finds what is drawn, or faces if f knows these; pad, … take all of it."
    ),
]
Inputs = Annotated[list[str], typer.Argument(help="Files, folders, globs, or - for stdin.")]


def check(path: Path | None, option: str, suffixes: Sequence[str], overwrite: bool) -> None:
    """Say before any work is done that an output is of another kind, or is there already."""
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise typer.BadParameter(f"{option} {path}: must end in {' or '.join(suffixes)}")
    if os.path.lexists(path) and not overwrite:
        raise ImageError(f"{path} exists; --overwrite replaces it")


def free(path: Path) -> Path:
    """The path, or the first of path_2, path_3, … that does not exist."""
    candidate, number = path, 1
    while os.path.lexists(candidate):
        number += 1
        candidate = path.with_stem(f"{path.stem}_{number}")
    return candidate


def stdin_of(inputs: Sequence[str]) -> bytes | None:
    """The bytes on stdin where "-" is among the inputs, which it may be once."""
    if list(inputs).count("-") > 1:
        raise typer.BadParameter("- (stdin) can be named once")
    return sys.stdin.buffer.read() if "-" in inputs else None


def fitting(
    info: "ModelInfo",
    how: FitWord = "auto",
    invert: bool | None = None,
) -> "Fitting":
    """How pictures are brought to the frame of a model, as its header describes it."""
    from make_it_real.framing import described
    from make_it_real.inputs import Fitting

    return Fitting(described(info.framing), how, invert)


def load(
    inputs: Sequence[str], config: "IGNConfig", how: "Fitting", *, recursive: bool = False
) -> "Loaded":
    """Read all inputs into the model's frame; complain of those that can't be.

    Exits with 3 where none matched.
    """
    from make_it_real import inputs as reading

    try:
        loaded = reading.load(inputs, config, how, recursive=recursive, stdin=stdin_of(inputs))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    complain(loaded.failed)
    for warning in loaded.warnings:
        common.complain(f"warning: {warning}")
    if not loaded.names:
        raise typer.Exit(common.NO_INPUT)
    return loaded


def complain(failed: "Sequence[Result]") -> None:
    """One line on stderr for each input that failed."""
    for result in failed:
        common.complain(f"{result.input}: {result.reason}")
