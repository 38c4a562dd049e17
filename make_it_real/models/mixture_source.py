"""z whose coarse layout is that of the images: what lies where, and of how many kinds they are.

Two laws beside those of ``source.py``, for images that are aligned, as faces, clothes and digits
are: ``principal`` has the images' covariance, ``mixture`` a Gaussian for each of several kinds.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.models import mixture_source
from make_it_real.models.spectral_source import SpectralSource, channel_mixing, shaped

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


class PrincipalSource(SpectralSource):
    """Gaussian noise with the covariance of a set of images that are aligned, as faces are.

    z = mean + Σ σ_k ⟨e_k, white⟩ e_k + residual, where e_k are the principal components of the
    images (Hotelling 1933; of faces: Turk and Pentland 1991) and σ_k the deviations along
    them. The residual is white noise without these components, shaped like ``spectral`` to the
    spectrum of what they leave of the images. A spectrum knows how coarse images are, this
    also what lies where.

    Buffers beside ``SpectralSource``'s, which are those of the images themselves: ``average``
    (C, H, W); ``components`` (K, C·H·W) orthonormal, K up to ``COMPONENTS``, and ``deviations``
    (K,); ``residual_std`` (C, H, W//2+1) and ``residual_mixing`` (C, C). A new source is white
    noise of deviation 1.
    """

    COMPONENTS = 128
    average: Tensor
    components: Tensor
    deviations: Tensor
    residual_std: Tensor
    residual_mixing: Tensor

    def __init__(self, channels: int, image_size: int) -> None:
        super().__init__(channels, image_size)
        pixels = channels * image_size * image_size
        count = min(self.COMPONENTS, pixels)
        self.register_buffer("average", torch.zeros(self.shape))
        self.register_buffer("components", torch.zeros(count, pixels))
        self.register_buffer("deviations", torch.zeros(count))
        self.register_buffer("residual_std", torch.ones_like(self.std))
        self.register_buffer("residual_mixing", self.mixing.clone())

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        super().fit(images)
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
        residual = (flat - flat @ directions @ directions.T).view_as(images).double()
        spectrum = torch.fft.rfft2(residual, norm="ortho")
        self.residual_std.copy_(spectrum.abs().square().mean(0).sqrt())
        self.residual_mixing.copy_(channel_mixing(residual))

    @torch.no_grad()
    def colour(self, white: Tensor) -> Tensor:
        along = white.flatten(1) @ self.components.T
        return self._placed(along * self.deviations, white, along)

    def _placed(self, amounts: Tensor, white: Tensor, along: Tensor) -> Tensor:
        """z of so much of each component (N, K), and what white noise has beside them."""
        apart = (white.flatten(1) - along @ self.components).view_as(white)
        spectrum = shaped(apart, self.residual_mixing, self.residual_std)
        residual = torch.fft.irfft2(spectrum, s=self.shape[1:], norm="ortho")
        z: Tensor = self.average + (amounts @ self.components).view_as(white) + residual
        return z


class MixtureSource(PrincipalSource):
    """As ``PrincipalSource``, but what z has of the components is drawn from a mixture.

    One Gaussian knows nothing of kinds: between shirts and shoes it draws what is neither. Here
    the amounts a of the components are those of one of M Gaussians, fitted to the images (a
    mixture of principal component analysers: Tipping and Bishop 1999):

        a = means_m + factors_m ⟨e, white⟩, m drawn with probability weights_m,

    and the residual as there. White noise has one number more than z, by which m is drawn:
    (C·H·W + 1,). The Gaussians are in the order of what they have of the first component.

    Buffers beside ``PrincipalSource``'s: ``weights`` (M,), ``means`` (M, K), ``factors``
    (M, K, K) lower triangular; M is ``KINDS``, of which one is used for ``PER_KIND`` images.
    """

    KINDS, PER_KIND = 32, 100
    picks = True
    weights: Tensor
    means: Tensor
    factors: Tensor

    def __init__(self, channels: int, image_size: int) -> None:
        super().__init__(channels, image_size)
        self.noise_shape = (math.prod(self.shape) + 1,)
        count = len(self.components)
        self.register_buffer("weights", torch.full((self.KINDS,), 1 / self.KINDS))
        self.register_buffer("means", torch.zeros(self.KINDS, count))
        self.register_buffer("factors", torch.zeros(self.KINDS, count, count))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        super().fit(images)
        count = int(self.deviations.count_nonzero())
        along = (images - self.average).flatten(1) @ self.components[:count].T
        kinds = max(1, min(self.KINDS, len(images) // self.PER_KIND))
        found = mixture_source.fit(along, kinds)
        order = found.means[:, 0].argsort()
        for buffer in (self.weights, self.means, self.factors):
            buffer.zero_()
        self.weights[:kinds] = found.weights[order].float()
        self.means[:kinds, :count] = found.means[order].float()
        self.factors[:kinds, :count, :count] = found.factors[order].float()

    @torch.no_grad()
    def colour(self, white: Tensor) -> Tensor:
        number, white = torch.special.ndtr(white[:, -1]), white[:, :-1].view(-1, *self.shape)
        along = white.flatten(1) @ self.components.T
        # Always below the last sum, so that it falls to a kind that has some weight.
        sums = self.weights.cumsum(0)
        kind = torch.searchsorted(sums, number.clamp_max(1 - 1e-6) * sums[-1], right=True)
        amounts = self.means[kind] + torch.einsum("nij,nj->ni", self.factors[kind], along)
        return self._placed(amounts, white, along)
