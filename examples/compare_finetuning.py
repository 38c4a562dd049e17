"""Fine-tune the digits model on other 28×28 images against training from scratch, one plot.

    mir train-features fashion-mnist -o fashion-classifier.safetensors --epochs 6 --jitter 0.2
    python examples/compare_finetuning.py fashion-mnist -f fashion-classifier.safetensors

Both runs train in one process, in turn, a block of steps each, so that whatever else the machine
does slows both alike; with the same recipe, data, seed and batch. Time is the processor time of
this process (``time.process_time``) while it trains, on the threads that OMP_NUM_THREADS says.
After a block f's average makes images of fixed seeds, which are kept; at the end the Fréchet
distances of all of them to the test images, in the classifier's features, are printed and
written, one JSON object a line, and drawn. ``--measure`` does only that with what was kept.
"""

import argparse
import copy
import json
import math
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont
from safetensors import safe_open
from safetensors.torch import save_file

from make_it_real import devices
from make_it_real.data import dataset
from make_it_real.data.dataset import ImageSet
from make_it_real.evaluation.classifier import DigitClassifier
from make_it_real.evaluation.metrics import frechet_distance
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.inference.projection import generate
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.config import default_config
from make_it_real.training.finetune import begin_from
from make_it_real.training.trainer import Trainer, begin
from make_it_real.weights import model_file

HERE = Path(__file__).parent
FIRST_SEED = 3_000_000
COLOURS = {"fine-tuned": (30, 90, 200), "from scratch": (210, 80, 30)}
Point = dict[str, Any]


class Contestant:
    """One run: its trainer, and what its training took."""

    def __init__(self, name: str, trainer: Trainer[Any], kept: Path) -> None:
        self.name, self.trainer, self.kept = name, trainer, kept
        self.seconds = self.cpu_seconds = 0.0

    def train(self, pixels: torch.Tensor, steps: int) -> None:
        start, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self.trainer.train_step(pixels)
        self.seconds += time.perf_counter() - start
        self.cpu_seconds += time.process_time() - cpu

    def keep(self, n: int) -> None:
        """Write n images of f's average, with what it took to get there."""
        f = copy.deepcopy(self.trainer.objective.shipped).eval()
        fz = generate(f, range(FIRST_SEED, FIRST_SEED + n), batch=250)
        point = {
            "run": self.name, "step": self.trainer.step,
            "cpu_minutes": round(self.cpu_seconds / 60, 3), "minutes": round(self.seconds / 60, 3),
        }  # fmt: skip
        print(json.dumps(point), flush=True)
        path = self.kept / f"{self.name.replace(' ', '-')}-{self.trainer.step:06d}.safetensors"
        save_file({"images": to_pixels(fz)}, path, {"point": json.dumps(point)})


def compete(train: ImageSet, options: argparse.Namespace) -> None:
    """Train both runs in turn and keep their images."""
    device = devices.pick("cpu")
    changes: dict[str, Any] = {"steps": 10**9, "decay_steps": 0}
    tuned, notes = begin_from(model_file.resolve(options.start), train, device, **changes)
    print("\n".join(notes), flush=True)
    model = tuned.objective.f.config
    config = default_config(model, **changes)
    scratch = begin(AdversarialObjective(model, config, device), train)
    options.output.mkdir(parents=True)
    runs = [
        Contestant(name, trainer, options.output)
        for name, trainer in zip(COLOURS, (tuned, scratch), strict=True)
    ]
    limits = dict(zip(COLOURS, (options.minutes, options.scratch), strict=True))
    for run in runs:
        run.keep(options.n)
    turn = 0
    while left := [run for run in runs if run.cpu_seconds < 60 * limits[run.name]]:
        turn += 1
        for run in left:
            run.train(train.pixels, options.block)
            if run.cpu_seconds >= 60 * limits[run.name] or turn % 2 == 0:
                run.keep(options.n)


def measured(options: argparse.Namespace, test: ImageSet, train: ImageSet) -> list[Point]:
    """The distance of everything kept, after that of as many real train images."""
    judge = DigitClassifier.load(options.features)

    @torch.inference_mode()
    def features(pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat([judge.features(to_images(part)) for part in pixels.split(250)])

    real = features(test.pixels)
    floor = frechet_distance(features(train.pixels[: options.n]), real)
    points = [{"run": "real train images", "distance": round(floor, 3)}]
    for path in sorted(options.output.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            point = json.loads(file.metadata()["point"])
            distance = frechet_distance(features(file.get_tensor("images")), real)
        points.append({**point, "distance": round(distance, 3)})
    return points


def plot(points: list[Point], path: Path) -> None:
    """Distance (logarithmic) over minutes of training, a line a run."""
    floor, points = points[0]["distance"], points[1:]
    width, height, left, right, top, bottom = 900, 560, 80, 30, 50, 60
    sheet = Image.new("RGB", (width, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    last = max(p["cpu_minutes"] for p in points)
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
        line = [place(p["cpu_minutes"], p["distance"]) for p in points if p["run"] == name]
        draw.line(line, colour, 3, joint="curve")
        draw.text((width - right - 150, top + 10 + 22 * i), name, colour, font)
    draw.text((left, 16), "Frechet distance of f(z) to the test images", "black", font)
    caption = "processor minutes of training"
    draw.text(((left + width) / 2, height - 24), caption, "black", font, anchor="ma")
    sheet.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--features", "-f", type=Path, required=True)
    parser.add_argument("--start", default="mnist", help="the model to start from")
    parser.add_argument("--minutes", type=float, default=10, help="of the fine-tuned run")
    parser.add_argument("--scratch", type=float, default=24, help="minutes of the other")
    parser.add_argument("--block", type=int, default=25, help="steps in turn")
    parser.add_argument("--n", type=int, default=2_000, help="images a distance is taken on")
    parser.add_argument("--output", "-o", type=Path, default=HERE / "finetuning")
    parser.add_argument("--measure", action="store_true", help="only measure what was kept")
    options = parser.parse_args()

    train, test = dataset.load(options.data), dataset.load(options.data, "test")
    if not options.measure:
        compete(train, options)
    points = measured(options, test, train)
    with options.output.with_suffix(".jsonl").open("w", encoding="utf-8") as file:
        for point in points:
            print(json.dumps(point))
            print(json.dumps(point), file=file)
    plot(points, options.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
