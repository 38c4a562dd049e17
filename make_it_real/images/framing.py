"""Bring any picture into the frame that a model was trained on, and say what was done.

Data sets are framed. MNIST shows one bright digit on black, its longer side 20 of 28 pixels,
its centre of mass in the middle; Fashion-MNIST shows one piece of clothing, as large as the
image. A phone photo is not like that, and f repairs only what is framed like its training
images. ``measure`` finds the frame of training images; ``fit`` brings a picture into it;
``fit_all`` brings each face of a photo into it. Pictures that already have the model's size
count as framed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from make_it_real.errors import NO_DETECTOR, NO_FACE, NoFaceError, WeightsError, one_line
from make_it_real.images.alignment import Frame, Similarity, cut_out, resize
from make_it_real.images.decode import Picture
from make_it_real.images.face_check import ELSE, log_odds
from make_it_real.images.faces import search
from make_it_real.images.medium import Medium, recognise
from make_it_real.images.objects import find_subject, place_subject
from make_it_real.images.pixels import border, flatten, to_channels
from make_it_real.images.portraits import on_white, search_drawing
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
        pictures (then pictures are only resized).
    extent: longer side of a subject's bounding box, as a share of the image's side.
    stroke: typical width of a subject's strokes, as a share of the image's side.
    faces: images are faces, aligned as CelebA's are.
    objects: subjects are solid objects with grey levels of their own, not strokes. They may
        touch the border.
    contrast: of objects: how far the least visible differ from the background, in [0, 1].
    """

    background: float | None = None
    extent: float = 1.0
    stroke: float = 0.0
    faces: bool = False
    objects: bool = False
    contrast: float = 0.0

    @property
    def bright(self) -> bool:
        """True where subjects are brighter than their background."""
        return self.background is not None and self.background < 0


@dataclass(frozen=True)
class Fitted:
    """A picture brought to the model's size, and how.

    image: (C, S, S) in [−1, 1].
    inverted: dark and bright were swapped.
    done: what was done, step by step, for reports.
    frame: where the picture lies in the image.
    gain: change of the picture for a change of 1 in the image (less than 1 for faint ink).
    alpha: the picture's opacity, (S, S) in [0, 1], where it is kept.
    padded: padding was added around the picture and has to be cut off again.
    drawn: it was cut out of a drawing on white, so its change does not fit the picture's strokes.
    warnings: what was not found, for the user.
    """

    image: Tensor
    inverted: bool
    done: tuple[str, ...]
    frame: Frame | Similarity
    gain: float = 1.0
    alpha: Tensor | None = None
    padded: bool = False
    drawn: bool = False
    warnings: tuple[str, ...] = ()


def described(fields: Mapping[str, Any]) -> Framing:
    """The framing in a model's header. Raises WeightsError for unknown fields or values."""
    try:
        framing = Framing(**fields)
        background = -1 if framing.background is None else framing.background
        if not (-1 <= background <= 1 and 0 < framing.extent <= 1 and 0 <= framing.stroke < 1):
            raise ValueError(f"values out of range: {framing}")
        if not 0 <= framing.contrast < 1 or (framing.objects and framing.background is None):
            raise ValueError(f"objects without a background to tell them from: {framing}")
        if not isinstance(framing.faces, bool) or not isinstance(framing.objects, bool):
            raise TypeError(f"faces: {framing.faces!r}, objects: {framing.objects!r}")
    except (TypeError, ValueError) as error:
        raise WeightsError(f"a framing that this mir does not know ({one_line(error)})") from error
    return framing


