"""Figures of merit: pure functions of tensors, computed in float64."""

import torch
from torch import Tensor


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Fréchet distance between Gaussians fitted to two sets of features (N, D), (M, D).

    |μa − μb|² + tr(Σa + Σb − 2(ΣaΣb)^½), Heusel et al. 2017, equation 6; called FID only when
    the features are Inception's. The trace of the root is the sum of the roots of the
    eigenvalues of Σa^½ Σb Σa^½, which is symmetric. Needs N, M ≥ 2.
    """
    a, b = a.double(), b.double()
    # torch.cov drops the dimensions of a single feature.
    cov_a, cov_b = torch.cov(a.T).view(a.shape[1], -1), torch.cov(b.T).view(b.shape[1], -1)
    root = _root(cov_a)
    middle = torch.linalg.eigvalsh(root @ cov_b @ root).clamp_min(0).sqrt().sum()
    mean = (a.mean(0) - b.mean(0)).square().sum()
    spread = cov_a.trace() + cov_b.trace()
    return float(mean + spread - 2 * middle)


def _root(covariance: Tensor) -> Tensor:
    """Symmetric square root of a covariance matrix (D, D)."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB per image (N,), of images (N, C, H, W) in [−1, 1].

    The peak is the range, 2. Identical images give infinity.
    """
    error = (a.double() - b.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)


def mean_abs(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference per image (N,), in image units: 2 is black against white."""
    return (a - b).abs().flatten(1).mean(1)


def auroc(negatives: Tensor, positives: Tensor) -> float:
    """Probability that a positive scores above a negative, ties counting half (N,), (M,)."""
    scores = torch.cat([negatives, positives]).double()
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[inverse]
    n, m = len(negatives), len(positives)
    return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))
