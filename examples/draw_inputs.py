"""Draw the example input pictures in ``examples/inputs``.

Each picture shows one hand-drawn digit made with a different tool, in a different file format or
under different conditions. The digits are smooth curves through hand-chosen points, bent slightly
by a generator seeded with the picture's name, so every run writes the same pictures.

Usage: python examples/draw_inputs.py
"""

import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random

from PIL import ExifTags, Image, ImageChops, ImageDraw, ImageFilter, ImageOps

Picture = Image.Image
Size = tuple[int, int]
Point = tuple[float, float]
Nib = Callable[[float, float], float]

OUTPUT = Path(__file__).parent / "inputs"

# The strokes of each picture, on a grid where the digit is 100 units tall and y points down.
STROKES: dict[str, list[list[Point]]] = {
    "pen-3.jpg": [
        [(9, 20), (20, 6), (41, 0), (60, 8), (63, 24), (53, 38), (33, 46)],
        [(33, 46), (56, 49), (71, 64), (67, 84), (49, 97), (25, 100), (5, 88)],
    ],
    "marker-7.png": [[(2, 9), (22, 5), (45, 6), (70, 2)], [(70, 2), (57, 30), (45, 62), (37, 100)]],
    "chalk-2.jpg": [
        [(7, 25), (17, 6), (39, 0), (60, 8), (64, 28), (52, 52), (30, 76), (5, 97)],
        [(5, 97), (24, 93), (48, 97), (76, 96)],
    ],
    "crayon-5.jpg": [
        [(17, 5), (14, 26), (11, 47)],
        [(15, 6), (40, 5), (67, 1)],
        [(11, 47), (34, 38), (57, 45), (67, 66), (58, 88), (34, 100), (3, 92)],
    ],
    "pencil-4.png": [[(25, 2), (17, 26), (4, 57)], [(4, 57), (76, 53)], [(55, 14), (49, 100)]],
    "ink-8.png": [
        [
            (61, 15),
            (44, 1),
            (21, 7),
            (17, 27),
            (37, 46),
            (61, 65),
            (63, 87),
            (40, 100),
            (13, 91),
            (12, 71),
            (35, 49),
            (57, 31),
            (63, 17),
            (56, 6),
        ]
    ],
    "mouse-0.png": [
        [
            (46, 2),
            (24, 8),
            (8, 34),
            (6, 64),
            (20, 92),
            (44, 99),
            (66, 84),
            (74, 52),
            (68, 22),
            (50, 4),
            (36, 5),
        ]
    ],
    "tablet-6.png": [
        [
            (58, 1),
            (36, 17),
            (16, 45),
            (8, 72),
            (18, 93),
            (40, 100),
            (60, 88),
            (62, 68),
            (46, 56),
            (26, 61),
            (13, 76),
        ]
    ],
    "tiny-9.png": [
        [(59, 17), (44, 3), (20, 8), (8, 28), (16, 46), (38, 48), (55, 34), (61, 12)],
        [(61, 12), (60, 44), (56, 72), (47, 100)],
    ],
    "sideways-1.jpg": [[(16, 25), (30, 14), (41, 1)], [(41, 1), (39, 34), (38, 66), (35, 100)]],
    "brush-3.png": [
        [(10, 16), (26, 4), (47, 1), (61, 10), (60, 26), (48, 38), (30, 45)],
        [(30, 45), (54, 46), (70, 60), (68, 82), (48, 97), (24, 99), (4, 89)],
    ],
    "palette-4.gif": [[(57, 1), (32, 35), (4, 66)], [(4, 66), (80, 62)], [(57, 1), (55, 100)]],
}


def steady(t: float, angle: float) -> float:
    """Relative width of a stiff tip: nearly constant."""
    return 1 + 0.06 * math.sin(9 * t) + 0.04 * math.sin(angle)


