"""How much work an evaluation is, section by section, and about how long it takes here."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch

from make_it_real.evaluation import bootstrap, measurements, metrics, restoration
from make_it_real.evaluation.evaluate import SECTIONS, damaged
from make_it_real.evaluation.feature_extractors import Extractor
from make_it_real.inference.projection import apply
from make_it_real.models.ign import IGN

# Number of images, and of features, that the time is estimated with.
PROBE, PROBE_FEATURES = 32, 250
KERNEL_SUBSETS = 50


@dataclass(frozen=True)
class Workload:
    """The size of an evaluation.

    test, floor: numbers of held-out and of other real images, 0 without data. n: number of images
    to generate. kinds: number of kinds of damage, each at a level. features: whether there is an
    extractor. wanted: the sections. others: number of real images that repairs are compared with;
    drawings: number of drawings.
    """

    test: int
    floor: int
    n: int
    kinds: int
    features: bool
    wanted: Collection[str] = SECTIONS
    others: int = 0
    drawings: int = 0

    @property
    def damaged(self) -> int:
        """Number of held-out images that are damaged."""
        return len(range(self.test)[damaged(self.test)])

    @property
    def repeated(self) -> int:
        """Number of damaged images that f is applied to again."""
        return min(restoration.REPEATED_IMAGES, self.damaged)

    @property
    def scored(self) -> int:
        """Number of sets whose realness is measured: of three kinds, and real if not scored yet."""
        return 3 if "fidelity" in self.wanted else 4

    @property
    def seeds(self) -> tuple[int, int]:
        """Numbers of seeds whose idempotence is measured: over all steps, and over the first."""
        few = measurements.REST_SEEDS
        return few, max(few, min(self.n, measurements.EARLY_SEEDS)) - few

    def totals(self) -> dict[str, int]:
        """Count what ``evaluate`` reports to its ``tick``: images by stage, in order.

        An image counts each time that f is due to be applied to it, even if it is at rest, and
        each time that its features are read or compared. The first stage, "features", reads those
        of the held-out images.
        """
        few, many = self.seeds
        last = measurements.REST_STEPS
        compared = self.floor + 3 * self.n if self.features else 0
        counts = {
            "generation": 3 * self.n + compared,
            "idempotence": few * (1 + last) + many * (1 + min(last, measurements.EARLY)),
            "fidelity": self.test,
            "realness": self.scored * self.damaged,
            "projection": self.kinds * (self.damaged + 2 * self.repeated)
            + self.others
            + 2 * self.drawings,
        }
        totals = {name: counts[name] for name in SECTIONS if name in self.wanted}
        if self.features and {"generation", "projection"} & set(self.wanted):
            totals = {"features": self.test} | totals
        return totals

    def seconds(self, f: IGN, extractor: Extractor | None) -> float:
        """Estimate the time of the evaluation, by the time that a few images take now."""
        with torch.inference_mode():
            y = apply(f, f.source.from_seeds(range(PROBE)))
            again, per_image = _timed(lambda: apply(f, y).cpu(), PROBE)
            images = y.cpu()
            # Images that f leaves alone are not computed again.
            moving = float((again != images).flatten(1).any(1).float().mean())
            compare = 0.0
            if min(images.shape[2:]) >= metrics.SSIM_WINDOW:
                _, compare = _timed(lambda: metrics.ssim(images, again), PROBE)
            read, distances = 0.0, 0.0
            if extractor is not None:
                features = extractor.read(images)[0]
                _, read = _timed(lambda: extractor.read(images), PROBE)
                distances = 4 * self._seconds_of_distances(features.shape[1])
        f_of, looked_at = self._applied(moving), self._looked_at(moving)
        parts = {
            "features": read * self.test,
            "generation": read * (self.floor + self.n * (1 + moving)) + distances,
            "fidelity": compare * self.test,
            "projection": (read + compare) * looked_at + read * (self.others + 3 * self.drawings),
        }
        return sum(parts.get(name, 0) + per_image * f_of.get(name, 0) for name in self.totals())

    def _applied(self, moving: float) -> dict[str, float]:
        """Estimate how often f is computed, by section. moving: share that is not at rest."""
        few, many = self.seeds
        again = few * measurements.REST_STEPS + many * measurements.EARLY
        return {
            "generation": self.n * (2 + moving),
            "idempotence": 2 * (few + many) + moving * again,
            "fidelity": self.test,
            "realness": self.scored * self.damaged,
            "projection": self.kinds * (self.damaged + (1 + moving) * self.repeated)
            + 2 * self.drawings,
        }

    def _looked_at(self, moving: float) -> float:
        """Estimate how many damaged and restored images are compared with their originals."""
        return self.kinds * (2 * self.damaged + (1 + moving) * self.repeated)

    def _seconds_of_distances(self, dimensions: int) -> float:
        """Estimate the time to compare the features of two sets of n images."""
        generator = torch.Generator().manual_seed(0)
        a, b = torch.randn(2, PROBE_FEATURES, dimensions, generator=generator)
        _, frechet = _timed(lambda: metrics.frechet_distance(a, b))
        _, kernel = _timed(lambda: metrics.kernel_distances(a, b, subsets=1))
        _, overlap = _timed(lambda: metrics.overlap(metrics.Balls(a), b))
        # Pairs of features are compared: the time grows with the square of their number.
        subset = (min(measurements.SUBSET, self.n) / PROBE_FEATURES) ** 2
        whole = (self.n / PROBE_FEATURES) ** 2
        times = 1
        if bootstrap.resamples_frechet(max(self.n, self.test) * dimensions, dimensions):
            times += bootstrap.FRECHET_RESAMPLES
        return times * frechet + KERNEL_SUBSETS * subset * kernel + whole * overlap


def _timed(function: Callable[[], Any], n: int = 1) -> tuple[Any, float]:
    """Call a function of n images: its result, and the seconds that it took for each."""
    start = time.perf_counter()
    result = function()
    return result, (time.perf_counter() - start) / n
