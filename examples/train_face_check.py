"""Train the network that tells faces from everything else: weights/face-check.safetensors.

    python examples/train_face_check.py --celeba FACES --photos FOLDER --output FILE

FACES: aligned faces of 64×64 pixels. FOLDER: any photographs. Half of what it learns from are
faces, some of them doodles, placed as roughly as a search finds them. The other half are parts of
photographs, faces that lie elsewhere, pages and doodles, and after a third of the steps what it
mistakes for faces in such. All are damaged or drawn by the same kinds, at random. A tenth of either
set is kept to measure it on.
"""

import math
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
import torch
import typer
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from make_it_real.data import dataset, graphics, photographs
from make_it_real.degradations.kinds import COLOUR_DAMAGE, randomly_degraded
from make_it_real.images.alignment import Similarity, cut_out
from make_it_real.images.face_check import FaceCheck
from make_it_real.images.faces import LANDMARKS
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.images.portraits import looks, on_white
from make_it_real.weights.safetensors_file import halved, save_tensors

BATCH, RATE = 64, 3e-3
# Side of the images in pixels, and of the copies of photographs that their parts are cut from.
SIDE, WHOLE = 64, 96
# Drawings count for half of it; lines of edges are kept out, to measure on.
DAMAGE = {
    **COLOUR_DAMAGE,
    "pencil": 40, "sketch": 10, "dodge-and-burn": 8, "grayscale": 6, "block": 4, "colour-blocks": 4,
}  # fmt: skip
UNDAMAGED = 0.2
# Sheets of each sort that are searched for mistakes, after a third of the steps; most places of
# each; and the log-odds from which on a place without a face is a mistake.
SEARCHED, PLACES, MISTAKEN = 600, 6, -2.0
# Pages and doodles.
POOL = 4000
# One face in so many is a doodle, one in so many is nothing but noise: that may become a face, too.
DOODLED, NOISE = 5, 16


