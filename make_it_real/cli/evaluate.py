"""mir evaluate: measure how good f is."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from make_it_real.cli import held_out, options, photographs
from make_it_real.cli import sections as sections_display
from make_it_real.cli.console import command, detail, say
from make_it_real.cli.help import OUTPUT
from make_it_real.files import make_folder, write_bytes
from make_it_real.weights import model_file

if TYPE_CHECKING:
    from make_it_real.evaluation.report import Report
    from make_it_real.models.ign import IGN


# The same as in evaluation/evaluate.py, which imports torch.
SECTIONS = ("generation", "idempotence", "fidelity", "realness", "projection")
# Number of images for a first look, and the least to generate.
QUICK, LEAST = 1_000, 200


@command
def evaluate(
    data: Annotated[
        Path | None,
        typer.Argument(help="Held-out images: a folder, a zip, IDX files (their test split)."),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option(
            "--train",
            help="Other real images, to measure the floor [IDX's train split, or half of DATA].",
        ),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n",
            "-n",
            min=1,
            help="Number of images to generate, 200 or more [as held out, up to 10,000]; of "
            "photographs, number to measure on, the first by name [all].",
        ),
    ] = None,
    test_images: Annotated[
        int | None,
        typer.Option(
            "--test-images", min=20, help="Number of held-out images, the first ones [10,000]."
        ),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Take 1,000 images of each, or 8 photographs of 256x256 pixels, for a first look.",
        ),
    ] = False,
    drawings: Annotated[
        Path | None,
        typer.Option(
            "--drawings",
            help="Drawings by hand, a folder or zip, of which f's repairs are measured too.",
        ),
    ] = None,
    crop: photographs.Crop = None,
    peers: photographs.Peers = False,
    sections: Annotated[
        str | None,
        typer.Option("--sections", help=f"Sections to measure, of {', '.join(SECTIONS)} [all]."),
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            "--features",
            help="Network of the distances: auto, digits, clothes, lite0, inception, or a file by "
            "mir train-features.",
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")] = 0,
    batch_statistics: Annotated[
        bool,
        typer.Option(
            "--batch-statistics",
            help="Use each batch's own statistics in batch norm, as in training.",
        ),
    ] = False,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            rich_help_panel=OUTPUT,
            help="Write figures and calibration into the model's header.",
        ),
    ] = False,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            rich_help_panel=OUTPUT,
            help="Write tables and pictures to this .html or .md.",
        ),
    ] = None,
    model: options.Model = model_file.DEFAULT_MODEL,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    batch: options.Batch = 125,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Measure how well f generates, comes to rest, keeps real images, and repairs damaged ones.

    Of a model for photographs, that is how it keeps and repairs those of DATA, at their own size.

    Distances are labelled with the features they are taken in: fd is a Fréchet distance in the
    digit classifier's, fd_lite0 in EfficientNet-Lite0's; only inception's are called FID.
    Compare them with those of real images (floor_train).
    """
    wanted = _wanted(sections)
    if record and dtype != "float32":
        raise typer.BadParameter("--record: recorded figures are those of float32")
    options.check(report, "--report", (".html", ".md"), overwrite)
    if photographs.takes(model):
        others = {"--train": train, "--test-images": test_images, "--sections": sections}
        others["--drawings"] = drawings
        _refuse({**others, "--batch-statistics": batch_statistics}, "of one size")
        choices = photographs.choose(data, n, crop, quick, features, peers, seed)
        if record and (quick or crop or n):
            raise typer.BadParameter("--record: recorded figures are of all photographs, whole")
        if record:
            options.check_own(model, overwrite)
        results = photographs.evaluate(choices, model, device, dtype, _is_plain(as_json))
        _finish(results, as_json, report, overwrite)
        if record:
            _record(model, photographs.own_figures(results))
        return
    _refuse({"--crop": crop, "--peers": peers}, "of photographs of any size")
    if n is not None and n < LEAST:
        raise typer.BadParameter(f"--n {n}: at least {LEAST} images to generate")
    whole = wanted == SECTIONS and test_images is None and not quick and data is not None
    if record and not whole:
        raise typer.BadParameter("--record: recorded figures are of all sections and test images")
    if record:
        options.check_own(model, overwrite)
    if data is None:
        if "idempotence" not in wanted or train is not None:
            raise typer.BadParameter("without DATA only the section idempotence can be measured")
        wanted = ("idempotence",)
        if drawings is not None:
            raise typer.BadParameter("--drawings: DATA has the real images to compare them with")
        say("no DATA: only idempotence is measured")
    f, info, fingerprint = options.load_model(model, device, dtype=dtype)

    from make_it_real.degradations.kinds import kept_out
    from make_it_real.evaluation import evaluate as evaluation_evaluate
    from make_it_real.evaluation import feature_extractors, measurements, realism
    from make_it_real.evaluation.report import Report
    from make_it_real.evaluation.workload import Workload
    from make_it_real.inference.scoring import calibrate

    if batch_statistics:
        _use_batch_statistics(f, info.name, record)
    channels, size = f.config.channels, f.config.image_size
    test, other = held_out.load(data, train, f.config, seed)
    drawn = held_out.load_drawings(drawings, f.config) if "projection" in wanted else None
    extractor = None
    if test is not None and {"generation", "projection"} & set(wanted):
        extractor = feature_extractors.load(features, channels, size, f.device)
        if extractor is None:
            say("no features, so no distances: pip install 'make-it-real[lite0]' for them")
    judged = realism.applies(extractor)
    most = QUICK if quick else evaluation_evaluate.MOST
    if test is not None:
        test = test.take(slice(test_images or most))
    n = n or (most if test is None else max(LEAST, min(most, len(test))))
    load = Workload(
        test=len(test or ()), floor=min(n, len(other or ())), n=n,
        kinds=len(measurements.damage_for(channels)), features=extractor is not None,
        wanted=wanted, others=min(realism.OTHERS, len(other or ())) if judged else 0,
        drawings=0 if drawn is None else len(drawn),
    )  # fmt: skip
    judge = f"{extractor.name} (sha256 {extractor.version}…)" if extractor else "none"
    facts = {
        "model": f"{info.name} (sha256 {fingerprint}…)",
        "data": "none" if test is None else f"{test.name}, {len(test):,} held-out images",
        "damaged": "none" if test is None else f"{load.damaged:,} of them",
        "real images of the floor": "none" if other is None else f"{load.floor:,}",
        "other real images for repairs": f"{load.others:,}", "drawings": f"{load.drawings:,}",
        "features": judge, "generated": f"{n:,}", "seed": str(seed),
        "sections": ", ".join(wanted), "dtype": str(f.precision).removeprefix("torch."),
    }  # fmt: skip
    detail(f"features: {judge}")
    say(f"this takes about {sections_display.about(load.seconds(f, extractor))} on this machine")
    results = Report(f"mir evaluate: {info.name}", facts, kept_out=kept_out(channels))
    with sections_display.bars(load.totals()) as tick:
        groups = evaluation_evaluate.evaluate(
            f, extractor, test, other, n=n, seed=seed, wanted=wanted, batch=batch,
            rests=not batch_statistics, drawings=drawn, tick=tick,
        )  # fmt: skip
        for group in groups:
            results.groups.append(group)
            sections_display.print_lines(group.figures if _is_plain(as_json) else {})
    _finish(results, as_json, report, overwrite)
    accuracy = results.figures.get("classifier_accuracy")
    if accuracy is not None and accuracy < 0.8:
        say(
            f"the classifier reads only {accuracy:.0%} of the undamaged images right: --features "
            "names another, and mir train-features trains one for them"
        )
    if record and other is not None:
        _record(model, results.figures, calibrate(f, other.pixels))


