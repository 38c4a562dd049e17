"""Intervals hold what they should, as often as they should, and the same for the same values."""

import pytest
import torch
from torch import Tensor

from make_it_real.evaluation import bootstrap
from make_it_real.evaluation.metrics import auroc, frechet_distance, kernel_distances


def normal(n: int, d: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def test_the_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = normal(400, 1, 0)[:, 0]
    low, high = bootstrap.of_mean(values)
    assert low < float(values.mean()) < high
    assert high - low == pytest.approx(2 * 1.96 * float(values.std()) / 20, rel=0.15)
    assert bootstrap.of_mean(values) == (low, high)


def test_the_interval_of_a_mean_holds_the_truth_in_most_cases() -> None:
    held = 0
    for seed in range(60):
        low, high = bootstrap.of_mean(normal(100, 1, seed)[:, 0])
        held += low < 0 < high
    assert 51 <= held <= 60


def test_the_interval_of_a_quantile() -> None:
    values = torch.arange(1000, dtype=torch.float64)
    low, high = bootstrap.of_statistic(values, lambda rows: rows.quantile(0.5, dim=1))
    assert 450 < low < 499.5 < high < 550


def test_the_interval_of_an_auroc() -> None:
    negatives, positives = normal(200, 1, 0)[:, 0], normal(200, 1, 1)[:, 0] + 1
    low, high = bootstrap.of_auroc(negatives, positives)
    assert low < auroc(negatives, positives) < high
    assert high - low < 0.15


def test_the_interval_of_a_frechet_distance_lies_around_it_or_there_is_none() -> None:
    a, b = normal(300, 4, 0), normal(300, 4, 1) + 0.5
    distance = frechet_distance(a, b)
    found = bootstrap.of_frechet(a, b, distance)
    assert found is not None
    low, high = found
    assert low < distance < high < 2 * distance
    assert bootstrap.of_frechet(normal(3, 600, 0), normal(3, 600, 1), 1.0) is None


def test_the_interval_of_a_kernel_distance_needs_more_images_than_a_subset() -> None:
    a, b = normal(2000, 4, 0), normal(2000, 4, 1) + 0.5
    found = kernel_distances(a, b, size=100)
    some = bootstrap.of_kernel(found, 100, 2000)
    assert some is not None
    assert some[0] < float(found.mean()) < some[1]
    assert bootstrap.of_kernel(found, 500, 2000) is None
