"""mir project: any image onto the images that f was trained on."""

import json
import sys
from collections import Counter
from dataclasses import asdict
from typing import Annotated, Literal

import typer

from make_it_real import weights
from make_it_real.cli import common


@common.command
def project(
    inputs: Annotated[list[str], typer.Argument(help="Files, folders, globs, or - for stdin.")],
    steps: common.Steps = 1,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="A file for one input, a folder, or - for stdout."),
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Search subfolders.")
    ] = False,
    invert: Annotated[
        bool | None,
        typer.Option("--invert/--no-invert", help="Swap dark and bright, or never do."),
    ] = None,
    fit: Annotated[
        Literal["auto", "pad", "crop", "stretch"],
        typer.Option("--fit", help="auto finds what is drawn; the others take all of it."),
    ] = "auto",
    model: common.Model = weights.DEFAULT_MODEL,
    device: common.Device = "auto",
    batch: common.Batch = 64,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, help="Refuse images with more pixels.")
    ] = 200_000_000,
    overwrite: common.Overwrite = False,
    as_json: common.Json = False,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Map images onto those that f was trained on: f^steps(x).

    Pictures of any size and kind are turned upright, brought to the model's size and to its
    polarity. sketch.png becomes sketch_real.png, photos/ becomes photos_real/.
    """
    if inputs.count("-") > 1:
        raise typer.BadParameter("- (stdin) can be named once")
    to_stdout = output == "-"
    if to_stdout and (as_json or len(inputs) > 1):
        raise typer.BadParameter("-o - takes one input, and no --json: stdout is the image")

    from make_it_real import batch as batching

    target, into_folder = common.output_path(output)
    data = sys.stdin.buffer.read() if "-" in inputs else None
    try:
        plan = batching.plan(
            inputs,
            target,
            recursive=recursive,
            overwrite=overwrite or to_stdout,
            into_folder=into_folder,
            stdin=data,
        )
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if to_stdout and len(plan.jobs) > 1:
        raise typer.BadParameter("-o - takes one image, and these are several")

    counts: Counter[str] = Counter()

    def report(result: batching.Result) -> None:
        counts[result.status] += 1
        if result.status == "failed":
            common.complain(f"{result.input}: {result.reason}")
        if result.encoded is not None:
            sys.stdout.buffer.write(result.encoded)
        elif as_json:
            line = {k: v for k, v in asdict(result).items() if k != "encoded"}
            print(json.dumps(line | {"steps": steps, "model": model}), flush=True)
        elif result.status == "done":
            print(result.output)
        if result.done:
            common.detail(f"{result.input}: {', '.join(result.done)}")

    for failure in plan.failed:
        report(failure)
    if not plan.jobs:
        raise typer.Exit(common.NO_INPUT)

    f, info, fingerprint = common.load_model(model, device)

    from make_it_real import images
    from make_it_real.framing import described

    settings = batching.Settings(
        framing=described(info.framing),
        steps=steps,
        batch=batch,
        how=fit,
        invert=invert,
        overwrite=overwrite,
        max_pixels=max_pixels,
        text=images.provenance(info.name, fingerprint, steps),
        to_stdout=to_stdout,
    )
    try:
        with common.progress_bar(len(plan.jobs), "projecting") as advance:
            for result in batching.run(f, plan.jobs, settings):
                report(result)
                advance()
    finally:
        if len(plan.jobs) > 1:
            common.say(", ".join(f"{n} {status}" for status, n in sorted(counts.items())))
    if counts["failed"]:
        raise typer.Exit(1)
