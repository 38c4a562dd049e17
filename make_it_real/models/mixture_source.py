"""z with the coarse layout of aligned images, such as faces, clothes and digits.

The source is a Gaussian mixture along the principal components of the images: it knows what lies
where, and that images are of several kinds. The mixture is fitted by expectation maximisation
(A. Dempster, N. Laird, D. Rubin, *Maximum Likelihood from Incomplete Data via the EM Algorithm*,
1977), which starts from k-means (S. Lloyd, *Least Squares Quantization in PCM*, 1982).
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.models.spectral_source import SpectralSource, channel_mixing, shape_spectrum

KMEANS_ROUNDS = 15
MAX_ROUNDS = 40
# Least gain in log-likelihood, in nats per point, that another round of the fit must bring.
MIN_GAIN = 1e-3


class MixtureSource(SpectralSource):
    """Noise from a Gaussian mixture along the principal components of a set of aligned images.

    z = average + Σ a_k e_k + residual, where e_k are the principal components of the images
    (Hotelling 1933; for faces Turk and Pentland 1991). A single Gaussian along them has the
    covariance of the images but knows no kinds: between shirts and shoes it draws what is
    neither. So the coefficients a come from one of M Gaussians, fitted to the images (a mixture
    of principal component analysers, Tipping and Bishop 1999):

        a = means_m + factors_m ⟨e, white⟩, m drawn with probability weights_m.

    The residual is white noise without its part along the components. It is coloured as in
    ``SpectralSource``, with the spectrum of what the components leave of the images. The white
    noise has shape (C·H·W + 1,): its last number chooses m. The Gaussians are sorted by their
    mean along the first component.

    kinds: M; with few images only one Gaussian per ``PER_KIND`` images is used. The buffers of
    ``SpectralSource`` hold the statistics of the images themselves. Others are: ``average``
    (C, H, W); ``components`` (K, C·H·W), orthonormal, K up to ``COMPONENTS``; ``deviations``
    (K,) of the images along them; ``residual_std`` (C, H, W//2+1); ``residual_mixing`` (C, C);
    ``weights`` (M,); ``means`` (M, K); ``factors`` (M, K(K+1)/2), the rows of lower triangular
    matrices, one after the other and without their zeros. Before it is fitted, a source is white
    noise of deviation 1.
    """

    COMPONENTS, KINDS, PER_KIND = 128, 32, 100
    average: Tensor
    components: Tensor
    deviations: Tensor
    residual_std: Tensor
    residual_mixing: Tensor
    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, channels: int, image_size: int, kinds: int = KINDS) -> None:
        super().__init__(channels, image_size)
        pixels = math.prod(self.shape)
        count = min(self.COMPONENTS, pixels)
        self.noise_shape, self.picks = (pixels + 1,), kinds > 1
        self.register_buffer("average", torch.zeros(self.shape))
        self.register_buffer("components", torch.zeros(count, pixels))
        self.register_buffer("deviations", torch.zeros(count))
        self.register_buffer("residual_std", torch.ones(self.std.shape))
        self.register_buffer("residual_mixing", self.mixing.clone())
        self.register_buffer("weights", torch.full((kinds,), 1 / kinds))
        self.register_buffer("means", torch.zeros(kinds, count))
        self.register_buffer("factors", torch.zeros(kinds, count * (count + 1) // 2))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        super().fit(images)
        coefficients = self._fit_components(images)
        count = coefficients.shape[1]
        kinds = max(1, min(len(self.weights), len(images) // self.PER_KIND))
        mixture = fit_mixture(coefficients, kinds)
        # Gaussians and components that are not used stay 0.
        order = mixture.means[:, 0].argsort()
        for buffer in (self.weights, self.means, self.factors):
            buffer.zero_()
        self.weights[:kinds] = mixture.weights[order].float()
        self.means[:kinds, :count] = mixture.means[order].float()
        # Those of the first components are the first rows.
        factors = _packed(mixture.factors[order].float())
        self.factors[:kinds, : factors.shape[1]] = factors

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:
        # Earlier versions had the zeros, too.
        factors = state.get(f"{prefix}factors", self.factors)
        if factors.ndim == 3:
            state[f"{prefix}factors"] = _packed(factors)
        super()._load_from_state_dict(state, prefix, *others)

    def _fit_components(self, images: Tensor) -> Tensor:
        """Fit the principal components; return the coefficients of the images, (N, ≤ K)."""
        average = images.mean(0)
        flat = (images - average).flatten(1)
        count = min(len(self.components), len(images) - 1)
        # The randomised method starts from noise: a fixed seed makes it repeatable, and the fork
        # leaves the global generator as it was.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _, scales, directions = torch.svd_lowrank(flat, count, niter=4)
        self.average.copy_(average)
        self.components.zero_()[:count] = directions.T
        self.deviations.zero_()[:count] = scales / (len(images) - 1) ** 0.5
        coefficients = flat @ directions
        # The residual is what the components leave of each image.
        residual = (flat - coefficients @ directions.T).view_as(images).double()
        spectrum = torch.fft.rfft2(residual, norm="ortho")
        self.residual_std.copy_(spectrum.abs().square().mean(0).sqrt())
        self.residual_mixing.copy_(channel_mixing(residual))
        return coefficients[:, : int(self.deviations.count_nonzero())]

    def _lower(self) -> Tensor:
        """Return the factors as matrices, (M, K, K)."""
        kinds, count = self.means.shape
        lower = self.factors.new_zeros(kinds, count, count)
        rows, columns = torch.tril_indices(count, count, device=lower.device)
        lower[:, rows, columns] = self.factors
        return lower

    @torch.no_grad()
    def colour(self, white: Tensor) -> Tensor:
        uniform, white = torch.special.ndtr(white[:, -1]), white[:, :-1].view(-1, *self.shape)
        along = white.flatten(1) @ self.components.T
        # The uniform number chooses a Gaussian by its weight. It stays below the last sum, so
        # that no Gaussian of weight 0 is chosen.
        sums = self.weights.cumsum(0)
        kind = torch.searchsorted(sums, uniform.clamp_max(1 - 1e-6) * sums[-1], right=True)
        coefficients = self.means[kind] + torch.einsum("nij,nj->ni", self._lower()[kind], along)
        # The rest of the white noise gets the spectrum of the residual.
        rest = (white.flatten(1) - along @ self.components).view_as(white)
        spectrum = shape_spectrum(rest, self.residual_mixing, self.residual_std)
        residual = torch.fft.irfft2(spectrum, s=self.shape[1:], norm="ortho")
        z: Tensor = self.average + (coefficients @ self.components).view_as(white) + residual
        return z


def _packed(lower: Tensor) -> Tensor:
    """Take lower triangular matrices (M, K, K) without their zeros: (M, K(K+1)/2), row by row."""
    rows, columns = torch.tril_indices(*lower.shape[1:], device=lower.device)
    return lower[:, rows, columns]


@dataclass(frozen=True)
class GaussianMixture:
    """M Gaussians in D dimensions, in float64: weights (M,), means (M, D), factors (M, D, D).

    factors: lower triangular Cholesky factors of the covariances. likelihoods: mean
    log-likelihood of a point, in nats, in each round of the fit.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    likelihoods: tuple[float, ...] = ()


def fit_mixture(points: Tensor, kinds: int) -> GaussianMixture:
    """Fit a mixture of ``kinds`` Gaussians to points (N, D), N ≥ kinds ≥ 1.

    Each covariance is shrunk towards the pooled one, as if its Gaussian had D more points of the
    pooled covariance, so that a Gaussian of few points has a full covariance too (after
    J. Friedman, *Regularized Discriminant Analysis*, 1989). Stops after ``MAX_ROUNDS`` rounds, or
    when a round gains less than ``MIN_GAIN``. The same points always give the same mixture.
    """
    points = points.double()
    shares = F.one_hot(_cluster(points, kinds), kinds).double()
    likelihoods: list[float] = []
    while True:
        # M step: the mixture from the shares. E step: the shares from the mixture.
        mixture = _maximise(points, shares)
        logs = log_shares(mixture, points)
        total = logs.logsumexp(1, keepdim=True)
        shares = (logs - total).exp()
        # Stop where the likelihood hardly grows any more.
        likelihoods.append(float(total.mean()))
        gain = math.inf if len(likelihoods) < 2 else likelihoods[-1] - likelihoods[-2]
        if len(likelihoods) == MAX_ROUNDS or gain < MIN_GAIN:
            return replace(mixture, likelihoods=tuple(likelihoods))


def log_shares(mixture: GaussianMixture, points: Tensor) -> Tensor:
    """Compute log(weight · density) of each Gaussian at each point: (N, D) → (N, M), float64."""
    logs = []
    for weight, mean, factor in zip(mixture.weights, mixture.means, mixture.factors, strict=True):
        # The factor turns offsets from the mean into a standard normal variable.
        standard = torch.linalg.solve_triangular(factor, (points - mean).T, upper=False)
        scale = factor.diagonal().log().sum() + points.shape[1] / 2 * math.log(2 * math.pi)
        logs.append(weight.log() - scale - standard.square().sum(0) / 2)
    return torch.stack(logs, 1)


def _cluster(points: Tensor, kinds: int) -> Tensor:
    """Cluster points (N, D) by k-means: the index of each point's nearest centre, (N,)."""
    generator = torch.Generator(points.device).manual_seed(0)
    order = torch.randperm(len(points), generator=generator, device=points.device)
    centres = points[order[:kinds]]
    nearest = torch.cdist(points, centres).argmin(1)
    for _ in range(KMEANS_ROUNDS):
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        counts = nearest.bincount(minlength=kinds)[:, None]
        # A centre that is the nearest of no point stays where it is.
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), centres)
        nearest = torch.cdist(points, centres).argmin(1)
    return nearest


def _maximise(points: Tensor, shares: Tensor) -> GaussianMixture:
    """Compute the likeliest mixture of points (N, D) that belong to Gaussians by shares (N, M)."""
    n, dims = points.shape
    sizes = shares.sum(0)
    means = shares.T @ points / sizes.clamp_min(1e-9)[:, None]
    # The scatter of each Gaussian's points about its mean, (M, D, D).
    scatters = []
    for mean, share in zip(means, shares.T, strict=True):
        offsets = points - mean
        scatters.append((share[:, None] * offsets).T @ offsets)
    scatter = torch.stack(scatters)
    # The pooled covariance, with a little deviation added where the points have none.
    pooled = scatter.sum(0) / n
    ridge = 1e-6 * pooled.diagonal().mean() + 1e-12
    pooled = pooled + ridge * torch.eye(dims, dtype=points.dtype, device=points.device)
    # Shrinkage: dims more points of the pooled covariance for each Gaussian.
    covariances = (scatter + dims * pooled) / (sizes[:, None, None] + dims)
    return GaussianMixture(sizes / n, means, torch.linalg.cholesky(covariances))
