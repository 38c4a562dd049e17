"""z ~ source: it has the statistics of the images, and one seed is one z."""

import pytest
import torch
from torch import Tensor

from make_it_real.models.source import SOURCES
from make_it_real.models.spectral_source import PublishedSource, SpectralSource, WhiteSource, like
from tests.models.helpers import textures


def fitted(images: Tensor) -> SpectralSource:
    source = SpectralSource(images.shape[1], images.shape[2])
    source.fit(images)
    return source


def fourier(size: int) -> Tensor:
    """The orthonormal Fourier matrix (size, size) in complex128, from its definition."""
    steps = torch.arange(size, dtype=torch.float64)
    turns = -2 * torch.pi * torch.outer(steps, steps) / size
    return torch.polar(torch.full_like(turns, size**-0.5), turns)


def whole_spectrum(images: Tensor) -> Tensor:
    """All frequencies, no half left out, in complex128."""
    matrix = fourier(images.shape[-1])
    return matrix @ images.double().to(torch.complex128) @ matrix


@pytest.mark.parametrize(("channels", "size"), [(1, 12), (3, 8), (1, 9)])
def test_fit_takes_the_mean_and_deviation_of_each_frequency(channels: int, size: int) -> None:
    images = textures(30, channels, size)
    source = fitted(images)

    spectrum = whole_spectrum(images)
    mean = spectrum.sum(0) / 30
    deviation = ((spectrum - mean).abs().square().sum(0) / 30).sqrt()
    half = size // 2 + 1
    torch.testing.assert_close(source.mean[0].double(), mean.real[..., :half], atol=1e-6, rtol=0)
    torch.testing.assert_close(source.mean[1].double(), mean.imag[..., :half], atol=1e-6, rtol=0)
    torch.testing.assert_close(source.std.double(), deviation[..., :half], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("channels", "size"), [(1, 12), (3, 8), (1, 9)])
def test_colour_is_the_formula_over_the_whole_spectrum(channels: int, size: int) -> None:
    images = textures(30, channels, size)
    source = fitted(images)
    white = torch.randn(4, channels, size, size, generator=torch.Generator().manual_seed(1))

    spectrum = whole_spectrum(images)
    mean = spectrum.mean(0)
    std = (spectrum - mean).abs().square().mean(0).sqrt()
    mixed = torch.einsum("cd,ndhw->nchw", source.mixing.double(), white.double())
    back = fourier(size).conj()
    z = back @ (mean + std * whole_spectrum(mixed)) @ back
    assert z.imag.abs().max() < 1e-12
    torch.testing.assert_close(source.colour(white).double(), z.real, atol=2e-6, rtol=0)


def test_z_has_the_mean_and_deviation_of_the_images_per_frequency() -> None:
    n = 6000
    images = textures(300, 1, 12)
    z = fitted(images).sample(n, torch.Generator().manual_seed(2))

    wanted, found = (torch.fft.rfft2(each.double(), norm="ortho") for each in (images, z))
    std = (wanted - wanted.mean(0)).abs().square().mean(0).sqrt()
    error = (found.mean(0) - wanted.mean(0)).abs() / std
    assert error.max() < 5 / n**0.5
    ratio = (found - found.mean(0)).abs().square().mean(0).sqrt() / std
    # A real frequency's deviation is known to 1/√(2n) = 0.9%.
    assert (ratio - 1).abs().max() < 0.05


def test_the_noise_of_an_unfitted_source_is_the_white_noise_itself() -> None:
    white = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(SpectralSource(3, 12).colour(white), white, atol=1e-5, rtol=0)


