"""Draw the clothes in ``examples/clothes``: twelve small drawings on white paper.

Half are filled with a colour, half are outlines. A garment is drawn from its left half, which is
mirrored, a shoe from its whole outline; curves are smoothed, and bent a little as a hand would, so
that every run writes the same pictures.

Usage: python examples/draw_clothes.py
"""

import math
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw

Point = tuple[float, float]
Line = list[Point]

OUTPUT = Path(__file__).parent / "clothes"
SCALE = 4

# Left halves on a grid that is 100 units tall, x from the middle, y down.
HALVES: dict[str, Line] = {
    "t-shirt": [
        (0, 8), (-8, 6), (-13, 1), (-24, 4), (-34, 9), (-44, 32), (-30, 39), (-26, 34),
        (-27, 68), (-27, 98), (0, 100),
    ],
    "pullover": [
        (0, 4), (-7, 3), (-10, 0), (-24, 5), (-32, 14), (-38, 50), (-41, 88), (-32, 91),
        (-26, 60), (-23, 40), (-24, 70), (-24, 98), (0, 99),
    ],
    "trousers": [
        (0, 0), (-17, 0), (-19, 15), (-21, 50), (-20, 100), (-7, 100), (-4, 60), (0, 26),
    ],
    "dress": [
        (0, 14), (-6, 10), (-9, 0), (-13, 0), (-14, 12), (-16, 22), (-13, 38), (-19, 66),
        (-26, 98), (0, 100),
    ],
    "bag": [
        (0, 34), (-30, 34), (-42, 36), (-45, 66), (-46, 94), (-38, 98), (0, 99),
    ],
}  # fmt: skip
# Whole outlines, toes to the left.
SHOES: dict[str, Line] = {
    "sneaker": [
        (2, 40), (1, 30), (10, 24), (26, 19), (40, 8), (50, 0), (58, 4), (68, 8), (80, 6), (92, 1),
        (97, 4), (98, 22), (99, 40), (60, 42), (30, 42),
    ],
    "boot": [
        (2, 78), (3, 66), (18, 56), (40, 46), (46, 30), (44, 2), (68, 0), (93, 3), (91, 34),
        (94, 60), (96, 80), (66, 81), (60, 76), (30, 79),
    ],
}  # fmt: skip
# What is drawn on top: seams, laces, soles. Those of garments are mirrored too.
SEAMS: dict[str, list[Line]] = {
    "t-shirt": [[(0, 14), (-8, 11), (-13, 1)], [(-29, 17), (-26, 34)]],
    "pullover": [[(0, 9), (-7, 7), (-10, 0)], [(-26, 18), (-23, 40)], [(-24, 92), (0, 93)]],
    "trousers": [[(-18, 7), (0, 7)], [(0, 7), (0, 26)], [(-9, 8), (-18, 19)]],
    "dress": [[(-13, 38), (0, 40)], [(-9, 46), (-14, 96)]],
    "bag": [[(-43, 50), (0, 54)]],
    "sneaker": [
        [(1, 33), (30, 35), (70, 34), (99, 33)], [(28, 19), (36, 26)], [(34, 14), (42, 21)],
        [(40, 9), (49, 17)], [(52, 14), (66, 34)],
    ],
    "boot": [
        [(2, 72), (30, 73), (62, 70), (95, 74)], [(45, 12), (56, 13)], [(46, 24), (58, 26)],
        [(45, 36), (58, 40)],
    ],
}  # fmt: skip

# Each picture's fill and line colours; without a fill it is an outline.
CLOTHES: dict[str, tuple[str | None, str]] = {
    "t-shirt-navy": ("#1b2440", "#0c1020"),
    "t-shirt-outline": (None, "#202020"),
    "pullover-green": ("#3f7d54", "#24503a"),
    "trousers-blue": ("#4667a8", "#28406f"),
    "trousers-outline": (None, "#303a70"),
    "dress-red": ("#c8323c", "#7e1c24"),
    "dress-outline": (None, "#8a2a50"),
    "sneaker-orange": ("#e08a3c", "#7a4312"),
    "sneaker-outline": (None, "#101010"),
    "boot-brown": ("#6b4226", "#38200f"),
    "boot-outline": (None, "#3c2a1e"),
    "bag-black": ("#17171a", "#55555c"),
}


def smooth(points: Line, steps: int = 12) -> Line:
    """Sample the Catmull-Rom curve through ``points``, drawn in towards straight lines."""
    ends = [complex(*point) for point in (points[0], *points, points[-1])]
    curve = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        for t in (i / steps for i in range(steps)):
            bow = 2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)
            round_ = b + t * (c - a + t * bow) / 2
            curve.append((round_ + b + t * (c - b)) / 2)
    return [(z.real, z.imag) for z in (*curve, ends[-1])]


def mirrored(half: Line) -> Line:
    """A left half, from the middle's top to its bottom, and its mirror image back up."""
    return [*half, *((-x, y) for x, y in reversed(half))]


def lines(kind: str) -> tuple[list[Line], list[Line]]:
    """The closed outlines of a kind, and the lines on top of them."""
    seams = [smooth(seam) for seam in SEAMS[kind]]
    if kind in SHOES:
        return [smooth([*SHOES[kind], SHOES[kind][0]])], seams
    return [mirrored(smooth(HALVES[kind]))], seams + [[(-x, y) for x, y in s] for s in seams]


def draw(name: str) -> Image.Image:
    """Draw the named picture."""
    kind = name.rpartition("-")[0]
    fill, colour = CLOTHES[name]
    random = Random(name)
    size = (random.randrange(260, 380), random.randrange(260, 380))
    page = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), "white")
    pen = ImageDraw.Draw(page)
    phases = [random.uniform(0, 6.28) for _ in range(4)]
    shoe = kind in SHOES
    unit = 0.72 * min(size) / 100 * SCALE
    origin = ((size[0] / 2 * SCALE - 50 * unit * shoe), 0.13 * size[1] * SCALE)
    if shoe:
        origin = (origin[0], 0.3 * size[1] * SCALE - (kind == "boot") * 0.15 * size[1] * SCALE)

    def bent(line: Line) -> Line:
        """The line on the page, with a slow sway."""
        placed = []
        for x, y in line:
            sway = 0.7 * math.sin(0.09 * y + phases[0]) + 0.3 * math.sin(0.31 * y + phases[1])
            lift = 0.7 * math.sin(0.08 * x + phases[2]) + 0.3 * math.sin(0.27 * x + phases[3])
            placed.append((origin[0] + (x + sway) * unit, origin[1] + (y + lift) * unit))
        return placed

    width = round((2.4 if fill else 3.2) * SCALE)
    outlines, seams = lines(kind)
    if kind == "bag":
        handle = bent(mirrored(smooth([(-22, 36), (-20, 14), (-8, 3), (0, 2)])[::-1]))
        pen.line(handle, fill=fill or colour, width=round(5 * unit), joint="curve")
    for outline in map(bent, outlines):
        if fill:
            pen.polygon(outline, fill=fill)
        pen.line([*outline, outline[0]], fill=colour, width=width, joint="curve")
    for seam in map(bent, seams):
        pen.line(seam, fill=colour, width=width * 3 // 4, joint="curve")
    return page.resize(size, Image.Resampling.LANCZOS).quantize(32)


def main() -> None:
    """Write every picture."""
    OUTPUT.mkdir(exist_ok=True)
    for name in CLOTHES:
        draw(name).save(OUTPUT / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
