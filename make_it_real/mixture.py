"""Gaussian mixtures, fitted by expectation maximisation.

A. Dempster, N. Laird, D. Rubin, *Maximum Likelihood from Incomplete Data via the EM Algorithm*,
1977; begun from k-means (S. Lloyd, *Least Squares Quantization in PCM*, 1982).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

LLOYD, MOST, ENOUGH = 15, 40, 1e-3


@dataclass(frozen=True)
class Mixture:
    """M Gaussians in D dimensions, in float64: weights (M,), means (M, D), factors (M, D, D).

    The factors are the covariances' lower triangular Cholesky factors. likelihoods: the mean
    log-likelihood of a point (nats) before each round of the fit.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    likelihoods: tuple[float, ...] = ()


def fit(points: Tensor, kinds: int) -> Mixture:
    """The mixture of so many Gaussians of points (N, D), N ≥ kinds ≥ 1.

    Each covariance is drawn towards the mean of all kinds' as if D points more, of that
    covariance, were of its kind, so that a kind of few points has one too (as J. Friedman's
    *Regularized Discriminant Analysis*, 1989). Ends after ``MOST`` rounds, or when one gains less
    than ``ENOUGH`` nats a point. Always the same for the same points.
    """
    points = points.double()
    shares = F.one_hot(_nearest(points, kinds), kinds).double()
    likelihoods: list[float] = []
    while True:
        found = _maximised(points, shares)
        logs = log_shares(found, points)
        whole = logs.logsumexp(1, keepdim=True)
        shares = (logs - whole).exp()
        likelihoods.append(float(whole.mean()))
        gained = math.inf if len(likelihoods) < 2 else likelihoods[-1] - likelihoods[-2]
        if len(likelihoods) == MOST or gained < ENOUGH:
            return Mixture(found.weights, found.means, found.factors, tuple(likelihoods))


def log_shares(mixture: Mixture, points: Tensor) -> Tensor:
    """log of weight · density of each Gaussian at each point: (N, D) → (N, M), float64."""
    logs = []
    for weight, mean, factor in zip(mixture.weights, mixture.means, mixture.factors, strict=True):
        apart = torch.linalg.solve_triangular(factor, (points - mean).T, upper=False)
        scale = factor.diagonal().log().sum() + points.shape[1] / 2 * math.log(2 * math.pi)
        logs.append(weight.log() - scale - apart.square().sum(0) / 2)
    return torch.stack(logs, 1)


def _nearest(points: Tensor, kinds: int) -> Tensor:
    """k-means: which of so many centres each point is nearest to (N,)."""
    generator = torch.Generator(points.device).manual_seed(0)
    order = torch.randperm(len(points), generator=generator, device=points.device)
    centres = points[order[:kinds]]
    nearest = torch.cdist(points, centres).argmin(1)
    for _ in range(LLOYD):
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        counts = nearest.bincount(minlength=kinds)[:, None]
        # A centre that no point is nearest to stays where it is.
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
        nearest = torch.cdist(points, centres).argmin(1)
    return nearest


def _maximised(points: Tensor, shares: Tensor) -> Mixture:
    """The mixture that is likeliest when the points belong to the kinds by shares (N, M)."""
    n, dims = points.shape
    sizes = shares.sum(0)
    means = shares.T @ points / sizes.clamp_min(1e-9)[:, None]
    scatters = []
    for mean, share in zip(means, shares.T, strict=True):
        apart = points - mean
        scatters.append((share[:, None] * apart).T @ apart)
    scatter = torch.stack(scatters)
    pooled = scatter.sum(0) / n
    # A trace of deviation where the points have none.
    ridge = 1e-6 * pooled.diagonal().mean() + 1e-12
    pooled = pooled + ridge * torch.eye(dims, dtype=points.dtype, device=points.device)
    covariances = (scatter + dims * pooled) / (sizes[:, None, None] + dims)
    return Mixture(sizes / n, means, torch.linalg.cholesky(covariances))
