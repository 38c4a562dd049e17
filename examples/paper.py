"""Reproduce the paper's experiments with the bundled model: one page of figures, and numbers.

    python examples/paper.py                        # writes examples/paper.webp, prints rest
    python examples/paper.py --mnist mnist --fashion fashion-mnist     # and the score's AUROC
    python examples/paper.py --plain-loop 20000 --seeds 8              # and the plain loop

The page shows what the paper and its talk show: f(z) and f(f(z)); noise and sketch mended by
f and f∘f (and damage that the paper has not); the way from one z to another; arithmetic; and
f^k up to k = 300,000. Its digits are the model's own, so that it may be shared freely.
"""

import argparse
import time
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

import make_it_real
from make_it_real import installation
from make_it_real.data.dataset import load
from make_it_real.degradations.kinds import DEGRADATIONS, degraded, kept_out
from make_it_real.evaluation.classifier import DigitClassifier
from make_it_real.evaluation.evaluate import classes
from make_it_real.evaluation.metrics import auroc
from make_it_real.images import encode, pixels
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.inference import interpolation
from make_it_real.inference.projection import project
from make_it_real.inference.refinement import Refined, refine

HERE = Path(__file__).parent
COLUMNS = 16
SCALE = 2
# Levels of grey of the page: they halve the file, and the eye misses none.
LEVELS = 16
AT = (0, 1, 10, 20, 100, 1_000, 10_000, 100_000, 300_000)
DAMAGE = ("noise", "sketch", "mask", "salt-and-pepper", "scribbles", "low-resolution")
SUMS = ("3 - 5 + 8", "1 + 2", "10 - 4 + 21", "6 - 9 + 12")
AUROC = (
    ("noise", 0.15), ("noise", 0.3), ("salt-and-pepper", 0.2), ("jpeg", 5.0), ("sketch", 21.0),
    ("blur", 1.5), ("low-resolution", 4.0), ("mask", 0.25), ("scribbles", 3.0), ("pixelate", 4.0),
    ("contrast", 0.3), ("light", 0.5), ("thin", 1.0), ("glass", 1.5), ("scan", 0.8), ("lines", 3.0),
)  # fmt: skip


class Page:
    """Rows of images under headings, one below the other."""

    def __init__(self) -> None:
        self.parts: list[Image.Image] = []

    def add(self, heading: str, rows: Tensor, columns: int = COLUMNS) -> None:
        """A heading and the images (N, 1, S, S), in rows of ``columns``."""
        sheet = encode.to_pillow(pixels.grid(rows.cpu(), columns=columns))
        sheet = sheet.resize((sheet.width * SCALE, sheet.height * SCALE), Image.Resampling.NEAREST)
        part = Image.new("L", (COLUMNS * 30 * SCALE + 16, sheet.height + 44), 255)
        font = ImageFont.load_default(15)
        ImageDraw.Draw(part).text((8, 10), heading, 0, font)
        part.paste(sheet, (8, 36))
        self.parts.append(part)

    def write(self, path: Path) -> None:
        height = sum(part.height for part in self.parts)
        page = Image.new("L", (self.parts[0].width, height + 8), 255)
        y = 0
        for part in self.parts:
            page.paste(part, (0, y))
            y += part.height
        page = page.quantize(LEVELS, dither=Image.Dither.NONE).convert("L")
        page.save(path, lossless=True, method=6)


def draw_page(f: make_it_real.IGN, path: Path) -> None:
    """All experiments as pictures."""
    page = Page()
    z = f.source.from_seeds(range(COLUMNS))
    fz = project(f, z)
    page.add("generation: z, f(z), f(f(z))", torch.cat([z, fz, project(f, fz)]))
    x = make_it_real.generate(f, range(100, 100 + COLUMNS), steps=2)
    for kind in DAMAGE:
        generator = torch.Generator().manual_seed(0)
        Ax = degraded(x, kind, generator=generator)
        f_Ax = project(f, Ax)
        heading = f"{kind} {DEGRADATIONS[kind].default:g}: x, A(x), f(A(x)), f(f(A(x)))"
        page.add(heading, torch.cat([x, Ax, f_Ax, project(f, f_Ax)]))
    for a, b in ((3, 8), (2, 11)):
        ends = [interpolation.seed_operand(f, seed) for seed in (a, b)]
        way = interpolation.interpolate(f, ends, COLUMNS)
        page.add(f"from seed {a} to seed {b}, along an arc", torch.cat([way, project(f, way)]))
    for text in SUMS:
        terms = [
            (t.weight, interpolation.seed_operand(f, int(t.operand)))
            for t in interpolation.parse(text)
        ]
        y = torch.stack([*(one.image for _, one in terms), interpolation.mix(f, terms)])
        both = torch.cat([y, project(f, y)])
        page.add(f"seeds {text}: the terms and their sum, f of each", both, len(y))
    path_k = refine(f, f.source.from_seeds(range(8)), AT[-1], AT)
    rows = torch.stack(list(path_k.frames.values()), 1).flatten(0, 1)
    page.add("f^k for k = " + ", ".join(f"{k:,}" for k in AT), rows, len(AT))
    page.write(path)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def at_rest(done: Refined, k: int) -> int:
    """How many images had come to rest at f^k or before."""
    return sum(one is not None and one.since <= k for one in done.rest)


