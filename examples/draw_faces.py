"""Draw faces as hands draw them: with a pen, in blocks of colour, with a pencil, as a doodle.

    python examples/draw_faces.py FOLDER

Each lies in its square as the faces lie that ``faces`` was trained on. ``make_faces.py`` shows what
f makes of them. Every run draws the same pictures.
"""

import math
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFilter

SIDE = 256
# Drawn larger and reduced, so that strokes have smooth edges.
DETAIL = 3

Point = tuple[float, float]
Colour = tuple[int, int, int]
EYES: tuple[Point, Point] = ((90, 114), (166, 114))
BLACK: Colour = (25, 25, 30)


class Sheet:
    """A sheet of paper, in units of its 256×256 pixels, and a hand that is a little unsteady."""

    def __init__(self, paper: Colour, unsteady: float, seed: int) -> None:
        self.image = Image.new("RGB", (SIDE * DETAIL,) * 2, paper)
        self.draw = ImageDraw.Draw(self.image)
        self.random, self.unsteady = Random(seed), unsteady

    def stroke(self, points: Iterable[Point], width: float, colour: Colour = BLACK) -> None:
        """Draw a line through points, round at its ends."""
        moved = [self._moved(x, y) for x, y in points]
        self.draw.line(moved, colour, round(width * DETAIL), joint="curve")
        r = width * DETAIL / 2
        for x, y in (moved[0], moved[-1]):
            self.draw.ellipse((x - r, y - r, x + r, y + r), colour)

    def fill(self, points: Iterable[Point], colour: Colour) -> None:
        self.draw.polygon([self._moved(x, y) for x, y in points], colour)

    def finished(self) -> Image.Image:
        return self.image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)

    def _moved(self, x: float, y: float) -> Point:
        gauss = self.random.gauss
        return (x + gauss(0, self.unsteady)) * DETAIL, (y + gauss(0, self.unsteady)) * DETAIL


def arc(
    x: float, y: float, across: float, down: float, start: float = 0, end: float = 360
) -> list[Point]:
    """Return points on an ellipse between two angles in degrees, clockwise from its right."""
    steps = max(8, int(abs(end - start) / 8))
    angles = [math.radians(start + (end - start) * i / steps) for i in range(steps + 1)]
    return [(x + across * math.cos(a), y + down * math.sin(a)) for a in angles]


def pen() -> Image.Image:
    """Lines alone, in black on white."""
    sheet = Sheet((255, 255, 255), 0.4, 1)
    sheet.stroke(arc(128, 138, 68, 92, -20, 200), 4)
    sheet.stroke(arc(128, 108, 82, 84, 160, 380), 4)
    sheet.stroke(arc(104, 72, 66, 34, 10, 120), 4)
    for side, (x, y) in zip((-1, 1), EYES, strict=True):
        sheet.stroke(arc(x, y, 15, 8), 3)
        sheet.stroke(arc(x, y, 4, 5), 5)
        sheet.stroke([(x - 18, y - 19 - side), (x, y - 25), (x + 18, y - 19 + side)], 5)
    sheet.stroke([(126, 118), (119, 152), (130, 157), (138, 153)], 3)
    sheet.stroke([(102, 186), (120, 181), (128, 184), (136, 181), (154, 186)], 3)
    sheet.stroke(arc(128, 184, 26, 13, 5, 175), 3)
    for x in (96, 160):
        sheet.stroke([(x, 222), (x + (x - 128) * 0.1, 256)], 4)
    return sheet.finished()


def blocks() -> Image.Image:
    """Even areas of colour: as a child cuts them out of paper."""
    sheet = Sheet((120, 160, 185), 0.3, 2)
    hair, skin = (78, 48, 30), (226, 178, 148)
    sheet.fill(arc(128, 120, 92, 104), hair)
    sheet.fill([(48, 120), (208, 120), (222, 256), (34, 256)], hair)
    sheet.fill([(98, 200), (158, 200), (166, 256), (90, 256)], (205, 156, 126))
    sheet.fill(arc(128, 138, 64, 90), skin)
    sheet.fill(arc(128, 74, 66, 40, 170, 370), hair)
    for x, y in EYES:
        sheet.fill(arc(x, y, 15, 7), (245, 242, 238))
        sheet.fill(arc(x, y, 7, 7), (60, 42, 34))
        sheet.fill([(x - 20, y - 22), (x + 20, y - 22), (x + 18, y - 16), (x - 18, y - 16)], hair)
    sheet.fill([(126, 122), (114, 158), (142, 158)], (206, 152, 122))
    sheet.fill(arc(128, 186, 28, 11), (178, 74, 74))
    return sheet.finished()