def pressed(t: float, angle: float) -> float:
    """Relative width of a stylus: light at both ends, heavier on the way down."""
    return 0.4 + 0.5 * math.sqrt(math.sin(math.pi * t)) + 0.25 * math.sin(angle)


def slanted(t: float, angle: float) -> float:
    """Relative width of a flat brush held at 45 degrees, lifted at the end of the stroke."""
    return (0.4 + 0.9 * abs(math.sin(angle + math.pi / 4))) * min(1.0, 0.3 + 4 * (1 - t))


def spline(points: list[Point], steps: int) -> list[Point]:
    """Sample the Catmull-Rom curve through ``points``, with ``steps`` samples between each two."""
    ends = [complex(*point) for point in (points[0], *points, points[-1])]
    curve = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        for t in (i / steps for i in range(steps)):
            bow = 2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)
            curve.append(b + t * (c - a + t * bow) / 2)
    return [(z.real, z.imag) for z in (*curve, ends[-1])]


def wobble(rng: Random) -> Callable[[Point], Point]:
    """Return a smooth random bend of the grid: a slow sway and a faint tremor."""
    waves = [(1.6, 0.035), (0.45, 0.1), (0.15, 0.35)]
    phases = [(rng.uniform(0, 6.28), rng.uniform(0, 6.28)) for _ in waves]

    def bend(point: Point) -> Point:
        x, y = point
        for (size, rate), (p, q) in zip(waves, phases, strict=True):
            x, y = x + size * math.sin(rate * y + p), y + size * math.sin(rate * x + q)
        return x, y

    return bend


def trace(
    name: str,
    size: Size,
    origin: Point,
    height: float,
    width: float,
    nib: Nib = steady,
    scale: int = 4,
    steps: int = 40,
) -> Picture:
    """Draw a digit as a mask; ``scale`` is the oversampling, and 1 leaves the edges jagged."""
    mask = Image.new("L", (size[0] * scale, size[1] * scale))
    pen = ImageDraw.Draw(mask)
    bend = wobble(Random(name))
    for stroke in STROKES[name]:
        path = [
            (scale * (origin[0] + x * height / 100), scale * (origin[1] + y * height / 100))
            for x, y in map(bend, spline(stroke, steps))
        ]
        for i, (a, b) in enumerate(pairwise(path)):
            wide = scale * width * nib(i / len(path), math.atan2(b[1] - a[1], b[0] - a[0]))
            pen.line([a, b], fill=255, width=round(wide))
            for x, y in (a, b):
                pen.ellipse([x - wide / 2, y - wide / 2, x + wide / 2, y + wide / 2], fill=255)
    return mask.resize(size, Image.Resampling.LANCZOS)


