"""Figures of merit against other implementations, on the same features and images."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from make_it_real.evaluation import metrics

prdc = pytest.importorskip("prdc", reason="needs prdc, of the dev extra")
fid = pytest.importorskip("torchmetrics.image.fid", reason="needs torchmetrics, of the dev extra")
kid = pytest.importorskip("torchmetrics.image.kid", reason="needs torchmetrics, of the dev extra")
skimage = pytest.importorskip("skimage.metrics", reason="needs scikit-image, of the dev extra")


def sets(n: int, m: int, d: int) -> tuple[Tensor, Tensor]:
    """Two sets of features that overlap in part, the one of n, the other of m."""
    generator = torch.Generator().manual_seed(n + m + d)
    mixing = torch.randn(d, d, generator=generator) / d**0.5
    real = torch.randn(n, d, generator=generator) @ mixing
    made = (0.8 * torch.randn(m, d, generator=generator) + 0.3) @ mixing
    return real, made


@pytest.mark.parametrize(("n", "m", "d"), [(300, 260, 16), (500, 500, 64)])
def test_frechet_distance_is_that_of_torchmetrics(n: int, m: int, d: int) -> None:
    real, made = (part.double() for part in sets(n, m, d))
    moments = [moment for part in (real, made) for moment in (part.mean(0), torch.cov(part.T))]
    wanted = float(fid._compute_fid(*moments))
    assert metrics.frechet_distance(real, made) == pytest.approx(wanted, rel=1e-3)


def test_kernel_distance_is_that_of_torchmetrics() -> None:
    real, made = (part.double() for part in sets(200, 200, 32))
    wanted = float(kid.poly_mmd(real, made))
    # One subset of all: in another order, which changes nothing.
    (found,) = metrics.kernel_distances(real, made, subsets=1).tolist()
    assert found == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(("n", "m", "d"), [(250, 200, 6), (220, 300, 20)])
@pytest.mark.parametrize("chunk", [64, 1000])
def test_overlap_is_that_of_prdc(n: int, m: int, d: int, chunk: int) -> None:
    real, made = sets(n, m, d)
    wanted: dict[int, dict[str, Any]] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for k in (3, 5):
            wanted[k] = prdc.compute_prdc(real.double().numpy(), made.double().numpy(), k)
    found = metrics.overlap(metrics.Balls(real, chunk=chunk), made)
    assert 0.05 < float(found.recall.mean()) < 0.999
    for name, k in (("precision", 3), ("recall", 3), ("density", 5), ("coverage", 5)):
        mean = float(getattr(found, name).mean())
        assert mean == pytest.approx(float(wanted[k][name]), rel=1e-3), name


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_and_ssim_are_those_of_scikit_image(channels: int) -> None:
    generator = torch.Generator().manual_seed(channels)
    a = torch.rand(3, channels, 28, 20, generator=generator) * 2 - 1
    b = (a + 0.4 * torch.randn(a.shape, generator=generator)).clamp(-1, 1)
    for i in range(len(a)):
        # From 0 up, as scikit-image and the paper have it.
        one, other = (np.asarray(image[i].double().permute(1, 2, 0) + 1) for image in (a, b))
        wanted = skimage.structural_similarity(
            one, other, channel_axis=2, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, data_range=2,
        )  # fmt: skip
        assert float(metrics.ssim(a, b)[i]) == pytest.approx(wanted, rel=1e-6)
        wanted = skimage.peak_signal_noise_ratio(one, other, data_range=2)
        assert float(metrics.psnr(a, b)[i]) == pytest.approx(wanted, rel=1e-6)