def test_white_images_give_z_of_full_variance() -> None:
    images = torch.randn(500, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    z = fitted(images).sample(500, torch.Generator().manual_seed(4))
    assert z.dtype == torch.float32
    assert float(z.var()) == pytest.approx(1, abs=0.02)
    assert float(z.mean()) == pytest.approx(0, abs=0.02)


def test_z_has_the_channel_correlation_of_the_images() -> None:
    mix = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.3, 0.5, 0.4]])
    white = torch.randn(400, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    images = torch.einsum("cd,ndhw->nchw", mix, white)
    z = fitted(images).sample(2000, torch.Generator().manual_seed(6))

    found = torch.corrcoef(z.transpose(0, 1).flatten(1))
    covariance = mix @ mix.T
    scale = covariance.diagonal().sqrt()
    wanted = covariance / scale[:, None] / scale[None, :]
    torch.testing.assert_close(found, wanted, atol=0.02, rtol=0)


@pytest.mark.parametrize(("channels", "size"), [(1, 28), (3, 12), (1, 9)])
def test_one_seed_is_one_z_whatever_the_order_and_the_batch(channels: int, size: int) -> None:
    source = fitted(textures(20, channels, size))
    seeds = [7, 0, 123_456_789, 2**63 - 1, 3]
    together = source.from_seeds(seeds)
    backwards = source.from_seeds(reversed(seeds)).flip(0)
    alone = torch.cat([source.from_seeds([seed]) for seed in seeds])
    many = source.from_seeds([*range(100, 140), *seeds])[-len(seeds) :]
    for other in (backwards, alone, many):
        assert torch.equal(other, together)


def test_other_seeds_are_other_noise() -> None:
    z = SpectralSource(1, 16).from_seeds(range(8)).flatten(1)
    correlation = torch.corrcoef(z) - torch.eye(8)
    assert correlation.abs().max() < 0.3


def test_drawing_seeds_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    SpectralSource(1, 8).from_seeds([1, 2])
    SpectralSource(1, 8).sample(2, torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_sampling_goes_on_where_its_generator_is() -> None:
    source = fitted(textures(20, 1, 8))
    generator = torch.Generator().manual_seed(0)
    first, second = source.sample(3, generator), source.sample(3, generator)
    again = torch.Generator().manual_seed(0)
    assert torch.equal(source.sample(3, again), first)
    assert torch.equal(source.sample(3, again), second)
    assert not torch.equal(first, second)


def test_the_statistics_travel_in_the_state() -> None:
    source = fitted(textures(20, 3, 8))
    copy = SpectralSource(3, 8)
    copy.load_state_dict(source.state_dict())
    assert torch.equal(copy.from_seeds([1, 2]), source.from_seeds([1, 2]))
    assert set(source.state_dict()) == {"mean", "std", "mixing"}


@pytest.mark.parametrize("level", [-1.0, 0.25, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_constant_images_give_the_constant(level: float, channels: int) -> None:
    source = fitted(torch.full((5, channels, 8, 8), level))
    z = source.from_seeds([0, 1])
    torch.testing.assert_close(z, torch.full_like(z, level), atol=1e-5, rtol=0)


def test_grey_images_read_as_colour_give_grey_noise() -> None:
    source = fitted(textures(50, 1, 8).expand(-1, 3, -1, -1))
    z = source.sample(500, torch.Generator().manual_seed(0))
    correlation = torch.corrcoef(z.transpose(0, 1).flatten(1))
    assert correlation.min() > 0.999


def test_one_constant_channel_stays_constant() -> None:
    images = textures(50, 3, 8)
    images[:, 1] = -1
    z = fitted(images).from_seeds(range(20))
    torch.testing.assert_close(z[:, 1], torch.full_like(z[:, 1], -1), atol=1e-5, rtol=0)
    assert float(z[:, 0].std()) > 0.2


# --- The other distributions ---


@pytest.mark.parametrize("channels", [1, 3])
def test_the_published_source_keeps_the_mean_and_half_of_the_variance(channels: int) -> None:
    n, size = 6000, 9
    images = textures(300, channels, size)
    source = PublishedSource(channels, size)
    source.fit(images)
    z = source.sample(n, torch.Generator().manual_seed(3))
    assert z.shape == (n, channels, size, size)
    wanted, found = (whole_spectrum(each) for each in (images, z))
    variance = (wanted - wanted.mean(0)).abs().square().mean(0)
    error = (found.mean(0) - wanted.mean(0)).abs() / variance.sqrt()
    assert error.max() < 5 / n**0.5
    ratio = (found - found.mean(0)).abs().square().mean(0) / variance
    # An odd side has one real frequency, the mean: it loses nothing.
    halved = torch.full((size, size), 0.5)
    halved[0, 0] = 1.0
    torch.testing.assert_close(ratio, halved.double().expand_as(ratio), atol=0.07, rtol=0)


def test_the_spectral_source_has_twice_the_variance_of_the_published_one() -> None:
    images = textures(300, 1, 9)
    variances = []
    for name in ("spectral", "published"):
        source = SOURCES[name](1, 9)
        source.fit(images)
        z = source.sample(4000, torch.Generator().manual_seed(4))
        spectrum = whole_spectrum(z)
        power = (spectrum - spectrum.mean(0)).abs().square().mean(0)
        power[..., 0, 0] = 0
        variances.append(float(power.sum()))
    assert variances[0] / variances[1] == pytest.approx(2.0, rel=0.05)


def test_white_noise_is_white_whatever_the_images() -> None:
    source = WhiteSource(1, 8)
    source.fit(textures(30, 1, 8))
    seeds = range(5)
    z = source.from_seeds(seeds)
    plain = [torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(s)) for s in seeds]
    assert torch.equal(z, torch.stack(plain))
    assert source.state_dict() == {}


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - {"none"}))
def test_a_seed_is_one_z_in_every_distribution(name: str) -> None:
    source = SOURCES[name](3, 8)
    source.fit(textures(30, 3, 8))
    together, alone = source.from_seeds([4, 9]), source.from_seeds([9])
    torch.testing.assert_close(together[1:], alone, atol=1e-6, rtol=0)
    assert not torch.equal(together[0], together[1])


# --- Like other images ---


def test_a_source_like_a_set_of_images_is_that_fitted_to_them() -> None:
    images = textures(30, 3, 8)
    wanted, found = fitted(images).state_dict(), like(images).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in found.items())


@pytest.mark.parametrize("channels", [1, 3])
def test_a_source_like_one_image_has_its_level_and_its_amplitudes(channels: int) -> None:
    image = textures(1, channels, 9)
    z = like(image).sample(6000, torch.Generator().manual_seed(5))
    torch.testing.assert_close(z.mean((0, 2, 3)), image.mean((0, 2, 3)), atol=0.01, rtol=0)
    found = whole_spectrum(z).abs().square().mean(0)
    wanted = whole_spectrum(image)[0].abs().square()
    # The mean level is the same in every z; all else varies.
    torch.testing.assert_close(found, wanted, rtol=0.12, atol=1e-6)
    assert z.std(0).mean() == pytest.approx(float(image.std((2, 3)).mean()), rel=0.1)


def test_a_source_like_a_plain_image_gives_that_image() -> None:
    plain = torch.full((1, 1, 8, 8), 0.25)
    torch.testing.assert_close(like(plain).from_seeds([0, 1]), plain.expand(2, -1, -1, -1))
