"""Fine-tune the digits model on other 28×28 images against training from scratch, one plot.

    mir train-features fashion-mnist -o fashion-classifier.safetensors
    python examples/compare_finetuning.py fashion-mnist -f fashion-classifier.safetensors

Both runs train in one process, in turn, a block of steps each, so that whatever else the machine
does slows both alike; with the same recipe, data, seed and batch. Only training is timed. After
each block f's average makes images of fixed seeds, whose Fréchet distance to the test images,
in the classifier's features, is printed and written: one JSON object a line, and a picture.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from make_it_real import data, devices, images, starting, training, weights
from make_it_real.features import DigitClassifier
from make_it_real.metrics import frechet_distance
from make_it_real.projection import generate

HERE = Path(__file__).parent
FIRST_SEED = 3_000_000
COLOURS = {"fine-tuned": (30, 90, 200), "from scratch": (210, 80, 30)}


class Contestant:
    """One run: its trainer, what its training took, and its curve."""

    def __init__(self, name: str, trainer: training.Trainer) -> None:
        self.name, self.trainer = name, trainer
        self.seconds = self.cpu_seconds = 0.0

    def train(self, pixels: torch.Tensor, steps: int) -> None:
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.trainer.train_step(pixels)
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += time.process_time() - cpu


def plot(points: list[dict[str, Any]], floor: float, path: Path) -> None:
    """Distance (logarithmic) over minutes of training, a line a run."""
    import math

    width, height, left, right, top, bottom = 900, 560, 80, 30, 50, 60
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    last = max(p["minutes"] for p in points)
    low = math.floor(math.log10(min(floor, *(p["distance"] for p in points))) * 4) / 4
    high = math.ceil(math.log10(max(p["distance"] for p in points)) * 4) / 4

    def place(minutes: float, distance: float) -> tuple[float, float]:
        x = left + (width - left - right) * minutes / last
        share = (math.log10(distance) - low) / (high - low)
        return x, height - bottom - (height - top - bottom) * share

    for minutes in range(0, int(last) + 1, 2):
        x, y = place(minutes, 10**low)
        draw.line((x, top, x, y), (225, 225, 225))
        draw.text((x, y + 6), str(minutes), "black", font, anchor="ma")
    for exponent in range(math.floor(low), math.ceil(high) + 1):
        for value in (f * 10**exponent for f in (1, 2, 5)):
            if low <= math.log10(value) <= high:
                x, y = place(0, value)
                draw.line((x, y, width - right, y), (225, 225, 225))
                draw.text((x - 8, y), f"{value:g}", "black", font, anchor="rm")
    draw.line((*place(0, floor), *place(last, floor)), (120, 120, 120), 2)
    draw.text(place(0, floor), " real train images", (120, 120, 120), font, anchor="ld")
    for i, (name, colour) in enumerate(COLOURS.items()):
        line = [place(p["minutes"], p["distance"]) for p in points if p["run"] == name]
        draw.line(line, colour, 3, joint="curve")
        draw.text((width - right - 150, top + 10 + 22 * i), name, colour, font)
    draw.text((left, 16), "Fréchet distance of f(z) to the test images", "black", font)
    caption = "minutes of training on this machine's CPU"
    draw.text(((left + width) / 2, height - 24), caption, "black", font, anchor="ma")
    sheet.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--features", "-f", type=Path, required=True)
    parser.add_argument("--start", default="mnist", help="the model to start from")
    parser.add_argument("--minutes", type=float, default=10, help="of the fine-tuned run")
    parser.add_argument("--scratch", type=float, default=24, help="minutes of the other")
    parser.add_argument("--block", type=int, default=50, help="steps in turn")
    parser.add_argument("--n", type=int, default=2_500, help="images a distance is taken on")
    parser.add_argument("--output", "-o", type=Path, default=HERE / "finetuning")
    options = parser.parse_args()

    device = devices.pick("cpu")
    train, test = data.load(options.data), data.load(options.data, "test")
    judge = DigitClassifier.load(options.features)

    @torch.inference_mode()
    def features(x: torch.Tensor) -> torch.Tensor:
        return torch.cat([judge.features(part) for part in x.split(250)])

    real = features(images.to_images(test.pixels))
    floor = frechet_distance(features(images.to_images(train.pixels[: options.n])), real)
    print(json.dumps({"run": "real train images", "distance": round(floor, 3)}), flush=True)

    changes: dict[str, Any] = {"steps": 10**9, "decay_steps": 0}
    path = weights.resolve(options.start)
    tuned, notes = starting.begin_from(path, train, device, **changes)
    print("\n".join(notes), flush=True)
    model = tuned.f.config
    scratch = training.begin(train, model, training.default_config(model, **changes), device)
    runs = [Contestant("fine-tuned", tuned), Contestant("from scratch", scratch)]
    limits = dict(zip(COLOURS, (options.minutes, options.scratch), strict=True))
    points: list[dict[str, Any]] = []
    log = options.output.with_suffix(".jsonl").open("w", encoding="utf-8")

    def measure(run: Contestant) -> None:
        fz = generate(
            run.trainer.f_ema.eval(), range(FIRST_SEED, FIRST_SEED + options.n), batch=250
        )
        point = {
            "run": run.name, "step": run.trainer.step, "minutes": round(run.seconds / 60, 3),
            "cpu_minutes": round(run.cpu_seconds / 60, 3),
            "distance": round(frechet_distance(features(fz), real), 3),
        }  # fmt: skip
        points.append(point)
        print(json.dumps(point), flush=True)
        print(json.dumps(point), file=log, flush=True)

    for run in runs:
        measure(run)
    turn = 0
    while left := [run for run in runs if run.seconds < 60 * limits[run.name]]:
        turn += 1
        for run in left:
            run.train(train.pixels, options.block)
            # A distance costs a while: fewer are taken as the curves flatten.
            if turn <= 8 or turn % 4 == 0 or run.seconds >= 60 * limits[run.name]:
                measure(run)
        plot(points, floor, options.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
