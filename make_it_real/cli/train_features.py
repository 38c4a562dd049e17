"""mir train-features: train the classifier that ``mir evaluate`` measures with."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from make_it_real.cli import options
from make_it_real.cli.console import command, say
from make_it_real.errors import DataError


@command
def train_features(
    data: Annotated[Path, typer.Argument(help="A folder of MNIST's IDX files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write, a .safetensors.")],
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, help="Number of passes over the data.")
    ] = 10,
    jitter: Annotated[
        float, typer.Option("--jitter", min=0, help="Amount that images are turned and moved by.")
    ] = 1.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")] = 0,
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
