"""The command line: one file a command; each parses, makes one library call and prints."""

import os
from collections.abc import Callable
from typing import Annotated

import typer

from make_it_real import memory
from make_it_real._version import __version__
from make_it_real.cli import (
    degrade,
    doctor,
    evaluate,
    generate,
    mix,
    models,
    page,
    project,
    refine,
    score,
    train,
    train_features,
)
from make_it_real.cli.help import Command, Group

app = typer.Typer(
    name="mir",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        print(f"mir {__version__}")
        raise typer.Exit()


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Use no network: models out of the cache only.")
    ] = False,
) -> None:
    """Make It Real: one network that maps any image onto those it was trained on."""
    memory.keep()
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"


def _add(
    panel: str, name: str, command: Callable[..., None], *examples: str, short: str | None = None
) -> None:
    """Add a command to a panel of ``mir --help``. short: its summary there, if not its own."""
    shown = "Examples:\n" if len(examples) > 1 else "Example:\n"
    app.command(
        name, cls=Command, rich_help_panel=panel, short_help=short,
        epilog=shown + "\n".join(f"$ {example}" for example in examples),
    )(command)  # fmt: skip


MAKE, MEASURE, TRAIN, MODELS = "Make", "Measure", "Train", "Models and setup"

_add(
    MAKE, "generate", generate.generate,
    "mir generate -m digits --seeds 0-31 -o digits.png", "mir generate -n 100 -o faces/",
)  # fmt: skip
_add(
    MAKE, "project", project.project,
    "mir project photo.jpg --restore-size", "mir project sketches/ -m digits -o digits/",
)  # fmt: skip
_add(MAKE, "mix", mix.mix, "mir mix '3 - 5 + 8' -m digits -o mixed.png --scale 4")
_add(MAKE, "interpolate", mix.interpolate, "mir interpolate 3 8 -m digits -o way.gif")
_add(
    MAKE, "refine", refine.refine,
    "mir refine --seeds 0-7 -m digits --steps 100 --plot change.png",
    short="Apply f again and again, until images come to rest.",
)  # fmt: skip
_add(
    MAKE, "app", page.app, "mir app", "mir app -m digits --port 0 --no-browser",
    short="Serve a page to draw on, drop pictures, generate and mix.",
)  # fmt: skip
_add(
    MEASURE, "score", score.score, "mir score drawings/ -m digits --heat heat.png",
    short="Print how real images are: what f would change of each.",
)  # fmt: skip
_add(
    MEASURE, "evaluate", evaluate.evaluate, "mir evaluate mnist/ -m digits --quick",
    "mir evaluate photos.zip -m photos --peers",
    short="Measure f: distances, rest, repair, with intervals.",
)  # fmt: skip
_add(
    MEASURE, "degrade", degrade.degrade, "mir degrade photos/ --kind blur -o blurred/",
    short="Damage images at their own size, for project to mend.",
)  # fmt: skip
_add(
    MEASURE, "calibrate", score.calibrate, "mir calibrate images/ -m run/model.safetensors",
    short="Write what a model's scores mean into its file.",
)  # fmt: skip
_add(
    TRAIN, "train", train.train,
    "mir train images/ -o run", "mir train images/ -o run --from faces --minutes 60",
    short="Train f on images of your own.",
)  # fmt: skip
_add(
    TRAIN, "train-features", train_features.train_features,
    "mir train-features mnist/ -o classifier.safetensors",
    short="Train the classifier that mir evaluate measures with.",
)  # fmt: skip
app.add_typer(
    models.app, name="models", rich_help_panel=MODELS,
    short_help="List, show, fetch, check, send and export models.",
)  # fmt: skip
_add(MODELS, "doctor", doctor.doctor, "mir doctor", "mir doctor --json")
