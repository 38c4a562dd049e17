"""Pictures that no camera took: text, tables, charts, buttons, large pixels, captions and borders.

They lie in every folder of photographs: screens, scanned pages, prints on a white sheet. A letter
is much like a scratch, and f must tell one from the other, but sets of photographs hold few. So
these are drawn: letters of Pillow's own font, and for other scripts letters of a few strokes each
that no script has.
"""

import math
import string
from collections.abc import Callable
from random import Random

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor

Colour = tuple[int, int, int]
# Edges that are smooth are drawn at so many times the resolution, and reduced.
FINER = 3
# Heights of letters in pixels.
LEAST, MOST = 7, 44
LETTERS = string.ascii_lowercase * 4 + string.ascii_uppercase + string.digits * 2


def among(pictures: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draw on a share of the pictures, uint8 (N, 3, S, S), each by chance; returns such pictures.

    share: from 0, where nothing is drawn from the generator, to 1.
    """
    if not share or not len(pictures):
        return pictures
    coins = torch.rand(len(pictures), generator=generator, device=generator.device) < share
    pairs = zip(pictures.cpu(), coins.tolist(), strict=True)
    return torch.stack([drawn(each, generator) if coin else each for each, coin in pairs])


def drawn(photograph: Tensor, generator: torch.Generator) -> Tensor:
    """Draw on a photograph, or on one colour that takes its place: uint8 (3, S, S) → the same."""
    rng = Random(int(torch.randint(2**62, (), generator=generator, device=generator.device)))
    picture = Image.fromarray(photograph.permute(1, 2, 0).numpy())
    on_photograph = rng.random() < 0.35
    if on_photograph:
        kinds: dict[Callable[[Image.Image, Random], Image.Image], int] = {
            _captioned: 4, _bordered: 4, _inset: 2, _dotted: 1,
        }  # fmt: skip
    else:
        picture = _ground(picture.size, rng)
        kinds = {
            _written: 10, _plotted: 8, _window: 4, _table: 3, _large_pixels: 2, _dotted: 2,
        }  # fmt: skip
    (kind,) = rng.choices(list(kinds), list(kinds.values()))
    return torch.from_numpy(np.array(kind(picture, rng))).permute(2, 0, 1)


def _ground(size: tuple[int, int], rng: Random) -> Image.Image:
    """Paint one colour, or a smooth change from one to another; three of ten are old paper."""
    if rng.random() < 0.3:
        first, darker = _paper(rng), rng.uniform(0.75, 1)
        second, shaded = tuple(round(darker * each) for each in first), rng.random() < 0.7
    else:
        first, second, shaded = _colour(rng), _colour(rng), rng.random() < 1 / 6
    sheet = Image.new("RGB", size, first)
    if shaded:
        around = rng.choice((Image.linear_gradient, Image.radial_gradient))("L")
        shade = around.rotate(90 * rng.randrange(4)).resize(size)
        sheet.paste(Image.new("RGB", size, second), mask=shade)
    return sheet


def _paper(rng: Random) -> Colour:
    """Choose a paper that has yellowed, more or less."""
    red, warmth = rng.randint(190, 255), rng.uniform(0, 65)
    return red, round(red - warmth * rng.uniform(0.2, 0.5)), round(red - warmth)


def _colour(rng: Random) -> Colour:
    """Choose white, black, any grey or any colour."""
    which = rng.random()
    if which < 0.35:
        return (255, 255, 255)
    if which < 0.5:
        return (0, 0, 0)
    red, green, blue = (rng.randrange(256) for _ in range(3))
    return (red, red, red) if which < 0.7 else (red, green, blue)


def _ink(ground: Colour, rng: Random) -> Colour:
    """Choose a colour that is seen on the ground."""
    if rng.random() < 0.4:
        return _black_or_white(ground)
    while True:
        colour = _colour(rng)
        if max(abs(a - b) for a, b in zip(colour, ground, strict=True)) > 48:
            return colour


def _black_or_white(beside: Colour) -> Colour:
    """Choose the one that is seen beside a colour."""
    return (0, 0, 0) if max(beside) > 127 else (255, 255, 255)


def _at(picture: Image.Image) -> Colour:
    """Read the colour in the middle."""
    red, green, blue = np.asarray(picture)[picture.height // 2, picture.width // 2].tolist()
    return red, green, blue


def _written(picture: Image.Image, rng: Random) -> Image.Image:
    """Write lines over all of it, some of them in another colour."""
    height = rng.randint(LEAST, MOST) if rng.random() < 0.3 else rng.randint(LEAST, 16)
    leading = height * (rng.uniform(1.15, 2.0) if rng.random() < 0.7 else rng.uniform(2.0, 6.0))
    write, ground = _hand(height, rng), _at(picture)
    first, second = _ink(ground, rng), _ink(ground, rng)
    left, top = rng.uniform(-2 * height, picture.width / 3), rng.uniform(-height, height)
    for line in range(math.ceil((picture.height - top) / leading)):
        if rng.random() < 0.1:
            continue
        ink = second if rng.random() < 0.15 else first
        picture = write(picture, (left, top + line * leading), ink)
    return picture


def _captioned(picture: Image.Image, rng: Random) -> Image.Image:
    """Write a line or two over a photograph, mostly with an outline or on a bar."""
    height = rng.randint(LEAST + 3, MOST)
    write, ink = _hand(height, rng, outlined=rng.random() < 0.5), _colour(rng)
    left, top = rng.uniform(-height, height), rng.uniform(0, picture.height - height)
    if rng.random() < 0.3:
        bar = (0, round(top - height / 4), picture.width, round(top + 1.4 * height))
        ImageDraw.Draw(picture).rectangle(bar, _ink(ink, rng))
    for line in range(rng.randint(1, 2)):
        picture = write(picture, (left, top + 1.3 * line * height), ink)
    return picture


def _bordered(picture: Image.Image, rng: Random) -> Image.Image:
    """Lay a photograph on a sheet of one colour, mostly a little turned: its edge, or a corner."""
    side, turn = picture.width, rng.choice((0, 0, rng.gauss(0, 6), rng.uniform(-45, 45)))
    outside = Image.new("L", (FINER * side, FINER * side))
    draw, far = ImageDraw.Draw(outside), 2 * side
    for corner in range(1 + (rng.random() < 0.4)):
        angle = math.radians(turn + 90 * (corner or rng.choice((0, 2))))
        edge = rng.uniform(-0.3, 0.5) * side
        corners = ((-far, edge), (far, edge), (far, far), (-far, far))
        draw.polygon([_turned(u, v, angle, side) for u, v in corners], 255)
    picture.paste(_colour(rng), mask=outside.reduce(FINER))
    return picture


def _turned(u: float, v: float, angle: float, side: int) -> tuple[float, float]:
    """Turn a point around the middle of a picture, from which u and v count, FINER times as large.

    angle: in radians.
    """
    x = side / 2 + u * math.cos(angle) - v * math.sin(angle)
    y = side / 2 + u * math.sin(angle) + v * math.cos(angle)
    return FINER * x, FINER * y


def _inset(picture: Image.Image, rng: Random) -> Image.Image:
    """Show a part of a photograph in a window."""
    side = picture.width
    page = _window(_ground(picture.size, rng), rng)
    left, top = rng.randrange(side), rng.randrange(side)
    shift = rng.randrange(side // 4, side) // 2
    page.paste(picture.crop((left, top, side, side)), (left - shift, top - shift))
    return page


def _window(picture: Image.Image, rng: Random) -> Image.Image:
    """Draw bars, buttons, frames and signs, some with a word."""
    side = picture.width
    for _ in range(rng.randint(2, 7)):
        left, top = rng.randint(-side // 4, side), rng.randint(-side // 4, side)
        wide, high = rng.randint(4, side), rng.randint(4, side // 2)
        ground = _at(picture.crop((left, top, left + wide, top + high)))
        fill, line = _ink(ground, rng), rng.randint(1, 3)
        layer = Image.new("L", (FINER * wide, FINER * high))
        draw, box = ImageDraw.Draw(layer), (0, 0, FINER * wide - 1, FINER * high - 1)
        shape = rng.random()
        if shape < 0.35:
            draw.rectangle(box, 255)
        elif shape < 0.6:
            draw.rounded_rectangle(box, FINER * rng.randint(2, 12), 255)
        elif shape < 0.8:
            draw.rectangle(box, None, 255, FINER * line)
        elif shape < 0.9:
            draw.ellipse(box, 255)
        else:
            points = [(rng.randrange(FINER * wide), rng.randrange(FINER * high)) for _ in "abcd"]
            draw.polygon(points, 255)
        picture.paste(fill, (left, top), layer.reduce(FINER))
        if rng.random() < 0.5 and high >= LEAST + 4:
            height = rng.randint(LEAST, min(MOST, high - 4))
            middle = (left + 4, top + (high - height) / 2)
            picture = _hand(height, rng, words=2)(picture, middle, _ink(fill, rng))
    return picture


def _table(picture: Image.Image, rng: Random) -> Image.Image:
    """Draw lines at even distances, with numbers between them or bars on them."""
    side, ink = picture.width, _ink(_at(picture), rng)
    step, line, draw = rng.randint(8, side // 2), rng.randint(1, 2), ImageDraw.Draw(picture)
    start = rng.randrange(step)
    for at in range(start, side, step):
        draw.line((0, at, side, at), ink, line)
        if step > 20:
            draw.line((at * 2 - start, 0, at * 2 - start, side), ink, line)
    if step >= LEAST + 5 and rng.random() < 0.6:
        write = _hand(rng.randint(LEAST, min(MOST, step - 4)), rng)
        for at in range(start - step, side, step):
            picture = write(picture, (start + 4, at + 3), ink)
    elif rng.random() < 0.7:
        wide, left = rng.randint(3, side // 3), rng.randrange(side // 3)
        for number in range(rng.randint(1, 8)):
            x = left + round(1.4 * wide * number)
            draw.rectangle((x, rng.randrange(side), x + wide, side), _colour(rng))
    return picture


def _plotted(picture: Image.Image, rng: Random) -> Image.Image:
    """Draw lines or strewn dots, as charts and maps have them, some over a grid."""
    side, ground = picture.width, _at(picture)
    if rng.random() < 0.4:
        parts = zip(ground, _ink(ground, rng), strict=True)
        faint = tuple((3 * part + ink) // 4 for part, ink in parts)
        draw, step = ImageDraw.Draw(picture), rng.randint(8, side // 2)
        for at in range(rng.randrange(step), side, step):
            draw.line((0, at, side, at), faint)
    # Smooth or hard edges.
    finer = FINER if rng.random() < 0.7 else 1
    strewn = rng.random() < 0.3
    for _ in range(rng.randint(1, 5)):
        layer, wide = Image.new("L", (finer * side, finer * side)), finer * rng.uniform(0.6, 3.5)
        draw = ImageDraw.Draw(layer)
        if strewn:
            for _ in range(rng.randint(3, 30)):
                x, y = rng.uniform(0, finer * side), rng.uniform(0, finer * side)
                draw.ellipse((x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2), 255)
        else:
            points = [(finer * x, finer * y) for x, y in _curve(side, rng)]
            draw.line(points, 255, max(1, round(wide)), "curve")
        picture.paste(_ink(ground, rng), mask=layer.reduce(finer))
    return picture


def _curve(side: int, rng: Random) -> list[tuple[float, float]]:
    """Choose points of a line: a wave, a circle, a road, a slope, or a value for each day."""
    steps, middle, high = 40, rng.uniform(0, side), rng.uniform(0.05, 0.6) * side
    turn, turns = rng.uniform(0, 2 * math.pi), rng.uniform(0.2, 4) * 2 * math.pi
    which = rng.random()
    if which < 0.35:
        return [
            (side * i / steps, middle + high * math.sin(turn + turns * i / steps))
            for i in range(-1, steps + 2)
        ]
    left = rng.uniform(0, side)
    if which < 0.45:
        angles = [2 * math.pi * i / steps for i in range(steps + 1)]
        return [(left + high * math.cos(a), middle + high * math.sin(a)) for a in angles]
    if which < 0.65:
        points = [(left, middle)]
        for _ in range(steps):
            (x, y), turn = points[-1], turn + rng.gauss(0, 0.2)
            points.append((x + side / 16 * math.cos(turn), y + side / 16 * math.sin(turn)))
        return points
    days = 1 if which < 0.75 else rng.randint(3, 30)
    return [(side * i / days, middle + rng.uniform(-high, high)) for i in range(days + 1)]


def _large_pixels(picture: Image.Image, rng: Random) -> Image.Image:
    """Fill it with squares of a few colours, or with black and white ones."""
    side, square = picture.width, rng.randint(3, 16)
    count = math.ceil(side / square)
    colours = [(0, 0, 0), (255, 255, 255)] if rng.random() < 0.3 else []
    colours = colours or [_colour(rng) for _ in range(rng.randint(2, 8))]
    table = np.array([[rng.choice(colours) for _ in range(count)] for _ in range(count)], np.uint8)
    if rng.random() < 0.5:
        # Neighbours are often equal, as in what is drawn by hand.
        table = table.repeat(2, 0).repeat(2, 1)[:count, :count]
    large = Image.fromarray(table).resize((count * square,) * 2, Image.Resampling.NEAREST)
    return large.crop((0, 0, side, side))


def _dotted(picture: Image.Image, rng: Random) -> Image.Image:
    """Lay dots or squares at even distances, as on cloth; every second row may be shifted."""
    side, step, turn = picture.width, rng.uniform(8, 36), math.radians(rng.uniform(0, 90))
    radius, shift = rng.uniform(0.1, 0.35) * step, rng.choice((0.0, 0.5))
    spots = Image.new("L", (FINER * side, FINER * side))
    draw, count = ImageDraw.Draw(spots), math.ceil(side / step)
    shape, far = (draw.ellipse if rng.random() < 0.8 else draw.rectangle), FINER * radius
    for row in range(-count, count + 1):
        for column in range(-count, count + 1):
            u, v = step * (column + shift * (row % 2)), step * row
            x, y = _turned(u, v, turn, side)
            shape((x - far, y - far, x + far, y + far), 255)
    picture.paste(_ink(_at(picture), rng), mask=spots.reduce(FINER))
    return picture


# Writes a line on a picture at (left, top), in an ink.
Hand = Callable[[Image.Image, tuple[float, float], Colour], Image.Image]


def _hand(height: int, rng: Random, *, outlined: bool = False, words: int = 9) -> Hand:
    """Choose how lines are written: letters, weight, slant, and how their edges are smoothed."""
    letters = _script(rng) if rng.random() < 0.35 else None
    # Set to whole pixels with smooth or with hard edges, or anywhere, smooth or smooth in each
    # colour by itself, as on screens with stripes of colours.
    edges = rng.choices(("set", "hard", "smooth", "striped"), (5, 3, 6, 3))[0]
    finer = FINER if edges in ("smooth", "striped") else 1
    font = ImageFont.load_default(height * finer)
    weight = round(rng.choice((0, 0, 0, 0.03, 0.06)) * height * finer)
    slant = rng.choice((0.0, 0.0, 0.2, rng.gauss(0, 0.1))) if finer > 1 else 0.0
    narrow = rng.uniform(0.75, 1.2) if finer > 1 else 1.0

    def write(picture: Image.Image, place: tuple[float, float], ink: Colour) -> Image.Image:
        left, top = place
        size = (finer * picture.width, finer * math.ceil(1.6 * height))
        line = Image.new("L", size)
        draw, start = ImageDraw.Draw(line), left * finer
        draw.fontmode = "1" if edges == "hard" else "L"
        for _ in range(rng.randint(1, words)):
            length = rng.randint(1, 10)
            if letters is None:
                word = "".join(rng.choices(LETTERS, k=length))
                word += rng.choice(string.punctuation) if rng.random() < 0.3 else ""
                draw.text((start, 0), word, 255, font, stroke_width=weight)
                start += draw.textlength(word + " ", font) + weight
            else:
                for _ in range(length):
                    _spell(draw, rng.choice(letters), start, finer * height, weight)
                    start += 1.1 * finer * height
                start += 0.5 * finer * height
        if finer > 1:
            across = (1 / narrow, slant, -slant * size[1] / 2, 0, 1, -finer * (top % 1))
            line = line.transform(size, Image.Transform.AFFINE, across, Image.Resampling.BILINEAR)
        box = (0, math.floor(top))
        if outlined:
            around = line.filter(ImageFilter.MaxFilter(2 * finer + 1)).reduce(finer)
            picture.paste(_black_or_white(ink), box, around)
        bands = picture.split()
        masks = _stripes(line) if edges == "striped" else [line.reduce(finer)] * 3
        for band, value, mask in zip(bands, ink, masks, strict=True):
            band.paste(value, box, mask)
        return Image.merge("RGB", bands)

    return write


# A letter: lines of two or three points each, in squares of side 1.
Letter = list[list[tuple[float, float]]]


def _script(rng: Random) -> list[Letter]:
    """Make up a script of letters of a few strokes."""
    most = rng.randint(2, 6)
    return [
        [
            [
                (rng.random(), rng.choice((0, 0.5, 1, rng.random())))
                for _ in range(rng.randint(2, 3))
            ]
            for _ in range(rng.randint(1, most))
        ]
        for _ in range(30)
    ]


def _spell(draw: ImageDraw.ImageDraw, letter: Letter, left: float, side: int, weight: int) -> None:
    """Draw a letter of strokes, ``side`` places high."""
    wide = max(1, round(side / 14)) + weight
    for line in letter:
        draw.line([(left + side * x, wide + side * y) for x, y in line], 255, wide, "curve")


def _stripes(line: Image.Image) -> list[Image.Image]:
    """Reduce a mask by FINER to one each for red, green and blue, a third of a pixel apart."""
    fine = np.pad(np.asarray(line.reduce((1, FINER)), np.float32), ((0, 0), (1, 1)))
    mean = (fine[:, :-2] + fine[:, 1:-1] + fine[:, 2:]) / 3
    return [Image.fromarray(mean[:, i::FINER].astype(np.uint8)) for i in range(3)]
