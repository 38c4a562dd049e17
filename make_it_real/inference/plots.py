"""Small pictures of figures: sparklines, curves, heat maps and animations, drawn with Pillow."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from make_it_real.images import encode

BARS = "▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 34, 34, 46
# Of the images above a curve: rows at most, margin, height of the labels, gap between images.
ROWS, MARGIN, HEAD, GAP = 4, 16, 24, 4
COLOURS = ((214, 90, 20), (30, 100, 190))
FLOOR = 1e-9
# Of heat maps of pictures: the longest side in pixels, and the change of full colour.
HEAT_SIDE = 2048
HEAT_PEAK = 0.5


def sparkline(values: Sequence[float], width: int = 48) -> str:
    """Draw values ≥ 0 as a line of bars in text, at most ``width`` characters.

    Both axes are logarithmic: early steps, where most happens, get most of the room. A value of 0
    is a space.
    """
    n = len(values)
    if not n:
        return ""
    width = min(width, n)
    edges = [round((n + 1) ** (i / width)) - 1 for i in range(width + 1)]
    cells = [max(values[a : max(b, a + 1)]) for a, b in pairwise(edges)]
    logs = [math.log10(max(v, FLOOR)) for v in cells if v > 0]
    low, span = (min(logs), max(logs) - min(logs)) if logs else (0.0, 1.0)

    def bar(value: float) -> str:
        share = (math.log10(max(value, FLOOR)) - low) / (span or 1.0)
        return BARS[min(7, int(8 * share))] if value > 0 else " "

    return "".join(map(bar, cells))


def curve(k: Sequence[int], lines: Mapping[str, Sequence[float]], title: str) -> bytes:
    """Draw lines over k as a PNG; both axes are logarithmic (in k + 1, so that 0 has a place).

    Values of 0 are drawn at the bottom of the plot, below the smallest value.
    """
    return _bytes(_curve(k, lines, title), "PNG", optimize=True)


def refinement(
    frames: Mapping[int, Tensor],
    k: Sequence[int],
    lines: Mapping[str, Sequence[float]],
    title: str,
    rest: int | None = None,
) -> bytes:
    """Draw images at some k, labelled, above the curve of ``lines`` over ``k``, as a PNG.

    frames: by k, images (N, C, H, W) in [−1, 1], of which the first ``ROWS`` are shown. rest:
    the k from which all images rest, or None. A text says so where the curve would be empty:
    where it has fewer than two points above 0.
    """
    strip = _labelled({f"k = {step:,}": images[:ROWS] for step, images in frames.items()})
    moving = max((sum(value > 0 for value in values) for values in lines.values()), default=0)
    if rest is not None and moving < 2:
        lower = Image.new("RGB", (WIDTH, 60), "white")
        draw, font = ImageDraw.Draw(lower), ImageFont.load_default(18)
        draw.text((WIDTH / 2, 26), f"at rest from k = {rest:,}", (20, 20, 20), font, anchor="mm")
    else:
        lower = _curve(k, lines, title)
    both = Image.new("RGB", (WIDTH, strip.height + lower.height), "white")
    both.paste(strip, (0, 0))
    both.paste(lower, (0, strip.height))
    return _bytes(both, "PNG", optimize=True)


def _labelled(columns: Mapping[str, Tensor]) -> Image.Image:
    """Draw columns of images (N, C, H, W), each under its label, ``WIDTH`` wide."""
    font = ImageFont.load_default(12)
    width = (WIDTH - 2 * MARGIN) // len(columns)
    pictures = [[encode.to_pillow(image) for image in images] for images in columns.values()]
    side = max(max(picture.size) for column in pictures for picture in column)
    # Small images are enlarged by a whole factor, without smoothing; large ones are reduced.
    factor = max(1, min(4, (width - GAP) // side)) if side <= width - GAP else (width - GAP) / side
    cell = round(side * factor) + GAP
    height = HEAD + cell * max(map(len, pictures)) + GAP
    sheet = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(sheet)
    how = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX
    for i, (label, column) in enumerate(zip(columns, pictures, strict=True)):
        x = MARGIN + i * width
        # Of a large k there is room for the number alone.
        fits = draw.textlength(label, font) <= width - GAP
        draw.text((x, 6), label if fits else label.removeprefix("k = "), (20, 20, 20), font)
        for row, picture in enumerate(column):
            size = [max(1, round(length * factor)) for length in picture.size]
            shown = picture.convert("RGB").resize((size[0], size[1]), how)
            sheet.paste(shown, (x, HEAD + row * cell))
    return sheet


def _curve(k: Sequence[int], lines: Mapping[str, Sequence[float]], title: str) -> Image.Image:
    """Draw what ``curve`` encodes."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(13)
    positive = [v for values in lines.values() for v in values if v > 0] or [1.0]
    low = math.floor(math.log10(max(min(positive), FLOOR)))
    high = max(low + 1, math.ceil(math.log10(max(positive))))
    decades = max(1, math.ceil(math.log10(max([*k, 1]) + 1)))

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log10(step + 1) / decades

    def y(value: float) -> float:
        share = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    for power in range(low, high + 1):
        at = y(10.0**power)
        draw.line([(LEFT, at), (WIDTH - RIGHT, at)], (225, 225, 225))
        draw.text((LEFT - 8, at), f"1e{power}", (70, 70, 70), font, anchor="rm")
    for step in (0, *(10**power for power in range(decades + 1))):
        at = x(step)
        if at <= WIDTH - RIGHT:
            draw.line([(at, TOP), (at, HEIGHT - BOTTOM)], (225, 225, 225))
            draw.text((at, HEIGHT - BOTTOM + 6), f"{step:,}", (70, 70, 70), font, anchor="mt")
    draw.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16), "k", (70, 70, 70), font, anchor="mm")
    draw.text((LEFT, 8), title, (20, 20, 20), font)
    for index, (name, values) in enumerate(lines.items()):
        colour = COLOURS[index % len(COLOURS)]
        points = [(x(step), y(value)) for step, value in zip(k, values, strict=True)]
        if len(points) > 1:
            draw.line(points, colour, 2)
        for px, py in points if len(points) < 40 else ():
            draw.ellipse((px - 3, py - 3, px + 3, py + 3), colour)
        draw.text((WIDTH - RIGHT - 4, TOP + 4 + 17 * index), name, colour, font, anchor="rt")
    return picture