def pencil() -> Image.Image:
    """Many soft strokes, light and dark, on toned paper."""
    sheet = Sheet((226, 220, 210), 0.8, 3)
    random = sheet.random

    def hatch(inside: Callable[[float, float], bool], n: int, grey: int, slope: float) -> None:
        for _ in range(n):
            x, y, long = random.uniform(20, 236), random.uniform(6, 250), random.uniform(8, 22)
            if inside(x, y):
                tone = max(20, min(235, int(random.gauss(grey, 14))))
                way = slope + random.gauss(0, 0.12)
                to = (x + long * math.cos(way), y + long * math.sin(way))
                sheet.stroke([(x, y), to], 1.3, (tone, tone, tone))

    def face(x: float, y: float) -> bool:
        return ((x - 128) / 66) ** 2 + ((y - 140) / 90) ** 2 < 1

    def head(x: float, y: float) -> bool:
        return ((x - 128) / 88) ** 2 + ((y - 112) / 98) ** 2 < 1

    def near(across: float, down: float, x: float, y: float) -> bool:
        return abs(x - across) < 16 and abs(y - down) < 8

    hatch(lambda x, y: face(x, y) and x > 165, 260, 178, 1.9)
    hatch(lambda x, y: face(x, y) and y > 190, 160, 182, 2.4)
    hatch(lambda x, y: head(x, y) and (not face(x, y) or y < 74), 2600, 66, 1.4)
    sheet.stroke(arc(128, 140, 66, 90, -10, 190), 1.8, (95, 95, 95))
    for x, y in EYES:
        hatch(partial(near, x, y - 14), 420, 150, 0.2)
        sheet.stroke(arc(x, y, 15, 7, 180, 360), 2.6, (45, 45, 45))
        sheet.stroke(arc(x, y, 15, 6, 0, 180), 1.2, (110, 110, 110))
        sheet.fill(arc(x, y - 1, 6, 6), (40, 40, 40))
        sheet.stroke([(x - 20, y - 19), (x - 2, y - 25), (x + 19, y - 20)], 4, (70, 70, 70))
    sheet.stroke([(132, 120), (138, 150), (128, 158), (117, 154)], 1.8, (120, 120, 120))
    sheet.stroke([(102, 184), (120, 181), (128, 183), (136, 181), (154, 184)], 2.4, (70, 70, 70))
    sheet.stroke(arc(128, 184, 22, 11, 15, 165), 1.6, (120, 120, 120))
    for x in (98, 160):
        sheet.stroke([(x, 220), (x + (x - 128) * 0.2, 256)], 2, (110, 110, 110))
    return sheet.finished().filter(ImageFilter.GaussianBlur(0.6))


def doodle() -> Image.Image:
    """A few wobbly lines of felt pens."""
    sheet = Sheet((252, 250, 244), 1.6, 4)
    sheet.stroke(arc(128, 136, 76, 88, 0, 365), 6, (40, 60, 160))
    for i in range(15):
        angle = math.radians(200 + 10 * i)
        root = (128 + 74 * math.cos(angle), 132 + 84 * math.sin(angle))
        tip = (128 + 98 * math.cos(angle + 0.1), 128 + 118 * math.sin(angle + 0.1))
        sheet.stroke([root, tip], 6, (150, 80, 30))
    for x, y in EYES:
        sheet.fill(arc(x, y, 9, 11), BLACK)
    sheet.stroke([(128, 130), (120, 156), (134, 158)], 5, (40, 60, 160))
    sheet.stroke(arc(128, 168, 38, 28, 20, 160), 7, (200, 40, 50))
    return sheet.finished()


DRAWINGS: dict[str, Callable[[], Image.Image]] = {
    "pen": pen, "blocks": blocks, "pencil": pencil, "doodle": doodle,
}  # fmt: skip


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        draw().save(folder / f"{name}.png")


if __name__ == "__main__":
    main()
