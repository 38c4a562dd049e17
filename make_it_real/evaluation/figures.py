"""Figures, the values that an evaluation measures, and their names in print and in headers."""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from make_it_real.evaluation import bootstrap
from make_it_real.evaluation.bootstrap import Interval

Figures = dict[str, float]
# The word for k = 0 … 3 in the names of a section's figures. Other sections have the number.
APPLIED = {
    "generation": ("floor_train", "f", "ff", "fff"),
    "projection": ("before", "after", "after2", "after3"),
    "speed": ("", "f"),
}


def named(features: str, metric: str) -> str:
    """Return the name of a metric in an extractor's features: fd (of digits), fd_lite0, fid."""
    if features in ("", "digits"):
        return metric
    if features == "inception" and metric in ("fd", "kd"):
        return {"fd": "fid", "kd": "kid"}[metric]
    return f"{metric}_{features}"


@dataclass(frozen=True)
class Figure:
    """One measured value.

    section, metric: what was measured. interval: its 95 % interval, if there is one. of: the
    kind of damage (level: its level), the kind of images that are not real, or "mean" or "p99"
    of steps. k: how often f was applied, 0 for images that it was not applied to; None where
    there is one k only. features: name of the extractor in whose features it was measured. by:
    name of what was applied in place of f, a key of ``peers.PEERS``.
    """

    section: str
    metric: str
    value: float
    interval: Interval | None = None
    of: str = ""
    level: float | None = None
    k: int | None = None
    features: str = ""
    by: str = ""

    @property
    def name(self) -> str:
        """The name in print and in headers, such as fd_lite0_ff or psnr_noise_0.5_after."""
        level = [] if self.level is None else [f"{self.level:g}"]
        parts = [named(self.features, self.metric), self.of, *level]
        if self.by:
            parts.append(self.by)
        elif self.k is not None and self.section in APPLIED:
            parts.append(APPLIED[self.section][self.k])
        elif self.k is not None:
            parts.insert(1, str(self.k))
        return "_".join(filter(None, parts))


@dataclass
class Group:
    """Figures of a section that are ready together.

    entries: the figures. pictures: sheets of images (C, H, W) in [−1, 1], by title.
    """

    section: str
    entries: list[Figure] = field(default_factory=list)
    pictures: dict[str, Tensor] = field(default_factory=dict)

    @property
    def figures(self) -> Figures:
        """The values by name."""
        return {figure.name: figure.value for figure in self.entries}

    @property
    def intervals(self) -> dict[str, Interval]:
        """The intervals by name, of those figures that have one."""
        return {one.name: one.interval for one in self.entries if one.interval is not None}

    def add(self, metric: str, value: float, interval: Interval | None = None, **of: Any) -> None:
        """Add a figure. of: its other fields (of, level, k, features, by)."""
        self.entries.append(Figure(self.section, metric, value, interval, **of))

    def mean(self, metric: str, values: Tensor, **of: Any) -> None:
        """Add the mean of values (N,), one per image, with its interval. of: as in ``add``."""
        self.add(metric, float(values.mean()), bootstrap.of_mean(values), **of)

    def repeat(self, k: int, again: int) -> None:
        """Add the figures of k applications of f once more, as those of ``again``."""
        self.entries += [replace(one, k=again) for one in self.entries if one.k == k]
