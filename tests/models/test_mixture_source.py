"""The sources that know the layout of images: their covariance, and their kinds."""

import pytest
import torch
from torch import Tensor

from make_it_real.inference.projection import generate
from make_it_real.models import source as models_source
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGNConfig
from make_it_real.models.mixture_source import MixtureSource, fit_mixture, log_shares
from make_it_real.models.spectral_source import SpectralSource
from tests.models.helpers import textures


def aligned(n: int, channels: int = 3, size: int = 16) -> Tensor:
    """Images of six shapes that lie where they lie, more or less of each, and a little noise."""
    generator = torch.Generator().manual_seed(3)
    shapes = torch.linalg.qr(
        torch.randn(channels * size * size, 6, generator=generator, dtype=torch.float64)
    )[0]
    share = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    amounts = share * torch.tensor([9.0, 7, 5, 4, 3, 2])
    flat = amounts @ shapes.T + 0.3
    images: Tensor = flat.view(n, channels, size, size).float()
    return images + 0.02 * textures(n, channels, size)


def test_principal_components_are_those_of_the_covariance() -> None:
    images = aligned(800)
    source = MixtureSource(3, 16, kinds=1)
    source.fit(images)

    flat = images.double().flatten(1)
    covariance = torch.cov(flat.T)
    values, vectors = torch.linalg.eigh(covariance)
    found = source.deviations.double().square()
    torch.testing.assert_close(found[:6], values.flip(0)[:6], rtol=1e-4, atol=0)
    along = (source.components.double() @ vectors.flip(1)).abs()
    torch.testing.assert_close(along[:6, :6], torch.eye(6).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(source.average, images.mean(0))


def test_z_of_the_principal_source_has_the_covariance_of_the_images() -> None:
    images = aligned(800)
    source = MixtureSource(3, 16, kinds=1)
    source.fit(images)
    z = source.sample(6000, torch.Generator().manual_seed(4))
    wanted, found = (torch.cov(each.double().flatten(1).T) for each in (images, z))
    assert (found - wanted).norm() < 0.1 * wanted.norm()
    spectral = SpectralSource(3, 16)
    spectral.fit(images)
    other = torch.cov(spectral.sample(6000, torch.Generator().manual_seed(4)).flatten(1).T)
    assert (other - wanted).norm() > 0.7 * wanted.norm()
    torch.testing.assert_close(z.mean(0), images.mean(0), atol=0.05, rtol=0)


def test_what_the_components_leave_has_the_spectrum_of_what_they_leave() -> None:
    generator = torch.Generator().manual_seed(5)
    images = aligned(2000) + 0.5 * torch.randn(2000, 3, 16, 16, generator=generator)
    source = MixtureSource(3, 16, kinds=1)
    source.fit(images)
    z = source.sample(4000, torch.Generator().manual_seed(6))

    def left(each: Tensor) -> Tensor:
        flat = (each - source.average).flatten(1)
        rest = flat - flat @ source.components.T @ source.components
        spectrum = torch.fft.rfft2(rest.view_as(each).double(), norm="ortho")
        power: Tensor = spectrum.abs().square().mean((0, 1))
        return power

    # Of the white noise, too, the components are left out, 128 of 768: a little is lost.
    ratio = left(z) / left(images)
    assert ratio.max() < 1.1
    assert ratio.min() > 0.6


def test_fitting_principal_components_is_repeatable_and_draws_from_nobody() -> None:
    images, state = aligned(50), torch.get_rng_state()
    one, two = MixtureSource(3, 16, kinds=1), MixtureSource(3, 16, kinds=1)
    one.fit(images)
    torch.rand(5)
    two.fit(images)
    assert all(torch.equal(value, two.get_buffer(name)) for name, value in one.named_buffers())
    torch.set_rng_state(state)
    one.fit(images)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("n", [2, 40])
def test_fewer_images_than_components_will_do(n: int) -> None:
    images = aligned(n)
    source = MixtureSource(3, 16, kinds=1)
    source.fit(images)
    assert source.deviations.count_nonzero() == n - 1
    assert source.from_seeds([0]).isfinite().all()


# --- Mixtures of Gaussians ---


def three_kinds(n: int, dims: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    """(points (n, dims), which kind each is of, the kinds' means): a half, 3 and 2 tenths."""
    generator = torch.Generator().manual_seed(1)
    kinds = torch.multinomial(
        torch.tensor([0.5, 0.3, 0.2]), n, replacement=True, generator=generator
    )
    means = torch.zeros(3, dims)
    means[1, 0], means[2, 1] = 6, -5
    scales = torch.tensor([1.0, 0.5, 2.0])[kinds, None]
    return means[kinds] + scales * torch.randn(n, dims, generator=generator), kinds, means


def test_a_mixture_finds_the_kinds() -> None:
    points, kinds, means = three_kinds(6000)
    found = fit_mixture(points, 3)
    order = torch.cdist(means.double(), found.means).argmin(1)
    assert sorted(order.tolist()) == [0, 1, 2]
    torch.testing.assert_close(found.means[order], means.double(), atol=0.2, rtol=0)
    shares = torch.bincount(kinds) / len(kinds)
    torch.testing.assert_close(found.weights[order], shares.double(), atol=0.01, rtol=0)
    covariances = found.factors @ found.factors.mT
    for at, scale in zip(order, (1.0, 0.5, 2.0), strict=True):
        wanted = scale**2 * torch.eye(5).double()
        torch.testing.assert_close(covariances[at], wanted, atol=0.12 * scale**2, rtol=0)
    told = log_shares(found, points.double()).argmax(1)
    assert float((order[kinds] == told).float().mean()) > 0.97


def test_log_shares_are_the_density_of_the_mixture() -> None:
    points, _, _ = three_kinds(300)
    found = fit_mixture(points, 2)
    known = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(found.weights),
        torch.distributions.MultivariateNormal(found.means, scale_tril=found.factors),
    )
    log_density = log_shares(found, points.double()).logsumexp(1)
    torch.testing.assert_close(log_density, known.log_prob(points.double()))
    assert found.likelihoods[-1] == pytest.approx(float(log_density.mean()), abs=0.01)


def test_each_round_gains_and_the_last_hardly() -> None:
    points, _, _ = three_kinds(2000)
    rounds = torch.tensor(fit_mixture(points, 6).likelihoods)
    assert len(rounds) > 3
    # The pull towards each other may cost a trace of likelihood.
    assert bool((rounds.diff() > -1e-3).all())
    assert float(rounds[-1] - rounds[0]) > 0.01


def test_a_mixture_of_one_is_the_gaussian() -> None:
    points = three_kinds(500)[0].double()
    found = fit_mixture(points, 1)
    torch.testing.assert_close(found.means[0], points.mean(0))
    wanted = torch.cov(points.T, correction=0)
    torch.testing.assert_close(found.factors[0] @ found.factors[0].T, wanted, rtol=1e-5, atol=0)


def test_a_kind_of_few_points_has_nearly_the_covariance_of_the_others() -> None:
    generator = torch.Generator().manual_seed(2)
    many = torch.randn(2000, 6, generator=generator) * torch.arange(1.0, 7)
    few = 50 + 1e-3 * torch.randn(3, 6, generator=generator)
    found = fit_mixture(torch.cat([many, few]), 2)
    rare = int(found.weights.argmin())
    assert float(found.weights[rare]) == pytest.approx(3 / 2003, rel=1e-3)
    variances = (found.factors[rare] @ found.factors[rare].T).diagonal()
    wanted = 6 / 9 * torch.arange(1.0, 7).double().square()
    torch.testing.assert_close(variances, wanted, rtol=0.1, atol=0)


@pytest.mark.parametrize("points", [torch.zeros(7, 3), torch.randn(3, 4)])
def test_points_too_alike_or_too_few_for_a_covariance_have_one_all_the_same(
    points: Tensor,
) -> None:
    found = fit_mixture(points, 3)
    assert found.factors.isfinite().all()
    assert float(found.weights.sum()) == pytest.approx(1)


# --- Several kinds ---


def two_kinds(n: int) -> Tensor:
    """Images, a third of them bright above and the others bright below, of some strength."""
    generator = torch.Generator().manual_seed(7)
    above = (torch.arange(n) % 3 == 0)[:, None, None, None]
    strength = 0.8 + 0.1 * torch.randn(n, 1, 1, 1, generator=generator)
    half = torch.ones(1, 8, 8)
    half[:, 4:] = -1
    shapes = torch.where(above, half, -half)
    noise = 0.05 * torch.randn(n, 1, 8, 8, generator=generator)
    return strength * shapes + noise


def test_z_of_a_mixture_is_of_one_kind_or_the_other() -> None:
    images = two_kinds(900)
    kinds, one = MixtureSource(1, 8), MixtureSource(1, 8, kinds=1)
    kinds.fit(images)
    one.fit(images)

    def levels(source: MixtureSource) -> Tensor:
        z = source.sample(2000, torch.Generator().manual_seed(8))
        level: Tensor = (z[:, :, :4].mean((1, 2, 3)) - z[:, :, 4:].mean((1, 2, 3))) / 2
        return level

    # One Gaussian of the same mean and deviation draws what is neither.
    assert float((levels(one).abs() < 0.4).float().mean()) > 0.3
    level = levels(kinds)
    assert float((level.abs() < 0.4).float().mean()) < 0.01
    assert float((level > 0).float().mean()) == pytest.approx(1 / 3, abs=0.04)
    assert float(level.abs().mean()) == pytest.approx(0.8, abs=0.03)
    assert float(level.abs().std()) == pytest.approx(0.1, abs=0.03)
    # In all they have the mean and the covariance of the images.
    z = kinds.sample(8000, torch.Generator().manual_seed(9)).flatten(1)
    torch.testing.assert_close(z.mean(0), images.flatten(1).mean(0), atol=0.06, rtol=0)
    wanted = torch.cov(images.flatten(1).T)
    assert (torch.cov(z.T) - wanted).norm() < 0.12 * wanted.norm()


def test_kinds_are_in_the_order_of_the_first_component() -> None:
    source = MixtureSource(1, 8)
    source.fit(two_kinds(900))
    used = int(source.weights.count_nonzero())
    assert used == 9
    assert bool((source.means[:used, 0].diff() >= 0).all())
    assert float(source.weights.sum()) == pytest.approx(1, abs=1e-6)
    numbers = torch.tensor([-9.0, 9.0])
    white = torch.cat([torch.zeros(2, 64), numbers[:, None]], 1)
    low, high = source.colour(white)
    ends = source.means[[0, used - 1]]
    found = (torch.stack([low, high]) - source.average).flatten(1) @ source.components.T
    torch.testing.assert_close(found, ends, atol=1e-5, rtol=1e-4)


def test_a_mixture_has_the_principal_sources_statistics_and_its_spectrum() -> None:
    images = aligned(300)
    kinds, one = MixtureSource(3, 16), MixtureSource(3, 16, kinds=1)
    for each in (kinds, one):
        each.fit(images)
    shared = dict(one.named_buffers())
    for name in ("weights", "means", "factors"):
        assert len(shared.pop(name)) == 1
    for name, buffer in shared.items():
        assert torch.equal(buffer, kinds.get_buffer(name))
    spectral = models_source.convert(kinds, "spectral")
    assert torch.equal(
        spectral.from_seeds([3]), models_source.convert(one, "spectral").from_seeds([3])
    )


def test_factors_with_their_zeros_as_earlier_versions_had_them_are_read() -> None:
    source = MixtureSource(3, 16)
    source.fit(aligned(300))
    kinds, count = source.means.shape
    whole = torch.zeros(kinds, count, count)
    for kind, rows in zip(whole, source.factors, strict=True):
        for i in range(count):
            kind[i, : i + 1] = rows[i * (i + 1) // 2 :][: i + 1]
    again = MixtureSource(3, 16)
    again.load_state_dict(source.state_dict() | {"factors": whole})
    assert torch.equal(again.factors, source.factors)
    assert torch.equal(again.from_seeds([1, 2]), source.from_seeds([1, 2]))


@pytest.mark.parametrize("n", [2, 40])
def test_few_images_make_one_kind(n: int) -> None:
    source = MixtureSource(3, 16)
    source.fit(aligned(n))
    assert source.weights.count_nonzero() == 1
    assert source.from_seeds([0]).isfinite().all()


def test_fitting_a_mixture_again_forgets_what_it_was() -> None:
    once, twice = MixtureSource(3, 16), MixtureSource(3, 16)
    once.fit(aligned(40))
    twice.fit(aligned(900))
    twice.fit(aligned(40))
    assert all(torch.equal(value, twice.get_buffer(name)) for name, value in once.named_buffers())


def test_a_new_mixture_is_the_residual_alone_and_a_model_may_have_one() -> None:
    f = build(IGNConfig(8, 1, 8, (8, 8), 8, source="mixture"))
    assert float(f.source.from_seeds(range(50)).std()) == pytest.approx(1, abs=0.05)
    assert generate(f, [0, 1]).shape == (2, 1, 8, 8)