def measure(images: Tensor) -> Framing:
    """Measure the framing of training images (N, C, S, S) in [−1, 1].

    Images have a background if at least nine in ten have one level, dark or bright, all along
    their border. Subjects whose own brightness differs widely are objects; those may touch the
    border, as long as three quarters of it are background. Where most images are blank, or
    anything else holds, they are full pictures.
    """
    side = images.shape[-1]
    edge = border(images)
    median = float(edge.median())
    plain = (edge - median).abs() < 0.1
    if abs(median) < 0.9 or plain.float().mean() < 0.75:
        return Framing()
    amount = ((images - median).abs().amax(1) / 2).clamp(0, 1)
    shown = amount > 0.05
    heights, widths = (shown.any(d).sum(1).float() for d in (2, 1))
    extent = float(torch.maximum(heights, widths).median()) / side
    if not extent:
        return Framing()
    # Strokes reach full brightness, whoever drew them; a dark shirt does not.
    quantiles = torch.tensor([0.5, 0.75])
    levels = [a[s].quantile(quantiles) for a, s in zip(amount, shown, strict=True) if s.any()]
    contrast, bright = torch.stack(levels).quantile(0.05, dim=0).tolist()
    objects = bright < 0.6
    if not objects and plain.all(1).float().mean() < 0.9:
        return Framing()
    strokes = torch.tensor([stroke_width(a) for a in amount[:1000]])
    return Framing(
        median,
        round(extent, 3),
        round(float(strokes.median()) / side, 3),
        objects=objects,
        contrast=round(contrast, 3) if objects else 0.0,
    )


