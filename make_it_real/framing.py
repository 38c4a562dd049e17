"""Bring any picture into the frame that a model was trained on, and say what was done.

Data sets are framed: MNIST shows one bright digit on black, its longer side 20 of 28 pixels,
its centre of mass in the middle. A phone photo of a pen stroke is no such thing, and f can
only repair what it is shown in the frame it knows. ``measure`` reads the frame off the
training images; ``fit`` brings a picture into it. Pictures that already have the model's
size are taken as framed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.errors import WeightsError, one_line
from make_it_real.images import Picture

Fit = Literal["auto", "pad", "crop", "stretch"]

# Rec. 601 luma, as Pillow's convert("L") weighs the channels.
LUMA = (0.299, 0.587, 0.114)
WORK_SIDE = 640
COARSE_SIDE = 48
MEDIAN_SIDE = 25


@dataclass(frozen=True)
class Framing:
    """How a data set frames what it shows.

    background: level in [−1, 1] that surrounds every subject, or None where images are full
        pictures (then pictures are only resized). extent: longer side of a subject's bounding
        box as a share of the image's side. stroke: typical width of its bright (or dark)
        strokes as a share of that side.
    """

    background: float | None = None
    extent: float = 1.0
    stroke: float = 0.0

    @property
    def bright(self) -> bool:
        """True where subjects are brighter than their background."""
        return self.background is not None and self.background < 0


@dataclass(frozen=True)
class Fitted:
    """An image (C, S, S) in [−1, 1] at the model's size, and how it came about."""

    image: Tensor
    inverted: bool
    done: tuple[str, ...]


def described(fields: Mapping[str, Any]) -> Framing:
    """The framing that a model's header describes. Raises WeightsError for any other fields."""
    try:
        framing = Framing(**fields)
        background = -1 if framing.background is None else framing.background
        if not (-1 <= background <= 1 and 0 < framing.extent <= 1 and 0 <= framing.stroke < 1):
            raise ValueError(f"values out of range: {framing}")
    except (TypeError, ValueError) as error:
        raise WeightsError(f"a framing that this mir does not know ({one_line(error)})") from error
    return framing


def measure(images: Tensor) -> Framing:
    """The framing of training images (N, C, S, S) in [−1, 1].

    It has a background if at least nine in ten images have one level, dark or bright, all
    along their border, and if subjects keep clear of it. Where most are blank it has none.
    """
    side = images.shape[-1]
    border = _border(images)
    median = float(border.median())
    plain = ((border - median).abs() < 0.1).all(1).float().mean()
    if plain < 0.9 or abs(median) < 0.9:
        return Framing()
    ink = ((images - median).abs().amax(1) / 2).clamp(0, 1)
    shown = ink > 0.05
    heights, widths = (shown.any(d).sum(1).float() for d in (2, 1))
    extent = float(torch.maximum(heights, widths).median()) / side
    if not extent:
        return Framing()
    strokes = torch.tensor([stroke_width(i) for i in ink[:1000]])
    return Framing(median, round(extent, 3), round(float(strokes.median()) / side, 3))


def fit(
    picture: Picture,
    size: int,
    channels: int,
    framing: Framing,
    *,
    how: Fit = "auto",
    invert: bool | None = None,
) -> Fitted:
    """Bring a picture of any size to the model's.

    auto: where the framing has a background, find what was drawn, take the light's unevenness
    out, crop, resize and centre it as the data set does; otherwise, or where nothing drawn is
    found, pad. pad, crop and stretch take the whole picture as it is. invert: swap dark and
    bright (None: do so where the picture's polarity is not the data set's).
    """
    done = list(picture.notes)
    colour = picture.colour
    if picture.alpha is not None:
        colour = _flatten(colour, picture.alpha, done)
    if framing.background is None:
        inverted = bool(invert)
        image = (1 - colour if inverted else colour) * 2 - 1
        image = _resize(_channels(image, channels), size, how, None, done)
        return Fitted(image, inverted, _said(done, inverted))

    framed = tuple(colour.shape[1:]) == (size, size)
    ink = None
    if how == "auto" and not framed:
        ink = find_ink(colour)
    bright = ink.bright if ink is not None else bool(_border(colour[None]).median() < 0.5)
    inverted = bright != framing.bright if invert is None else invert
    if ink is not None and (bright != inverted) == framing.bright:
        placed = place_ink(ink.amount, size, framing, done)
        span = 2.0 if framing.bright else -2.0
        image = (framing.background + span * placed).clamp(-1, 1)[None].expand(channels, -1, -1)
    else:
        image = (1 - colour if inverted else colour) * 2 - 1
        image = _resize(_channels(image, channels), size, how, framing.background, done)
    return Fitted(image.contiguous(), inverted, _said(done, inverted))


