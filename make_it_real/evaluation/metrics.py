"""Figures of merit: pure functions of tensors, computed in float64."""

from dataclasses import dataclass

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


def kernel_distances(
    a: Tensor, b: Tensor, *, subsets: int = 50, size: int = 1000, seed: int = 0
) -> Tensor:
    """Unbiased squared MMD of subsets of two sets of features (N, D), (M, D): (subsets,).

    Their mean is the kernel distance of Binkowski et al. 2018 (KID, where the features are
    Inception's): the kernel is (x·y / D + 1)³, each subset ``size`` features of each set, or as
    many as both have, drawn without repetition. Around 0 for equal distributions, and below it
    by chance. Needs N, M ≥ 2.
    """
    generator = torch.Generator().manual_seed(seed)
    a, b = a.double(), b.double()
    size = min(size, len(a), len(b))

    def drawn(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=generator)[:size].to(a.device)]

    return torch.stack([_mmd(drawn(a), drawn(b)) for _ in range(subsets)]).cpu()


def _mmd(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared MMD of two sets of m features each (m, D), under the cubic kernel."""
    m, d = x.shape
    within = torch.zeros((), dtype=x.dtype, device=x.device)
    for z in (x, y):
        kernel = (z @ z.T / d + 1) ** 3
        within = within + (kernel.sum() - kernel.trace()) / (m * (m - 1))
    return within - 2 * ((x @ y.T / d + 1) ** 3).mean()


@dataclass(frozen=True)
class Overlap:
    """How two sets of features lie in each other, per feature; each figure is a mean.

    precision: whether a made one lies within reach of a real one, (M,); recall: whether a real
    one lies within reach of a made one, (N,). density: by how many real ones, over k, a made one
    is reached, (M,): 1 on the average where the sets are alike. coverage: whether a real one has
    a made one within its reach, (N,).
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


def overlap(
    real: Tensor, made: Tensor, *, near: int = 3, dense: int = 5, chunk: int = 1000
) -> Overlap:
    """Precision and recall, density and coverage of features (N, D), (M, D).

    A feature's reach is the way to its k-th neighbour in its own set: k is ``near`` for
    precision and recall (Kynkäänniemi et al. 2019), ``dense`` for density and coverage (Naeem
    et al. 2020). Distances are computed ``chunk`` rows at a time. Needs N, M > k.
    """
    real, made = real.double(), made.double()
    reach = _reaches(real, (near, dense), chunk)
    (made_reach,) = _reaches(made, (near,), chunk)
    precision = torch.zeros(len(made), dtype=torch.bool, device=made.device)
    reached = torch.zeros(len(made), dtype=torch.float64, device=made.device)
    recall, coverage = [], []
    rows = zip(real.split(chunk), reach[0].split(chunk), reach[1].split(chunk), strict=True)
    for part, within, within_dense in rows:
        apart = _squares(part, made)
        precision |= (apart <= within[:, None]).any(0)
        recall.append((apart <= made_reach).any(1))
        dense_hits = apart <= within_dense[:, None]
        reached += dense_hits.sum(0)
        coverage.append(dense_hits.any(1))
    return Overlap(
        precision.double().cpu(), torch.cat(recall).double().cpu(), (reached / dense).cpu(),
        torch.cat(coverage).double().cpu(),
    )  # fmt: skip


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances (n, m) of (n, D) and (m, D)."""
    return torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1, keepdim=True))


def _reaches(features: Tensor, ks: tuple[int, ...], chunk: int) -> list[Tensor]:
    """Squared distance to the k-th other feature of the set, for each k: tensors (N,)."""
    nearest = torch.cat(
        [
            _squares(part, features).topk(max(ks) + 1, largest=False).values
            for part in features.split(chunk)
        ]
    )
    # The nearest of all is the feature itself.
    return [nearest[:, k] for k in ks]


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity per image (N,), of images (N, C, H, W) in [−1, 1], H, W ≥ 11.

    Wang et al. 2004: a Gaussian window of 11 pixels and deviation 1.5, K1 = 0.01, K2 = 0.03,
    range 2, the mean over channels and over all places where the window fits. The means that
    it compares are of light from 0 up, so that images are moved to [0, 2] first.
    """
    a, b = a.double() + 1, b.double() + 1
    if min(a.shape[2:]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs images of {SSIM_WINDOW} pixels a side or more")
    rows, columns = (_window(size).to(a.device) for size in a.shape[2:])

    def smooth(images: Tensor) -> Tensor:
        return rows @ images @ columns.T

    mean_a, mean_b = smooth(a), smooth(b)
    var_a = smooth(a * a) - mean_a * mean_a
    var_b = smooth(b * b) - mean_b * mean_b
    cov = smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    below = (mean_a * mean_a + mean_b * mean_b + c1) * (var_a + var_b + c2)
    return (above / below).flatten(1).mean(1)


SSIM_WINDOW = 11


def _window(size: int) -> Tensor:
    """A matrix (size − 10, size) that weighs the pixels of a line by the window at each place."""
    steps = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    kernel = torch.exp(-0.5 * (steps / 1.5) ** 2)
    kernel /= kernel.sum()
    matrix = torch.zeros(size - SSIM_WINDOW + 1, size, dtype=torch.float64)
    for place in range(len(matrix)):
        matrix[place, place : place + SSIM_WINDOW] = kernel
    return matrix


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB per image (N,), of images (N, C, H, W) in [−1, 1].

    The peak is the range, 2. Identical images give infinity.
    """
    error = (a.double() - b.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)


def auroc(negatives: Tensor, positives: Tensor) -> float:
    """Probability that a positive scores above a negative, ties counting half (N,), (M,)."""
    scores = torch.cat([negatives, positives]).double()
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[inverse]
    n, m = len(negatives), len(positives)
    return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))