def _refuse(given: Mapping[str, object], models: str) -> None:
    """Refuse options that are given, which are for other models."""
    for option, value in given.items():
        if value:
            raise typer.BadParameter(f"{option} is for models {models}")


def _wanted(sections: str | None) -> tuple[str, ...]:
    """Parse "fidelity,generation" into names, in the order of SECTIONS."""
    if sections is None:
        return SECTIONS
    names = {name.strip() for name in sections.split(",")}
    if unknown := names - set(SECTIONS):
        raise typer.BadParameter(
            f"--sections {','.join(sorted(unknown))}: one or more of {','.join(SECTIONS)}"
        )
    return tuple(name for name in SECTIONS if name in names)


def _use_batch_statistics(f: "IGN", name: str, record: bool) -> None:
    """Let batch norm use each batch's own statistics; refuse where there is none."""
    from make_it_real.models import dcgan

    if not dcgan.has_batch_norm(f):
        raise typer.BadParameter(f"--batch-statistics: {name} has no batch norm")
    if record:
        raise typer.BadParameter("--record: figures by batch statistics are not the model's")
    dcgan.use_batch_statistics(f)


def _is_plain(as_json: bool) -> bool:
    """Tell whether figures are printed as lines: neither as JSON nor, on a terminal, as tables."""
    return not as_json and not sys.stdout.isatty()


def _finish(results: "Report", as_json: bool, path: Path | None, overwrite: bool) -> None:
    """Print the figures as JSON or tables; write the report, HTML or Markdown by its suffix."""
    from make_it_real.evaluation.report import html, markdown

    if as_json:
        between = {k: [round(v, 6) for v in pair] for k, pair in results.intervals.items()}
        figures = {name: round(value, 6) for name, value in results.figures.items()}
        print(json.dumps({**figures, "intervals": between, "about": results.facts}))
    elif not _is_plain(as_json):
        sections_display.show(results)
    if path is None:
        return
    text = html(results) if path.suffix.lower() == ".html" else markdown(results)
    make_folder(path.parent)
    write_bytes(path, text.encode(), overwrite=overwrite)


def _record(
    model: str, figures: Mapping[str, float], calibration: Mapping[str, Any] | None = None
) -> None:
    """Write figures, and a calibration if there is one, into the model's header."""
    from make_it_real.weights import pretrained, verify

    path = model_file.resolve(model)
    info = model_file.inspect(path)
    kept = {name: round(value, 6) for name, value in figures.items()}
    calibration = info.calibration if calibration is None else calibration
    model_file.describe(replace(info, figures=kept, calibration=calibration), path)
    verify.add(pretrained.load(path), path)