def _said(done: list[str], inverted: bool) -> tuple[str, ...]:
    return tuple([*done, "inverted"] if inverted else done)


def _border(images: Tensor) -> Tensor:
    """The outermost pixels of images (N, C, H, W), channels averaged, (N, 2·(H+W))."""
    grey = images.mean(1)
    return torch.cat([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], 1)


def _flatten(colour: Tensor, alpha: Tensor, done: list[str]) -> Tensor:
    """Lay a transparent picture on paper: white under dark colours, black under bright ones."""
    mean = (colour.mean(0) * alpha).sum() / alpha.sum().clamp_min(1e-6)
    paper = 1.0 if mean < 0.5 else 0.0
    done.append(f"laid on {'white' if paper else 'black'}")
    return colour * alpha + paper * (1 - alpha)


def _channels(image: Tensor, channels: int) -> Tensor:
    """(C, H, W) → (channels, H, W): grey repeated, colour as luma."""
    if len(image) == channels:
        return image
    if channels == 3:
        return image.expand(3, -1, -1)
    luma: Tensor = torch.tensordot(torch.tensor(LUMA), image, 1)
    return luma[None]


def _scale(image: Tensor, height: int, width: int) -> Tensor:
    """Resample (C, H, W) with a bicubic filter, antialiased when made smaller."""
    if tuple(image.shape[1:]) == (height, width):
        return image
    return F.interpolate(image[None], (height, width), mode="bicubic", antialias=True)[0]


def _resize(
    image: Tensor, size: int, how: Fit, background: float | None, done: list[str]
) -> Tensor:
    """(C, H, W) in [−1, 1] → (C, size, size), padded, cropped or stretched where not square."""
    _, h, w = image.shape
    if (h, w) == (size, size):
        return image
    if how == "crop" and h != w:
        side = min(h, w)
        top, left = (h - side) // 2, (w - side) // 2
        image = image[:, top : top + side, left : left + side]
        done.append("cropped to the central square")
    _, h, w = image.shape
    ratio = size / max(h, w)
    if how == "stretch":
        new_h, new_w = size, size
    else:
        new_h, new_w = max(1, round(h * ratio)), max(1, round(w * ratio))
    done.append(f"resized from {w}×{h}")
    image = _scale(image, new_h, new_w).clamp(-1, 1)
    if (new_h, new_w) != (size, size):
        level = float(_border(image[None]).median()) if background is None else background
        frame = image.new_full((len(image), size, size), level)
        top, left = (size - new_h) // 2, (size - new_w) // 2
        frame[:, top : top + new_h, left : left + new_w] = image
        image = frame
        done.append("padded")
    return image


@dataclass(frozen=True)
class Ink:
    """What is drawn in a picture: amount (H, W) in [0, 1], and its polarity."""

    amount: Tensor
    bright: bool


