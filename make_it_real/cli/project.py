"""mir project: map any image onto the images that f was trained on."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from make_it_real import distributed
from make_it_real.cli import console, model_choice, options, variations
from make_it_real.cli.help import FOLDERS, INPUT, OUTPUT
from make_it_real.cli.inputs import stdin_of
from make_it_real.cli.outcomes import Outcomes, add, say_what
from make_it_real.weights import model_file

if TYPE_CHECKING:
    from make_it_real.inference.jobs import Job, Jobs
    from make_it_real.inference.report import Result


@console.command
def project(
    inputs: options.Inputs,
    steps: options.Steps = 1,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            rich_help_panel=OUTPUT,
            help="File for one input, a folder, or - for stdout. Variations go to a grid; into a "
            "folder, a file each.",
        ),
    ] = None,
    recursive: options.Recursive = False,
    invert: options.Invert = None,
    fit: options.Fit = "auto",
    restore_size: options.RestoreSize = None,
    strength: Annotated[
        float,
        typer.Option(
            "--strength", min=0, max=1, metavar="S", help="Share of f's change to make, 0 to 1."
        ),
    ] = 1.0,
    noise: variations.Noise = None,
    n: variations.Count = None,
    seed: variations.Seed = None,
    seeds: variations.Seeds = None,
    scale: Annotated[
        int,
        typer.Option(
            "--scale",
            min=1,
            max=32,
            metavar="N",
            rich_help_panel=OUTPUT,
            help="Enlarge N times. A photograph, up to 4 times, is repaired, enlarged smoothly and "
            "repaired again, which sharpens it; results at the model's size get large pixels.",
        ),
    ] = 1,
    format: options.OutputFormat = None,
    quality: options.Quality = None,
    png_level: options.PngLevel = None,
    keep_metadata: options.KeepMetadata = False,
    no_metadata: options.NoMetadata = False,
    heat: Annotated[
        Path | None,
        typer.Option(
            "--heat",
            metavar="PATH",
            rich_help_panel=OUTPUT,
            help="Draw where f made each picture brighter (orange) and darker (blue): into this "
            "folder, or for one input this .png.",
        ),
    ] = None,
    model: options.ModelOrAuto = options.AUTO,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    batch: options.Batch = 64,
    tile: options.Tile = None,
    max_pixels: Annotated[
        int,
        typer.Option(
            "--max-pixels", min=1, rich_help_panel=INPUT, help="Refuse images with more pixels."
        ),
    ] = 200_000_000,
    overwrite: options.Overwrite = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", rich_help_panel=FOLDERS, help="Print what would be done, and do nothing."
        ),
    ] = False,
    fail_fast: Annotated[
        bool,
        typer.Option("--fail-fast", rich_help_panel=FOLDERS, help="Stop at the first failure."),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", rich_help_panel=FOLDERS, help="Keep going as files arrive, until Ctrl-C."
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            rich_help_panel=FOLDERS,
            help="Append a JSON line for each input to this file.",
        ),
    ] = None,
    gallery: options.Gallery = None,
    as_json: options.Json = False,
) -> None:
    """Map images onto those that f was trained on: f^steps(x).

    Photographs go to photos, and drawings to faces, unless a model is named.
    A model of photographs repairs pictures as they are, at their own size. For other models
    pictures are turned upright and brought to the model's size and polarity, and what f changes in
    a photograph is pasted back at its own size. A model of faces works on each face in a picture,
    and leaves a picture without faces unchanged; a face in a drawing is laid on white, and becomes
    an image of the model's size. sketch.png becomes sketch_real.png, photos/
    becomes photos_real/. Results of folders and globs that exist are skipped, so an interrupted job
    can be continued.
    """
    to_stdout = output == "-"
    for wrong, message in (
        (
            to_stdout and (as_json or len(inputs) > 1),
            "-o - takes one input and no --json, since stdout is the image",
        ),
        (
            restore_size and scale > 1,
            "--scale is for results at the model's size, --restore-size for the input's; give one",
        ),
        (
            keep_metadata and no_metadata,
            "--keep-metadata and --no-metadata contradict each other; give one",
        ),
        (watch and not all(map(os.path.isdir, inputs)), "--watch takes folders only"),
        (watch and (to_stdout or dry_run), "--watch can't be used with -o - or --dry-run"),
        (gallery and (to_stdout or watch), "--gallery can't be used with -o - or --watch"),
        (
            (watch or gallery) and "RANK" in os.environ,
            "--watch and --gallery work in one process only",
        ),
        (heat and noise is not None, "--heat compares with the picture without noise; give one"),
    ):
        if wrong:
            raise typer.BadParameter(message)

    options.check(gallery, "--gallery", (".html",), overwrite)
    one_heat = heat is not None and heat.suffix.lower() == ".png"
    if one_heat:
        options.check(heat, "--heat", (".png",), overwrite)

    from make_it_real.inference import planning
    from make_it_real.inference import report as reporting

    if report:
        reporting.check(report)

    target, into_folder = options.output_path(output)
    variants = variations.parse(
        noise, n, seed, seeds, files=variations.into_files(target, into_folder)
    )
    if noise is not None and model == options.AUTO:
        # Photographs are repaired, where noise would only be more damage.
        model = model_file.DEFAULT_MODEL
    data = stdin_of(inputs)

    def planned() -> planning.Plan:
        return planning.plan(
            inputs,
            target,
            recursive=recursive,
            overwrite=overwrite or to_stdout,
            into_folder=into_folder,
            format=format,
            stdin=data,
        )

    try:
        plan = planned()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if to_stdout and len(plan.jobs) > 1:
        raise typer.BadParameter("-o - takes one image, but there are several")
    if one_heat and (watch or len(plan.jobs) > 1):
        raise typer.BadParameter(f"--heat {heat} is one file: name a folder")
    if dry_run:
        say_what(plan, variants, overwrite or to_stdout, as_json)
        return

    share = distributed.join()
    if not share.first:
        console.be_quiet()
    # Where nothing matched, nothing is written.
    book = report if plan.jobs or watch else None
    show = Outcomes(share, book, as_json, steps)
    if share.first:
        for failure in plan.failed:
            if not watch:
                show(failure)
    if not plan.jobs and not watch:
        raise typer.Exit(console.NO_INPUT)
    total = len(plan.jobs) + len(plan.failed)
    if fail_fast and plan.failed and not watch:
        show.finish(total, interrupted=False)
    # No process writes before all have listed the same files.
    share.meet()

    used = model_choice.load(
        model, share.device(device), not no_metadata, steps, dtype, fit=fit, invert=invert,
        crop=restore_size is False, scale=scale, tile=tile, noise=noise is not None,
    )  # fmt: skip

    from make_it_real.inference import batch as batching
    from make_it_real.inference.gallery import Gallery

    folder = gallery.parent if gallery else None
    page = Gallery(f"mir project -m {model}", score="drift before", folder=folder)
    settings = batching.Settings(
        steps=steps,
        strength=strength,
        batch=batch,
        tile=tile,
        how=fit,
        invert=invert,
        restore_size=False if scale > 1 else restore_size,
        drift=as_json or report is not None or gallery is not None,
        overwrite=overwrite,
        max_pixels=max_pixels,
        quality=quality,
        png_level=png_level,
        keep_metadata=keep_metadata,
        to_stdout=to_stdout,
        heat=heat,
        keep_before=gallery is not None,
        scale=scale,
        variations=variants,
    )
    with console.stop_on_signals() as stop:

        def done(jobs: "Jobs | list[Job]") -> "Iterator[Result]":
            for result in batching.run(used, jobs, settings, stop):
                yield result
                if fail_fast and result.status == "failed":
                    stop.set()

        if watch:
            console.say("watching; Ctrl-C ends it")
            for some in planning.arrivals(planned, stop):
                for result in done(some):
                    show(result)
        else:
            mine = plan.jobs.share(share.rank, share.world) if share.world > 1 else plan.jobs
            with console.job_bar(len(mine)) as advance:
                for result in done(mine):
                    show(result)
                    if gallery and result.status in reporting.WRITTEN:
                        add(page, result)
                    if result.part == 1:
                        advance(show.counts["failed"])
            if gallery:
                page.write(gallery, overwrite=overwrite)
        interrupted = stop.is_set() and not (fail_fast and show.counts["failed"])
    show.finish(show.counts.total() if watch else total, interrupted)
