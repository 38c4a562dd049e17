"""Few levels: bands, ordered dithering, half-tones."""

import pytest
import torch

from make_it_real.degradations.kinds import degraded
from make_it_real.degradations.printing import banding, dither


def apply(x: torch.Tensor, kind: str, level: float) -> torch.Tensor:
    return degraded(x, kind, level, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("count", [2, 5, 16])
def test_bands_have_so_many_evenly_spaced_values(count: int) -> None:
    x = torch.linspace(-1.2, 1.2, 4096).view(1, 1, 64, 64)
    y = apply(x, "banding", count)
    torch.testing.assert_close(y.unique(), torch.linspace(-1, 1, count))
    assert float((y - x.clamp(-1, 1)).abs().max()) <= 1 / (count - 1) + 1e-6


def test_256_bands_are_8_bits() -> None:
    x = torch.arange(256.0).view(1, 1, 16, 16) / 127.5 - 1
    torch.testing.assert_close(apply(x, "banding", 256), x, atol=1e-6, rtol=0)


@pytest.mark.parametrize("value", [-1.0, -0.37, 0.2, 0.81, 1.0])
def test_dither_keeps_the_mean_of_a_square_of_8(value: float) -> None:
    x = torch.full((2, 3, 16, 24), value)
    y = apply(x, "dither", 3)
    assert set(y.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert float(y[0, 0, :8, :8].mean()) == pytest.approx(value, abs=1 / 64)
    assert torch.equal(y[..., :8, :8], y[..., 8:, 16:])


def test_each_image_has_its_own_number_of_values() -> None:
    x = torch.linspace(-1, 1, 64).view(1, 1, 8, 8).repeat(2, 1, 1, 1)
    for kind in (banding, dither):
        y = kind(x, torch.tensor([2.0, 4.0]), torch.Generator())
        assert [len(image.unique()) for image in y] == [2, 4]


@pytest.mark.parametrize("cell", [3, 4, 8])
def test_half_tones_keep_brightness_roughly_and_are_mostly_black_or_white(cell: float) -> None:
    ramp = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]).view(5, 1, 1, 1).expand(5, 3, 96, 96)
    y = apply(ramp, "half-tone", cell)
    means = y.mean((1, 2, 3))
    torch.testing.assert_close(means, ramp[:, 0, 0, 0], atol=0.06, rtol=0)
    assert torch.equal(y[0], ramp[0])
    assert torch.equal(y[4], ramp[4])
    assert float((y[2].abs() > 0.9).float().mean()) > 0.5
    # The channels' dots lie apart.
    assert not torch.equal(y[2, 0], y[2, 1])


def test_half_tones_repeat_at_their_cell() -> None:
    y = apply(torch.zeros(1, 1, 120, 120), "half-tone", 6)
    # Grey's screen is turned by 45°: it repeats every 6·√2 pixels along the axes.
    spectrum = torch.fft.rfft2(y[0, 0] - y.mean()).abs()
    row, column = divmod(int(spectrum.argmax()), spectrum.shape[1])
    row = min(row, 120 - row)
    assert (row / 120, column / 120) == (pytest.approx(0.118, abs=0.01),) * 2
