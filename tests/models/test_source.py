"""Other source distributions than a model's own: what they share with it, and where none is."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.images.pixels import grid, to_pixels
from make_it_real.inference.projection import generate
from make_it_real.models import source as models_source
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGN
from make_it_real.models.mixture_source import MixtureSource
from make_it_real.models.source import DISTRIBUTIONS
from make_it_real.models.spectral_source import PublishedSource, Source, SpectralSource, WhiteSource
from make_it_real.weights import model_file

N = 4_000


def pictures(channels: int = 3, side: int = 12, n: int = 400) -> Tensor:
    """Images (n, C, S, S) with a mean and a spectrum of their own."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, channels, 3, 3, generator=generator) - 0.3
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(-1, 1)


def fitted(kind: type[Source], images: Tensor) -> Source:
    source = kind(images.shape[1], images.shape[2])
    source.fit(images)
    return source


def drawn(source: Source, n: int = N) -> Tensor:
    return source.sample(n, torch.Generator().manual_seed(1))


def moments(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean image, and variance at each frequency."""
    spectrum = torch.fft.fft2(z.double(), norm="ortho")
    return z.mean(0), (spectrum - spectrum.mean(0)).abs().square().mean(0)


@pytest.mark.parametrize("side", [12, 15])
def test_the_spectral_source_of_a_published_source_is_the_spectral_one(side: int) -> None:
    x = pictures(side=side)
    source = models_source.convert(fitted(PublishedSource, x), "spectral")
    assert isinstance(source, SpectralSource)
    wanted = fitted(SpectralSource, x)
    torch.testing.assert_close(source.mean, wanted.state_dict()["mean"], atol=1e-4, rtol=0)
    torch.testing.assert_close(source.std, wanted.state_dict()["std"], atol=2e-3, rtol=5e-3)


@pytest.mark.parametrize("kinds", [1, 32])
def test_the_spectral_source_of_a_mixture_is_the_spectral_one(kinds: int) -> None:
    x = pictures()
    own = MixtureSource(3, 12, kinds)
    own.fit(x)
    source = models_source.convert(own, "spectral")
    assert type(source) is SpectralSource
    wanted = fitted(SpectralSource, x).state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in source.state_dict().items())


def test_a_blend_lies_between_spectral_and_white_noise_by_t() -> None:
    own = fitted(SpectralSource, pictures())
    blend = models_source.convert(own, "blend")
    ends = torch.tensor([-20.0, 20.0])  # t = 0 and t = 1.
    white = torch.randn(2, blend.noise_shape[0] - 1, generator=torch.Generator().manual_seed(0))
    z = blend.colour(torch.cat([white, ends[:, None]], 1))
    one, other = white.view(2, 2, *own.shape).unbind(1)
    torch.testing.assert_close(z[0], own.colour(one)[0])
    torch.testing.assert_close(z[1], other[1])
    # √(1 − t)² + √t² = 1, and E t = 1/2: the variance is the mean of both.
    both = [
        moments(drawn(each))[1].mean() for each in (own, models_source.convert(own, "white"), blend)
    ]
    mean_image = moments(drawn(own))[0]
    # t is drawn as well, and with it how much of the mean image there is.
    spread = (mean_image**2).mean() * (1 / 2 - (2 / 3) ** 2)
    assert float(both[2]) == pytest.approx(float((both[0] + both[1]) / 2 + spread), rel=0.05)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_a_seed_is_a_z_whatever_it_is_drawn_with(distribution: str) -> None:
    source = models_source.convert(fitted(SpectralSource, pictures()), distribution)
    z = source.from_seeds([3, 4, 5])
    assert z.shape == (3, 3, 12, 12)
    torch.testing.assert_close(z[1:2], source.from_seeds([4]))
    assert not torch.allclose(z[0], z[1])


def test_a_white_model_has_no_spectrum_and_white_noise_is_there() -> None:
    own = WhiteSource(1, 12)
    assert models_source.convert(own, "white").from_seeds([1]).equal(own.from_seeds([1]))
    for distribution in ("spectral", "blend"):
        with pytest.raises(ValueError, match="the model's z is white noise"):
            models_source.convert(own, distribution)


# --- mir generate --source ---


def mir(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_generate_draws_from_the_distribution_asked_for(
    here: Path, tiny_model: Path, tiny_f: IGN, distribution: str
) -> None:
    result = mir(
        "generate", "-m", tiny_model, "-d", "cpu", "-n", 4, "--source", distribution, "-o", "g.png"
    )
    assert result.exit_code == 0, result.output
    own = generate(tiny_f, range(4))
    tiny_f.source = models_source.convert(tiny_f.source, distribution)
    wanted = generate(tiny_f, range(4))
    with Image.open("g.png") as image:
        assert image.info["source"] == distribution
        found = torch.from_numpy(np.array(image))[None]
    assert (found.int() - to_pixels(grid(wanted)).int()).abs().max() <= 1
    assert torch.equal(own, wanted) is (distribution == "spectral")


def test_generate_refuses_what_cannot_be_drawn(here: Path, tiny_f: IGN) -> None:
    config = replace(tiny_f.config, source="white")
    model_file.save(
        build(config).eval(), model_file.ModelInfo(name="w", config=asdict(config)), Path("w")
    )
    result = mir("generate", "-m", "./w", "-d", "cpu", "--source", "blend")
    assert result.exit_code == 4
    assert "knows no spectrum" in result.stderr
    for distribution in ("pink", "published"):
        assert mir("generate", "--source", distribution).exit_code == 2
    both = mir("generate", "--source", "white", "--like", "x.png")
    assert both.exit_code == 2
    assert "give one" in both.stderr
