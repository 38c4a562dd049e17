"""JPEG and WebP: as Pillow has them, nearer at higher quality, and twice on two grids."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from make_it_real.degradations.compression import jpeg, webp
from make_it_real.degradations.kinds import degraded
from make_it_real.errors import ImageError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def x() -> Tensor:
    """Two smooth colour images of 48×40, of 8-bit values."""
    coarse = torch.rand(2, 3, 6, 5, generator=seeded(1))
    fine = torch.nn.functional.interpolate(coarse, (48, 40), mode="bicubic").clamp(0, 1)
    return (fine * 255).round() / 127.5 - 1


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_the_result_is_pillow_s_with_its_defaults(x: Tensor, kind: str) -> None:
    y = degraded(x, kind, 30, generator=seeded())
    pixels = ((x[1] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind.upper(), quality=30)
    with Image.open(file) as opened:
        wanted = np.asarray(opened)
    assert np.array_equal(((y[1] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(), wanted)


@pytest.mark.parametrize("kind", ["jpeg", "jpeg-twice", "webp"])
def test_it_is_nearer_at_higher_quality(x: Tensor, kind: str) -> None:
    errors = [(degraded(x, kind, q, generator=seeded()) - x).abs().mean() for q in (5, 30, 95)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.05


def test_the_second_grid_is_shifted(x: Tensor) -> None:
    once, again = (degraded(x, "jpeg", 10, generator=seeded(seed)) for seed in (0, 1))
    assert torch.equal(once, again)
    twice, other = (degraded(x, "jpeg-twice", 10, generator=seeded(seed)) for seed in (0, 1))
    assert not torch.equal(twice, other)
    # JPEG of JPEG on the same grid changes almost nothing; on another one it does.
    same = jpeg(once, torch.full((2,), 10.0), seeded())
    assert (twice - once).abs().mean() > 3 * (same - once).abs().mean()


def test_what_webp_can_t_hold_is_told() -> None:
    with pytest.raises(ImageError, match="WEBP"):
        webp(torch.zeros(1, 1, 1, 16_400), torch.tensor([50.0]), seeded())
