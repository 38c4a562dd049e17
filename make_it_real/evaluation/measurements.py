"""Measurements of f: generation, idempotence, fidelity, realness.

Distances between distributions are taken in the features of an extractor, which is part of their
names: ``fd`` is a Fréchet distance in features of the digit classifier, ``fd_lite0`` of
EfficientNet-Lite0, ``fid`` of Inception.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from make_it_real.degradations.kinds import degraded
from make_it_real.evaluation import bootstrap, metrics
from make_it_real.evaluation.feature_extractors import Extractor, collect
from make_it_real.evaluation.figures import Group
from make_it_real.evaluation.metrics import auroc, psnr
from make_it_real.images.pixels import grid, mean_abs
from make_it_real.inference.projection import generate, project, project_with_change
from make_it_real.inference.refinement import Walk
from make_it_real.models.ign import IGN

# What twice as many images of 28×28 pixels need is given back to the system after each layer, and
# asked for again: a third of the classifier's time, and a twentieth of f's.
BATCH = 125
# Idempotence is measured up to k = REST_STEPS. An image is at rest if a step changes no pixel by
# more than REST_TOLERANCE.
REST_SEEDS, REST_STEPS = 64, 1000
REST_TOLERANCE = 1e-4
# Values of k at which the step from f^k to f^(k+1) is measured; up to EARLY on more seeds.
STEPS_AT = (1, 2, 10, 100, 1000)
EARLY, EARLY_SEEDS = 10, 1000
FIRST_SEED = 1_000_000
# Features in a subset of the kernel distance, and images in a row of a picture.
SUBSET, SHOWN = 1000, 8
# Kinds of damage and their levels; those of COLOUR_ONLY are for colour images.
DAMAGE: tuple[tuple[str, float], ...] = (
    ("noise", 0.15), ("noise", 0.5), ("noise", 1.0), ("noise", 1.5),
    ("low-resolution", 4), ("mask", 0.25), ("blur", 1.5), ("contrast", 0.3), ("light", 0.5),
    ("thin", 1.0), ("salt-and-pepper", 0.2), ("jpeg", 5), ("pixelate", 4),
)  # fmt: skip
COLOUR_ONLY = (
    ("grayscale", 1.0), ("sketch", 21.0), ("cast", 0.5), ("motion-blur", 7), ("glass", 1.5),
    ("central-block", 0.4375), ("dodge-and-burn", 3.0), ("edges", 0.3), ("noisy-drawing", 0.5),
)  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """What is measured: f, with an extractor, on images.

    x: held-out images (N, C, S, S) in [−1, 1]. labels: their labels (N,), if there are any.
    other: real images (M, C, S, S) to measure the floor with. n: number of images to generate.
    rests: whether f leaves an image alone again once it has left it alone, which is not so where
    results depend on the batch. tick: called with the number of images that f was applied to, or
    left out because they are at rest, and with the number whose features were compared.
    """

    f: IGN
    extractor: Extractor | None
    x: Tensor
    labels: Tensor | None
    other: Tensor
    n: int
    batch: int = BATCH
    rests: bool = True
    tick: Callable[[int], None] = lambda images: None

    def project(self, images: Tensor) -> Tensor:
        """Compute f of images (N, C, S, S), and tick for each batch."""
        out = []
        for part in images.split(self.batch):
            out.append(self.compute(part))
            self.tick(len(part))
        return torch.cat(out) if out else images

    def compute(self, images: Tensor) -> Tensor:
        """Compute f of images (N, C, S, S), in batches; the result is on the CPU."""
        return project(self.f, images, batch=self.batch).cpu()

    def with_changes(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute f of images (N, C, S, S), and the mean change before its gate, (N,)."""
        out, changes = [images[:0]], [images.new_empty(0)]
        for part in images.split(self.batch):
            fx, r = project_with_change(self.f, part, batch=self.batch)
            out.append(fx.cpu())
            changes.append(r.abs().mean((1, 2, 3)).cpu())
            self.tick(len(part))
        return torch.cat(out), torch.cat(changes)

    def onward(self, before: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Apply f again to y = f(before): f(y), and where y differs from before, (N,).

        Where y equals before, f(y) is y and is not computed.
        """
        iteration = Walk(self.compute, y)
        moved = (y != before).flatten(1).any(1) if self.rests else torch.ones(len(y)).bool()
        iteration.let_go(~moved)
        iteration.advance()
        self.tick(len(y))
        return iteration.images(), moved


def damage_for(channels: int) -> tuple[tuple[str, float], ...]:
    """List the kinds and levels of damage for images with so many channels, 1 or 3."""
    if channels == 1:
        return DAMAGE
    return (*((kind, level) for kind, level in DAMAGE if kind != "thin"), *COLOUR_ONLY)


def compare(
    group: Group, extractor: Extractor, generated: Tensor, balls: metrics.Balls, k: int
) -> None:
    """Add the distances and overlaps of generated (M, D) and real features to a group.

    k: of the figures.
    """
    of: dict[str, Any] = {"k": k, "features": extractor.name}
    real = balls.features
    distance = metrics.frechet_distance(generated, real)
    group.add("fd", distance, bootstrap.of_frechet(generated, real, distance), **of)
    n = min(len(generated), len(real))
    kernel = metrics.kernel_distances(real, generated, size=SUBSET)
    group.add("kd", float(kernel.mean()), bootstrap.of_kernel(kernel, min(SUBSET, n), n), **of)
    overlap = metrics.overlap(balls, generated)
    for metric in ("precision", "recall", "density", "coverage"):
        group.mean(metric, getattr(overlap, metric), **of)


def generation(s: Subject, real: Tensor | None) -> Iterator[Group]:
    """Compare f(z), f(f(z)) and f³(z) of s.n seeds, and as many other real images, with s.x.

    real: the features of s.x, None where there is no extractor. The seeds start at 1,000,000.
    Also measured are the mean |f(f(z)) − f(z)| and, where the extractor gives classes, the shares
    of the rarest and of the most frequent class.
    """
    features: tuple[list[Tensor], ...] = ([], [], [])
    drift, labels = [], []
    group = Group("generation")
    for start in range(0, s.n, s.batch):
        seeds = range(FIRST_SEED + start, FIRST_SEED + min(start + s.batch, s.n))
        one = generate(s.f, seeds, batch=s.batch).cpu()
        s.tick(len(one))
        two = s.project(one)
        three, _ = s.onward(one, two)
        drift.append(mean_abs(two, one))
        if not start:
            group.pictures["f(z)"] = grid(one[:64])
        if s.extractor is None:
            continue
        first, classes = s.extractor.read(one)
        features[0].append(first)
        features[1].append(_read_again(s.extractor, first, one, two))
        features[2].append(_read_again(s.extractor, features[1][-1], two, three))
        if classes is not None:
            labels.append(classes)
    if s.extractor is not None and real is not None:
        floor = collect(s.extractor, s.other[: s.n], s.batch, s.tick)[0]
        balls = metrics.Balls(real)
        compare(group, s.extractor, floor, balls, 0)
        before = floor
        for k, parts in enumerate(features, 1):
            made = torch.cat(parts)
            # Once all images are at rest, f of them has the figures that they have.
            if k > 1 and torch.equal(made, before):
                group.repeat(k - 1, k)
            else:
                compare(group, s.extractor, made, balls, k)
            s.tick(s.n)
            before = made
        if s.labels is not None and s.extractor.classifies:
            shares = torch.bincount(torch.cat(labels), minlength=10) / s.n
            group.add("class_share_min", float(shares.min()))
            group.add("class_share_max", float(shares.max()))
    group.mean("idempotence", torch.cat(drift))
    yield group


def _read_again(extractor: Extractor, features: Tensor, before: Tensor, after: Tensor) -> Tensor:
    """Compute the features (N, D) of images ``after``, most of which equal those ``before``.

    features: of the images before; only those of images that differ are computed.
    """
    moved = (after != before).flatten(1).any(1)
    features = features.clone()
    if moved.any():
        features[moved] = extractor.read(after[moved])[0]
    return features


def walk(s: Subject, y: Tensor, steps: int) -> Iterator[tuple[int, Tensor]]:
    """Iterate f from y: yield (k, f^(k−1)(y)) for k = 1 … steps.

    Images that f leaves alone are not computed again.
    """
    iteration = Walk(s.compute, y)
    for k in range(1, steps):
        yield k, iteration.images()
        unchanged = (iteration.advance() == 0).flatten(1).all(1)
        s.tick(len(y))
        if s.rests:
            iteration.let_go(unchanged)
    yield steps, iteration.images()


def idempotence(s: Subject) -> Group:
    """Measure the steps |f^(k+1)(z) − f^k(z)| and the distances |f^k(z) − f(z)| from f(z).

    Both are means over pixels. Of the steps, the mean and the 99th percentile over seeds are
    given. k = 1, 2 and 10 are measured on 1,000 seeds (or s.n), 100 and 1,000 on 64. An image is at
    rest if no pixel changes by more than 1e-4 in the step at k = 1,000.
    """
    group = Group("idempotence")
    steps: dict[int, list[Tensor]] = {k: [] for k in STEPS_AT if k <= REST_STEPS}
    ways: dict[int, list[Tensor]] = {k: [] for k in steps if k > 1}
    rows = []
    # A few seeds go all the way, and many seeds through the early steps.
    few = range(FIRST_SEED, FIRST_SEED + REST_SEEDS)
    many = range(few.stop, FIRST_SEED + max(REST_SEEDS, min(s.n, EARLY_SEEDS)))
    for seeds, last in ((few, REST_STEPS), (many, EARLY)):
        first = before = generate(s.f, seeds, batch=s.batch).cpu()
        if not len(first):
            continue
        s.tick(len(first))
        # y is f^k(z) and before is f^(k−1)(z); at k = 1 both are f(z).
        for k, y in walk(s, first, min(last, REST_STEPS) + 1):
            if k - 1 in steps:
                steps[k - 1].append(mean_abs(y, before))
            if k in ways and k <= last:
                ways[k].append(mean_abs(y, first))
            if seeds is few and k in steps:
                rows.append(y[:SHOWN])
            before, previous = y, before
        # The last step of the few seeds tells which images are at rest.
        if seeds is few:
            change = (y - previous).abs().flatten(1).amax(1)
            group.mean("rest_share", (change <= REST_TOLERANCE).float())
            group.add("rest_change_max", float(change.max()))
            way = mean_abs(previous, first)
            group.mean("rest_way", way)
            group.add("rest_way_max", float(way.max()))
    # The figures for each k, over all seeds that went so far.
    for k, parts in steps.items():
        values = torch.cat(parts)
        group.mean("step", values, of="mean", k=k)
        high = bootstrap.of_statistic(values, lambda rows: rows.quantile(0.99, dim=1))
        group.add("step", float(values.double().quantile(0.99)), high, of="p99", k=k)
    for k, parts in ways.items():
        group.mean("way", torch.cat(parts), k=k)
    z = s.f.source.from_seeds(list(few)[:SHOWN]).cpu()
    names = ", ".join(f"{k:,}" for k in steps)
    group.pictures[f"z, and f^k(z) for k = {names}"] = grid(torch.cat([z, *rows]), SHOWN)
    return group


def fidelity(x: Tensor, fx: Tensor) -> Group:
    """Measure how little f changes real images: mean |f(x) − x|, PSNR in dB, SSIM.

    x, fx: (N, C, S, S) in [−1, 1]. An image's PSNR counts as 100 at most.
    """
    group = Group("fidelity")
    group.mean("fidelity", mean_abs(fx, x))
    group.mean("fidelity_psnr", psnr(fx, x).clamp_max(100))
    if min(x.shape[2:]) >= metrics.SSIM_WINDOW:
        parts = zip(fx.split(BATCH), x.split(BATCH), strict=True)
        group.mean("fidelity_ssim", torch.cat([metrics.ssim(a, b) for a, b in parts]))
    return group


def unreal(x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Make images that are not real from x, by kind, each (N, C, S, S)."""
    noisy = degraded(x, "noise", 0.5, generator=generator)
    order = torch.randperm(x[0].numel(), generator=generator)
    return {"noise": noisy, "inverted": -x, "shuffled": x.flatten(1)[:, order].view_as(x)}


def realness(s: Subject, generator: torch.Generator, real: Tensor | None = None) -> Group:
    """Measure the AUROC with which the score of images tells real ones, s.x, from unreal ones.

    The score is mean |r(y)|, the change that f would make of y before its gate, as in ``mir
    score``. real: the scores of s.x, (N,), where they are known.
    """
    group = Group("realness")
    if real is None:
        _, real = s.with_changes(s.x)
    for kind, images in unreal(s.x, generator).items():
        _, change = s.with_changes(images)
        group.add("auroc", auroc(real, change), bootstrap.of_auroc(real, change), of=kind)
    return group
