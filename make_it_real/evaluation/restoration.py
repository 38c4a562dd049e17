"""Restoration of damaged images: each kind at a level, before and after f, f² and f³."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from make_it_real.degradations.kinds import degraded
from make_it_real.evaluation import metrics, realism
from make_it_real.evaluation.feature_extractors import collect
from make_it_real.evaluation.figures import Group
from make_it_real.evaluation.measurements import SHOWN, Subject, damage_for
from make_it_real.evaluation.metrics import psnr
from make_it_real.evaluation.realism import Realism
from make_it_real.images.pixels import grid

# A metric, and the name of the extractor in whose features it is taken, or "".
Measure = tuple[str, str]
# f² and f³ are computed of so many damaged images at most.
REPEATED_IMAGES = 1000


def similarity(images: Tensor, x: Tensor, most: float = 100) -> dict[Measure, Tensor]:
    """Compare images (N, C, H, W) with x: PSNR in dB, at most ``most``, and SSIM, each (N,).

    Images with a side under 11 pixels have no SSIM.
    """
    values = {("psnr", ""): psnr(images, x).clamp_max(most)}
    if min(x.shape[2:]) >= metrics.SSIM_WINDOW:
        values["ssim", ""] = metrics.ssim(images, x)
    return values


@dataclass
class Compared:
    """What a comparison of images with their originals gave.

    values: one per image, (N,), by (metric, features). features: the images' own, (N, D), None
    where there is no extractor.
    """

    values: dict[Measure, Tensor]
    features: Tensor | None = None


class Comparison:
    """Compares images with the originals s.x, by (metric, features).

    acc: whether an image is classified as its label; psnr: in dB, at most 100; ssim; feature: the
    distance of its features from those of the original, divided by the mean distance between
    different real images.
    """

    def __init__(self, s: Subject, real: Tensor | None) -> None:
        """real: the features of s.x, None where there is no extractor."""
        self.s, self.real = s, real
        if real is not None:
            distances = (real - real.roll(1, 0)).double().norm(dim=1)
            self.scale = float(distances.mean()) or 1.0

    def __call__(self, images: Tensor, index: Tensor | None = None) -> Compared:
        """Compare images with s.x[index], or with all of s.x."""
        s = self.s
        out: dict[Measure, list[Tensor]] = {}
        features = []
        index = torch.arange(len(s.x)) if index is None else index
        for part, at in zip(images.split(s.batch), index.split(s.batch), strict=True):
            compared = self._batch(part, at)
            for measure, values in compared.values.items():
                out.setdefault(measure, []).append(values)
            if compared.features is not None:
                features.append(compared.features)
        joined = {measure: torch.cat(values) for measure, values in out.items()}
        return Compared(joined, torch.cat(features) if features else None)

    def _batch(self, images: Tensor, at: Tensor) -> Compared:
        """Compare a batch of images with s.x[at]."""
        s, x = self.s, self.s.x[at]
        values, features = similarity(images, x), None
        if s.extractor is not None and self.real is not None:
            features, classes = s.extractor.read(images)
            if s.labels is not None and classes is not None:
                values["acc", ""] = classes.eq(s.labels[at]).float()
            distances = (features - self.real[at]).double().norm(dim=1)
            values["feature", s.extractor.name] = distances / self.scale
        return Compared(values, features)


def projection(
    s: Subject, real: Tensor | None, generator: torch.Generator, drawings: Tensor | None = None
) -> Iterator[Group]:
    """Compare A(x), f(A(x)), f²(A(x)) and f³(A(x)) with x, for each kind of damage A.

    real: the features of s.x, None where there is no extractor. Where that gives no classes, the
    kernel distances of x, A(x), f(A(x)) and f²(A(x)) from s.other are measured too. drawings:
    images (N, C, S, S) drawn by hand, of which f makes what it can: there is no original. Yields
    a group for each kind. f², f³ and kernel distances are computed of the first 1,000 images only:
    what f² and f³ add to the figure of f there is added to the figure of f over all images.
    """
    compare, look = Comparison(s, real), None
    enough = min(len(s.x), len(s.other)) > 1
    if enough and s.extractor is not None and real is not None and realism.applies(s.extractor):
        look = Realism(s.extractor, s.other, s.batch, s.tick)
        group = Group("projection")
        look.add(group, real[:REPEATED_IMAGES], of="real")
        yield group
    for kind, level in damage_for(s.x.shape[1]):
        damaged = degraded(s.x, kind, level, generator=generator)
        yield _repairs(compare, look, damaged, {"of": kind, "level": level})
    if drawings is not None:
        yield _of_drawings(s, look, drawings)


def _repairs(
    compare: Comparison, look: Realism | None, damaged: Tensor, of: dict[str, Any]
) -> Group:
    """Compare damaged images, and f, f² and f³ of them, with the originals. of: their kind."""
    s, group = compare.s, Group("projection")
    some = torch.arange(min(REPEATED_IMAGES, len(s.x)))
    # A(x), and one application of f.
    one = s.project(damaged)
    for k, images in enumerate((damaged, one)):
        after = compare(images)
        for (metric, features), values in after.values.items():
            group.mean(metric, values, features=features, k=k, **of)
        if look and after.features is not None:
            look.add(group, after.features[some], k=k, **of)
    group.mean("unchanged", realism.same(one, damaged), k=0, **of)
    # f² and f³, which change few images: only those are compared again.
    now = {measure: values[some].clone() for measure, values in after.values.items()}
    seen = None if after.features is None else after.features[some].clone()
    before, y = damaged[some], one[some]
    frames = [s.x[:SHOWN], damaged[:SHOWN], one[:SHOWN]]
    for k in (2, 3):
        new, moved = s.onward(before, y)
        if moved.any():
            again = compare(new[moved], some[moved])
            for measure, values in again.values.items():
                now[measure][moved] = values
            if seen is not None and again.features is not None:
                seen[moved] = again.features
        for (metric, features), values in now.items():
            if len(some) == len(s.x):
                group.mean(metric, values, features=features, k=k, **of)
                continue
            over_all = after.values[metric, features]
            added = float((values - over_all[some]).double().mean())
            group.add(metric, float(over_all.mean()) + added, features=features, k=k, **of)
        if k == 2:
            group.mean("unchanged", realism.same(new, y), k=1, **of)
            if look and seen is not None:
                look.add(group, seen, k=k, **of)
            frames.append(new[:SHOWN])
        before, y = y, new
    title = f"{of['of']} {of['level']:g}: x, A(x), f(A(x)), f²(A(x))"
    group.pictures[title] = grid(torch.cat(frames).clamp(-1, 1), SHOWN)
    return group


def _of_drawings(s: Subject, look: Realism | None, drawings: Tensor) -> Group:
    """Measure how real drawings (N, C, S, S) are, and f and f² of them, which have no original."""
    group, of = Group("projection"), {"of": "drawings"}
    one = s.project(drawings)
    two = s.project(one)
    stages = (drawings, one, two)
    for k, images in enumerate(stages):
        if look and s.extractor is not None:
            look.add(group, collect(s.extractor, images, s.batch)[0], k=k, **of)
        if images.shape[1] == 3:
            group.mean("coloured", realism.coloured(images), k=k, **of)
    for k, (before, after) in enumerate(pairwise(stages)):
        group.mean("unchanged", realism.same(after, before), k=k, **of)
    frames = [images[:SHOWN] for images in stages]
    group.pictures["drawings y, f(y), f²(y)"] = grid(torch.cat(frames), len(frames[0]))
    return group
