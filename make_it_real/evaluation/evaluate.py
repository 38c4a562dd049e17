"""The whole evaluation of a trained f, section by section, and the images it is measured on."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from make_it_real.data.dataset import ImageSet
from make_it_real.errors import DataError
from make_it_real.evaluation import measurements, realism, restoration
from make_it_real.evaluation.classifier import DigitClassifier
from make_it_real.evaluation.feature_extractors import Extractor, collect
from make_it_real.evaluation.figures import Group
from make_it_real.evaluation.measurements import BATCH, Subject
from make_it_real.images.pixels import to_images
from make_it_real.models.ign import IGN

SECTIONS = ("generation", "idempotence", "fidelity", "realness", "projection")
# Fewer real images say nothing about a distribution; more take long and say little more.
LEAST, MOST = 20, 10_000
# At most so many held-out images, evenly spread over all, are damaged.
DAMAGED = 5_000


@torch.inference_mode()
def classes(net: DigitClassifier, images: Tensor) -> Tensor:
    """Classify images (N, 1, 28, 28) in [−1, 1]: their classes, (N,)."""
    return torch.cat([net(part).argmax(1) for part in images.split(BATCH)])


def accuracy(net: DigitClassifier, images: Tensor, labels: Tensor) -> float:
    """Compute the accuracy of the classifier on images (N, 1, 28, 28) with labels (N,)."""
    return float(classes(net, images).eq(labels).float().mean())


def damaged(n: int) -> slice:
    """Choose which of n held-out images are damaged.

    They are spread over all: the first ones alone may be easier or harder than the others.
    """
    return slice(None, None, max(1, -(-n // DAMAGED)))


def halves(images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """Split a set at random into two: held-out images, and images to measure the floor with."""
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    middle = len(images) // 2
    return images.take(order[:middle]), images.take(order[middle:])


def evaluate(
    f: IGN,
    extractor: Extractor | None,
    test: ImageSet | None,
    other: ImageSet | None,
    *,
    n: int = 10_000,
    seed: int = 0,
    wanted: Collection[str] = SECTIONS,
    batch: int = BATCH,
    rests: bool = True,
    drawings: Tensor | None = None,
    tick: Callable[[str, int], None] = lambda stage, images: None,
) -> Iterator[Group]:
    """Measure f: yield groups of figures as they are ready, section by section.

    extractor: without one there are no distances. test: held-out images. other: real images to
    measure the floor with, at most n of them. Where test or other is None, only idempotence can
    be measured. n: number of images to generate. wanted: the sections to measure, which are
    yielded in the order of ``SECTIONS``. rests: as in ``Subject``. drawings: as
    in ``restoration.projection``. tick: called with a stage, as
    ``Workload.totals`` has them, and the number of images that were dealt with.

    At most 5,000 held-out images, evenly spread, are damaged for realness and projection. The same
    seed gives the same images and damage, whichever sections are wanted. Raises DataError where
    generation has fewer than 20 images to compare with.
    """
    generator = torch.Generator().manual_seed(seed)
    empty = torch.empty(0, f.config.channels, f.config.image_size, f.config.image_size)
    if test is None or other is None:
        ticks = partial(tick, "idempotence")
        nothing = Subject(f, None, empty, None, empty, n, batch, rests, ticks)
        if "idempotence" in wanted:
            yield measurements.idempotence(nothing)
        return
    if "generation" in wanted and min(len(test), len(other)) < LEAST:
        raise DataError(
            f"{test.name}: generation needs at least {LEAST} held-out and {LEAST} other images; "
            "choose other sections with --sections"
        )

    def ticking(s: Subject, stage: str) -> Subject:
        return replace(s, tick=partial(tick, stage))

    # The floor is measured with as many other images as f generates, chosen at random.
    order = torch.randperm(len(other), generator=generator)
    x, floor = to_images(test.pixels), to_images(other.pixels[order[:n]])
    s = Subject(f, extractor, x, test.labels, floor, n, batch, rests)
    real = None
    if extractor is not None and {"generation", "projection"} & set(wanted):
        real, labels = collect(extractor, x, batch, partial(tick, "features"))
        if test.labels is not None and labels is not None:
            group = Group("generation")
            group.mean("classifier_accuracy", labels.eq(test.labels).float())
            yield group
    if "generation" in wanted:
        yield from measurements.generation(ticking(s, "generation"), real)
    if "idempotence" in wanted:
        yield measurements.idempotence(ticking(s, "idempotence"))
    some = damaged(len(x))
    fewer = replace(s, x=x[some], labels=None if test.labels is None else test.labels[some])
    scores = None
    if "fidelity" in wanted:
        fx, changes = ticking(s, "fidelity").with_changes(x)
        scores = changes[some]
        yield measurements.fidelity(x, fx)
    if "realness" in wanted:
        yield measurements.realness(ticking(fewer, "realness"), generator, scores)
    if "projection" in wanted:
        if "realness" not in wanted:
            # Draw what that section draws, so that the damage is the same without it.
            measurements.unreal(fewer.x, generator)
        features = None if real is None else real[some]
        others = to_images(other.pixels[order[: realism.OTHERS]])
        repaired = ticking(replace(fewer, other=others), "projection")
        yield from restoration.projection(repaired, features, generator, drawings)
