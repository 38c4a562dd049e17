"""Peers: denoisers of other packages, which f is compared with on the same pictures.

Each takes pixels, uint8 (H, W, 3) in RGB, and the standard deviation of the noise in 8-bit levels,
and returns pixels of that shape. Their packages are imported when they are used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
# OpenCV's h by the standard deviation of the noise: of 0.6, 0.8 and 1 the best on photographs with
# noise of 15, 25 and 50.
NLM_STRENGTH = 0.6
# The deviation where it can't be estimated, which gives OpenCV its own default, h = 3; and the
# least that peers are told, since some divide by it.
DEFAULT_SIGMA, LEAST_SIGMA = 5.0, 1.0


@dataclass(frozen=True)
class Peer:
    """A denoiser.

    title: its name in tables. packages: what brings it. modules: what it imports. denoise: called
    with pixels and sigma.
    """

    title: str
    packages: tuple[str, ...]
    modules: tuple[str, ...]
    denoise: Callable[[Pixels, float], Pixels]


def opencv_nlm(pixels: Pixels, sigma: float) -> Pixels:
    """Denoise by OpenCV's non-local means: windows of 7 and 21 pixels, as it recommends."""
    import cv2

    h = NLM_STRENGTH * sigma
    bgr = np.ascontiguousarray(pixels[..., ::-1])
    denoised = cv2.fastNlMeansDenoisingColored(bgr, None, h, h, 7, 21)
    return np.asarray(denoised, np.uint8)[..., ::-1]


def wavelet(pixels: Pixels, sigma: float) -> Pixels:
    """Denoise by wavelets whose thresholds are estimated (BayesShrink); sigma is not used."""
    from skimage.restoration import denoise_wavelet

    return _rounded(
        denoise_wavelet(pixels / 255, channel_axis=-1, convert2ycbcr=True, rescale_sigma=True)
    )


def nl_means(pixels: Pixels, sigma: float) -> Pixels:
    """Denoise by scikit-image's non-local means, with the settings of its example."""
    from skimage.restoration import denoise_nl_means

    s = sigma / 255
    denoised = denoise_nl_means(
        pixels / 255, patch_size=5, patch_distance=6, h=0.8 * s, sigma=s, channel_axis=-1
    )
    return _rounded(denoised)


def bm3d(pixels: Pixels, sigma: float) -> Pixels:
    """Denoise by BM3D of its authors, in colour."""
    from bm3d import bm3d_rgb

    return _rounded(bm3d_rgb(pixels / 255, sigma / 255))


def _rounded(values: NDArray[Any]) -> Pixels:
    """Round values in about [0, 1] to pixels."""
    pixels: Pixels = np.rint(values.clip(0, 1) * 255).astype(np.uint8)
    return pixels


# By the name that figures have.
PEERS = {
    "opencv-nlm": Peer("OpenCV NLM", ("opencv-python-headless",), ("cv2",), opencv_nlm),
    "wavelet": Peer("wavelet", ("scikit-image", "pywavelets"), ("skimage", "pywt"), wavelet),
    "nl-means": Peer("NL-means", ("scikit-image",), ("skimage",), nl_means),
    "bm3d": Peer("BM3D", ("bm3d",), ("bm3d",), bm3d),
}


def installed() -> dict[str, Peer]:
    """List the peers whose packages are installed; none of them is imported."""
    return {name: peer for name, peer in PEERS.items() if all(map(find_spec, peer.modules))}


def estimate_sigma(pixels: Pixels) -> float:
    """Estimate the standard deviation of the noise in 8-bit levels, by scikit-image.

    It is at least 1, and 5 where scikit-image is not installed.
    """
    if not (find_spec("skimage") and find_spec("pywt")):
        return DEFAULT_SIGMA
    from skimage.restoration import estimate_sigma

    sigma = float(estimate_sigma(pixels, channel_axis=-1, average_sigmas=True))
    # Flat pictures have none, which is not a number.
    return max(sigma, LEAST_SIGMA) if sigma == sigma else LEAST_SIGMA
