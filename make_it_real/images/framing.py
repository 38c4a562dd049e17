"""Bring any picture into the frame that a model was trained on, and say what was done.

Data sets are framed: MNIST shows one bright digit on black, its longer side 20 of 28 pixels,
its centre of mass in the middle. A phone photo of a pen stroke is no such thing, and f can
only repair what it is shown in the frame it knows. ``measure`` reads the frame off the
training images; ``fit`` brings a picture into it. Pictures that already have the model's
size are taken as framed. Where a model knows faces, ``fit_all`` brings each face there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from make_it_real.errors import NO_DETECTOR, NO_FACE, NoFaceError, WeightsError, one_line
from make_it_real.images.alignment import Frame, Similarity, cut_out
from make_it_real.images.decode import Picture
from make_it_real.images.faces import search
from make_it_real.images.pixels import scaled, to_channels
from make_it_real.images.strokes import find_ink, place_ink, stroke_width

Whole = Literal["auto", "pad", "crop", "stretch"]
Fit = Literal[Whole, "faces"]
# Where faces can't be looked for, square pictures of up to so many pixels a side are taken for
# aligned faces: photos are larger.
ALIGNED_SIDE = 256


@dataclass(frozen=True)
class Framing:
    """How a data set frames what it shows.

    background: level in [−1, 1] that surrounds every subject, or None where images are full
        pictures (then pictures are only resized). extent: longer side of a subject's bounding
        box as a share of the image's side. stroke: typical width of its bright (or dark)
        strokes as a share of that side. faces: images are faces, aligned as CelebA's are.
    """

    background: float | None = None
    extent: float = 1.0
    stroke: float = 0.0
    faces: bool = False

    @property
    def bright(self) -> bool:
        """True where subjects are brighter than their background."""
        return self.background is not None and self.background < 0


@dataclass(frozen=True)
class Fitted:
    """A picture brought to the model's size, and how it came about.

    image: (C, S, S) in [−1, 1]. inverted, done: for reports. frame: where the picture lies in
    it. gain: what a change of 1 in the image comes to in the picture (less than 1 for faint
    ink). alpha: the picture's transparency, (S, S) in [0, 1], where it is kept. padded: the
    image shows more than the picture, and that is to be cut off again. warnings: what was
    looked for in vain, for people.
    """

    image: Tensor
    inverted: bool
    done: tuple[str, ...]
    frame: Frame | Similarity
    gain: float = 1.0
    alpha: Tensor | None = None
    padded: bool = False
    warnings: tuple[str, ...] = ()


def described(fields: Mapping[str, Any]) -> Framing:
    """The framing that a model's header describes. Raises WeightsError for any other fields."""
    try:
        framing = Framing(**fields)
        background = -1 if framing.background is None else framing.background
        if not (-1 <= background <= 1 and 0 < framing.extent <= 1 and 0 <= framing.stroke < 1):
            raise ValueError(f"values out of range: {framing}")
        if not isinstance(framing.faces, bool):
            raise TypeError(f"faces: {framing.faces!r}")
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


def fit_all(
    picture: Picture,
    size: int,
    channels: int,
    framing: Framing,
    *,
    how: Fit = "auto",
    invert: bool | None = None,
) -> tuple[Fitted, ...]:
    """Bring a picture of any size to the model's: each face that it shows, or all of it.

    faces: find them, the largest first, whatever the framing. auto does so where the framing
    says faces and the picture is not of the model's size; without the extra it takes square
    pictures of at most 256 pixels a side for aligned faces, with a warning. Else, and for the
    rest, as ``fit``. Raises NoFaceError where none is found or can be looked for.
    """
    framed = tuple(picture.colour.shape[1:]) == (size, size)
    if how != "faces" and (how != "auto" or framed or not framing.faces):
        return (fit(picture, size, channels, framing, how=how, invert=invert),)
    done = list(picture.notes)
    colour = picture.colour
    if picture.alpha is not None:
        colour = _flatten(colour, picture.alpha, done)
    both = search(colour)
    if both is None:
        height, width = colour.shape[1:]
        if how == "faces" or height != width or width > ALIGNED_SIDE:
            raise NoFaceError(NO_DETECTOR)
        whole = fit(picture, size, channels, framing, how="crop", invert=invert)
        return (replace(whole, warnings=(NO_DETECTOR,)),)
    faces, others = both
    if not faces:
        raise NoFaceError(NO_FACE, others)
    cautions: tuple[str, ...] = ()
    if others:
        rest = "the rest is too small, turned away or none"
        cautions = (f"{len(faces)} of {len(faces) + others} faces: {rest}",)
    inverted = bool(invert)
    colour = to_channels(1 - colour if inverted else colour, channels)
    fitted = []
    for number, face in enumerate(faces, 1):
        place = face.place(size)
        middle, side = place.back(complex(size, size) / 2), round(place.side(size))
        which = f"face {number} of {len(faces)}" if len(faces) > 1 else "face"
        note = (
            f"{which} at {middle.real:.0f}, {middle.imag:.0f}, turned by {-round(place.tilt)}°, "
            f"resized from {side}×{side}"
        )
        image = (cut_out(colour, place, size) * 2 - 1).clamp(-1, 1)
        alpha = None
        if picture.alpha is not None:
            alpha = cut_out(picture.alpha[None], place, size)[0].clamp(0, 1)
        said = _said([*done, note], inverted)
        warnings = cautions if number == 1 else ()
        fitted.append(Fitted(image, inverted, said, place, alpha=alpha, warnings=warnings))
    return tuple(fitted)


