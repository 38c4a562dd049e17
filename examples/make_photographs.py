"""Damage five photographs as life does, let f repair them, and make the picture of the README.

    python examples/make_photographs.py [--model photos] [--folder FOLDER]

The photographs in ``examples/photographs`` and ``examples/portraits`` are free to use. FOLDER gets
the damaged pictures and f of them, whole; without it only ``examples/photographs.webp`` is written,
with a part of each at its own size, before and after. Prints how far each is from its original.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

import make_it_real
from make_it_real.evaluation.metrics import psnr
from make_it_real.evaluation.photographs import Damage
from make_it_real.images import decode, encode
from make_it_real.images.pixels import to_images, to_pixels

HERE = Path(__file__).parent
SIDE = 252
GAP = 6
TITLE = 24

# Name, photograph, left and top of the part that is shown, and the damage in order.
SITUATIONS: tuple[tuple[str, str, tuple[int, int], tuple[tuple[str, float], ...]], ...] = (
    ("a noisy evening", "photographs/rocket.jpg", (190, 175),
     (("phone-noise", 0.12), ("poisson", 120), ("jpeg", 85))),
    ("through three chats", "photographs/chelsea.jpg", (60, 20),
     (("jpeg", 40), ("jpeg-twice", 30), ("jpeg", 25))),
    ("a scratched print, scanned", "portraits/hopper.jpg", (130, 60),
     (("grayscale", 1), ("noise", 0.06), ("scratches", 5), ("dust", 30), ("jpeg", 90))),
    ("a faded print", "portraits/collins.jpg", (110, 0),
     (("fading", 0.8), ("noise", 0.03), ("jpeg", 90))),
    ("small, from the web", "photographs/coffee.jpg", (150, 20),
     (("downscale", 2), ("jpeg", 60))),
)  # fmt: skip


def sheet(columns: Iterable[tuple[str, tuple[int, int], Tensor, Tensor]]) -> Image.Image:
    """Draw parts of pictures (1, 3, H, W), before above after, under their names."""
    columns = list(columns)
    step = SIDE + GAP
    out = Image.new("RGB", (len(columns) * step + GAP, 2 * step + TITLE + GAP), (40, 42, 46))
    draw, font = ImageDraw.Draw(out), ImageFont.load_default(15)
    for column, (name, (left, top), *pictures) in enumerate(columns):
        draw.text((GAP + column * step, GAP // 2), name, font=font)
        for row, picture in enumerate(pictures):
            part = picture[0, :, top : top + SIDE, left : left + SIDE]
            part = F.pad(part, (0, SIDE - part.shape[2], 0, SIDE - part.shape[1]), value=-1)
            out.paste(encode.to_pillow(part), (GAP + column * step, TITLE + GAP + row * step))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="photos")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    f = make_it_real.load(asked.model, "cpu")
    columns = []
    for seed, (name, file, corner, kinds) in enumerate(SITUATIONS):
        x = decode.read(HERE / file).colour[None] * 2 - 1
        y = to_images(Damage(name, None, kinds)(to_pixels(x), seed))
        fy = make_it_real.project(f, y)
        print(f"{name}: {psnr(y, x).item():.2f} dB, after f {psnr(fy, x).item():.2f} dB")
        columns.append((name, corner, y, fy))
        if asked.folder:
            asked.folder.mkdir(parents=True, exist_ok=True)
            for word, image in (("damaged", y), ("real", fy)):
                encode.to_pillow(image[0]).save(asked.folder / f"{Path(file).stem}-{word}.png")
    sheet(columns).save(HERE / "photographs.webp", quality=36, method=6)


if __name__ == "__main__":
    main()
