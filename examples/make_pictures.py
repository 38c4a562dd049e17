"""Make the damaged inputs beside the drawn ones, and the picture at the top of the README.

    python examples/make_pictures.py

Damaged inputs are digits that the model itself generated, each damaged in one way, so that
they may be shared freely. The overview shows every input of ``examples/inputs`` above what
``mir project`` makes of it, and images that ``mir generate`` makes out of noise.
"""

from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

import make_it_real
from make_it_real import files
from make_it_real.degradations.kinds import degraded
from make_it_real.images import decode, encode
from make_it_real.images.framing import Framing, described
from make_it_real.inference import batch
from make_it_real.inference.jobs import Job
from make_it_real.inference.report import WRITTEN
from make_it_real.weights import model_file

HERE = Path(__file__).parent
INPUTS = HERE / "inputs"
CELL = 84
GAP = 6
COLUMNS = 12
DAMAGE = {
    "noise": ("noise", 0.5, 3), "heavy-noise": ("noise", 1.0, 10), "holes": ("mask", 0.3, 21),
    "low-resolution": ("low-resolution", 4, 14), "blur": ("blur", 1.5, 35),
    "faint": ("contrast", 0.25, 16), "salt-and-pepper": ("salt-and-pepper", 0.2, 28),
    "jpeg": ("jpeg", 5, 29),
}  # fmt: skip


def make_damaged(f: make_it_real.IGN) -> list[Path]:
    """Write inputs/damaged-*.png: generated digits, damaged, 28×28, 8-bit grey."""
    paths = []
    for name, (kind, level, seed) in DAMAGE.items():
        digit = make_it_real.generate(f, [seed], steps=2)
        generator = torch.Generator().manual_seed(seed)
        image = degraded(digit, kind, level, generator=generator)[0]
        path = INPUTS / f"damaged-{name}.png"
        files.write_bytes(path, encode.encode(image), overwrite=True)
        paths.append(path)
    return paths


def thumbnail(path: Path) -> Image.Image:
    """An input as a person sees it, upright and whole, at most CELL pixels a side."""
    picture = decode.read(path)
    colour = picture.colour.expand(3, -1, -1)
    if picture.alpha is not None:
        colour = colour * picture.alpha + (1 - picture.alpha)
    image = encode.to_pillow(colour * 2 - 1)
    if max(image.size) < CELL:
        return image.resize((CELL, CELL), Image.Resampling.NEAREST)
    image.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    return image


def overview(f: make_it_real.IGN, rows: list[tuple[str, list[Path]]], framing: Framing) -> None:
    """Write overview.webp: for each row the inputs and, below them, f of each; then f(z)."""
    results = HERE / "results"
    font = ImageFont.load_default(16)
    step = CELL + GAP
    height = sum(2 * step + 30 for _ in rows) + 2 * step + 30
    sheet = Image.new("RGB", (COLUMNS * step + GAP, height + GAP), (40, 42, 46))
    draw = ImageDraw.Draw(sheet)
    y = GAP
    for title, paths in rows:
        draw.text((GAP, y), title, font=font, fill="white")
        y += 24
        jobs = [Job(path, results / f"{path.stem}.png") for path in paths]
        for result in batch.run(batch.Model(f, framing), jobs, batch.Settings(overwrite=True)):
            if result.status not in WRITTEN:
                raise SystemExit(f"{result.input}: {result.reason}")
        for i, (path, job) in enumerate(zip(paths, jobs, strict=True)):
            x = GAP + i * step
            shown = thumbnail(path)
            sheet.paste(shown, (x + (CELL - shown.width) // 2, y + (CELL - shown.height) // 2))
            made = Image.open(job.output).resize((CELL, CELL), Image.Resampling.NEAREST)
            sheet.paste(made.convert("RGB"), (x, y + step))
        y += 2 * step + GAP
    draw.text((GAP, y), "out of noise: mir generate", font=font, fill="white")
    y += 24
    for i, image in enumerate(make_it_real.generate(f, range(2 * COLUMNS))):
        made = encode.to_pillow(image).resize((CELL, CELL), Image.Resampling.NEAREST)
        place = (GAP + i % COLUMNS * step, y + i // COLUMNS * step)
        sheet.paste(made.convert("RGB"), place)
    sheet.save(HERE / "overview.webp", quality=40, method=6)


def main() -> None:
    model = model_file.resolve("mnist")
    f = make_it_real.load("mnist", "cpu")
    damaged = make_damaged(f)
    drawn = sorted(set(INPUTS.iterdir()) - set(damaged))
    rows = [
        ("drawn with pen, chalk, crayon, …: mir project examples/inputs", drawn),
        ("damaged: noise, holes, blur, … the last two of kinds that training never saw", damaged),
    ]
    overview(f, rows, described(model_file.inspect(model).framing))


if __name__ == "__main__":
    main()
