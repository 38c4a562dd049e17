"""How well f undoes damage: each kind at a level, before and after f, f² and f³."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from make_it_real.degradations.kinds import degraded
from make_it_real.evaluation import metrics
from make_it_real.evaluation.measurements import SHOWN, Group, Subject, damage_for
from make_it_real.evaluation.metrics import psnr
from make_it_real.images.pixels import grid

# A metric, and the name of the extractor in whose features it is, or "".
Measure = tuple[str, str]
# f² and f³ of damaged images are computed of so many of them.
MORE = 1000


class Judge:
    """Per-image figures of images against what they were, s.x: values (N,) by (metric, features).

    acc: read as its label; psnr, at most 100 dB; ssim; feature: the distance of its features
    from the original's, over the mean distance between different real images'.
    """

    def __init__(self, s: Subject, real: Tensor | None) -> None:
        """real: the features of s.x, None where there is no extractor."""
        self.s, self.real = s, real
        if real is not None:
            apart = (real - real.roll(1, 0)).double().norm(dim=1)
            self.scale = float(apart.mean()) or 1.0

    def __call__(self, images: Tensor, index: Tensor | None = None) -> dict[Measure, Tensor]:
        """images: those of s.x[index], all where None."""
        s = self.s
        out: dict[Measure, list[Tensor]] = {}
        index = torch.arange(len(s.x)) if index is None else index
        for part, at in zip(images.split(s.batch), index.split(s.batch), strict=True):
            for measure, values in self._batch(part, at).items():
                out.setdefault(measure, []).append(values)
        return {measure: torch.cat(values) for measure, values in out.items()}

    def _batch(self, images: Tensor, at: Tensor) -> dict[Measure, Tensor]:
        s, x = self.s, self.s.x[at]
        found: dict[Measure, Tensor] = {}
        if s.extractor is not None and self.real is not None:
            features, classes = s.extractor.read(images)
            if s.labels is not None and classes is not None:
                found["acc", ""] = classes.eq(s.labels[at]).float()
            apart = (features - self.real[at]).double().norm(dim=1)
            found["feature", s.extractor.name] = apart / self.scale
        found["psnr", ""] = psnr(images, x).clamp_max(100)
        if min(x.shape[2:]) >= metrics.SSIM_WINDOW:
            found["ssim", ""] = metrics.ssim(images, x)
        return found


def projection(s: Subject, real: Tensor | None, generator: torch.Generator) -> Iterator[Group]:
    """For each kind of damage A: figures of A(x), f(A(x)), f²(A(x)) and f³(A(x)) against x.

    The last two are computed of the first 1,000 images only: what they add to f's figure
    there is added to f's figure over all.
    """
    judge = Judge(s, real)
    some = torch.arange(min(MORE, len(s.x)))
    for kind, level in damage_for(s.x.shape[1]):
        damaged = degraded(s.x, kind, level, generator=generator)
        group = Group("projection")
        of: dict[str, Any] = {"of": kind, "level": level}
        for (metric, features), values in judge(damaged).items():
            group.mean(metric, values, features=features, k=0, **of)
        one = s.project(damaged)
        after = judge(one)
        for (metric, features), values in after.items():
            group.mean(metric, values, features=features, k=1, **of)
        now = {measure: values[some].clone() for measure, values in after.items()}
        before, y = damaged[some], one[some]
        frames = [s.x[:SHOWN], damaged[:SHOWN], one[:SHOWN]]
        for k in (2, 3):
            new, moved = s.onward(before, y)
            if moved.any():
                for measure, values in judge(new[moved], some[moved]).items():
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