def table(columns: Mapping[str, Sequence[float]]) -> bytes:
    """Format columns of equal length as CSV, with all digits of numbers."""
    with io.StringIO(newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow(int(v) if float(v).is_integer() else v for v in row)
        return file.getvalue().encode()


def heat(image: Tensor, change: Tensor, peak: float | None = None) -> Tensor:
    """Show where an image (C, H, W) would change: a colour image (3, H, W) in [−1, 1].

    The image is grey, at half contrast. Blue is what f would darken, orange what it would
    brighten. change: (C, H, W). peak: the change of full colour; None for the largest.
    """
    grey = image.mean(0).clamp(-1, 1) / 2
    moved = change.mean(0)
    peak = float(moved.abs().max()) if peak is None else peak
    amount = (moved.abs() / peak).clamp(0, 1) if peak > 0 else torch.zeros_like(moved)
    up = torch.tensor([1.0, 0.1, -1.0])[:, None, None]
    down = torch.tensor([-1.0, -0.1, 1.0])[:, None, None]
    tint = torch.where(moved > 0, up, down)
    return torch.lerp(grey.expand(3, -1, -1), tint, amount.sqrt())


def heat_map(given: Tensor, image: Tensor) -> Tensor:
    """Show where a picture, given in [0, 1], became an image in [−1, 1], (C, H, W) each.

    Colours are those of ``heat``, in full for changes of ``HEAT_PEAK``. Pictures of more than
    ``HEAT_SIDE`` pixels a side are reduced; of pixels that become one, the largest change is shown.
    """
    height, width = image.shape[1:]
    cell = -(-max(height, width) // HEAT_SIDE)
    size = -(-height // cell), -(-width // cell)
    shown, changes = torch.empty(1, *size), torch.empty(1, *size)
    for row in range(size[0]):
        rows = slice(row * cell, (row + 1) * cell)
        before = given[:, rows].mean(0, keepdim=True) * 2 - 1
        change = (image[:, rows] - (given[:, rows] * 2 - 1)).mean(0, keepdim=True)
        up, down = (F.adaptive_max_pool2d(part, (1, size[1])) for part in (change, -change))
        shown[:, row] = F.adaptive_avg_pool2d(before, (1, size[1]))[:, 0]
        changes[:, row] = torch.where(up > down, up, -down)[:, 0]
    return heat(shown, changes, HEAT_PEAK)


def animation(
    frames: Sequence[Tensor], labels: Sequence[str], format: str, scale: int = 1
) -> bytes:
    """Encode frames (C, H, W) in [−1, 1] as a GIF or lossless WEBP that loops.

    Each frame has its label below. Frames are enlarged ``scale`` times; where that is 1, small
    ones by a whole factor. The first and the last are shown for longer.
    """
    font, pictures = ImageFont.load_default(14), []
    for frame, label in zip(frames, labels, strict=True):
        picture = encode.to_pillow(frame).convert("RGB")
        factor = scale if scale > 1 else max(1, 256 // max(picture.size))
        size = (picture.width * factor, picture.height * factor)
        sheet = Image.new("RGB", (max(size[0], 120), size[1] + 22), "black")
        sheet.paste(picture.resize(size, Image.Resampling.NEAREST), (0, 0))
        ImageDraw.Draw(sheet).text((6, size[1] + 3), label, "white", font)
        pictures.append(sheet)
    times = [800, *[150] * (len(pictures) - 2), 1500][: len(pictures)]
    options = {"lossless": True} if format == "WEBP" else {"optimize": True}
    return _bytes(
        pictures[0], format, save_all=True, append_images=pictures[1:], duration=times, loop=0,
        **options,
    )  # fmt: skip


def _bytes(picture: Image.Image, format: str, **options: object) -> bytes:
    with io.BytesIO() as file:
        picture.save(file, format, **options)
        return file.getvalue()
