"""Figures of merit against closed forms and counting by hand."""

import math
import random

import pytest
import torch
from torch import Tensor

from make_it_real.evaluation import metrics
from make_it_real.images import pixels


def gaussian(n: int, d: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) @ mixing


def orthogonal(deviations: list[float], means: list[float]) -> Tensor:
    """Eight points whose covariance is exactly diagonal, with these deviations and means."""
    signs = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(3):
        signs = torch.cat([torch.cat([signs, signs], 1), torch.cat([signs, -signs], 1)])
    columns = signs[:, 1 : 1 + len(deviations)] * math.sqrt(7 / 8)
    return columns * torch.tensor(deviations) + torch.tensor(means)


def test_frechet_distance_of_a_set_to_itself_is_zero() -> None:
    a = gaussian(50, 6, 0)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert metrics.frechet_distance(a, a.flip(0)) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_a_moved_set_is_the_way_squared() -> None:
    a, way = gaussian(50, 3, 0), torch.tensor([3.0, 0.0, -4.0])
    assert metrics.frechet_distance(a, a + way) == pytest.approx(25, rel=1e-9)


def test_frechet_distance_in_one_dimension() -> None:
    # Deviations 2 and 5, means 1 and −1: (1 + 1)² + (5 − 2)².
    a = torch.tensor([[1 - math.sqrt(2)], [1.0 + math.sqrt(2)]], dtype=torch.float64)
    b = torch.tensor([[-6.0], [-1.0], [4.0]], dtype=torch.float64)
    assert metrics.frechet_distance(a, b) == pytest.approx(4 + 9, rel=1e-9)


def test_frechet_distance_of_commuting_covariances() -> None:
    a = orthogonal([1.0, 2.0, 0.0, 3.0], [0.0, 1.0, 2.0, 3.0])
    b = orthogonal([4.0, 0.5, 1.0, 3.0], [0.0, 0.0, 2.0, 5.0])
    means, spread = 1 + 4, 3**2 + 1.5**2 + 1 + 0
    assert metrics.frechet_distance(a, b) == pytest.approx(means + spread, rel=1e-7)


@pytest.mark.parametrize("d", [2, 7])
def test_frechet_distance_agrees_with_the_formula(d: int) -> None:
    a, b = gaussian(40, d, 1), gaussian(60, d, 2) + 0.5
    cov_a, cov_b = ((m - m.mean(0)).T @ (m - m.mean(0)) / (len(m) - 1) for m in (a, b))
    # The eigenvalues of ΣaΣb are those of a positive matrix, though it is not symmetric.
    root = torch.linalg.eigvals(cov_a @ cov_b).real.sqrt().sum()
    wanted = (a.mean(0) - b.mean(0)).square().sum() + (cov_a + cov_b).trace() - 2 * root
    assert metrics.frechet_distance(a, b) == pytest.approx(float(wanted), rel=1e-9)
    assert metrics.frechet_distance(b, a) == pytest.approx(float(wanted), rel=1e-9)


def test_frechet_distance_takes_fewer_points_than_dimensions() -> None:
    a, b = gaussian(5, 12, 3), gaussian(5, 12, 4)
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-4)
    assert metrics.frechet_distance(a, b) > 1


def test_frechet_distance_of_float32_features_is_computed_in_float64() -> None:
    a, b = gaussian(40, 5, 1).float() + 1000, gaussian(40, 5, 2).float() + 1000
    wanted = metrics.frechet_distance(a.double(), b.double())
    assert metrics.frechet_distance(a, b) == wanted


def test_psnr_in_known_cases() -> None:
    black, white = -torch.ones(1, 1, 4, 4), torch.ones(1, 1, 4, 4)
    assert float(metrics.psnr(black, white)) == pytest.approx(0)
    assert float(metrics.psnr(black, black + 0.2)) == pytest.approx(20, rel=1e-5)
    assert float(metrics.psnr(black, black + 0.02)) == pytest.approx(40, rel=1e-4)
    assert float(metrics.psnr(white, white)) == math.inf


def test_psnr_and_mean_abs_are_per_image() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(3, 2, 4, 5, generator=generator) * 2 - 1 for _ in range(2))
    for i in range(3):
        pairs = list(zip(a[i].flatten().tolist(), b[i].flatten().tolist(), strict=True))
        error = sum((p - q) ** 2 for p, q in pairs) / 40
        assert float(metrics.psnr(a, b)[i]) == pytest.approx(10 * math.log10(4 / error))
        moved = sum(abs(p - q) for p, q in pairs) / 40
        assert float(pixels.mean_abs(a, b)[i]) == pytest.approx(moved, rel=1e-6)


def test_mean_abs_of_black_against_white_is_two() -> None:
    black = -torch.ones(2, 3, 4, 4)
    assert pixels.mean_abs(black, -black).tolist() == [2, 2]