def print_rest(f: make_it_real.IGN, judge: DigitClassifier) -> None:
    """Who of 256 seeds rests by k = 1,000, and whether k = 300,000 reads as k = 1 does."""
    z = f.source.from_seeds(range(256))
    done = refine(f, z, AT[-1], AT)
    share = at_rest(done, 1_000) / 256
    same = classes(judge, done.frames[1].cpu()) == classes(judge, done.images.cpu())
    rules = ", ".join(f"{count} {rule}" for rule, count in done.resting().items())
    print(f"256 seeds: {share:.1%} at rest by k = 1,000; at k = 300,000: {rules}")
    print(f"the last came to rest at k = {max((o.since for o in done.rest if o), default=0):,}")
    print(f"read as the same digit at k = 300,000 as at k = 1: {same.float().mean():.1%}")
    began = time.monotonic()
    done = refine(f, f.source.from_seeds(range(64)), AT[-1], AT)
    seconds = time.monotonic() - began
    print(f"k = 300,000 on 64 seeds: {seconds:.2f} s, f applied to {done.computed:,} images")


def print_plain_loop(f: make_it_real.IGN, steps: int, seeds: int) -> None:
    """Whether refine's f^300,000 is, in 8 bits, what a loop that computes every step has by k."""
    z = f.source.from_seeds(range(seeds))
    done = to_pixels(refine(f, z, AT[-1]).images)
    began = time.monotonic()
    y = z
    with torch.inference_mode():
        for _ in range(steps):
            y = f(y)
    unlike = int((to_pixels(y) != done).sum())
    print(
        f"plain loop, k = {steps:,} on {seeds} seeds, {time.monotonic() - began:.0f} s: "
        f"{unlike} of {done.numel():,} pixels differ in 8 bits from refine's k = {AT[-1]:,}"
    )


def print_auroc(f: make_it_real.IGN, mnist: Path, fashion: Path | None, n: int) -> None:
    """Print how well the score tells test digits from damaged ones and from other things."""
    x = to_images(load(mnist, "test").pixels[:n])
    real = make_it_real.score(f, x).change
    print(f"AUROC of the score, {n:,} test digits against")
    for kind, level in AUROC:
        Ax = degraded(x, kind, level, generator=torch.Generator().manual_seed(0))
        unseen = " (kept out of training)" if kind in kept_out(x.shape[1]) else ""
        found = auroc(real, make_it_real.score(f, Ax).change)
        print(f"  {kind} {level:g}{unseen}: {found:.4f}", flush=True)
    if fashion is not None:
        other = to_images(load(fashion, "test").pixels[:n])
        print(f"  Fashion-MNIST: {auroc(real, make_it_real.score(f, other).change):.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="The paper's experiments, with one model.")
    parser.add_argument("--model", default="mnist")
    parser.add_argument("--output", type=Path, default=HERE / "paper.webp")
    parser.add_argument("--mnist", type=Path, help="a folder with MNIST's IDX files, for AUROC")
    parser.add_argument("--fashion", type=Path, help="a folder with Fashion-MNIST's")
    parser.add_argument("--n", type=int, default=2_000, help="test images for AUROC")
    parser.add_argument("--plain-loop", type=int, metavar="K", help="compare with a loop of K")
    parser.add_argument("--seeds", type=int, default=64, help="of the plain loop")
    given = parser.parse_args()
    f = make_it_real.load(given.model, "cpu")
    if given.plain_loop:
        print_plain_loop(f, given.plain_loop, given.seeds)
        return
    draw_page(f, given.output)
    folder = installation.bundled_folder()
    print_rest(f, DigitClassifier.load(folder / "digits-classifier.safetensors"))
    if given.mnist is not None:
        print_auroc(f, given.mnist, given.fashion, given.n)


if __name__ == "__main__":
    main()
