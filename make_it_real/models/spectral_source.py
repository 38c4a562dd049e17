"""z ~ source: the noise that f is trained to map onto the target images.

The paper (Shocher et al. 2024) draws z from a Gaussian in frequency space with the statistics of
the training images, so that z and x share their spectrum. Three source distributions are here:
``SpectralSource`` has the full variance of the images, ``PublishedSource`` draws as published
copies of the paper do, and ``WhiteSource`` is standard normal noise. ``mixture_source.py`` has
one that also knows the layout of aligned images; ``source.py`` lists all of them by name.
"""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn


class Source(nn.Module):
    """Base of all sources: draws standard normal noise, which ``colour`` turns into z.

    shape: (C, H, W) of one z. noise_shape: shape of the white noise that one z is made of.
    picks: whether the last number of that noise chooses between kinds of z.
    """

    anchor: Tensor
    picks: bool = False

    def __init__(self, channels: int, image_size: int) -> None:
        super().__init__()
        self.shape = (channels, image_size, image_size)
        self.noise_shape: tuple[int, ...] = self.shape
        # Says which device the source is on, also where it has no statistics.
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    def fit(self, images: Tensor) -> None:
        """Take the statistics of ``images`` (N, C, H, W) in [−1, 1], N ≥ 2."""
        raise NotImplementedError

    def colour(self, white: Tensor) -> Tensor:
        """Shape standard normal noise (N, *noise_shape) into z (N, C, H, W) of this source."""
        raise NotImplementedError

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw n z at once, (n, C, H, W) on the generator's device, for training."""
        white = torch.randn(n, *self.noise_shape, generator=generator, device=generator.device)
        return self.colour(white)

    def from_seeds(self, seeds: Iterable[int]) -> Tensor:
        """Draw one z for each seed, (len(seeds), C, H, W) on the source's device.

        Each seed has its own generator on the CPU, so that the same seed gives the same z
        for every batch size and on every device.
        """
        return self.colour(white_noise(seeds, self.noise_shape).to(self.anchor.device))


def white_noise(seeds: Iterable[int], shape: Sequence[int]) -> Tensor:
    """Draw standard normal noise of a shape for each seed, (len(seeds), *shape) on the CPU.

    Raises RuntimeError where there is no seed.
    """
    drawn = [torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn)