def find_ink(colour: Tensor) -> Ink | None:
    """Separate what is drawn from the paper, the board and their light, (C, H, W) in [0, 1].

    The paper is the local median over about half the picture, which strokes are too thin to
    move. Ink is what departs from it, on the side where the greater departures lie, in the
    channel that shows it best. None where nothing stands out from the grain.
    """
    longer = max(colour.shape[1:])
    if longer > WORK_SIDE:
        h, w = (max(1, round(s * WORK_SIDE / longer)) for s in colour.shape[1:])
        colour = F.interpolate(colour[None], (h, w), mode="bilinear", antialias=True)[0]
    views = colour if len(colour) == 1 else torch.cat([_channels(colour, 1), colour])
    departure = views - _paper(views)
    skew = departure.pow(3).mean((1, 2))
    best = int(skew.abs().argmax())
    bright = bool(skew[best] > 0)
    raised = departure[best] if bright else -departure[best]

    grain = 1.4826 * float(departure[best].abs().median())
    top = max(16, raised.numel() // 500)
    peak = float(raised.flatten().topk(top).values.mean()) if raised.numel() > top else 0.0
    if peak < max(0.04, 4 * grain):
        return None
    floor = max(0.15 * peak, min(3 * grain, 0.5 * peak))
    amount = ((raised - floor) / (0.75 * peak - floor)).clamp(0, 1)
    amount = amount * _subject(amount)
    return Ink(amount, bright) if bool((amount > 0.5).any()) else None


def _paper(views: Tensor) -> Tensor:
    """The local median of views (V, H, W), smooth, of the same shape."""
    _, h, w = views.shape
    longer = max(h, w)
    coarse = [max(2, round(s * min(1, COARSE_SIDE / longer))) for s in (h, w)]
    small = F.interpolate(views[None], coarse, mode="bilinear", antialias=True)[0]
    reach = min(MEDIAN_SIDE // 2, min(coarse) - 1)
    padded = _continued(_continued(small, 1, reach), 2, reach)
    side = 2 * reach + 1
    windows = padded.unfold(1, side, 1).unfold(2, side, 1)
    paper = windows.flatten(3).median(3).values
    return F.interpolate(paper[None], (h, w), mode="bilinear", align_corners=False)[0]


def _continued(views: Tensor, axis: int, reach: int) -> Tensor:
    """Views made longer by ``reach`` at both ends of an axis, turned about their end points.

    A slope of light goes on that way; a plain mirror image would bend it at the border, where
    the bend would pass for ink.
    """
    last = views.shape[axis] - 1
    before = 2 * views.narrow(axis, 0, 1) - views.narrow(axis, 1, reach).flip(axis)
    inner = views.narrow(axis, last - reach, reach).flip(axis)
    after = 2 * views.narrow(axis, last, 1) - inner
    return torch.cat([before, views, after], axis)


def _subject(amount: Tensor) -> Tensor:
    """1 on the connected strokes worth keeping (H, W), 0 on specks far smaller than those."""
    h, w = amount.shape
    ratio = min(1.0, 160 / max(h, w))
    coarse = [max(1, round(h * ratio)), max(1, round(w * ratio))]
    solid = (F.adaptive_max_pool2d(amount[None, None], coarse) > 0.35).float()
    labels = solid * torch.arange(1, solid.numel() + 1).view_as(solid)
    while True:
        # Strokes within two coarse pixels of each other count as one drawing.
        spread = F.max_pool2d(labels, 5, stride=1, padding=2) * solid
        if torch.equal(spread, labels):
            break
        labels = spread
    found, inverse, sizes = labels.unique(return_inverse=True, return_counts=True)
    sizes[found == 0] = 0
    kept = (sizes >= 0.08 * sizes.max())[inverse] & (labels > 0)
    wide = F.max_pool2d(kept.float(), 3, stride=1, padding=1)
    return F.interpolate(wide, (h, w), mode="nearest")[0, 0]


def stroke_width(amount: Tensor) -> float:
    """Mean width in pixels of strokes (H, W) in [0, 1]: twice the area over the outline."""
    dy, dx = amount.diff(dim=0)[:, :-1], amount.diff(dim=1)[:-1]
    outline = float((dy.square() + dx.square()).sqrt().sum())
    return 2 * float(amount.sum()) / outline if outline else 0.0


def place_ink(amount: Tensor, size: int, framing: Framing, done: list[str]) -> Tensor:
    """Ink (H, W) → (size, size): cropped, its longer side ``extent``, centred by mass.

    Strokes thinner than the data set's are widened first: the model's pixels are coarse, and
    a fine pen line would all but vanish between them.
    """
    rows, columns = (amount > 0.3).any(1).nonzero(), (amount > 0.3).any(0).nonzero()
    top, bottom = int(rows.min()), int(rows.max()) + 1
    left, right = int(columns.min()), int(columns.max()) + 1
    cropped = amount[top:bottom, left:right]
    done.append(f"cropped to what is drawn ({right - left}×{bottom - top})")

    target = framing.extent * size
    ratio = min(1.0, 4 * target / max(cropped.shape))
    new = [max(1, round(s * ratio)) for s in cropped.shape]
    # At four times the final resolution the grain of chalk is gone and a stroke still wide.
    cropped = _scale(cropped[None], new[0], new[1])[0].clamp(0, 1)
    longer = max(cropped.shape)
    wanted = framing.stroke * size * longer / target
    missing = wanted - stroke_width(F.pad(cropped[None], (1, 1, 1, 1))[0])
    if missing > 0.15 * wanted:
        reach = max(1, round(missing / 2))
        grown = F.pad(cropped[None, None], (reach,) * 4)
        cropped = F.max_pool2d(grown, 2 * reach + 1, stride=1, padding=reach)[0, 0]
        done.append("strokes widened")

    ratio = target / max(cropped.shape)
    new = [max(1, round(s * ratio)) for s in cropped.shape]
    small = _scale(cropped[None], new[0], new[1])[0].clamp(0, 1)
    small = (small / small.max().clamp_min(1e-6)).clamp(0, 1)
    frame = small.new_zeros(size, size)
    offset = []
    for axis, length in enumerate(new):
        mass = small.sum(1 - axis)
        centre = float((mass * (torch.arange(length) + 0.5)).sum() / mass.sum())
        offset.append(min(max(round(size / 2 - centre), 0), size - length))
    frame[offset[0] : offset[0] + new[0], offset[1] : offset[1] + new[1]] = small
    return frame
