"""Metrics: pure functions of tensors, computed in float64."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Side of SSIM's window in pixels, and of the parts that it is computed in.
SSIM_WINDOW, SSIM_PART = 11, 256


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Compute the Fréchet distance between Gaussians fitted to features (N, D) and (M, D).

    |μa − μb|² + tr(Σa + Σb − 2(ΣaΣb)^½), Heusel et al. 2017, equation 6. It is called FID only if
    the features are Inception's. The trace of (ΣaΣb)^½ is the sum of the square roots of the
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
    """Compute the symmetric square root of a covariance matrix (D, D)."""
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def kernel_distances(
    a: Tensor, b: Tensor, *, subsets: int = 50, size: int = 1000, seed: int = 0
) -> Tensor:
    """Compute the unbiased squared MMD of subsets of features (N, D) and (M, D): (subsets,).

    Their mean is the kernel distance of Bińkowski et al. 2018, which is called KID if the features
    are Inception's. The kernel is (x·y / D + 1)³. A subset has ``size`` features of each set, or
    as many as both have, drawn without replacement. For equal distributions the values lie around
    0, and below it by chance. Needs N, M ≥ 2.
    """
    generator = torch.Generator().manual_seed(seed)
    a, b = a.double(), b.double()
    size = min(size, len(a), len(b))

    def draw(features: Tensor) -> Tensor:
        return features[torch.randperm(len(features), generator=generator)[:size].to(a.device)]

    return torch.stack([_mmd(draw(a), draw(b)) for _ in range(subsets)]).cpu()


def _mmd(x: Tensor, y: Tensor) -> Tensor:
    """Compute the unbiased squared MMD of two sets of m features (m, D), with the cubic kernel."""
    return _within(x).mean() + _within(y).mean() - 2 * _kernel(x, y).mean()


class KernelReference:
    """Real features (N, D) that others are compared with by their kernel distance, each whole.

    Needs N ≥ 2.
    """

    def __init__(self, real: Tensor) -> None:
        self.real = real.double()
        self.within = _within(self.real)

    def distance(self, features: Tensor) -> tuple[float, float]:
        """Compute the unbiased squared MMD of features (M, D), M ≥ 2, and its standard error.

        The kernel is that of ``kernel_distances``, which estimates the same of subsets. The error
        is the U-statistic's, by its projections on single features (W. Hoeffding 1948): it holds
        for distances that are well over 0, and is too small for equal distributions.
        """
        features = features.double()
        across = _kernel(features, self.real)
        # How much each feature adds to the distance.
        own = _within(features) - across.mean(1)
        real = self.within - across.mean(0)
        error = (4 * own.var() / len(own) + 4 * real.var() / len(real)).sqrt()
        return float(own.mean() + real.mean()), float(error)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """Compute the cubic kernel of features (N, D) and (M, D): (N, M)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def _within(x: Tensor) -> Tensor:
    """Compute each feature's mean kernel with the others of its set (N, D): (N,)."""
    kernel = _kernel(x, x)
    # A feature is not compared with itself, which makes the estimate unbiased.
    return (kernel.sum(1) - kernel.diagonal()) / (len(x) - 1)


@dataclass(frozen=True)
class Overlap:
    """How far two sets of features overlap, for each feature; the metrics are the means.

    A feature covers a ball, whose radius is the distance to its k-th neighbour in its own set.
    precision: whether a generated feature lies in the ball of a real one, (M,). recall: whether a
    real feature lies in the ball of a generated one, (N,). density: number of balls of real
    features that a generated one lies in, divided by k, (M,); 1 on average for equal
    distributions. coverage: whether a generated feature lies in the ball of a real one, (N,).
    """

    precision: Tensor
    recall: Tensor
    density: Tensor
    coverage: Tensor


class Balls:
    """Real features (N, D) and the squared radii of their balls, for several comparisons.

    near, dense: k for precision and recall (Kynkäänniemi et al. 2019), and for density and
    coverage (Naeem et al. 2020). Distances are computed ``chunk`` rows at a time, few enough to
    save memory, and to stay in a processor's cache until they are compared. Needs N > k.
    """

    def __init__(
        self, features: Tensor, *, near: int = 3, dense: int = 5, chunk: int = 250
    ) -> None:
        self.features, self.near, self.dense, self.chunk = features.double(), near, dense, chunk
        self.radii, self.dense_radii = _squared_radii(self.features, (near, dense), chunk)