def fit_all(
    picture: Picture,
    size: int,
    channels: int,
    framing: Framing,
    *,
    how: Fit = "auto",
    invert: bool | None = None,
    drawings: bool = True,
) -> tuple[Fitted, ...]:
    """Bring a picture of any size to the model's: each face that it shows, or all of it.

    how: "faces" finds faces, the largest first, for any model. "auto" does so for a model of
    faces, unless the picture has the model's size; without the extra it takes square pictures of
    at most 256 pixels a side for aligned faces, with a warning, unless they clearly show something
    else. With ``drawings`` a face in a drawing may be found by its strokes, too, and is laid on
    white, dark on bright, unless it is painted. In all other cases ``fit`` is called. Raises
    NoFaceError where no face is found, or nothing can look for one.
    """
    framed = tuple(picture.colour.shape[1:]) == (size, size)
    if how != "faces" and (how != "auto" or framed or not framing.faces):
        return (fit(picture, size, channels, framing, how=how, invert=invert),)
    done = list(picture.notes)
    colour = picture.colour
    if picture.alpha is not None:
        colour = flatten(colour, picture.alpha, done)
    medium = recognise(picture) if drawings else Medium(False, "")
    drawing = on_white(colour, invert, painted=medium.painted) if medium.drawing else None
    both = search(colour) if drawing is None else search_drawing(drawing, colour)
    if both is None:
        height, width = colour.shape[1:]
        if how == "faces" or height != width or width > ALIGNED_SIDE:
            raise NoFaceError(NO_DETECTOR if drawing is None else NO_FACE)
        whole = fit(picture, size, channels, framing, how="crop", invert=invert)
        if log_odds(whole.image[None]) < (ELSE if drawing is None else 0):
            raise NoFaceError(NO_FACE)
        return (replace(whole, warnings=(NO_DETECTOR,)),)
    faces, others = both
    if not faces:
        raise NoFaceError(NO_FACE, others)
    cautions: tuple[str, ...] = ()
    if others:
        rest = "the rest is too small, turned away or none"
        cautions = (f"{len(faces)} of {len(faces) + others} faces: {rest}",)
    inverted = bool(invert) if drawing is None else drawing.inverted
    if drawing is not None:
        colour = drawing.colour
        if not medium.painted:
            done.append("paper made white")
    elif inverted:
        colour = 1 - colour
    colour = to_channels(colour, channels)
    fitted = []
    for number, face in enumerate(faces, 1):
        place = face.place(size)
        which = f"face {number} of {len(faces)}" if len(faces) > 1 else "face"
        source = place if drawing is None else drawing.within(place)
        image = (cut_out(colour, source, size) * 2 - 1).clamp(-1, 1)
        alpha = None
        if picture.alpha is not None:
            alpha = cut_out(picture.alpha[None], place, size)[0].clamp(0, 1)
        said = _said([*done, f"{which} {place.described(size)}"], inverted)
        one = Fitted(image, inverted, said, place, alpha=alpha, drawn=drawing is not None)
        fitted.append(replace(one, warnings=cautions if number == 1 else ()))
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

    auto: where the framing has a background, find what was drawn, even out the light, crop,
    resize and centre it as the data set does. Where its subjects are objects, cut one out of
    its own background, which has to be plain, and lay it on the data set's. Otherwise, or
    where nothing is found, pad. pad, crop and stretch take the whole picture as it is.
    invert: swap dark and bright (None: do so where what is drawn is not as dark or bright as
    the data set's strokes; never for objects).
    """
    done = list(picture.notes)
    if framing.objects:
        if how == "auto":
            subject = _fit_subject(picture, size, channels, framing, bool(invert), done)
            if subject is not None:
                return subject
        framing = Framing()
    colour, alpha = picture.colour, None
    if picture.alpha is not None:
        colour = flatten(colour, picture.alpha, done)
        # A drawing on transparency loses it: f may draw where there was no ink.
        if framing.background is None or how != "auto":
            alpha = resize(picture.alpha[None] * 2 - 1, size, how, -1.0, [])[0][0] / 2 + 0.5
    if framing.background is None:
        inverted = bool(invert)
        image = (1 - colour if inverted else colour) * 2 - 1
        image, frame = resize(to_channels(image, channels), size, how, None, done)
        padded = how in ("auto", "pad")
        return Fitted(image, inverted, _said(done, inverted), frame, 1.0, alpha, padded)
    fitted = _fit_drawing(colour, size, channels, framing, how, invert, done)
    return replace(fitted, alpha=alpha, padded=how == "pad")


def _fit_drawing(
    colour: Tensor,
    size: int,
    channels: int,
    framing: Framing,
    how: Whole,
    invert: bool | None,
    done: list[str],
) -> Fitted:
    """Lay a picture's strokes on the data set's background, or take all of it, (C, H, W)."""
    assert framing.background is not None
    ink = None
    if how == "auto" and tuple(colour.shape[1:]) != (size, size):
        ink = find_ink(colour)
    bright = ink.bright if ink is not None else bool(border(colour[None]).median() < 0.5)
    inverted = bright != framing.bright if invert is None else invert
    gain = 1.0
    if ink is not None and (bright != inverted) == framing.bright:
        placed, frame = place_ink(ink.amount, size, framing.extent, framing.stroke, done)
        # Ink is found in a smaller copy of large pictures.
        frame = frame.rescaled(ink.amount.shape, colour.shape[1:])
        span = 2.0 if framing.bright else -2.0
        image = (framing.background + span * placed).clamp(-1, 1)[None].expand(channels, -1, -1)
        gain = ink.contrast
    else:
        image = (1 - colour if inverted else colour) * 2 - 1
        image, frame = resize(to_channels(image, channels), size, how, framing.background, done)
    return Fitted(image.contiguous(), inverted, _said(done, inverted), frame, gain)


def _fit_subject(
    picture: Picture, size: int, channels: int, framing: Framing, inverted: bool, done: list[str]
) -> Fitted | None:
    """Cut a picture's subject out and lay it on the data set's background.

    None where there is nothing to cut out, or where the picture has the model's size and a
    border like the data set's: then it is framed.
    """
    assert framing.background is not None
    alike = bool(border(picture.colour[None]).median() < 0.5) == framing.bright
    if picture.alpha is None and tuple(picture.colour.shape[1:]) == (size, size) and alike:
        return None
    subject = find_subject(picture.colour, picture.alpha)
    if subject is None:
        return None
    if inverted:
        subject = replace(subject, levels=1 - subject.levels)
    image, frame, gain = place_subject(
        subject, size, channels, framing.extent, framing.background, framing.contrast, done
    )
    frame = frame.rescaled(subject.mask.shape, picture.colour.shape[1:])
    return Fitted(image, inverted, _said(done, inverted), frame, gain)


def _said(done: list[str], inverted: bool) -> tuple[str, ...]:
    return tuple([*done, "inverted"] if inverted else done)
