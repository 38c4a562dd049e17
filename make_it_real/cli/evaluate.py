"""mir evaluate: how good f is, measured; and mir train-features: the judge it is measured by."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from make_it_real import weights
from make_it_real.cli import common
from make_it_real.errors import DataError

FEATURES = "digits-classifier.safetensors"


@common.command
def evaluate(
    data: Annotated[Path, typer.Argument(help="A folder of MNIST's IDX files, train and test.")],
    n: Annotated[int, typer.Option("--n", "-n", min=200, help="Images to generate.")] = 10_000,
    test_images: Annotated[
        int | None,
        typer.Option("--test-images", min=200, help="Only the first so many, to be quicker."),
    ] = None,
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
    features: Annotated[
        Path | None, typer.Option("--features", help="A classifier by mir train-features.")
    ] = None,
    model: common.Model = weights.DEFAULT_MODEL,
    as_json: common.Json = False,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Measure f on the test split of a labelled set of 28×28 digits, on the CPU.

    Distances are Fréchet distances between 128 features of a digit classifier; they are not
    FID. Compare them with fd_floor_train, real train images against the test images.
    """
    f, info, _ = common.load_model(model, "cpu")

    from make_it_real import dcgan, probe
    from make_it_real.data import load
    from make_it_real.evaluation import evaluate as measure
    from make_it_real.features import DigitClassifier
    from make_it_real.scoring import calibrate

    judge = DigitClassifier.load(features or weights.bundled_folder() / FEATURES)
    test, train = load(data, "test"), load(data, "train")
    if test.labels is None or test.pixels.shape[1:] != (1, 28, 28):
        raise DataError(f"{data}: figures need labelled 28×28 grey images")
    if (f.config.channels, f.config.image_size) != (1, 28):
        raise DataError(f"{model}: figures are for 28×28 grey models so far")
    if batch_statistics:
        if not dcgan.has_batch_norm(f):
            raise typer.BadParameter(f"--batch-statistics: {info.name} has no batch norm")
        if record:
            raise typer.BadParameter("--record: figures by batch statistics are not the model's")
        dcgan.use_batch_statistics(f)
    if test_images is not None:
        if record:
            raise typer.BadParameter("--record: recorded figures are on all test images")
        labels = test.labels[:test_images]
        test = replace(test, pixels=test.pixels[:test_images], labels=labels)
    figures: dict[str, float] = {}
    for group in measure(f, judge, test, train, n=n, seed=seed):
        for name, value in group.items():
            figures[name] = round(value, 6)
            if not as_json:
                print(f"{name:32} {value:.6g}", flush=True)
    if as_json:
        print(json.dumps(figures))
    if record:
        calibration = calibrate(f, train.pixels)
        recorded = replace(info, figures=figures, calibration=calibration)
        probe.save(f, recorded, weights.resolve(model))


@common.command
def train_features(
    data: Annotated[Path, typer.Argument(help="A folder of MNIST's IDX files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .safetensors to write.")],
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the data.")] = 10,
    jitter: Annotated[
        float, typer.Option("--jitter", min=0, help="How much images are turned and moved.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of weights, order, jitter.")] = 0,
    overwrite: common.Overwrite = False,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Train the digit classifier that figures are measured with (4 minutes on two cores)."""
    if output.exists() and not overwrite:
        raise typer.BadParameter(f"{output} exists; --overwrite replaces it")

    from make_it_real.data import load
    from make_it_real.evaluation import accuracy
    from make_it_real.features import DigitClassifier, train_digits
    from make_it_real.images import to_images

    train, test = load(data, "train"), load(data, "test")
    if train.labels is None or test.labels is None or train.pixels.shape[1:] != (1, 28, 28):
        raise DataError(f"{data}: the classifier needs labelled 28×28 grey images")
    net = DigitClassifier()
    for epoch, loss in train_digits(net, train, epochs=epochs, seed=seed, jitter=jitter):
        common.say(f"epoch {epoch}/{epochs}: loss {loss:.4f}")
    reached = accuracy(net, to_images(test.pixels), test.labels)
    info = {
        "data": train.name, "epochs": epochs, "seed": seed, "test_accuracy": reached,
        "command": " ".join(["mir", *sys.argv[1:]]),
    }  # fmt: skip
    net.save(output, info)
    print(f"{output}: test accuracy {reached:.4f}")