def fit(
    picture: Picture,
    size: int,
    channels: int,
    framing: Framing,
    *,
    how: Whole = "auto",
    invert: bool | None = None,
) -> Fitted:
    """Bring what is drawn in a picture of any size, or all of it, to the model's size.

    auto: where the framing has a background, find what was drawn, take the light's unevenness
    out, crop, resize and centre it as the data set does; otherwise, or where nothing drawn is
    found, pad. pad, crop and stretch take the whole picture as it is. invert: swap dark and
    bright (None: do so where the picture's polarity is not the data set's).
    """
    done = list(picture.notes)
    colour, alpha = picture.colour, None
    if picture.alpha is not None:
        colour = _flatten(colour, picture.alpha, done)
        # What is drawn on transparency is ink, and f may draw where there was none.
        if framing.background is None or how != "auto":
            alpha = _resize(picture.alpha[None] * 2 - 1, size, how, -1.0, [])[0][0] / 2 + 0.5
    padded = how == "pad" or (how == "auto" and framing.background is None)
    if framing.background is None:
        inverted = bool(invert)
        image = (1 - colour if inverted else colour) * 2 - 1
        image, frame = _resize(to_channels(image, channels), size, how, None, done)
        return Fitted(image, inverted, _said(done, inverted), frame, 1.0, alpha, padded)

    framed = tuple(colour.shape[1:]) == (size, size)
    ink = None
    if how == "auto" and not framed:
        ink = find_ink(colour)
    bright = ink.bright if ink is not None else bool(_border(colour[None]).median() < 0.5)
    inverted = bright != framing.bright if invert is None else invert
    gain = 1.0
    if ink is not None and (bright != inverted) == framing.bright:
        placed, frame = place_ink(ink.amount, size, framing.extent, framing.stroke, done)
        # Ink is found in a smaller copy of large pictures.
        zoom = [a / b for a, b in zip(ink.amount.shape, colour.shape[1:], strict=True)]
        frame = Frame((frame.scale[0] * zoom[0], frame.scale[1] * zoom[1]), frame.offset)
        span = 2.0 if framing.bright else -2.0
        image = (framing.background + span * placed).clamp(-1, 1)[None].expand(channels, -1, -1)
        gain = ink.contrast
    else:
        image = (1 - colour if inverted else colour) * 2 - 1
        image, frame = _resize(to_channels(image, channels), size, how, framing.background, done)
    image = image.contiguous()
    return Fitted(image, inverted, _said(done, inverted), frame, gain, alpha, padded)


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


def _resize(
    image: Tensor, size: int, how: Fit, background: float | None, done: list[str]
) -> tuple[Tensor, Frame]:
    """(C, H, W) in [−1, 1] → (C, size, size), padded, cropped or stretched where not square."""
    _, h, w = image.shape
    if (h, w) == (size, size):
        return image, Frame()
    top = left = 0
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
    image = scaled(image, new_h, new_w).clamp(-1, 1)
    above, before = (size - new_h) // 2, (size - new_w) // 2
    if (new_h, new_w) != (size, size):
        level = float(_border(image[None]).median()) if background is None else background
        canvas = image.new_full((len(image), size, size), level)
        canvas[:, above : above + new_h, before : before + new_w] = image
        image = canvas
        done.append("padded")
    scale = (new_h / h, new_w / w)
    return image, Frame(scale, (above - scale[0] * top, before - scale[1] * left))
