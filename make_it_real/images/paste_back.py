"""Paste back: f's change, added to the picture at the picture's own size.

f works on a small image. Its change, f(x) − x, is enlarged and added to the picture, so that
whatever f leaves alone stays as sharp as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images.alignment import Place, Similarity
from make_it_real.images.decode import Picture
from make_it_real.images.framing import Fitted
from make_it_real.images.pixels import BAND_PIXELS, LUMA, changed_share, scaled


@dataclass(frozen=True)
class Outcome:
    """Result for a picture: image (C, h, w) in [−1, 1], and alpha (h, w) or None.

    share: of the image's pixels, those in which f changed a level. as_given: whether the image has
    the picture's own size, levels and transparency. bits: of a level, 8 or 16.
    """

    image: Tensor
    alpha: Tensor | None
    share: float
    as_given: bool
    bits: int = 8

    @property
    def changed(self) -> bool:
        return self.share > 0


def outcome(picture: Picture, made: Sequence[tuple[Fitted, Tensor]], *, restore: bool) -> Outcome:
    """Make the result for a picture: with ``restore`` at its own size, else at the model's.

    made: the images that the picture was fitted to, each with f's output y (C, S, S); empty if f
    was not applied. Without ``restore`` only the first counts. A result at the picture's own size
    has the picture's bits.
    """
    given = picture.colour * 2 - 1
    if not made:
        return Outcome(given, picture.alpha, 0.0, True, picture.bits)
    if restore:
        image, alpha = restored(picture, made)
        share = changed_share(image, given, picture.bits)
        return Outcome(image, alpha, share, not share, picture.bits)
    (fitted, y), *_ = made
    image, alpha = finished(picture, fitted, y)
    share = changed_share(image, finished(picture, fitted, fitted.image)[0])
    same = alpha is picture.alpha and not changed_share(image, given)
    return Outcome(image, alpha, share, same)


def finished(picture: Picture, fitted: Fitted, y: Tensor) -> tuple[Tensor, Tensor | None]:
    """Crop f's output y (C, S, S) to the picture: (image (C, h, w) in [−1, 1], alpha (h, w)).

    The image stays at the model's size; padding is cut off.
    """
    alpha = fitted.alpha
    if fitted.padded:
        rows, columns = fitted.frame.shown(tuple(picture.colour.shape[1:]), y.shape[-1])
        y, alpha = y[:, rows, columns], None if alpha is None else alpha[rows, columns]
    return y, alpha


def restored(
    picture: Picture, made: Sequence[tuple[Fitted, Tensor]]
) -> tuple[Tensor, Tensor | None]:
    """Add f's changes to the picture at its own size: (image (c, H, W) in [−1, 1], alpha (H, W)).

    made: the images that the picture was fitted to, each with f's output y (C, S, S).
    """
    changes: list[tuple[Tensor, Place]] = []
    for fitted, y in made:
        place, size = fitted.frame, y.shape[-1]
        change = (y - fitted.image) / 2 * (-fitted.gain if fitted.inverted else fitted.gain)
        if isinstance(place, Similarity) and place.side(size) < size:
            # A face smaller than the model's image: its change is reduced, not enlarged.
            side = max(1, round(place.side(size)))
            change, place = scaled(change, side, side), place.resized(size, side)
        changes.append((change, place))
    return put_back(picture.colour, changes) * 2 - 1, picture.alpha


def put_back(colour: Tensor, changes: Sequence[tuple[Tensor, Place]]) -> Tensor:
    """Add changes (c, S, S) to a picture (C, H, W) in [0, 1], each in its place.

    A change is enlarged bicubically. Only the part that shows the picture is used, without
    padding, and its border values reach to the picture's edges; outside of the model's image
    there is no change. A change of one channel is added to all. A grey picture (one channel, or
    three equal ones) takes on the change's colour and keeps its own luminance.
    """
    channels = max(len(colour), *(len(change) for change, _ in changes))
    tinted = channels == 3 and bool((colour == colour[:1]).all())
    out = colour.expand(channels, -1, -1).clone()
    for change, place in changes:
        _add(out, change, place, tinted and len(change) == 3)
    return out


def _add(out: Tensor, change: Tensor, place: Place, tinted: bool) -> None:
    """Add one change to the picture (C, H, W), in place."""
    shape, size = tuple(out.shape[1:]), change.shape[-1]
    if tinted:
        change = change - torch.tensordot(torch.tensor(LUMA), change, 1)
    shown = place.shown(shape, size)
    change = change[:, shown[0], shown[1]]
    rows, columns = place.reached(shape, size)
    x_points = torch.arange(columns.start, columns.stop) + 0.5
    # In bands, since the sampling grid of a large photo takes more memory than the photo.
    step = max(1, BAND_PIXELS // len(x_points))
    for top in range(rows.start, rows.stop, step):
        bottom = min(top + step, rows.stop)
        v, u = place.look(torch.arange(top, bottom) + 0.5, x_points)
        y, x = (
            (w - part.start) * 2 / length - 1
            for w, part, length in zip((v, u), shown, change.shape[1:], strict=True)
        )
        enlarged = F.grid_sample(
            change[None], torch.stack(torch.broadcast_tensors(x, y), -1)[None],
            mode="bicubic", padding_mode="border", align_corners=False,
        )[0]  # fmt: skip
        enlarged *= place.weight(v, u, size)
        band = out[:, top:bottom, columns]
        if tinted:
            # Near black and white only pale colours fit. Clamping channel by channel would change
            # the luminance, so the colour is scaled down to fit.
            room = torch.where(enlarged > 0, 1 - band, band)
            enlarged *= (room / enlarged.abs().clamp_min(1e-6)).amin(0).clamp(max=1)
        band += enlarged
        band.clamp_(0, 1)
