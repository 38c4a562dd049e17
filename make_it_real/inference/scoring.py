"""How real images are to f: the change that f would make of each, beside that of training images.

The gate of f drops small changes, so that after it all images that f leaves alone are alike. The
change before the gate still tells a clean image from one that is only nearly so.
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from make_it_real.errors import WeightsError
from make_it_real.images.pixels import mean_abs, to_images
from make_it_real.inference.projection import DEFAULT_BATCH, project_with_change
from make_it_real.models.ign import IGN

# Percentiles that a calibration holds. They are finest at the upper end, where it counts.
LEVELS = (
    *range(100),
    *(round(99 + i / 10, 1) for i in range(1, 10)),
    *(round(99.9 + i / 100, 2) for i in range(1, 11)),
)
MAX_IMAGES = 10_000
# From this percentile on, an image is unlike what the model knows.
UNLIKE = 99.0
HINT = "mir calibrate makes a new one"


@dataclass(frozen=True)
class Scores:
    """How real N images are to f. All figures are in image units, of which 2 is black against
    white.

    change: mean |r(x)| per image (N,), the change that f would make before dead zone and gate
        (``IGN.with_change``). Lower is more real.
    drift: mean |f(x) − x| per image (N,), the change that f makes; 0 is at rest.
    percentile: per cent of the training images that f would change less (N,), as far as the
        calibration tells; None without a calibration.
    r, fx: r(x) and f(x), (N, C, S, S).
    """

    change: Tensor
    drift: Tensor
    percentile: Tensor | None
    r: Tensor
    fx: Tensor

    @property
    def at_rest(self) -> Tensor:
        """Whether f leaves each image exactly as it is: bool (N,)."""
        return self.drift == 0


def score(
    f: IGN,
    images: Tensor,
    calibration: Mapping[str, Any] | None = None,
    *,
    batch: int = DEFAULT_BATCH,
) -> Scores:
    """Score images (N, C, S, S) in about [−1, 1]; the results are on the CPU.

    calibration: what ``calibrate`` returns, and what a model file keeps
    (``model_file.inspect(path).calibration``). Raises ShapeError for images that are not of f's
    shape, WeightsError for a calibration of another form.
    """
    quantiles = checked(calibration) if calibration else None
    fx, r = (result.cpu() for result in project_with_change(f, images, batch=batch))
    change = r.abs().mean((1, 2, 3))
    ranks = None
    if quantiles is not None:
        ranks = torch.tensor([percentile(quantiles, value) for value in change.tolist()])
    return Scores(change, mean_abs(fx, images.cpu()), ranks, r, fx)


def calibrate(f: IGN, pixels: Tensor, *, batch: int = DEFAULT_BATCH) -> dict[str, Any]:
    """Measure the change that f would make of training images, uint8 (N, C, S, S).

    At most 10,000 are measured, evenly spread over all. Returns what a header keeps: "n", their
    number, and "change", the quantiles of their changes at ``LEVELS`` per cent, rising.
    """
    chosen = to_images(pixels[:: max(1, -(-len(pixels) // MAX_IMAGES))])
    parts = [score(f, part, batch=batch).change for part in chosen.split(MAX_IMAGES // 10)]
    levels = torch.tensor(LEVELS, dtype=torch.float64) / 100
    quantiles = torch.cat(parts).double().quantile(levels, interpolation="higher")
    return {"n": len(chosen), "change": [float(f"{q:.6g}") for q in quantiles.tolist()]}


def is_old(calibration: Mapping[str, Any]) -> bool:
    """Tell whether a header's calibration is of earlier versions: of the drift, after the gate."""
    return "drift" in calibration and "change" not in calibration


def checked(calibration: Mapping[str, Any]) -> list[float]:
    """Return the quantiles of a header's calibration. Raises WeightsError for anything else."""
    if is_old(calibration):
        raise WeightsError(f"a calibration by an earlier mir, of the change after the gate; {HINT}")
    quantiles = calibration.get("change")
    if (
        not isinstance(quantiles, list)
        or len(quantiles) != len(LEVELS)
        or not all(isinstance(q, int | float) and q >= 0 for q in quantiles)
        or sorted(quantiles) != quantiles
    ):
        raise WeightsError(f"a calibration that this mir does not know; {HINT}")
    return [float(q) for q in quantiles]


def percentile(quantiles: list[float], change: float) -> float:
    """Return the highest of LEVELS whose quantile lies below a change; 0 where none does."""
    below = bisect_left(quantiles, change)
    return float(LEVELS[below - 1]) if below else 0.0
