"""z ~ source: the noise that f is trained to map onto the target images.

The paper (section 3, "Experiments") draws z from a Gaussian in frequency space whose
statistics are those of the training images, so that z and x share their spectrum.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class SpectralSource(nn.Module):
    """Gaussian noise with the mean and the deviation, per frequency, of a set of images.

    z = irfft2(mean + std · rfft2(white)), both transforms orthonormal, where ``white`` is
    standard normal noise whose channels are correlated as the images' are. Because the
    noise is drawn in pixel space its half spectrum has the symmetry of a real signal, and
    no variance is lost: E|rfft2(white)|² = 1 at every frequency.

    Buffers (they travel in the weights file): ``mean`` (2, C, H, W//2+1) the mean spectrum,
    real and imaginary part; ``std`` (C, H, W//2+1); ``mixing`` (C, C) the Cholesky factor of
    the channel correlation. A new source is white noise of deviation 1 until it is fitted.
    """

    mean: Tensor
    std: Tensor
    mixing: Tensor

    def __init__(self, channels: int, image_size: int) -> None:
        super().__init__()
        self.shape = (channels, image_size, image_size)
        half = (channels, image_size, image_size // 2 + 1)
        self.register_buffer("mean", torch.zeros(2, *half))
        self.register_buffer("std", torch.ones(half))
        # Not torch.eye: on the meta device that loads half of torch's compiler, for over a second.
        self.register_buffer("mixing", torch.zeros(channels, channels).fill_diagonal_(1))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take the statistics of ``images`` (N, C, H, W) in [−1, 1], N ≥ 2."""
        spectrum = torch.fft.rfft2(images.double(), norm="ortho")
        mean = spectrum.mean(0)
        centred = images.double() - images.double().mean(0)
        flat = centred.transpose(0, 1).flatten(1)
        covariance = flat @ flat.T / flat.shape[1]
        scale = covariance.diagonal().clamp_min(1e-12).sqrt()
        correlation = covariance / scale[:, None] / scale[None, :]
        # The ridge keeps three equal channels (grey images read as colour) factorable.
        ridge = 1e-4 * torch.eye(len(scale), dtype=torch.float64, device=images.device)
        self.mean.copy_(torch.stack([mean.real, mean.imag]))
        self.std.copy_((spectrum - mean).abs().square().mean(0).sqrt())
        self.mixing.copy_(torch.linalg.cholesky((correlation + ridge) / (1 + 1e-4)))

    @torch.no_grad()
    def colour(self, white: Tensor) -> Tensor:
        """Shape standard normal noise (N, C, H, W) into z (N, C, H, W) of this source."""
        mixed = torch.einsum("cd,ndhw->nchw", self.mixing, white)
        spectrum = torch.fft.rfft2(mixed, norm="ortho")
        shaped = torch.complex(self.mean[0], self.mean[1]) + self.std * spectrum
        z: Tensor = torch.fft.irfft2(shaped, s=self.shape[1:], norm="ortho")
        return z

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n of z at once (n, C, H, W) on the generator's device, for training."""
        white = torch.randn(n, *self.shape, generator=generator, device=generator.device)
        return self.colour(white)

    def from_seeds(self, seeds: Iterable[int]) -> Tensor:
        """Draw one z a seed (len(seeds), C, H, W).

        Each seed has a generator of its own, on the CPU: the same seed gives the same z
        whatever the batch size and whatever device f runs on.
        """
        white = [
            torch.randn(self.shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds
        ]
        return self.colour(torch.stack(white).to(self.mean.device))