class SpectralSource(Source):
    """Gaussian noise with the images' mean and standard deviation at each frequency.

    z = irfft2(mean + std · rfft2(white)), both transforms orthonormal, where ``white`` is
    standard normal noise whose channels are correlated as those of the images are. The noise
    is drawn in pixel space, so its half spectrum has the symmetry of a real signal and no
    variance is lost: E|rfft2(white)|² = 1 at every frequency.

    Buffers, kept in the weights file: ``mean`` (2, C, H, W//2+1), real and imaginary part of
    the mean spectrum; ``std`` (C, H, W//2+1); ``mixing`` (C, C), the Cholesky factor of the
    correlation between channels. Before it is fitted, a source is white noise of deviation 1.
    """

    mean: Tensor
    std: Tensor
    mixing: Tensor

    def __init__(self, channels: int, image_size: int) -> None:
        super().__init__(channels, image_size)
        half = (channels, image_size, image_size // 2 + 1)
        self.register_buffer("mean", torch.zeros(2, *half))
        self.register_buffer("std", torch.ones(half))
        # Not torch.eye: on the meta device that imports torch's compiler, for over a second.
        self.register_buffer("mixing", torch.zeros(channels, channels).fill_diagonal_(1))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take the statistics of ``images`` (N, C, H, W) in [−1, 1], N ≥ 2."""
        spectrum = torch.fft.rfft2(images.double(), norm="ortho")
        mean = spectrum.mean(0)
        self.mean.copy_(torch.stack([mean.real, mean.imag]))
        self.std.copy_((spectrum - mean).abs().square().mean(0).sqrt())
        # The correlation is that of pixels about their mean over all images.
        self.mixing.copy_(channel_mixing(images.double() - images.double().mean(0)))

    @torch.no_grad()
    def colour(self, white: Tensor) -> Tensor:
        """Shape standard normal noise (N, C, H, W) into z (N, C, H, W) of this source."""
        mean = torch.complex(self.mean[0], self.mean[1])
        spectrum = mean + shape_spectrum(white, self.mixing, self.std)
        z: Tensor = torch.fft.irfft2(spectrum, s=self.shape[1:], norm="ortho")
        return z


def shape_spectrum(white: Tensor, mixing: Tensor, std: Tensor) -> Tensor:
    """Mix the channels of noise (N, C, H, W) and scale its half spectrum (N, C, H, W//2+1).

    mixing: (C, C), std: (C, H, W//2+1), as ``SpectralSource`` has them.
    """
    mixed = torch.einsum("cd,ndhw->nchw", mixing, white)
    spectrum: Tensor = std * torch.fft.rfft2(mixed, norm="ortho")
    return spectrum


def channel_mixing(centred: Tensor) -> Tensor:
    """Factor the correlation of channels: images of mean 0 (N, C, H, W) → Cholesky (C, C)."""
    flat = centred.transpose(0, 1).flatten(1)
    covariance = flat @ flat.T / flat.shape[1]
    scale = covariance.diagonal().clamp_min(1e-12).sqrt()
    correlation = covariance / scale[:, None] / scale[None, :]
    # The ridge lets three equal channels (grey images read as colour) be factored too.
    ridge = 1e-4 * torch.eye(len(scale), dtype=torch.float64, device=centred.device)
    factor: Tensor = torch.linalg.cholesky((correlation + ridge) / (1 + 1e-4))
    return factor


def like(images: Tensor) -> SpectralSource:
    """Make a source with the spectrum of ``images`` (N, C, S, S) in [−1, 1], N ≥ 1.

    A single image has no deviation. Its mean level is kept, and the amplitudes of its other
    frequencies are taken as deviations, so that z shares its spectrum but none of its shapes.
    """
    source = SpectralSource(images.shape[1], images.shape[2])
    source.fit(images)
    if len(images) == 1:
        amplitudes = torch.complex(source.mean[0], source.mean[1]).abs()
        amplitudes[:, 0, 0] = 0
        source.std.copy_(amplitudes)
        level = source.mean[:, :, :1, :1].clone()
        source.mean.zero_()
        source.mean[:, :, :1, :1] = level
        source.mixing.copy_(
            channel_mixing(images.double() - images.double().mean((2, 3), keepdim=True))
        )
    return source


class PublishedSource(Source):
    """Noise as published copies of the paper draw it: real and imaginary parts independently.

    z = Re ifft2(mean + std · n), n standard normal, with the mean and deviation of the real and
    of the imaginary part at each frequency of the full transform. Such a spectrum lacks the
    symmetry of a real signal. Taking the real part keeps its symmetric half, in which each
    coefficient is the mean of two independent ones. So z has the images' mean but **half of
    their variance** at each frequency, except at the few that are real for any real signal
    (frequency 0, and the highest of an even side). Channels are drawn independently too.

    Buffers: ``mean`` and ``std`` (2, C, H, W), the real and the imaginary part.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, image_size: int) -> None:
        super().__init__(channels, image_size)
        self.noise_shape = (2, *self.shape)
        self.register_buffer("mean", torch.zeros(self.noise_shape))
        self.register_buffer("std", torch.ones(self.noise_shape))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        spectrum = torch.view_as_real(torch.fft.fft2(images, norm="ortho")).movedim(-1, 1)
        self.mean.copy_(spectrum.mean(0))
        self.std.copy_(spectrum.std(0))

    @torch.no_grad()
    def colour(self, white: Tensor) -> Tensor:
        parts = self.mean + self.std * white
        z: Tensor = torch.fft.ifft2(torch.complex(parts[:, 0], parts[:, 1]), norm="ortho").real
        return z


class WhiteSource(Source):
    """Standard normal noise, which has no statistics of the images."""

    def fit(self, images: Tensor) -> None:
        """Do nothing: no statistics are taken from the images."""

    def colour(self, white: Tensor) -> Tensor:
        return white
