"""How real f thinks images are: its drift |f(x) − x|, and what a drift means for this f."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from make_it_real.errors import WeightsError
from make_it_real.images.pixels import mean_abs, to_images
from make_it_real.inference.projection import DEFAULT_BATCH, project
from make_it_real.models.ign import IGN

# Percentiles kept of the training images' drift: finer where it counts, at the upper end.
LEVELS = (
    *range(100),
    *(round(99 + i / 10, 1) for i in range(1, 10)),
    *(round(99.9 + i / 100, 2) for i in range(1, 11)),
)
MAX_IMAGES = 10_000


@dataclass(frozen=True)
class Scores:
    """drift: mean |f(x) − x| per image (N,), in image units (2 is black against white).

    percentile: of each drift among the training images' (N,): the share of them, in per cent,
    that f is known to move less; None without a calibration. change: f(x) − x, (N, C, S, S).
    """

    drift: Tensor
    percentile: Tensor | None
    change: Tensor


def score(
    f: IGN,
    images: Tensor,
    calibration: Mapping[str, Any] | None = None,
    *,
    batch: int = DEFAULT_BATCH,
) -> Scores:
    """Score images (N, C, S, S) in about [−1, 1]; the results are on the CPU.

    calibration: as ``calibrate`` makes it, and as a weights file keeps it
    (``weights.inspect(path).calibration``). Raises ShapeError for images that are not f's.
    """
    fx = project(f, images, batch=batch).cpu()
    drift = mean_abs(fx, images.cpu())
    ranks = None
    if calibration:
        quantiles = checked(calibration)
        ranks = torch.tensor([percentile(quantiles, d) for d in drift.tolist()])
    return Scores(drift, ranks, fx - images.cpu())


def calibrate(f: IGN, pixels: Tensor, *, batch: int = DEFAULT_BATCH) -> dict[str, Any]:
    """The drift of training images, uint8 (N, C, S, S), as a few quantiles for a header.

    At most 10,000 are looked at, evenly spread over all. n: how many were; drift: their
    quantiles at ``LEVELS`` per cent, rising.
    """
    chosen = to_images(pixels[:: max(1, -(-len(pixels) // MAX_IMAGES))])
    drift = mean_abs(project(f, chosen, batch=batch).cpu(), chosen)
    levels = torch.tensor(LEVELS, dtype=torch.float64) / 100
    quantiles = drift.double().quantile(levels, interpolation="higher")
    return {"n": len(chosen), "drift": [float(f"{q:.6g}") for q in quantiles.tolist()]}


def checked(calibration: Mapping[str, Any]) -> list[float]:
    """The quantiles of a header's calibration. Raises WeightsError for anything else."""
    quantiles = calibration.get("drift")
    if (
        not isinstance(quantiles, list)
        or len(quantiles) != len(LEVELS)
        or not all(isinstance(q, int | float) and q >= 0 for q in quantiles)
        or sorted(quantiles) != quantiles
    ):
        raise WeightsError(
            "a calibration that this mir does not know; mir calibrate makes a new one"
        )
    return [float(q) for q in quantiles]


def percentile(quantiles: list[float], drift: float) -> float:
    """The highest of LEVELS whose quantile lies below the drift; 0 where none does.

    So an image that f leaves as it is has 0, however many training images it leaves too.
    """
    below = bisect_left(quantiles, drift)
    return float(LEVELS[below - 1]) if below else 0.0
