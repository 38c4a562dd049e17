"""mir train: f from a data set of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from make_it_real.cli import console, options

if TYPE_CHECKING:
    from collections.abc import Callable

    from make_it_real.training.run import Logged, Notice


@console.command
def train(
    data: Annotated[
        list[Path],
        typer.Argument(help="Folders or zips of images, or folders of IDX files, as one set."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The run's folder.")],
    start: Annotated[
        str | None,
        typer.Option(
            "--from", help="Start from this model, named as by -m, and the critic beside it."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Optimizer steps in all [12000].")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", min=0, help="Stop after so much training."),
    ] = None,
    objective: Annotated[
        Literal["adversarial", "ign"],
        typer.Option("--objective", help="The adversarial projector, or the paper's own."),
    ] = "adversarial",
    decay_steps: Annotated[
        int | None,
        typer.Option(
            "--decay-steps", min=0, help="Last steps, with falling learning rate [3000; ign: 0]."
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=16, help="Images a step, of 4 [64; ign: 256].")
    ] = None,
    lr: Annotated[
        float | None, typer.Option("--lr", min=0, help="Of Adam [2e-4; ign: 1e-4].")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", min=8, help="Side in pixels, for images [64].")
    ] = None,
    channels: Annotated[
        int | None, typer.Option("--channels", min=1, max=3, help="1 or 3, for images [3].")
    ] = None,
    faces: Annotated[
        bool | None,
        typer.Option(
            "--faces/--no-faces",
            help="Find faces in the images and align them [as --from's model has it].",
        ),
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror images at random.")] = False,
    damage: Annotated[
        str | None,
        typer.Option(
            "--damage", help="Kinds to learn to repair, by commas; twice: twice as often."
        ),
    ] = None,
    augment: Annotated[
        float | None,
        typer.Option(
            "--augment",
            min=0,
            max=0.8,
            help="Share of the critic's images to change at random [by their number].",
        ),
    ] = None,
    early_stop: Annotated[
        bool | None,
        typer.Option(
            "--early-stop/--no-early-stop",
            help="Hold images out, keep the f that is nearest to them [with --from].",
        ),
    ] = None,
    norm: Annotated[
        Literal["batch", "group"] | None,
        typer.Option("--norm", help="ign: batch, as published, or group: image by image [batch]."),
    ] = None,
    source: Annotated[
        Literal["spectral", "principal", "mixture", "published", "white"] | None,
        typer.Option(
            "--source", help="The law of z [mixture or spectral, by size; ign: published]."
        ),
    ] = None,
    clamp: Annotated[
        float | None, typer.Option("--clamp", help="ign: L_tight's bound, in L_rec [1.5].")
    ] = None,
    tight_rec: Annotated[
        Literal["z", "x"] | None,
        typer.Option("--tight-rec", help="ign: whose L_rec bounds L_tight, z's or x's [z]."),
    ] = None,
    lambdas: Annotated[
        str | None,
        typer.Option("--lambdas", help="ign: weights of L_rec, L_idem, L_tight [20,20,2.5]."),
    ] = None,
    accumulate: Annotated[
        int | None,
        typer.Option("--accumulate", min=1, help="Draw and work off each batch in so many parts."),
    ] = None,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compile/--no-compile",
            help="Compile the networks [on CUDA from 64 pixels on, if it works].",
        ),
    ] = None,
    cached: Annotated[
        bool,
        typer.Option("--cache/--no-cache", help="Keep decoded images in the cache folder."),
    ] = True,
    critic_every: Annotated[
        int | None,
        typer.Option(
            "--critic-every",
            min=0,
            help="Let the critics have a part in each so many-th step, repair only between [1]; "
            "0: in none, and f goes on making what it made.",
        ),
    ] = None,
    projected: Annotated[
        float | None,
        typer.Option(
            "--projected", min=0, help="Weight of a critic on ImageNet's features, 2 say [none]."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint.")] = False,
    save_every: Annotated[
        float, typer.Option("--save-every", min=0, help="Minutes between checkpoints.")
    ] = 3.0,
    name: Annotated[str | None, typer.Option("--name", help="Of the model [the folder's].")] = None,
    licence: Annotated[str, typer.Option("--licence", help="Of the weights, for their card.")] = "",
    device: options.Device = "auto",
) -> None:
    """Train f on images of your own; the run's folder gets model, checkpoint, samples and log.

    Ctrl-C saves and exits with 130; --resume goes on from there. --resume takes a new --steps,
    --decay-steps, --lr, --damage and --critic-every; the rest stays as the run was begun.
    torchrun -m make_it_real train … divides each batch among processes.
    """
    if channels == 2:
        raise typer.BadParameter("--channels is 1 or 3")
    given: dict[str, Any] = {
        "steps": steps, "decay_steps": decay_steps, "lr": lr, "damage": damage,
        "critic_every": critic_every, "projected": projected, "augment": augment, "norm": norm,
        "clamp": clamp, "tight_rec": tight_rec, "accumulate": accumulate, "compile": compiled,
    }  # fmt: skip
    if not resume:
        given |= {"batch": batch, "flip": flip, "seed": seed}
    settings = {name: value for name, value in given.items() if value is not None}
    if early_stop is not None and not resume:
        settings["hold_out"] = None if early_stop else 0
    if damage is not None:
        settings["damage"] = tuple(damage.split(","))
    if lambdas is not None:
        try:
            numbers = map(float, lambdas.split(","))
            settings["lambdas"] = dict(zip(("rec", "idem", "tight"), numbers, strict=True))
        except ValueError as error:
            raise typer.BadParameter(f"--lambdas: {error}") from error

    from make_it_real import devices, distributed
    from make_it_real.training import run

    chosen = distributed.begin(devices.pick(device))
    leads = distributed.rank() == 0
    if not leads:
        console.be_quiet()
    request = run.Request(
        output, data, objective, start, resume, size, channels, faces, source, settings,
        name or "", licence, cached,
    )  # fmt: skip
    opened = run.open_run(request, chosen, _told(None))
    limit = None if minutes is None else 60 * minutes
    with (
        console.training_bar(opened.trainer.config.steps) as show,
        console.stop_on_signals() as stop,
    ):
        opened.tell = _told(show)
        interrupted = opened.follow(stop, 60 * save_every, limit)
    distributed.end()
    if interrupted:
        step, kept = opened.trainer.step, output / run.CHECKPOINT
        console.complain(f"interrupted at step {step}; --resume goes on from {kept}")
        raise typer.Exit(console.INTERRUPTED)
    if leads:
        print(output / run.MODEL)


def _told(
    show: "Callable[[dict[str, float]], None] | None",
) -> "Callable[[Notice | Logged], None]":
    """What shows people what happens; ``show`` is given the lines of the log."""
    from make_it_real.training.run import Logged

    by_kind = {"message": console.say, "warning": console.complain, "detail": console.detail}

    def tell(event: "Notice | Logged") -> None:
        if not isinstance(event, Logged):
            by_kind[event.kind](event.text)
        elif show is not None:
            show(event.line)

    return tell