@pytest.mark.parametrize("seed", range(5))
def test_auroc_counts_pairs_ties_as_half(seed: int) -> None:
    draw = random.Random(seed)
    negatives = [draw.randint(0, 9) for _ in range(13)]
    positives = [draw.randint(2, 11) for _ in range(7)]
    won = sum((p > n) + 0.5 * (p == n) for p in positives for n in negatives)
    found = metrics.auroc(torch.tensor(negatives), torch.tensor(positives))
    assert found == pytest.approx(won / 91)


def test_auroc_at_its_ends() -> None:
    low, high = torch.tensor([0.1, 0.2]), torch.tensor([0.3, 0.4, 0.5])
    assert metrics.auroc(low, high) == 1
    assert metrics.auroc(high, low) == 0
    assert metrics.auroc(low, low) == 0.5
    assert metrics.auroc(torch.zeros(3), torch.zeros(4)) == 0.5


def test_kernel_distance_of_alike_sets_is_about_zero_and_grows() -> None:
    a, b = gaussian(600, 8, 1), gaussian(600, 8, 1).flip(1)[:, torch.randperm(8)]
    same = metrics.kernel_distances(a[:300], a[300:], size=200)
    assert same.shape == (50,)
    assert abs(float(same.mean())) < 0.1 * float(metrics.kernel_distances(a, b + 3).mean())
    again = metrics.kernel_distances(a[:300], a[300:], size=200)
    assert torch.equal(same, again)


def test_overlap_in_known_cases() -> None:
    real = gaussian(60, 4, 0)
    balls = metrics.Balls(real)
    near = metrics.overlap(balls, real + 1e-9)
    assert [float(v.mean()) for v in (near.precision, near.recall, near.coverage)] == [1, 1, 1]
    far = metrics.overlap(balls, real + 1e3)
    assert [float(v.mean()) for v in (far.precision, far.recall, far.density)] == [0, 0, 0]
    # All made alike: good, and of one kind.
    collapsed = metrics.overlap(balls, real[:1] + 1e-6 * gaussian(60, 4, 1))
    assert float(collapsed.precision.mean()) == 1
    assert float(collapsed.recall.mean()) < 0.1
    assert float(collapsed.coverage.mean()) < 0.5


def test_ssim_in_known_cases() -> None:
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert metrics.ssim(x, x).tolist() == pytest.approx([1, 1])
    assert float(metrics.ssim(x, -x).max()) < 0.1
    black = -torch.ones(1, 1, 11, 11)
    assert float(metrics.ssim(black, -black)) == pytest.approx(4e-4 / (4e-4 + 4))
    with pytest.raises(ValueError, match="11 pixels"):
        metrics.ssim(x[..., :8], x[..., :8])


def test_ssim_is_per_image() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(3, 2, 12, 13, generator=generator) * 2 - 1 for _ in range(2))
    alone = [float(metrics.ssim(a[i : i + 1], b[i : i + 1])) for i in range(3)]
    assert metrics.ssim(a, b).tolist() == pytest.approx(alone)


def test_a_kernel_distance_of_all_is_that_of_one_subset_of_all() -> None:
    real, others = gaussian(60, 8, 0).float(), gaussian(60, 8, 1).float()
    distance, error = metrics.KernelReference(real).distance(others)
    (subset,) = metrics.kernel_distances(real, others, subsets=1).tolist()
    assert distance == pytest.approx(subset)
    assert error > 0
    # Sets of other sizes, by the definition.
    a, b = gaussian(9, 4, 2), gaussian(5, 4, 3)

    def kernel(x: Tensor, y: Tensor) -> float:
        return float((x @ y / 4 + 1) ** 3)

    within = [
        sum(kernel(x, y) for i, x in enumerate(z) for j, y in enumerate(z) if i != j)
        / (len(z) * (len(z) - 1))
        for z in (a, b)
    ]
    across = sum(kernel(x, y) for x in a for y in b) / 45
    distance, _ = metrics.KernelReference(a).distance(b)
    assert distance == pytest.approx(sum(within) - 2 * across)


def test_the_error_of_a_kernel_distance_is_how_much_it_varies() -> None:
    generator = torch.Generator().manual_seed(0)

    def draw(n: int, shift: float) -> Tensor:
        return torch.randn(n, 3, generator=generator) + shift

    found = [metrics.KernelReference(draw(80, 0)).distance(draw(50, 0.8)) for _ in range(200)]
    distances, errors = torch.tensor(found, dtype=torch.float64).T
    assert float(errors.mean()) == pytest.approx(float(distances.std()), rel=0.2)
    within = (distances - distances.mean()).abs() < 1.96 * errors
    assert 0.88 < float(within.double().mean()) <= 1
