"""The command line: one file a command; each parses, makes one library call and prints."""

import os
from typing import Annotated

import typer

from make_it_real._version import __version__
from make_it_real.cli import degrade, evaluate, generate, mix, models, project, refine, score, train

app = typer.Typer(
    name="mir",
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
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"


app.command("generate")(generate.generate)
app.command("project")(project.project)
app.command("refine")(refine.refine)
app.command("interpolate")(mix.interpolate)
app.command("mix")(mix.mix)
app.command("score")(score.score)
app.command("degrade")(degrade.degrade)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("calibrate")(score.calibrate)
app.command("train-features")(evaluate.train_features)
app.add_typer(models.app, name="models")
