"""The page that shows what was measured: tables, what was expected of f, and a picture."""

import math
from collections.abc import Iterable
from typing import Any

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from make_it_real.images import encode

DAMAGE = (("noise", 0.5), ("mask", 0.25), ("low-resolution", 4.0), ("pixelate", 4.0))
F, SLOWEST = "mir", "DDPM, 1,000 steps"
WITHIN = 2.0
WIDTH, HEIGHT, LEFT, TOP, SHEET, SHEETS_A_LINE = 1100, 620, 80, 30, 168, 6
LINE = 19
Row = dict[str, Any]


def tables(rows: list[Row]) -> str:
    """What each makes, and what each makes of damaged images, in Markdown."""
    lines = [
        "| | parameters | steps | evaluations an image | Fréchet distance | precision | recall "
        "| density | coverage | rarest, commonest class | s for 1,000 | images |",
        "| --- |" + " --- |" * 11,
    ]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['parameters']:,} | {row['steps']:,} "
            f"| {row['evaluations']:,} | {row['fd']:.2f} "
            f"| {row['precision']:.3f} | {row['recall']:.3f} | {row['density']:.2f} "
            f"| {row['coverage']:.3f} | {row['rarest']:.1%}, {row['commonest']:.1%} "
            f"| {row['seconds']:{',.0f' if row['seconds'] > 999 else '.3g'}} | {row['n']:,} |"
        )
    head = " | ".join(f"{kind} {level:g}" for kind, level in DAMAGE)
    lines += ["", f"| PSNR (dB), read right | evaluations | {head} |", "| --- |" + " --- |" * 5]
    able = [row for row in rows if "repair" in row]

    def cells(repair: Row, when: str) -> str:
        found = (repair[f"{kind}_{when}"] for kind, _ in DAMAGE)
        return " | ".join(f"{psnr:.1f}, {right:.1%}" for psnr, right in found)

    if able:
        lines.append(f"| damaged | 0 | {cells(able[0]['repair'], 'before')} |")
    for row in able:
        repair = row["repair"]
        lines.append(f"| {row['name']} | {repair['evaluations']} | {cells(repair, 'after')} |")
    return "\n".join(lines) + "\n"


def _beats(f: Row, others: list[Row], name: str, sign: int) -> str:
    best = max(others, key=lambda row: sign * row[name])
    word = "yes" if sign * (f[name] - best[name]) > 0 else "**no**"
    return f"{word}, {f[name]:.3g}; the best other, {best['name']}, {best[name]:.3g}"


def expectations(rows: list[Row]) -> str:
    """What was expected of f before anything was measured, and what was found, in Markdown.

    Only what the rows can say: nothing without f, no line without its rivals.
    """
    named = {row["name"]: row for row in rows}
    if F not in named:
        return ""
    f = named[F]
    others = [row for row in rows if row["evaluations"] == 1 and row is not f]
    lines = ["| expected of f in one evaluation | found |", "| --- | --- |"]
    if others:
        of = "than every other in one evaluation"
        lines.append(f"| a smaller Fréchet distance {of} | {_beats(f, others, 'fd', -1)} |")
        lines.append(f"| a larger recall {of} | {_beats(f, others, 'recall', 1)} |")
    if slow := named.get(SLOWEST):
        # Fewer images alone make a distance larger: both are of as many.
        fewer = slow["n"] < f["n"]
        fd = f["fd_few"] if fewer else f["fd"]
        times = fd / slow["fd"]
        word = "**no**" if times > WITHIN else "yes"
        of = f", each of {slow['n']:,} images" if fewer else ""
        lines.append(
            f"| a Fréchet distance within {WITHIN:g} times that of {SLOWEST}, at a thousandth of "
            f"its evaluations | {word}, {fd:.2f} is {times:.2g} times {slow['fd']:.2f}{of} |"
        )
    repairing = [r for r in rows if "repair" in r and r["repair"]["evaluations"] == 1]
    also = [row for row in repairing if row is not f]
    if "repair" in f and also:
        best = []
        for i, unit in enumerate(("PSNR", "digits read right")):
            won = sum(
                f["repair"][f"{kind}_after"][i] > max(r["repair"][f"{kind}_after"][i] for r in also)
                for kind, _ in DAMAGE
            )
            best.append(f"the best {unit} in {won} of {len(DAMAGE)} kinds")
        names = ", ".join(row["name"] for row in also)
        lines.append(
            f"| the only one that repairs in one evaluation | **no**, so can {names}; "
            f"f has {' and '.join(best)} |"
        )
    return "\n".join(lines) + "\n"


