"""A picture at its own size through an f of any size: what f leaves alone stays bit for bit."""

from dataclasses import dataclass

import torch

from make_it_real.images.decode import Picture
from make_it_real.images.paste_back import Outcome
from make_it_real.images.pixels import bands, interpolated, levels
from make_it_real.inference.projection import in_tiles, weaken
from make_it_real.models.unet import UNet

# Pictures are enlarged up to so many times: f was taught factors up to this.
MAX_SCALE = 4


@dataclass(frozen=True)
class Restored:
    """The outcome, and drift: |f^steps(x) − x|, mean absolute, in image units (0–2)."""

    outcome: Outcome
    drift: float


def restore(
    f: UNet,
    picture: Picture,
    steps: int = 1,
    *,
    strength: float = 1.0,
    tile: int | None = None,
    scale: int = 1,
) -> Restored:
    """Compute f^steps of a picture with sides of at least ``LEAST_SIDE`` pixels.

    A grey picture is shown to f as a colour picture, takes the mean of the channels' changes, and
    stays grey. strength, tile: as for ``projection.project``. scale: enlarge what f made so many
    times, bicubically, and apply f^steps to that, too; x is then the picture enlarged. Beside the
    picture and the result this takes the memory of a tile.
    """
    colour = picture.colour
    grey = all(torch.equal(colour[0], other) for other in colour[1:])
    shown = colour[:1] if grey else colour
    image = in_tiles(f, shown[None], steps, tile=tile, unit=True)[0]
    alpha = picture.alpha
    if scale > 1:
        image = in_tiles(f, interpolated(image, scale)[None], steps, tile=tile)[0]
        shown = interpolated(shown, scale, 0)
        alpha = None if alpha is None else interpolated(alpha[None], scale, 0)[0]
    changed, drift = 0, 0.0
    for rows in bands(image):
        x, y = shown[:, rows] * 2 - 1, image[:, rows]
        drift += float((y - x).abs().sum(dtype=torch.float64))
        if strength < 1:
            weaken(y, x, strength)
        changed += int((levels(y, picture.bits) != levels(x, picture.bits)).any(0).sum())
    share = changed / image[0].numel()
    image = image.expand(len(colour), -1, -1)
    outcome = Outcome(image, alpha, share, scale == 1 and not changed, picture.bits)
    return Restored(outcome, drift / shown.numel())
