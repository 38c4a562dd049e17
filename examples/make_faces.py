"""Make the picture of faces: damaged portraits, drawings and noise, and what f makes of them.

    pip install 'make-it-real[faces]'
    python examples/make_faces.py [MODEL]

Nothing on it is a training image. The portraits in ``examples/portraits`` are in the public
domain; faces are found and aligned in them, damaged, and mapped by f in one step. So are faces
that f itself made, and the drawings of ``draw_faces.py``. The last lines are seeds one after
another, none left out.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from draw_faces import DRAWINGS
from PIL import Image, ImageDraw, ImageFont

import make_it_real
from make_it_real.degradations.kinds import degraded
from make_it_real.images import decode, encode
from make_it_real.images.framing import described, fit_all
from make_it_real.weights import model_file

HERE = Path(__file__).parent
PORTRAITS = HERE / "portraits"
MADE = (7, 21)
DAMAGE = (
    ("grayscale", None, "grey"), ("sketch", None, "the paper's sketch"),
    ("noise", 0.5, "noise 0.5"), ("noise", 1.0, "noise 1"),
    ("low-resolution", 4, "16 by 16 pixels"), ("mask", 0.25, "holes"),
    ("block", None, "one block"), ("dodge-and-burn", None, "pencil"),
)  # fmt: skip
# Standard deviations of the noise that is added to drawings.
NOISE = (0.5, 1.0, 1.5)
VARIANTS = 5
CELL = 80
GAP = 4
STEP = CELL + GAP
LINE = 26
COLUMNS = 1 + 2 * len(DAMAGE)
ROWS = 3
PAPER = (40, 42, 46)


class Page:
    """The sheet, filled from top to bottom."""

    def __init__(self, height: int) -> None:
        self.image = Image.new("RGB", (COLUMNS * STEP + GAP, height), PAPER)
        self.draw, self.y = ImageDraw.Draw(self.image), GAP

    def captions(self, texts: Iterable[tuple[int, str]], size: int = 15) -> None:
        """Write each text from a column on, and begin a line below."""
        for column, text in texts:
            place = (GAP + column * STEP, self.y + 3)
            self.draw.text(place, text, (230, 230, 230), ImageFont.load_default(size))
        self.y += LINE

    def row(self, images: torch.Tensor, first: int = 0) -> None:
        """Paste images (N, C, S, S) beside each other from a column on, and begin a row below."""
        for column, image in enumerate(images, first):
            picture = encode.to_pillow(image).convert("RGB")
            picture = picture.resize((CELL, CELL), Image.Resampling.BICUBIC)
            self.image.paste(picture, (GAP + column * STEP, self.y))
        self.y += STEP


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


def drawings(f: make_it_real.IGN) -> torch.Tensor:
    """The drawings at f's size, (N, 3, S, S)."""
    side = f.config.image_size
    drawn = [draw().resize((side, side), Image.Resampling.LANCZOS) for draw in DRAWINGS.values()]
    pixels = torch.stack([torch.from_numpy(np.array(each)) for each in drawn])
    return pixels.permute(0, 3, 1, 2) / 127.5 - 1


def show_damaged(page: Page, f: make_it_real.IGN, x: torch.Tensor) -> None:
    page.captions([(0, "as it is"), *((1 + 2 * i, d[2]) for i, d in enumerate(DAMAGE))])
    columns = [x]
    for kind, level, _ in DAMAGE:
        damaged = degraded(x, kind, level, generator=torch.Generator().manual_seed(0))
        columns += [damaged, make_it_real.project(f, damaged)]
    for row in torch.stack(columns, 1):
        page.row(row)


def show_drawings(page: Page, f: make_it_real.IGN) -> None:
    """A drawing a row: f of it, and f of it with noise, a variant for each seed."""
    places = [2 + VARIANTS * i for i in range(len(NOISE))]
    texts = [f"noise {s:g}, a seed each" for s in NOISE]
    page.captions([(0, "drawn"), (1, "f"), *zip(places, texts, strict=True)])
    for x in drawings(f).split(1):
        variants = [make_it_real.project(f, x, noise=s, seeds=range(VARIANTS)) for s in NOISE]
        page.row(torch.cat([x, make_it_real.project(f, x), *variants]))


def main() -> None:
    model = model_file.resolve(sys.argv[1] if len(sys.argv) > 1 else "faces")
    f = make_it_real.load(str(model), "cpu")
    x = faces(f, model)
    height = 3 * LINE + (len(x) + len(DRAWINGS) + ROWS) * STEP + 2 * GAP
    page = Page(height)
    show_damaged(page, f, x)
    show_drawings(page, f)
    page.captions([(0, "out of noise: mir generate -m faces")])
    for row in make_it_real.generate(f, range(ROWS * COLUMNS)).split(COLUMNS):
        page.row(row)
    page.image.save(HERE / "faces.webp", quality=22, method=6)


if __name__ == "__main__":
    main()
