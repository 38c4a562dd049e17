"""95 % intervals of figures, by a seeded bootstrap over images (B. Efron 1979)."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from make_it_real.evaluation.metrics import auroc, frechet_distance

Interval = tuple[float, float]

RESAMPLES = 200
FRECHET_RESAMPLES = 20
# A larger set, in numbers N·D or in dimensions D, takes too long for resampled Fréchet distances.
FRECHET_NUMBERS = 2_000_000
FRECHET_DIMENSIONS = 512
TAILS = torch.tensor([0.025, 0.975], dtype=torch.float64)
# 95 % of a normal distribution lie within so many standard deviations.
NORMAL = 1.959964


@lru_cache(maxsize=8)
def _draws(n: int, resamples: int) -> Tensor:
    """Resample n images with replacement: how often each is drawn, (resamples, n)."""
    generator = torch.Generator().manual_seed(n)
    return torch.stack(
        [
            torch.bincount(torch.randint(n, (n,), generator=generator), minlength=n)
            for _ in range(resamples)
        ]
    ).double()


def of_mean(values: Tensor) -> Interval:
    """Compute the interval of the mean of values (N,), one per image."""
    means = _draws(len(values), RESAMPLES) @ values.double().cpu() / len(values)
    low, high = means.quantile(TAILS).tolist()
    return low, high


def of_statistic(values: Tensor, statistic: Callable[[Tensor], Tensor]) -> Interval:
    """Compute the interval of a statistic of values (N,), one per image.

    statistic: takes resampled values (R, N) and returns one number for each row, (R,).
    """
    generator = torch.Generator().manual_seed(len(values))
    index = torch.randint(len(values), (RESAMPLES, len(values)), generator=generator)
    low, high = statistic(values.double().cpu()[index]).quantile(TAILS).tolist()
    return low, high


def of_auroc(negatives: Tensor, positives: Tensor) -> Interval:
    """Compute the interval of the AUROC of scores (N,) and (M,), resampling both."""
    generator = torch.Generator().manual_seed(0)

    def resample(scores: Tensor) -> Tensor:
        return scores[torch.randint(len(scores), (len(scores),), generator=generator)]

    areas = [auroc(resample(negatives), resample(positives)) for _ in range(RESAMPLES // 4)]
    low, high = torch.tensor(areas, dtype=torch.float64).quantile(TAILS).tolist()
    return low, high


def resamples_frechet(numbers: int, dimensions: int) -> bool:
    """Tell whether Fréchet distances of N·D numbers in D dimensions are resampled."""
    return numbers <= FRECHET_NUMBERS and dimensions <= FRECHET_DIMENSIONS


def of_frechet(a: Tensor, b: Tensor, distance: float) -> Interval | None:
    """Compute the interval of a Fréchet distance of features (N, D) and (M, D).

    distance: that of a and b. Images drawn twice make every resampled distance larger, so only
    the deviation of these is used: the interval is the distance ± 1.96 deviations. Returns None
    where it would take too long.
    """
    if not resamples_frechet(max(a.numel(), b.numel()), a.shape[1]):
        return None
    generator = torch.Generator().manual_seed(0)

    def resample(features: Tensor) -> Tensor:
        return features[torch.randint(len(features), (len(features),), generator=generator)]

    distances = [frechet_distance(resample(a), resample(b)) for _ in range(FRECHET_RESAMPLES)]
    half = NORMAL * float(torch.tensor(distances, dtype=torch.float64).std())
    return max(0.0, distance - half), distance + half


def of_kernel(distances: Tensor, size: int, n: int) -> Interval | None:
    """Compute the interval of the mean of kernel distances (S,) of subsets.

    size: features in a subset; n: features in the whole set. The deviation between subsets is
    scaled from ``size`` to n. Returns None where a subset is more than a fifth of the set: such
    subsets overlap, and differ too little among themselves.
    """
    if size * 5 > n:
        return None
    half = NORMAL * float(distances.std()) * (size / n) ** 0.5
    middle = float(distances.mean())
    return middle - half, middle + half
