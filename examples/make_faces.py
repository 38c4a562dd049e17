"""Make the picture of faces: out of noise, and out of damaged portraits.

    pip install 'make-it-real[faces]'
    python examples/make_faces.py [MODEL]

Nothing on it is a training image. The portraits in ``examples/portraits`` are in the public
domain; faces are found and aligned in them, damaged, and mapped by f in one step. So are faces
that f itself made. The last line is seeds one after another, none left out.
"""

import sys
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

import make_it_real
from make_it_real.degradations.kinds import degraded
from make_it_real.images import decode, encode
from make_it_real.images.framing import described, fit_all
from make_it_real.weights import model_file

HERE = Path(__file__).parent
PORTRAITS = HERE / "portraits"
MADE = (7, 21, 30)
DAMAGE = (
    ("grayscale", None), ("sketch", None), ("noise", 0.15), ("noise", 0.5), ("mask", 0.25),
)  # fmt: skip
CELL = 128
GAP = 6
ROWS = 3


def faces(f: make_it_real.IGN, model: Path) -> torch.Tensor:
    """The portraits' faces as f is shown them, then faces that f made, (N, C, S, S)."""
    framing = described(model_file.inspect(model).framing)
    found = []
    for path in sorted(PORTRAITS.glob("*.jpg")):
        fitted = fit_all(decode.read(path), f.config.image_size, f.config.channels, framing)
        for one in fitted:
            if one.warnings:
                raise SystemExit(f"{path}: {one.warnings[0]}")
        found += [one.image for one in fitted]
    return torch.cat([torch.stack(found), make_it_real.generate(f, MADE)])


def main() -> None:
    model = model_file.resolve(sys.argv[1] if len(sys.argv) > 1 else "faces")
    f = make_it_real.load(str(model), "cpu")
    x = faces(f, model)
    columns = 1 + 2 * len(DAMAGE)
    step = CELL + GAP
    size = columns * step + GAP, (len(x) + ROWS) * step + 2 * 30 + GAP
    sheet = Image.new("RGB", size, (40, 42, 46))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)

    def paste(image: torch.Tensor, column: int, row: int, y: int) -> None:
        picture = encode.to_pillow(image).convert("RGB")
        picture = picture.resize((CELL, CELL), Image.Resampling.BICUBIC)
        sheet.paste(picture, (GAP + column * step, y + row * step))

    draw.text((GAP, GAP), "two portraits, three faces made by f; damaged, and f of it", font=font)
    for row, image in enumerate(x):
        paste(image, 0, row, 30)
    for column, (kind, level) in enumerate(DAMAGE):
        damaged = degraded(x, kind, level, generator=torch.Generator().manual_seed(0))
        pairs = zip(damaged, make_it_real.project(f, damaged), strict=True)
        for row, (before, after) in enumerate(pairs):
            paste(before, 1 + 2 * column, row, 30)
            paste(after, 2 + 2 * column, row, 30)
    y = 30 + len(x) * step
    draw.text((GAP, y + GAP), "out of noise: mir generate -m faces", font=font)
    for seed, image in enumerate(make_it_real.generate(f, range(ROWS * columns))):
        paste(image, seed % columns, seed // columns, y + 30)
    sheet.save(HERE / "faces.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
