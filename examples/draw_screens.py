"""Draw examples/screens: pictures that no camera took, which f should leave as they are.

    python examples/draw_screens.py

Their letters are those of DejaVu and Liberation, which must be installed. ``photos`` was trained
on others, so what it does to these shows what it does to any.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
SIZE = WIDTH, HEIGHT = 256, 192
TEXT = """
    Nothing in this folder was seen by a camera: 16 lines (or 8), 3.50 a piece = 100 % of [it]; who
    asks "why?" may read on, page 27, and so on & so forth.
"""
WORDS = TEXT.split()


def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(f"{name}.ttf", size)


def page(
    name: str, size: int, ink: str, paper: str, mark: str = "", hard: bool = False
) -> Image.Image:
    """Fill a page with words, every ninth in another colour. hard: without smooth edges."""
    sheet = Image.new("RGB", SIZE, paper)
    draw, letters, number = ImageDraw.Draw(sheet), font(name, size), size
    draw.fontmode = "1" if hard else "L"
    for top in range(5, HEIGHT, round(1.35 * size)):
        left = 6.0
        while left < WIDTH:
            word = WORDS[number % len(WORDS)]
            colour = mark if mark and number % 9 == 3 else ink
            draw.text((left, top), word, colour, letters)
            left += draw.textlength(word + " ", letters)
            number += 1
    return sheet


def dialog() -> Image.Image:
    """Draw a window with a bar, fields and buttons."""
    sheet = Image.new("RGB", SIZE, "#f3f4f7")
    draw, small = ImageDraw.Draw(sheet), font("LiberationSans-Regular", 12)
    draw.rectangle((0, 0, WIDTH, 27), "#243458")
    draw.text((9, 6), "Preferences – General", "white", font("LiberationSans-Bold", 14))
    for row, fill in enumerate(("#5a6fb0", "#2f8f5b", "#b04a3a", "#8a6d1f")):
        top = 35 + 39 * row
        draw.rounded_rectangle((9, top, 160, top + 29), 6, "white", "#bec3cd")
        draw.text((17, top + 8), " ".join(WORDS[4 * row : 4 * row + 3]), "#282828", small)
        draw.rounded_rectangle((172, top, 246, top + 29), 8, fill)
        draw.text((184, top + 8), WORDS[3 * row].upper(), "white", font("DejaVuSans-Bold", 11))
        draw.line((9, top + 34, 246, top + 34), "#dcdee4")
    return sheet


def table() -> Image.Image:
    """Draw a sheet of numbers between thin lines."""
    sheet = Image.new("RGB", SIZE, "white")
    draw, small = ImageDraw.Draw(sheet), font("LiberationSans-Regular", 11)
    numbers = np.random.default_rng(3).integers(0, 100_000, (11, 4)) / 100
    for row, values in enumerate(numbers):
        draw.line((0, 19 * row, WIDTH, 19 * row), "#cdcdcd")
        for column, value in enumerate(values):
            draw.line((64 * column, 0, 64 * column, HEIGHT), "#cdcdcd")
            ink = "black" if column else "#143ca0"
            draw.text((64 * column + 6, 19 * row + 3), f"{value:.2f}", ink, small)
    return sheet


def chart() -> Image.Image:
    """Draw two thin curves, a grid and its labels."""
    sheet = Image.new("RGB", SIZE, "white")
    draw, small = ImageDraw.Draw(sheet), font("DejaVuSans", 10)
    draw.text((70, 5), "Degrees by day, °C", "black", font("DejaVuSans-Bold", 12))
    for step in range(6):
        draw.line((30, 170 - 28 * step, 250, 170 - 28 * step), "#e1e1e1")
        draw.text((8, 164 - 28 * step), f"{10 * step}", "black", small)
        draw.text((32 + 38 * step, 174), f"{3 + step} May", "black", small)
    x = np.arange(31, 250)
    for period, colour, wide in ((27, "#c82828", 2), (19, "#1e5ac8", 1)):
        y = 100 + 50 * np.sin(x / period)
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), colour, wide)
    draw.line((30, 25, 30, 170, 250, 170), "black")
    return sheet


def pixels() -> Image.Image:
    """Draw large squares of six colours."""
    rng = np.random.default_rng(5)
    squares = rng.integers(0, 256, (6, 3), np.uint8)[rng.integers(0, 6, (12, 16))]
    return Image.fromarray(squares).resize(SIZE, Image.Resampling.NEAREST)


SCREENS: dict[str, Callable[[], Image.Image]] = {
    "article": lambda: page("LiberationSans-Regular", 13, "#141414", "white", "#1e3cbe"),
    "book": lambda: page("LiberationSerif-Regular", 16, "black", "#fafaf5"),
    "terminal": lambda: page("DejaVuSansMono", 12, "#dcdcdc", "#1e1e24", "#78c878"),
    "footnotes": lambda: page("LiberationSans-Regular", 9, "black", "white"),
    "heading": lambda: page("LiberationSerif-Bold", 30, "#781414", "white"),
    "old-screen": lambda: page("DejaVuSans", 11, "black", "#d4d0c8", hard=True),
    "dialog": dialog, "table": table, "chart": chart, "pixels": pixels,
}  # fmt: skip


def main() -> None:
    """Write them, with the colours of a palette of 16, which keeps their files small."""
    folder = HERE / "screens"
    folder.mkdir(exist_ok=True)
    for name, draw in SCREENS.items():
        palette = draw().quantize(16, dither=Image.Dither.NONE)
        palette.save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