def noise(rng: Random, size: Size, cell: int, strength: float = 1.0) -> Picture:
    """Return a grey random field around 128 with grains of ``cell`` pixels."""
    small = (size[0] // cell + 1, size[1] // cell + 1)
    field = Image.frombytes("L", small, rng.randbytes(small[0] * small[1])).resize(size)
    return field.point(lambda v: round(128 + (v - 128) * strength))


def sheet(rng: Random, size: Size, colour: str, *grains: tuple[int, float]) -> Picture:
    """Return a sheet of one colour with noise of each given cell size and strength."""
    page = Image.new("RGB", size, colour)
    for cell, strength in grains:
        page = ImageChops.add(page, noise(rng, size, cell, strength).convert("RGB"), 1, -128)
    return page


def rough(rng: Random, mask: Picture, cell: int, level: int, gain: float, soft: float) -> Picture:
    """Break up a stroke as a rough surface does: keep it only where the noise is high enough."""
    blurred = mask.filter(ImageFilter.GaussianBlur(soft))
    mixed = ImageChops.add(blurred, noise(rng, mask.size, cell), 2)
    return mixed.point(lambda v: round(min(255.0, max(0.0, (v - level) * gain))))


def lit(page: Picture, shadow: list[Point], depth: int, soft: float) -> Picture:
    """Light a page from the top, with a soft ``shadow`` of the given outline across it."""
    light = Image.new("L", page.size, 255)
    ImageDraw.Draw(light).polygon(shadow, fill=255 - depth)
    light = light.filter(ImageFilter.GaussianBlur(soft))
    fall = Image.linear_gradient("L").resize(page.size).point(lambda v: 255 - v // 4)
    return ImageChops.multiply(page, ImageChops.multiply(light, fall).convert("RGB"))


def paint(name: str) -> Picture:
    """Draw the named picture: its digit, tool and background."""
    rng = Random(name)
    match name:
        case "pen-3.jpg":
            page = sheet(rng, (1000, 800), "#f4efe4", (1, 0.05), (3, 0.05))
            page.paste("#22222a", mask=trace(name, page.size, (215, 215), 450, 10))
            page = lit(page, [(0, 380), (380, 0), (770, 0), (390, 800), (0, 800)], 95, 50)
            return page.filter(ImageFilter.GaussianBlur(0.9))
        case "marker-7.png":
            line = trace(name, (640, 640), (180, 120), 400, 42)
            return ImageOps.colorize(line, "white", "#181818")
        case "chalk-2.jpg":
            page = sheet(rng, (800, 600), "#384a43", (110, 0.09), (2, 0.02))
            line = rough(rng, trace(name, page.size, (240, 90), 410, 28), 2, 150, 4, 4)
            page.paste("#e8eae2", mask=line)
            return page
        case "crayon-5.jpg":
            page = sheet(rng, (500, 700), "#faf1d6", (3, 0.03))
            line = rough(rng, trace(name, page.size, (110, 150), 390, 36), 3, 150, 6, 5)
            page.paste("#cc262c", mask=line)
            return page
        case "pencil-4.png":
            line = rough(rng, trace(name, (600, 600), (160, 120), 350, 8), 2, 128, 3.5, 1)
            return line.point(lambda v: 255 - v // 3)
        case "ink-8.png":
            page = Image.new("RGBA", (300, 400), "#162268")
            page.putalpha(trace(name, page.size, (65, 75), 240, 16, pressed))
            return page
        case "mouse-0.png":
            line = trace(name, (200, 200), (52, 38), 122, 6, scale=1, steps=2)
            return ImageOps.invert(line).convert("1")
        case "tablet-6.png":
            return trace(name, (256, 256), (75, 38), 175, 23, pressed)
        case "tiny-9.png":
            return trace(name, (28, 28), (8.2, 5.4), 17, 2.5, scale=16)
        case "sideways-1.jpg":
            page = sheet(rng, (480, 640), "#f0efea", (1, 0.06), (80, 0.04))
            page.paste("#1a1a1c", mask=trace(name, page.size, (140, 130), 360, 26))
            page = lit(page, [(315, 0), (480, 0), (480, 640), (410, 640)], 70, 50)
            return page.filter(ImageFilter.GaussianBlur(0.8)).transpose(Image.Transpose.ROTATE_90)
        case "brush-3.png":
            page = sheet(rng, (700, 500), "#fae8b4")
            page = lit(page, [(470, 150), (590, 80), (680, 200), (580, 340), (480, 270)], 34, 26)
            page.paste("#3e2416", mask=trace(name, page.size, (200, 80), 340, 40, slanted))
            return page.quantize(64)
        case _:  # palette-4.gif
            line = trace(name, (320, 320), (70, 55), 205, 15)
            return ImageOps.colorize(line, "#fffacd", "#2452be").quantize(16)


def main() -> None:
    """Write every picture; the sideways one is stored turned, as a phone stores a photograph."""
    OUTPUT.mkdir(exist_ok=True)
    for name in STROKES:
        exif = Image.Exif()
        if name == "sideways-1.jpg":
            exif[ExifTags.Base.Orientation] = 6
        paint(name).save(OUTPUT / name, quality=80, optimize=True, exif=exif)


if __name__ == "__main__":
    main()
