"""95 % intervals of figures: bootstrap, seeded and cheap, the images resampled."""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from make_it_real.evaluation.metrics import auroc, frechet_distance

Interval = tuple[float, float]

RESAMPLES = 200
FRECHET_RESAMPLES = 20
# Above these a resampled Fréchet distance takes too long: numbers of a set, and dimensions.
FRECHET_NUMBERS = 2_000_000
FRECHET_DIMENSIONS = 512
TAILS = torch.tensor([0.025, 0.975], dtype=torch.float64)
# Standard deviations of a normal distribution between which 95 % lie.
NORMAL = 1.959964


@lru_cache(maxsize=8)
def _draws(n: int, resamples: int) -> Tensor:
    """How often each of n images is drawn, (resamples, n)."""
    generator = torch.Generator().manual_seed(n)
    return torch.stack(
        [
            torch.bincount(torch.randint(n, (n,), generator=generator), minlength=n)
            for _ in range(resamples)
        ]
    ).double()


def of_mean(values: Tensor) -> Interval:
    """The interval of the mean of values (N,), one an image."""
    means = _draws(len(values), RESAMPLES) @ values.double().cpu() / len(values)
    low, high = means.quantile(TAILS).tolist()
    return low, high


def of_statistic(values: Tensor, statistic: Callable[[Tensor], Tensor]) -> Interval:
    """The interval of any statistic of values (N,): rows (R, N) → (R,)."""
    generator = torch.Generator().manual_seed(len(values))
    index = torch.randint(len(values), (RESAMPLES, len(values)), generator=generator)
    low, high = statistic(values.double().cpu()[index]).quantile(TAILS).tolist()
    return low, high


def of_auroc(negatives: Tensor, positives: Tensor) -> Interval:
    """The interval of the AUROC of scores (N,), (M,), both resampled."""
    generator = torch.Generator().manual_seed(0)

    def again(scores: Tensor) -> Tensor:
        return scores[torch.randint(len(scores), (len(scores),), generator=generator)]

    found = [auroc(again(negatives), again(positives)) for _ in range(RESAMPLES // 4)]
    low, high = torch.tensor(found, dtype=torch.float64).quantile(TAILS).tolist()
    return low, high


def of_frechet(a: Tensor, b: Tensor, distance: float) -> Interval | None:
    """The interval of a Fréchet distance of features (N, D), (M, D), None where that is dear.

    Images drawn twice make every resampled distance larger, so only their deviation is used:
    the distance ± 1.96 of it.
    """
    if max(a.numel(), b.numel()) > FRECHET_NUMBERS or a.shape[1] > FRECHET_DIMENSIONS:
        return None
    generator = torch.Generator().manual_seed(0)

    def again(features: Tensor) -> Tensor:
        return features[torch.randint(len(features), (len(features),), generator=generator)]

    found = [frechet_distance(again(a), again(b)) for _ in range(FRECHET_RESAMPLES)]
    half = NORMAL * float(torch.tensor(found, dtype=torch.float64).std())
    return max(0.0, distance - half), distance + half


def of_kernel(distances: Tensor, size: int, n: int) -> Interval | None:
    """The interval of a mean of kernel distances of subsets of ``size`` out of n features.

    What subsets of n vary by is scaled to n; None where a subset is over a fifth of n, which
    vary too little among themselves to say.
    """
    if size * 5 > n:
        return None
    half = NORMAL * float(distances.std()) * (size / n) ** 0.5
    middle = float(distances.mean())
    return middle - half, middle + half
