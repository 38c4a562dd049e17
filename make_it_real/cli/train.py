"""mir train: f from a data set of one's own."""

import shlex
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from make_it_real.cli import console, options
from make_it_real.cli.training_display import training_display

if TYPE_CHECKING:
    from make_it_real.cli.training_display import Show
    from make_it_real.training.events import Logged, Notice, Step, Tell
    from make_it_real.training.run import Run


of_images = partial(typer.Option, rich_help_panel="Images")
of_method = partial(typer.Option, rich_help_panel="What f learns")
of_run = partial(typer.Option, rich_help_panel="The run")


@console.command
def train(
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders or zips of images, or folders of IDX files, as one set."),
    ],
    output: Annotated[Path, of_run("--output", "-o", help="Folder of the run.")],
    size: Annotated[
        int | None,
        of_images(
            "--size",
            min=8,
            help="Side in pixels [theirs up to 128; 64]; of photographs the shorter side that "
            "larger ones are reduced to [512].",
        ),
    ] = None,
    channels: Annotated[
        int | None, of_images("--channels", min=1, max=3, help="1 or 3 [3].")
    ] = None,
    faces: Annotated[
        bool | None,
        of_images("--faces/--no-faces", help="Find and align faces [as --from's model has it]."),
    ] = None,
    flip: Annotated[bool, of_images("--flip", help="Mirror images at random.")] = False,
    cached: Annotated[
        bool, of_images("--cache/--no-cache", help="Keep decoded images in the cache folder.")
    ] = True,
    start: Annotated[
        str | None,
        of_method("--from", help="Model to start from, named as by -m, with the critic beside it."),
    ] = None,
    recipe: Annotated[
        str | None,
        of_method(
            "--recipe",
            help="Recipe of a bundled model to follow, all its stages: faces, fashion, mnist, "
            "photos.",
        ),
    ] = None,
    objective: Annotated[
        Literal["adversarial", "ign", "photographs"] | None,
        of_method(
            "--objective",
            help="The adversarial projector, the paper's own objective, or repair of photographs "
            "of any size [adversarial].",
        ),
    ] = None,
    source: Annotated[
        Literal["spectral", "principal", "mixture", "published", "white"] | None,
        of_method(
            "--source",
            help="Source distribution of z [mixture or spectral, by size; ign: published].",
        ),
    ] = None,
    damage: Annotated[
        str | None,
        of_method("--damage", help="Kinds of damage to repair, with weights: noise=7,mask=2."),
    ] = None,
    batch: Annotated[
        int | None,
        of_method(
            "--batch", min=1, help="Number of images a step [64; ign: 256; photographs: 32]."
        ),
    ] = None,
    lr: Annotated[
        float | None,
        of_method(
            "--lr", min=0, help="Learning rate of Adam [2e-4; ign: 1e-4; photographs: 1e-3]."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        of_method(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting: decay_steps=500, lambdas.restore=25; a wrong name lists all.",
        ),
    ] = None,
    seed: Annotated[
        int | None, of_method("--seed", min=0, help="Seed of every random choice [0].")
    ] = None,
    steps: Annotated[
        int | None,
        of_run(
            "--steps", min=1, help="Number of optimizer steps in all [12000; photographs: 40000]."
        ),
    ] = None,
    minutes: Annotated[
        float | None, of_run("--minutes", min=0, help="Minutes to train at most.")
    ] = None,
    resume: Annotated[bool, of_run("--resume", help="Go on from the checkpoint.")] = False,
    new_data: Annotated[
        bool, of_run("--new-data", help="Go on with other images than the run was begun on.")
    ] = False,
    overwrite: Annotated[
        bool, of_run("--overwrite", help="Begin anew where there is a model or a run.")
    ] = False,
    save_every: Annotated[
        float, of_run("--save-every", min=0, help="Minutes between checkpoints.")
    ] = 3.0,
    name: Annotated[str | None, of_run("--name", help="Name of the model [the folder's].")] = None,
    licence: Annotated[
        str, of_run("--licence", help="Licence of the weights, for their card.")
    ] = "",
    device: options.Device = "auto",
) -> None:
    """Train f on images of your own; the run's folder gets model, checkpoint, samples and log.

    Ctrl-C saves and exits with 130; --resume goes on from there. --resume takes a new --steps,
    --lr, --batch, --damage and most of --set; the rest stays as the run was begun.
    torchrun -m make_it_real train … divides each batch among processes.
    """
    if channels == 2:
        raise typer.BadParameter("--channels is 1 or 3")
    given: dict[str, Any] = {
        "steps": steps, "lr": lr, "damage": damage, "batch": batch, "seed": seed,
        "flip": "true" if flip else None,
    }  # fmt: skip
    texts = [f"{field}={value}" for field, value in given.items() if value is not None]

    from make_it_real import devices, distributed
    from make_it_real.training import folder, setup
    from make_it_real.training.request import Request

    chosen = distributed.begin(devices.pick(device))
    leads = distributed.rank() == 0
    if not leads:
        console.be_quiet()
    request = Request(
        output, data, objective, start, resume, overwrite, new_data, size, channels, faces, source,
        recipe, [*texts, *(settings or [])], name or "", licence, cached,
    )  # fmt: skip
    limit = None if minutes is None else 60 * minutes
    with folder.reserve(output) if leads else nullcontext():
        opened = setup.open_run(request, chosen, _shown(None))
        first, begun = opened.step, time.monotonic()
        with training_display(first, limit) as show, console.stop_on_signals() as stop:
            opened.tell = _shown(show)
            interrupted = opened.follow(stop, 60 * save_every, limit)
    distributed.end()
    if interrupted:
        step, kept = opened.step, output / folder.CHECKPOINT
        console.complain(f"interrupted at step {step}; --resume goes on from {kept}")
    if leads:
        _conclude(opened, opened.step - first, time.monotonic() - begun, data)
    if interrupted:
        raise typer.Exit(console.INTERRUPTED)
    if leads:
        print(output / folder.MODEL)


def _conclude(run: "Run", steps: int, seconds: float, data: list[Path]) -> None:
    """Say what was done, why it ended, what to look at, what to try and how to go on."""
    from make_it_real.training import folder
    from make_it_real.training.events import duration

    why = {
        "steps": "all are done",
        "minutes": "the time of --minutes is over",
        "held-out": "the images came no closer to held-out ones",
        "interrupted": "interrupted",
    }[run.ending]
    where = shlex.quote(str(run.folder))
    again = shlex.join(["mir", "train", *map(str, data)]) + f" -o {where} --resume"
    if run.ending == "steps":
        again += f" --steps {2 * run.trainer.config.steps}"
    total = f"{run.step:,} of {run.steps:,} steps"
    now = f"{steps:,} step{'s' * (steps != 1)} in {duration(seconds)}"
    console.say(f"{now}, {total} in all: {why}")
    console.say(f"  look at:   {folder.sheet_path(run.folder, run.step)}")
    trial = "generate" if run.trainer.objective.f.config.image_size else "project PHOTO"
    console.say(f"  try:       mir {trial} -m {where}")
    console.say(f"  go on by:  {again}")


def _shown(show: "Show | None") -> "Tell":
    """What shows people what happens; ``show`` is given steps and lines of the log."""
    from make_it_real.training.events import Notice

    by_kind = {"message": console.say, "warning": console.complain, "detail": console.detail}

    def tell(event: "Notice | Step | Logged") -> None:
        if isinstance(event, Notice):
            by_kind[event.kind](event.text)
        elif show is not None:
            show(event)

    return tell
