"""z whose coarse layout is that of the images: what lies where, and of how many kinds they are.

For images that are aligned, as faces, clothes and digits are. The mixture is fitted by expectation
maximisation (A. Dempster, N. Laird, D. Rubin, *Maximum Likelihood from Incomplete Data via the EM
Algorithm*, 1977), begun from k-means (S. Lloyd, *Least Squares Quantization in PCM*, 1982).
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.models.spectral_source import SpectralSource, channel_mixing, shaped

LLOYD, MOST, ENOUGH = 15, 40, 1e-3


class MixtureSource(SpectralSource):
    """Noise of a Gaussian mixture along the principal components of a set of aligned images.

    z = average + Σ a_k e_k + residual, where e_k are the principal components of the images
    (Hotelling 1933; of faces: Turk and Pentland 1991). One Gaussian along them has the images'
    covariance and knows nothing of kinds: between shirts and shoes it draws what is neither. So
    the amounts a are those of one of M Gaussians, fitted to the images (a mixture of principal
    component analysers: Tipping and Bishop 1999):

        a = means_m + factors_m ⟨e, white⟩, m drawn with probability weights_m.

    The residual is white noise without these components, shaped like ``spectral`` to the
    spectrum of what they leave of the images. White noise has one number more than z, by which m
    is drawn: (C·H·W + 1,). The Gaussians are in the order of what they have of the first
    component.

    kinds: M, of which one is used for ``PER_KIND`` images. Buffers beside ``SpectralSource``'s,
    which are those of the images themselves: ``average`` (C, H, W); ``components`` (K, C·H·W)
    orthonormal, K up to ``COMPONENTS``, and ``deviations`` (K,), the images' along them;
    ``residual_std`` (C, H, W//2+1) and ``residual_mixing`` (C, C); ``weights`` (M,), ``means``
    (M, K), ``factors`` (M, K, K) lower triangular. A new source is white noise of deviation 1.
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
        self.register_buffer("residual_std", torch.ones_like(self.std))
        self.register_buffer("residual_mixing", self.mixing.clone())
        self.register_buffer("weights", torch.full((kinds,), 1 / kinds))
        self.register_buffer("means", torch.zeros(kinds, count))
        self.register_buffer("factors", torch.zeros(kinds, count, count))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        super().fit(images)
        along = self._fit_components(images)
        count = along.shape[1]
        kinds = max(1, min(len(self.weights), len(images) // self.PER_KIND))
        mixture = fit_mixture(along, kinds)
        order = mixture.means[:, 0].argsort()
        for buffer in (self.weights, self.means, self.factors):
            buffer.zero_()
        self.weights[:kinds] = mixture.weights[order].float()
        self.means[:kinds, :count] = mixture.means[order].float()
        self.factors[:kinds, :count, :count] = mixture.factors[order].float()

    def _fit_components(self, images: Tensor) -> Tensor:
        """Take the images' principal components; how much each image has of them, (N, ≤ K)."""
        average = images.mean(0)
        flat = (images - average).flatten(1)
        count = min(len(self.components), len(images) - 1)
        # The randomised method starts from noise: always the same, and nobody else's.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _, scales, directions = torch.svd_lowrank(flat, count, niter=4)
        self.average.copy_(average)
        self.components.zero_()[:count] = directions.T
        self.deviations.zero_()[:count] = scales / (len(images) - 1) ** 0.5
        along = flat @ directions
        # The spectrum of what the components leave.
        residual = (flat - along @ directions.T).view_as(images).double()
        spectrum = torch.fft.rfft2(residual, norm="ortho")
        self.residual_std.copy_(spectrum.abs().square().mean(0).sqrt())
        self.residual_mixing.copy_(channel_mixing(residual))
        return along[:, : int(self.deviations.count_nonzero())]

    @torch.no_grad()
    def colour(self, white: Tensor) -> Tensor:
        number, white = torch.special.ndtr(white[:, -1]), white[:, :-1].view(-1, *self.shape)
        along = white.flatten(1) @ self.components.T
        # Always below the last sum, so that it falls to a kind that has some weight.
        sums = self.weights.cumsum(0)
        kind = torch.searchsorted(sums, number.clamp_max(1 - 1e-6) * sums[-1], right=True)
        amounts = self.means[kind] + torch.einsum("nij,nj->ni", self.factors[kind], along)
        # What white noise has beside the components, in the spectrum of what they leave.
        apart = (white.flatten(1) - along @ self.components).view_as(white)
        spectrum = shaped(apart, self.residual_mixing, self.residual_std)
        residual = torch.fft.irfft2(spectrum, s=self.shape[1:], norm="ortho")
        z: Tensor = self.average + (amounts @ self.components).view_as(white) + residual
        return z


@dataclass(frozen=True)
class GaussianMixture:
    """M Gaussians in D dimensions, in float64: weights (M,), means (M, D), factors (M, D, D).

    The factors are the covariances' lower triangular Cholesky factors. likelihoods: the mean
    log-likelihood of a point (nats) before each round of the fit.
    """

    weights: Tensor
    means: Tensor
    factors: Tensor
    likelihoods: tuple[float, ...] = ()


def fit_mixture(points: Tensor, kinds: int) -> GaussianMixture:
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
            return GaussianMixture(found.weights, found.means, found.factors, tuple(likelihoods))


def log_shares(mixture: GaussianMixture, points: Tensor) -> Tensor:
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


def _maximised(points: Tensor, shares: Tensor) -> GaussianMixture:
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
    return GaussianMixture(sizes / n, means, torch.linalg.cholesky(covariances))