def text(rows: list[Row], about: Row) -> str:
    """The whole page in Markdown."""
    counts = sorted({row["n"] for row in rows})
    many = " or ".join(f"{n:,}" for n in counts)
    few = sorted({row["name"] for row in rows if row["n"] < counts[-1]})
    fewer = (
        f" Those of {' and '.join(few)} are fewer, which alone makes a distance larger."
        if few
        else ""
    )
    python, of, by = f"OMP_NUM_THREADS={about['threads']} python", "processor time", "one thread"
    if about["gpu"]:
        python, of, by = "python", f"one {about['gpu']}", "that GPU, with nothing beside it,"
        if about["workers"] > 1:
            of += f" shared by {about['workers']} at a time"
    return f"""# The trilemma, measured

Written by `compare.py`, all from one run of it:

    pip install 'make-it-real[trilemma]'
    {python} examples/trilemma/compare.py mnist -o runs/trilemma \\
        {about["options"]}

Each system had {about["minutes"]:g} minutes of {of}, on MNIST's training images, about as
many parameters as f, and batches of the same number of images. {many} images
of each are compared with the {about["tested"]:,} test images in the features of a classifier of
digits ({about["judge"]}).{fewer}
The first row is training images instead: no system need be better.
Times are of {by} in bfloat16. Repairs are of {about["repaired"]:,} test images.

{expectations(rows)}
{tables(rows)}
![Fréchet distance against evaluations, and images of each](trilemma.webp)
"""


def apart(wanted: Iterable[float], step: float) -> list[float]:
    """Places from top to bottom near those wanted, none nearer than a step to another."""
    order = sorted(enumerate(wanted), key=lambda pair: pair[1])
    places = [0.0] * len(order)
    free = -math.inf
    for i, place in order:
        places[i] = max(place, free)
        free = places[i] + step
    return places


def plot(rows: list[Row], sheets: dict[str, Tensor]) -> Image.Image:
    """Fréchet distance against evaluations, recall as colour; below, images of each way."""
    rows = [row for row in rows if row["evaluations"]]
    lines = math.ceil(len(sheets) / SHEETS_A_LINE)
    picture = Image.new("RGB", (WIDTH, HEIGHT + lines * (SHEET + 30)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    decades = math.log10(max(row["evaluations"] for row in rows)) + 0.3
    logs = [math.log10(row["fd"]) for row in rows]
    low, high = min(logs) - 0.15, max(logs) + 0.15

    def x(evaluations: float) -> float:
        return LEFT + 30 + (WIDTH - LEFT - 250) * math.log10(evaluations) / decades

    def y(fd: float) -> float:
        return TOP + (HEIGHT - TOP - 60) * (high - math.log10(fd)) / (high - low)

    for power in range(math.ceil(decades)):
        draw.line([(x(10**power), TOP), (x(10**power), HEIGHT - 60)], (230, 230, 230))
        draw.text((x(10**power), HEIGHT - 52), f"{10**power:,}", "black", font, anchor="ma")
    for fd in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if low < math.log10(fd) < high:
            draw.line([(LEFT, y(fd)), (WIDTH - 40, y(fd))], (230, 230, 230))
            draw.text((LEFT - 8, y(fd)), str(fd), "black", font, anchor="rm")
    # Without an accent, which the font that comes with Pillow lacks.
    draw.text((LEFT, 6), "Frechet distance (digits)", "black", font)
    axis = "network evaluations an image; colour: recall, 0.5 red to 1 green"
    draw.text((WIDTH - 40, HEIGHT - 28), axis, "black", font, anchor="ra")
    for evaluations in {row["evaluations"] for row in rows}:
        beside = [row for row in rows if row["evaluations"] == evaluations]
        labels = apart([y(row["fd"]) for row in beside], LINE)
        for row, label in zip(beside, labels, strict=True):
            at, share = (x(evaluations), y(row["fd"])), max(0.0, 2 * row["recall"] - 1)
            colour = round(220 * (1 - share)), round(60 + 120 * share), 60
            draw.line([at, (at[0] + 20, label)], (150, 150, 150))
            draw.ellipse([at[0] - 7, at[1] - 7, at[0] + 7, at[1] + 7], colour, "black")
            draw.text((at[0] + 22, label), row["name"], "black", font, anchor="lm")
    for i, (name, sheet) in enumerate(sheets.items()):
        corner = (
            20 + i % SHEETS_A_LINE * (SHEET + 10),
            HEIGHT + i // SHEETS_A_LINE * (SHEET + 30),
        )
        draw.text(corner, name, "black", font)
        shown = encode.to_pillow(sheet).convert("RGB").resize((SHEET, SHEET))
        picture.paste(shown, (corner[0], corner[1] + 22))
    return picture
