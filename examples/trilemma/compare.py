"""The trilemma measured: quality, coverage and cost of seven ways to make digits, and of f.

    pip install 'make-it-real[trilemma]'
    OMP_NUM_THREADS=1 python examples/trilemma/compare.py MNIST -o runs/trilemma --minutes 30

trains every system for so many minutes of processor time on MNIST's train images, lets each make
10,000 images in each of its ways, and measures them all against the 10,000 test images, in the
features of the bundled digit classifier. What is done is kept in the folder and not done again,
so that the command can be stopped and repeated; ``--only gan vae`` does a part, to train two side
by side, one thread each. It writes table.md, trilemma.json and trilemma.png there.

Damaged digits are repaired by what can: f and the paper's in one evaluation, a VAE by encoding and
decoding, a consistency model as if they were noisy, DDPM as SDEdit does.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import consistency
import ddpm
import diffusion_gan
import gan
import idempotent
import torch
import vae
from common import BATCH, CLASSES, System, Way, restore, train
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import load_file, save_file
from torch import Tensor

from make_it_real import data, extractors, images, metrics
from make_it_real.data import ImageSet
from make_it_real.degradations import degraded
from make_it_real.extractors import Extractor, collect

SYSTEMS: dict[str, Callable[[ImageSet], System]] = {
    "gan": lambda _: gan.system(),
    "vae": lambda _: vae.system(),
    "diffusion-gan": lambda _: diffusion_gan.system(),
    "consistency": lambda _: consistency.system(),
    "ddpm": lambda _: ddpm.system(),
    "guided-ddpm": lambda _: ddpm.system(guided=True),
    "paper": idempotent.paper,
    "mir": idempotent.projector,
}
DAMAGE = (("noise", 0.5), ("mask", 0.25), ("low-resolution", 4.0), ("pixelate", 4.0))
CHUNK, REPAIRED = 500, 1_000
Row = dict[str, Any]


def made(way: Way, n: int, folder: Path) -> tuple[Tensor, float]:
    """(n images of a way, seconds of processor time for 1,000), kept in chunks in the folder."""
    parts, seconds = [], 0.0
    for chunk in range(math.ceil(n / CHUNK)):
        path = folder / f"{way.name.replace(' ', '-')}-{chunk:03}.safetensors"
        if not path.exists():
            began = time.process_time()
            drawn = way.draw(CHUNK, torch.Generator().manual_seed(1_000_000 + chunk))
            took = torch.tensor(time.process_time() - began)
            folder.mkdir(parents=True, exist_ok=True)
            save_file({"images": images.to_pixels(drawn), "seconds": took}, path)
        kept = load_file(path)
        parts.append(images.to_images(kept["images"]))
        seconds += float(kept["seconds"])
    return torch.cat(parts)[:n], 1000 * seconds / (CHUNK * len(parts))


def measured(y: Tensor, real: Tensor, judge: Extractor) -> Row:
    """The figures of images against the features of real ones."""
    features, classes = collect(judge, y, 250)
    assert classes is not None
    found = metrics.overlap(real, features)
    shares = torch.bincount(classes, minlength=CLASSES) / len(y)
    return {
        "fd": metrics.frechet_distance(features, real),
        "precision": float(found.precision.mean()), "recall": float(found.recall.mean()),
        "density": float(found.density.mean()), "coverage": float(found.coverage.mean()),
        "rarest": float(shares.min()), "commonest": float(shares.max()), "n": len(y),
    }  # fmt: skip


def repairs(way: Way, test: ImageSet, judge: Extractor) -> Row:
    """PSNR and the share read right, before and after, a kind of damage each."""
    assert way.repair is not None
    assert test.labels is not None
    x, labels = images.to_images(test.pixels[:REPAIRED]), test.labels[:REPAIRED]
    row: Row = {"evaluations": way.repair_evaluations}
    for kind, level in DAMAGE:
        damaged = degraded(x, kind, level, generator=torch.Generator().manual_seed(0))
        y = way.repair(damaged, torch.Generator().manual_seed(1))
        for name, each in (("before", damaged), ("after", y)):
            read = collect(judge, each, 250)[1]
            assert read is not None
            right = float((read == labels).float().mean())
            row[f"{kind}_{name}"] = float(metrics.psnr(each, x).clamp_max(100).mean()), right
    return row


def table(rows: list[Row]) -> str:
    """The page's two tables in Markdown."""
    lines = [
        "| | parameters | evaluations an image | Fréchet distance | precision | recall | density "
        "| coverage | rarest, commonest class | CPU s for 1,000 | images |",
        "| --- |" + " --- |" * 10,
    ]
    for row in rows:
        lines.append(
            f"| {row['name']} | {row['parameters']:,} | {row['evaluations']:,} | {row['fd']:.2f} "
            f"| {row['precision']:.3f} | {row['recall']:.3f} | {row['density']:.2f} "
            f"| {row['coverage']:.3f} | {row['rarest']:.1%}, {row['commonest']:.1%} "
            f"| {row['seconds']:.2f} | {row['n']:,} |"
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


def plot(rows: list[Row], sheets: dict[str, Tensor]) -> Image.Image:
    """Fréchet distance against evaluations, recall as colour; below, images of each way."""
    width, height, left, top, cell = 1100, 620, 80, 30, 168
    per_line = 6
    lines = math.ceil(len(sheets) / per_line)
    picture = Image.new("RGB", (width, height + lines * (cell + 30)), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    decades = math.log10(max(row["evaluations"] for row in rows)) + 0.3
    logs = [math.log10(row["fd"]) for row in rows]
    low, high = min(logs) - 0.15, max(logs) + 0.15

    def x(evaluations: float) -> float:
        return left + 30 + (width - left - 250) * math.log10(evaluations) / decades

    def y(fd: float) -> float:
        return top + (height - top - 60) * (high - math.log10(fd)) / (high - low)

    for power in range(math.ceil(decades)):
        draw.line([(x(10**power), top), (x(10**power), height - 60)], (230, 230, 230))
        draw.text((x(10**power), height - 52), f"{10**power:,}", "black", font, anchor="ma")
    for fd in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if low < math.log10(fd) < high:
            draw.line([(left, y(fd)), (width - 40, y(fd))], (230, 230, 230))
            draw.text((left - 8, y(fd)), str(fd), "black", font, anchor="rm")
    draw.text((left, 6), "Fréchet distance (digits)", "black", font)
    axis = "network evaluations an image; colour: recall, 0 red to 1 green"
    draw.text((width - 40, height - 28), axis, "black", font, anchor="ra")
    for row in rows:
        at, share = (x(row["evaluations"]), y(row["fd"])), row["recall"]
        colour = round(220 * (1 - share)), round(60 + 120 * share), 60
        draw.ellipse([at[0] - 7, at[1] - 7, at[0] + 7, at[1] + 7], colour, "black")
        draw.text((at[0] + 12, at[1]), row["name"], "black", font, anchor="lm")
    for i, (name, sheet) in enumerate(sheets.items()):
        corner = 20 + i % per_line * (cell + 10), height + i // per_line * (cell + 30)
        draw.text(corner, name, "black", font)
        shown = images.to_pillow(sheet).convert("RGB").resize((cell, cell))
        picture.paste(shown, (corner[0], corner[1] + 22))
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path, help="a folder of MNIST's IDX files")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--n", type=int, default=10_000, help="images of each way")
    parser.add_argument(
        "--n-slow", type=int, help="images of ways with over 100 evaluations [as --n]"
    )
    parser.add_argument("--only", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    asked = parser.parse_args()
    given, test = data.load(asked.data, "train"), data.load(asked.data, "test")
    judge = extractors.load("digits", 1, 28)
    assert judge is not None
    assert given.labels is not None
    real, _ = collect(judge, images.to_images(test.pixels), 250)
    floor = measured(images.to_images(given.pixels[: asked.n]), real, judge)
    nothing = {"name": "real train images", "parameters": 0, "evaluations": 0, "seconds": 0.0}
    rows: list[Row] = [nothing | floor]
    sheets: dict[str, Tensor] = {}
    for key in asked.only:
        torch.manual_seed(0)
        system, path = SYSTEMS[key](given), asked.output / f"{key}.safetensors"
        if not path.exists():
            train(system, given.pixels, given.labels, asked.minutes, path)
        restore(system, path)
        print(
            f"{system.name}: {system.parameters:,} parameters, {system.steps:,} steps", flush=True
        )
        for way in system.ways():
            n = asked.n if way.evaluations <= 100 else asked.n_slow or asked.n
            y, seconds = made(way, n, asked.output / "made")
            row: Row = {
                "name": way.name, "parameters": system.parameters, "steps": system.steps,
                "batch": BATCH, "evaluations": way.evaluations, "seconds": seconds,
            }  # fmt: skip
            row |= measured(y, real, judge)
            if way.repair is not None:
                row["repair"] = repairs(way, test, judge)
            rows.append(row)
            sheets[way.name] = images.grid(y[:36], columns=6)
            print(f"  {way.name}: fd {row['fd']:.2f}, recall {row['recall']:.3f}", flush=True)
    about = {"minutes": asked.minutes, "judge": judge.version, "threads": torch.get_num_threads()}
    text = json.dumps({"about": about, "rows": rows}, indent=1)
    (asked.output / "trilemma.json").write_text(text + "\n", encoding="utf-8")
    (asked.output / "table.md").write_text(table(rows), encoding="utf-8")
    networks = [row for row in rows if row["evaluations"]]
    plot(networks, sheets).save(asked.output / "trilemma.png", optimize=True)
    print(table(rows))


if __name__ == "__main__":
    main()
