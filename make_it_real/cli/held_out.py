"""The images that mir evaluate measures on: held-out ones, other real ones, and drawings."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from make_it_real.cli.console import detail, say

if TYPE_CHECKING:
    from torch import Tensor

    from make_it_real.data.dataset import ImageSet
    from make_it_real.models.ign import IGNConfig


def load(
    data: Path | None, train: Path | None, config: "IGNConfig", seed: int
) -> "tuple[ImageSet | None, ImageSet | None]":
    """Load (held-out images, other real ones) at f's size and channels.

    train: the others; without it they are IDX's train split, or half of ``data``.
    """
    if data is None:
        return None, None

    from make_it_real.data import dataset
    from make_it_real.evaluation.evaluate import halves

    read = partial(dataset.load, size=config.image_size, channels=config.channels)
    both = dataset.has_splits(data)
    test = read(data, "test" if both else "train")
    for reason in test.skipped:
        detail(reason)
    if train is not None:
        return test, read(train)
    if both:
        return test, read(data)
    say(f"{data}: one half is held out, the other measures the floor; --train gives other images")
    return halves(test, seed)


def load_drawings(path: Path | None, config: "IGNConfig") -> "Tensor | None":
    """Load drawings (N, C, S, S) at f's size and channels, the middle of each."""
    if path is None:
        return None

    from make_it_real.data import dataset
    from make_it_real.images.pixels import to_images

    drawings = dataset.load(path, size=config.image_size, channels=config.channels)
    for reason in drawings.skipped:
        detail(reason)
    return to_images(drawings.pixels)