def overlap(balls: Balls, generated: Tensor) -> Overlap:
    """Compute precision, recall, density and coverage of real features and generated ones (M, D).

    Needs M > k.
    """
    generated, chunk = generated.double(), balls.chunk
    (generated_radii,) = _squared_radii(generated, (balls.near,), chunk)
    precision = torch.zeros(len(generated), dtype=torch.bool, device=generated.device)
    count = torch.zeros(len(generated), dtype=torch.float64, device=generated.device)
    recall, coverage = [], []
    # Which balls each feature lies in, some real features at a time.
    parts = (balls.features, balls.radii, balls.dense_radii)
    rows = zip(*(part.split(chunk) for part in parts), strict=True)
    for part, part_radii, part_dense_radii in rows:
        distances = _squared_distances(part, generated)
        precision |= (distances <= part_radii[:, None]).any(0)
        recall.append((distances <= generated_radii).any(1))
        inside = distances <= part_dense_radii[:, None]
        count += inside.sum(0)
        coverage.append(inside.any(1))
    return Overlap(
        precision.double().cpu(), torch.cat(recall).double().cpu(), (count / balls.dense).cpu(),
        torch.cat(coverage).double().cpu(),
    )  # fmt: skip


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Compute the squared distances (n, m) of features (n, D) and (m, D)."""
    return torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1, keepdim=True))


def _squared_radii(features: Tensor, ks: tuple[int, ...], chunk: int) -> list[Tensor]:
    """Compute the squared distance to the k-th neighbour in the set, for each k: tensors (N,)."""
    nearest = torch.cat(
        [
            _squared_distances(part, features).topk(max(ks) + 1, largest=False).values
            for part in features.split(chunk)
        ]
    )
    # The nearest of all, of index 0, is the feature itself.
    return [nearest[:, k] for k in ks]


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Compute the structural similarity of images (N, C, H, W) in [−1, 1], H, W ≥ 11: (N,).

    Wang et al. 2004: a Gaussian window of 11 pixels and deviation 1.5, K1 = 0.01, K2 = 0.03,
    range 2; the mean over channels and over all places where the window fits. The formula
    compares means of light, which is not negative, so images are shifted to [0, 2] first. Raises
    ValueError for smaller images.
    """
    height, width = (side - SSIM_WINDOW + 1 for side in a.shape[2:])
    if min(height, width) < 1:
        raise ValueError(f"SSIM needs images of {SSIM_WINDOW} pixels a side or more")
    # The window's places are visited part by part, whose time and memory stay small.
    total = torch.zeros(len(a), dtype=torch.float64, device=a.device)
    for top in range(0, height, SSIM_PART):
        for left in range(0, width, SSIM_PART):
            bottom, right = (at + SSIM_PART + SSIM_WINDOW - 1 for at in (top, left))
            part = (..., slice(top, bottom), slice(left, right))
            total += _ssim_map(a[part], b[part]).sum((1, 2, 3))
    return total / (a.shape[1] * height * width)


def _ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Compute SSIM at each place of its window: (N, C, H − 10, W − 10)."""
    a, b = a.double() + 1, b.double() + 1
    rows, columns = (_window(size).to(a.device) for size in a.shape[2:])

    def smooth(images: Tensor) -> Tensor:
        return rows @ images @ columns.T

    # Means, variances and covariance within the window, by E[ab] − E[a]E[b].
    mean_a, mean_b = smooth(a), smooth(b)
    var_a = smooth(a * a) - mean_a * mean_a
    var_b = smooth(b * b) - mean_b * mean_b
    cov = smooth(a * b) - mean_a * mean_b
    # The constants keep the quotient finite where an image is dark or flat.
    c1, c2 = (0.01 * 2) ** 2, (0.03 * 2) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    below = (mean_a * mean_a + mean_b * mean_b + c1) * (var_a + var_b + c2)
    quotient: Tensor = above / below
    return quotient


def _window(size: int) -> Tensor:
    """Build a matrix (size − 10, size) that applies the window at each place of a line."""
    steps = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    kernel = torch.exp(-0.5 * (steps / 1.5) ** 2)
    kernel /= kernel.sum()
    matrix = torch.zeros(size - SSIM_WINDOW + 1, size, dtype=torch.float64)
    for place in range(len(matrix)):
        matrix[place, place : place + SSIM_WINDOW] = kernel
    return matrix


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Compute the peak signal-to-noise ratio in dB of images (N, C, H, W) in [−1, 1]: (N,).

    The peak is the range, 2. Identical images give infinity.
    """
    error = (a.double() - b.double()).square().flatten(1).mean(1)
    return 10 * torch.log10(4 / error)


def auroc(negatives: Tensor, positives: Tensor) -> float:
    """Compute the area under the ROC curve of scores (N,) and (M,), in [0, 1].

    It is the probability that a positive scores above a negative; ties count half.
    """
    scores = torch.cat([negatives, positives]).double()
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    # The rank sum of the positives, with the mean rank for ties, gives the Mann–Whitney U.
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[inverse]
    n, m = len(negatives), len(positives)
    return float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))
