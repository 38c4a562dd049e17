"""Noise of light and of phones: how strong it is, on what it depends, how it is correlated."""

import pytest
import torch
from torch import Tensor

from make_it_real.degradations.kinds import degraded
from make_it_real.degradations.sensor import phone_noise


def added(x: Tensor, kind: str, level: float, seed: int = 0) -> Tensor:
    return degraded(x, kind, level, generator=torch.Generator().manual_seed(seed)) - x


@pytest.mark.parametrize("value", [-0.6, 0.0, 1.0])
def test_photons_have_the_variance_of_their_number(value: float) -> None:
    # A mean of m photons has the variance m; white is 2 units and 50 photons over black.
    x = torch.full((1, 3, 128, 128), value)
    change = added(x, "poisson", 50)
    assert float(change.mean()) == pytest.approx(0, abs=0.005)
    assert float(change.std()) == pytest.approx(2 / 50 * (25 * (value + 1)) ** 0.5, rel=0.03)


def test_black_has_no_photons() -> None:
    assert not added(torch.full((1, 1, 20, 20), -1.0), "poisson", 5).any()


@pytest.mark.parametrize("level", [0.05, 0.2])
@pytest.mark.parametrize("channels", [1, 3])
def test_phone_noise_has_the_deviation_asked_for(level: float, channels: int) -> None:
    change = added(torch.zeros(12, channels, 64, 64), "phone-noise", level)
    deviation = change.square().mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(deviation, torch.full((12,), level), rtol=0.05, atol=0)


def test_phone_noise_is_correlated_and_its_colour_is_the_coarser() -> None:
    change = added(torch.zeros(32, 3, 64, 64), "phone-noise", 0.1)
    luma = change.mean(1, keepdim=True)

    def neighbours(part: Tensor) -> Tensor:
        return (part[..., 1:] * part[..., :-1]).mean() / part.square().mean()

    assert 0.1 < neighbours(luma) < neighbours(change - luma)


def test_in_half_of_the_images_shadows_have_more_of_it() -> None:
    x = torch.full((64, 3, 32, 64), -0.9)
    x[..., 32:] = 0.9
    change = added(x, "phone-noise", 0.1).square().mean((1, 2))
    ratio = (change[:, :32].mean(1) / change[:, 32:].mean(1)).sqrt()
    wanted = (1 + 0.4 * 0.9) / (1 - 0.4 * 0.9)
    darker = ratio > 1.5
    assert 20 < int(darker.sum()) < 44
    assert float(ratio[darker].mean()) == pytest.approx(wanted, rel=0.1)
    assert float(ratio[~darker].mean()) == pytest.approx(1, abs=0.1)


def test_images_of_one_pixel_are_taken() -> None:
    levels = torch.full((2,), 0.1)
    y = phone_noise(torch.zeros(2, 3, 1, 1), levels, torch.Generator().manual_seed(0))
    assert y.isfinite().all()
