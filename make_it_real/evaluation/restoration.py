"""Restoration of damaged images: each kind at a level, before and after f, f² and f³."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from make_it_real.degradations.kinds import degraded
from make_it_real.evaluation import metrics
from make_it_real.evaluation.figures import Group
from make_it_real.evaluation.measurements import SHOWN, Subject, damage_for
from make_it_real.evaluation.metrics import psnr
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


class Comparison:
    """Compares images with the originals s.x: values (N,), one per image, by (metric, features).

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

    def __call__(self, images: Tensor, index: Tensor | None = None) -> dict[Measure, Tensor]:
        """Compare images with s.x[index], or with all of s.x."""
        s = self.s
        out: dict[Measure, list[Tensor]] = {}
        index = torch.arange(len(s.x)) if index is None else index
        for part, at in zip(images.split(s.batch), index.split(s.batch), strict=True):
            for measure, values in self._batch(part, at).items():
                out.setdefault(measure, []).append(values)
        return {measure: torch.cat(values) for measure, values in out.items()}

    def _batch(self, images: Tensor, at: Tensor) -> dict[Measure, Tensor]:
        """Compare a batch of images with s.x[at]."""
        s, x = self.s, self.s.x[at]
        values: dict[Measure, Tensor] = {}
        if s.extractor is not None and self.real is not None:
            features, classes = s.extractor.read(images)
            if s.labels is not None and classes is not None:
                values["acc", ""] = classes.eq(s.labels[at]).float()
            distances = (features - self.real[at]).double().norm(dim=1)
            values["feature", s.extractor.name] = distances / self.scale
        return values | similarity(images, x)


def projection(s: Subject, real: Tensor | None, generator: torch.Generator) -> Iterator[Group]:
    """Compare A(x), f(A(x)), f²(A(x)) and f³(A(x)) with x, for each kind of damage A.

    real: the features of s.x, None where there is no extractor. Yields a group for each kind. f²
    and f³ are computed of the first 1,000 images only: what they add to the figure of f there is
    added to the figure of f over all images.
    """
    compare = Comparison(s, real)
    some = torch.arange(min(REPEATED_IMAGES, len(s.x)))
    for kind, level in damage_for(s.x.shape[1]):
        damaged = degraded(s.x, kind, level, generator=generator)
        group = Group("projection")
        of: dict[str, Any] = {"of": kind, "level": level}
        # A(x), and one application of f.
        for (metric, features), values in compare(damaged).items():
            group.mean(metric, values, features=features, k=0, **of)
        one = s.project(damaged)
        after = compare(one)
        for (metric, features), values in after.items():
            group.mean(metric, values, features=features, k=1, **of)
        # f² and f³, which change few images: only those are compared again.
        now = {measure: values[some].clone() for measure, values in after.items()}
        before, y = damaged[some], one[some]
        frames = [s.x[:SHOWN], damaged[:SHOWN], one[:SHOWN]]
        for k in (2, 3):
            new, moved = s.onward(before, y)
            if moved.any():
                for measure, values in compare(new[moved], some[moved]).items():
                    now[measure][moved] = values
            for (metric, features), values in now.items():
                if len(some) == len(s.x):
                    group.mean(metric, values, features=features, k=k, **of)
                    continue
                over_all = after[metric, features]
                added = float((values - over_all[some]).double().mean())
                value = float(over_all.mean()) + added
                group.add(metric, value, features=features, k=k, **of)
            before, y = y, new
            frames += [new[:SHOWN]] if k == 2 else []
        group.pictures[f"{kind} {level:g}: x, A(x), f(A(x)), f²(A(x))"] = grid(
            torch.cat(frames).clamp(-1, 1), SHOWN
        )
        yield group
