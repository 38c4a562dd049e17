"""mir project: map any image onto the images that f was trained on."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from make_it_real import distributed
from make_it_real.cli import console, options
from make_it_real.cli.help import FOLDERS, INPUT, OUTPUT
from make_it_real.cli.inputs import stdin_of
from make_it_real.cli.outcomes import Outcomes
from make_it_real.errors import WeightsError
from make_it_real.weights import model_file

if TYPE_CHECKING:
    from make_it_real.inference.batch import Settings
    from make_it_real.inference.jobs import Job, Jobs
    from make_it_real.inference.report import Result
    from make_it_real.models.ign import IGN


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
            help="File for one input, a folder, or - for stdout.",
        ),
    ] = None,
    recursive: options.Recursive = False,
    invert: options.Invert = None,
    fit: options.Fit = "auto",
    restore_size: Annotated[
        bool | None,
        typer.Option(
            "--restore-size/--crop",
            rich_help_panel=OUTPUT,
            help="Paste f's change back at the input's own size; or write only what f works on, at "
            "the model's size, a file for each face [own size for photographs].",
        ),
    ] = None,
    scale: options.Scale = 1,
    format: Annotated[
        Literal["png", "jpg", "webp", "same"] | None,
        typer.Option(
            "--format",
            rich_help_panel=OUTPUT,
            help="Format of the results: png, jpg, webp, or same as the input's [png].",
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            "--quality",
            min=1,
            max=100,
            rich_help_panel=OUTPUT,
            help="Quality of JPEG [95] and WebP [lossless].",
        ),
    ] = None,
    keep_metadata: Annotated[
        bool,
        typer.Option(
            "--keep-metadata",
            rich_help_panel=OUTPUT,
            help="Copy EXIF and colour profile to the results.",
        ),
    ] = False,
    no_metadata: Annotated[
        bool,
        typer.Option(
            "--no-metadata",
            rich_help_panel=OUTPUT,
            help="Write pixels only, without the text that names the model.",
        ),
    ] = False,
    model: options.Model = model_file.DEFAULT_MODEL,
    device: options.Device = "auto",
    batch: options.Batch = 64,
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

    Pictures of any size and kind are turned upright and brought to the model's size and polarity.
    What f changes in a photograph is pasted back at its own size. A model of faces works on each
    face in a picture, and leaves a picture without faces unchanged. sketch.png becomes
    sketch_real.png, photos/ becomes photos_real/. Results of folders and globs that exist are
    skipped, so an interrupted job can be continued.
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
    ):
        if wrong:
            raise typer.BadParameter(message)

    options.check(gallery, "--gallery", (".html",), overwrite)

    from make_it_real.inference import jobs as planning
    from make_it_real.inference import report as reporting

    if report:
        reporting.check(report)

    target, into_folder = options.output_path(output)
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
    if dry_run:
        _say_what(plan, overwrite or to_stdout, as_json)
        return

    share = distributed.join()
    if not share.first:
        console.be_quiet()
    # Where nothing matched, nothing is written.
    book = report if plan.jobs or watch else None
    show = Outcomes(share, book, as_json, {"steps": steps, "model": model})
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

    f, info, fingerprint = options.load_model(model, share.device(device))

    from make_it_real.images import encode
    from make_it_real.images.framing import described
    from make_it_real.inference import batch as batching
    from make_it_real.inference.gallery import Gallery

    page = Gallery(f"mir project: {info.name}", score="drift before")
    settings = batching.Settings(
        framing=described(info.framing),
        steps=steps,
        batch=batch,
        how=fit,
        invert=invert,
        restore_size=False if scale > 1 else restore_size,
        drift=as_json or report is not None or gallery is not None,
        quantiles=_quantiles(info.calibration),
        overwrite=overwrite,
        max_pixels=max_pixels,
        quality=quality,
        text={} if no_metadata else encode.provenance(info.name, fingerprint, steps),
        keep_metadata=keep_metadata,
        to_stdout=to_stdout,
        keep_before=gallery is not None,
        scale=scale,
    )
    with console.stop_on_signals() as stop:

        def done(jobs: "Jobs | list[Job]", f: "IGN", settings: "Settings") -> "Iterator[Result]":
            for result in batching.run(f, jobs, settings, stop):
                yield result
                if fail_fast and result.status == "failed":
                    stop.set()

        if watch:
            console.say("watching; Ctrl-C ends it")
            for some in planning.arrivals(planned, stop):
                for result in done(some, f, settings):
                    show(result)
        else:
            mine = plan.jobs.share(share.rank, share.world) if share.world > 1 else plan.jobs
            with console.job_bar(len(mine)) as advance:
                for result in done(mine, f, settings):
                    show(result)
                    if gallery and result.status in reporting.WRITTEN:
                        before = result.before
                        if before is None and result.input != "-":
                            before = Path(result.input)
                        name = result.input + f" (face {result.face})" * (result.face > 1)
                        page.add(
                            name, Path(result.output), before, score=result.drift_before,
                            figures={"status": result.status},
                        )  # fmt: skip
                    if result.face == 1:
                        advance(show.counts["failed"])
            if gallery:
                page.write(gallery, overwrite=overwrite)
        interrupted = stop.is_set() and not (fail_fast and show.counts["failed"])
    show.finish(show.counts.total() if watch else total, interrupted)


def _quantiles(calibration: Mapping[str, Any]) -> list[float] | None:
    """Return the quantiles of a header's calibration, or None where it has none of use."""
    from make_it_real.inference.scoring import checked

    try:
        return checked(calibration)
    except WeightsError:
        return None


def _say_what(plan: Any, overwrite: bool, as_json: bool) -> None:
    """Print each job with its output, and exit as the real run would if all succeeded."""
    for failure in plan.failed:
        console.complain(f"{failure.input}: {failure.reason}")
    counts: Counter[str] = Counter()
    for job in plan.jobs:
        exists = not overwrite and os.path.lexists(job.output)
        status = "planned" if not exists else "skipped" if job.within else "failed"
        counts[status] += 1
        if as_json:
            fields = {"input": str(job.source), "output": str(job.output), "status": status}
            print(json.dumps(fields))
        else:
            print(f"{job.source} -> {job.output}" + f" (is there: {status})" * exists)
    console.say(", ".join(f"{n} {status}" for status, n in sorted(counts.items())) or "nothing")
    if not plan.jobs:
        raise typer.Exit(console.NO_INPUT)
    if plan.failed or counts["failed"]:
        raise typer.Exit(1)