class Examples:
    """Faces (N, 3, 64, 64) and photographs (M, 3, 96, 96), uint8, and what is made of them."""

    def __init__(self, faces: Tensor, photos: Tensor, seed: int) -> None:
        self.faces, self.photos = faces, photos
        self.generator, self.random = torch.Generator().manual_seed(seed), Random(seed)
        doodles = [_fitted(_face(self.random)) for _ in range(POOL // 2)]
        self.doodled = to_pixels(torch.stack(doodles))

    def batch(self, known: Tensor) -> tuple[Tensor, Tensor]:
        """Draw faces and as many others, (2B, 3, 64, 64), and 1 or 0 for each.

        known: pages, doodles and mistakes, of which half of the others are.
        """
        pages = known[torch.randint(len(known), (BATCH // 2,), generator=self.generator)]
        far, noise = BATCH // 8, BATCH // NOISE
        others = self.parts(BATCH - len(pages) - far), self.far(far)
        scenes = self.damaged(torch.cat([self.near(BATCH - noise), *others]))
        images = torch.cat([self.noise(noise), scenes, pages])
        # Ink may be faint, and paper has grain.
        n = len(images)
        faint = self._uniform(n, 0.5, 1)[:, None, None, None]
        grain = self._uniform(n, 0, 0.08)[:, None, None, None]
        images = 1 - faint * (1 - images)
        images = images + grain * torch.randn(images.shape, generator=self.generator)
        return images, (torch.arange(n) < BATCH).float()

    def near(self, n: int) -> Tensor:
        """Draw faces where they are looked for, or nearly so."""
        few = n // DOODLED
        images = torch.cat([self._some(self.faces, n - few), self._some(self.doodled, few)])
        shift = torch.stack([self._uniform(n, -0.13, 0.13) for _ in "xy"], 1)
        scale, turn = self._uniform(n, 0.86, 1.18), self._uniform(n, -0.12, 0.12)
        return self._placed(images, scale, shift, turn)

    def far(self, n: int) -> Tensor:
        """Draw faces that are too small or too large, beside the middle, or turned."""
        which = torch.randint(3, (n,), generator=self.generator)
        small = self._uniform(n, 0, 1) < 0.5
        wrong = torch.where(small, self._uniform(n, 2, 3), self._uniform(n, 0.2, 0.5))
        scale = torch.where(which == 0, wrong, self._uniform(n, 0.7, 1.2))
        angle, far = self._uniform(n, 0, 2 * math.pi), self._uniform(n, 0.7, 1.4) * (which == 1)
        quarters = torch.randint(1, 4, (n,), generator=self.generator) * (which == 2)
        turn = quarters * math.pi / 2 + self._uniform(n, -0.2, 0.2)
        shift = torch.stack([angle.cos() * far, angle.sin() * far], 1)
        return self._placed(self._some(self.faces, n), scale, shift, turn)

    def parts(self, n: int) -> Tensor:
        """Draw parts of photographs, from a small one to the whole."""
        shift = torch.stack([self._uniform(n, -0.6, 0.6) for _ in "xy"], 1)
        scale, turn = self._uniform(n, 0.25, 1), self._uniform(n, -0.3, 0.3)
        return self._placed(self._some(self.photos, n), scale, shift, turn)

    def pages(self, n: int) -> Tensor:
        """Draw writing, tables, windows, captions: as much as a part of a screen has, or more."""
        return torch.stack([
            _fitted(self._page(self.random.choice((64, 128, 192, 256)))) for _ in range(n)
        ])  # fmt: skip

    def doodles(self, n: int) -> Tensor:
        return torch.stack([_fitted(self._doodle()) for _ in range(n)])

    def noise(self, n: int) -> Tensor:
        """Draw noise, of pixels or coarser, around any brightness."""
        out = []
        for _ in range(n):
            side = self.random.choice((SIDE, SIDE, SIDE // 2, SIDE // 4))
            noise = torch.randn(1, 3, side, side, generator=self.generator)
            level, amount = self.random.uniform(-0.5, 0.5), self.random.uniform(0.2, 1.5)
            out.append(level + amount * F.interpolate(noise, (SIDE, SIDE), mode="bilinear"))
        return torch.cat(out).clamp(-1, 1)

    def damaged(self, images: Tensor) -> Tensor:
        """Damage or draw images, most of them."""
        out = randomly_degraded(images, DAMAGE, generator=self.generator)
        whole = self._uniform(len(images), 0, 1) < UNDAMAGED
        return torch.where(whole[:, None, None, None], images, out).clamp(-1, 1)

    def mistaken(self, net: FaceCheck, n: int) -> Tensor:
        """Draw pages, doodles and photographs, and cut out of each what the network mistakes."""
        drawn = self.damaged(self.parts(n))
        sheets: tuple[Callable[[int], Tensor], ...] = (
            lambda _: self._page(192), lambda _: self._doodle(), lambda number: drawn[number],
        )  # fmt: skip
        found = []
        for sheet in sheets:
            for number in range(n):
                drawing = on_white(((sheet(number) + 1) / 2).clamp(0, 1))
                if drawing is None:
                    continue
                squares, odds = looks(drawing, torch.inference_mode()(net))
                likely = squares[odds > MISTAKEN]
                chosen = self.random.sample(range(len(likely)), min(len(likely), PLACES))
                for x, y, side in likely[chosen].tolist():
                    turn = SIDE / side
                    place = Similarity(turn, SIDE / 2 * (1 + 1j) - complex(x, y) * turn)
                    found.append(cut_out(drawing.colour, place, SIDE) * 2 - 1)
        return torch.stack(found)

    def _uniform(self, n: int, low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=self.generator)

    def _some(self, pixels: Tensor, n: int) -> Tensor:
        return to_images(pixels[torch.randint(len(pixels), (n,), generator=self.generator)])

    def _placed(self, images: Tensor, scale: Tensor, shift: Tensor, turn: Tensor) -> Tensor:
        """Look at squares of images (N, 3, S, S), half of them mirrored: (N, 3, 64, 64).

        scale: sides of the squares; shift: of their middles; both in halves of the image's side.
        turn: in radians.
        """
        x, y = turn.cos() * scale, turn.sin() * scale
        mirrored = torch.where(self._uniform(len(images), 0, 1) < 0.5, -1.0, 1.0)
        rows = torch.stack([x * mirrored, -y, shift[:, 0], y * mirrored, x, shift[:, 1]], 1)
        grid = F.affine_grid(rows.view(-1, 2, 3), [len(images), 3, SIDE, SIDE], align_corners=False)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def _page(self, side: int) -> Tensor:
        """Draw a page (3, side, side), mostly on a bright ground."""
        photo = self.photos[self.random.randrange(len(self.photos))][None].float()
        ground = F.interpolate(photo, (side, side), mode="bilinear")[0].byte()
        page = to_images(graphics.drawn(ground, self.generator))
        return -page if page.mean() < 0 and self.random.random() < 0.8 else page

    def _doodle(self) -> Tensor:
        """Draw lines, boxes, rings, arcs and blobs on white, half of them mirrored: (3, 96, 96)."""
        side, random = 3 * WHOLE, self.random
        sheet = Image.new("L", (side, side), 255)
        draw, width = ImageDraw.Draw(sheet), random.randint(3, random.choice((16, 48)))
        for _ in range(random.randint(2, 14)):
            xs, ys = (sorted(random.uniform(-0.1, 1.1) * side for _ in "ab") for _ in "xy")
            box = (xs[0], ys[0], xs[1], ys[1])
            filled = 0 if random.random() < 0.12 else None
            shape = random.randrange(6)
            if shape == 0:
                draw.line(box, 0, width)
            elif shape == 1:
                draw.rectangle(box, filled, 0, width)
            elif shape == 2:
                draw.ellipse(box, filled, 0, width)
            elif shape == 3:
                start = random.uniform(0, 360)
                draw.arc(box, start, start + random.uniform(40, 300), 0, width)
            elif shape == 4:
                points = [random.random() * side for _ in range(2 * random.randint(3, 7))]
                draw.line(points, 0, width, "curve")
            else:
                draw.line(_blob(random, box), 0, width, "curve")
        dark = np.asarray(sheet.reduce(3))
        if random.random() < 0.5:
            dark = np.minimum(dark, dark[:, ::-1])
        return to_images(torch.from_numpy(dark.copy())[None]).expand(3, -1, -1)


def _face(random: Random) -> Tensor:
    """Draw a face with a few strokes, as for fun: (1, 96, 96) in [−1, 1]."""
    side, pen = 3 * WHOLE, random.randint(3, 12)
    sheet = Image.new("L", (side, side), 255)
    draw = ImageDraw.Draw(sheet)

    some = random.uniform

    def line(start: complex, end: complex, tone: int, width: int) -> None:
        points = [(point.real * side, point.imag * side) for point in (start, end)]
        draw.line(points, tone, width)

    def box(centre: complex, wide: float, high: float) -> tuple[float, float, float, float]:
        x, y = centre.real * side, centre.imag * side
        return x - wide * side, y - high * side, x + wide * side, y + high * side

    eyes, (left, right) = LANDMARKS[:2], LANDMARKS[2:]
    middle, wide, high = complex(0.5, some(0.54, 0.6)), some(0.24, 0.36), some(0.34, 0.46)
    if random.random() < 0.4:
        # Hair, filled, with the face cut out of it.
        draw.ellipse(box(middle - 0.06j, wide + some(0.02, 0.12), high + some(0, 0.1)), 40)
        draw.ellipse(box(middle + 0.06j, wide, high - 0.04), 255, 0, pen)
    elif random.random() < 0.85:
        draw.arc(box(middle, wide, high), *random.choice(((0, 360), (-20, 200))), 0, pen)
    if random.random() < 0.6:
        # Hair, stroke by stroke, around the face and over the forehead.
        count, thin, long = random.randint(5, 500), random.randint(2, pen), some(0.04, 0.2)
        tone, beside = random.randint(0, 90), some(0.0, 0.8)
        for _ in range(count):
            angle, reach = some(math.pi - beside, math.tau + beside), some(0.85, 1.25)
            at = middle + complex(math.cos(angle) * wide, math.sin(angle) * high) * reach
            if at.imag > 0.47 and abs(at.real - 0.5) < wide:
                continue
            to = at + complex(some(-0.2, 0.2) * long, long)
            line(at, to, tone, thin)
    style, size = random.randrange(4), some(0.7, 1.4)
    for eye in eyes:
        if style == 0:
            draw.ellipse(box(eye, 0.028 * size, 0.03 * size), 0)
        elif style == 3:
            draw.arc(box(eye, 0.06 * size, 0.04 * size), 180, 360, 0, pen)
        else:
            draw.ellipse(box(eye, 0.065 * size, 0.035 * size), 255, 0, pen)
            draw.ellipse(box(eye, 0.022 * size, 0.024 * size), 0)
    if random.random() < 0.7:
        height = some(0.07, 0.12)
        for eye in eyes:
            draw.arc(box(eye - complex(0, height - 0.03), 0.08, 0.04), 200, 340, 0, pen)
    nose = random.randrange(4)
    if nose == 1:
        points = ((0.5, 0.56), (0.45, 0.67), (0.52, 0.68))
        draw.line([(x * side, y * side) for x, y in points], 0, pen)
    elif nose > 1:
        draw.arc(box(0.5 + 0.65j, 0.04, 0.03), *((0, 180) if nose == 2 else (90, 270)), 0, pen)
    mouth, across = (left + right) / 2, abs(right - left) * some(0.4, 0.7)
    lips = random.randrange(3)
    if lips == 0:
        line(mouth - across, mouth + across, 0, 2 * pen)
    elif lips == 1:
        draw.arc(box(mouth - 0.03j, across, some(0.03, 0.09)), 10, 170, 0, pen)
    else:
        draw.ellipse(box(mouth, across, some(0.02, 0.05)), random.choice((0, 120, 255)), 0, pen)
    return to_images(torch.from_numpy(np.asarray(sheet.reduce(3)).copy())[None])


def _blob(random: Random, box: tuple[float, float, float, float]) -> list[tuple[float, float]]:
    """Walk around the middle of a box, as around a crown of leaves or a cloud."""
    left, top, right, bottom = box
    bumps, depth = random.randint(3, 12), random.uniform(0.05, 0.35)
    points = []
    for step in range(73):
        angle = math.tau * step / 72
        reach = (1 - depth * abs(math.sin(angle * bumps / 2))) / 2
        x = (left + right) / 2 + reach * (right - left) * math.cos(angle)
        points.append((x, (top + bottom) / 2 + reach * (bottom - top) * math.sin(angle)))
    return points


def _fitted(image: Tensor) -> Tensor:
    """Bring (C, S, S) to (3, 64, 64)."""
    small = F.interpolate(image[None], (SIDE, SIDE), mode="bilinear", antialias=True)[0]
    return small.expand(3, -1, -1)


def main(
    celeba: Annotated[list[Path], typer.Option(help="Aligned faces: zips or folders.")],
    photos: Annotated[list[Path], typer.Option(help="Photographs: zips or folders.")],
    output: Annotated[Path, typer.Option(help="File to write, a .safetensors.")],
    steps: Annotated[int, typer.Option(help="Number of steps.")] = 5400,
) -> None:
    """Train the network, and say how often it is right on faces and photographs that are kept."""
    faces = dataset.load(celeba, size=SIDE, channels=3).pixels
    pictures = photographs.load(photos).pictures
    whole = torch.stack([
        F.interpolate(picture[None].float(), (WHOLE, WHOLE), mode="area")[0].byte()
        for picture in pictures
    ])  # fmt: skip
    kept = len(faces) // 10, len(whole) // 10
    torch.manual_seed(0)
    examples = Examples(faces[kept[0] :], whole[kept[1] :], seed=0)
    held_out = Examples(faces[: kept[0]], whole[: kept[1]], seed=1)
    known = torch.cat([examples.pages(POOL // 2), examples.doodles(POOL // 2)])
    net = FaceCheck()
    optimizer = torch.optim.AdamW(net.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for step in range(1, steps + 1):
        if step == steps // 3:
            mistaken = examples.mistaken(net, SEARCHED)
            # They count as often as all others.
            known = torch.cat([known, mistaken.repeat(max(1, POOL // len(mistaken)), 1, 1, 1)])
        images, face = examples.batch(known)
        loss = F.binary_cross_entropy_with_logits(net(images), face)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step:,}/{steps:,}: loss {loss.item():.3f}", flush=True)
    save_tensors(halved(net.state_dict()), {}, output)
    net.eval()
    others = torch.cat([held_out.pages(200), held_out.doodles(200)])
    with torch.inference_mode():
        right = [(net(images) > 0) == (face > 0) for images, face in (
            held_out.batch(others) for _ in range(20)
        )]  # fmt: skip
    print(f"{output}: right on {torch.stack(right).float().mean():.2%} of images that were kept")


if __name__ == "__main__":
    typer.run(main)
