"""The trilemma measured: quality, coverage and cost of seven ways to make digits, and of f.

    pip install 'make-it-real[trilemma]'
    OMP_NUM_THREADS=1 python examples/trilemma/compare.py MNIST -o runs/trilemma --minutes 30

trains every system for so many minutes of processor time on MNIST's train images, lets each make
10,000 images in each of its ways, and measures them all against the 10,000 test images, in the
features of the bundled digit classifier; ``--device cuda`` does so on a GPU, by a clock's minutes.
What is done is kept in the folder and not done again, so that the command can be stopped and
repeated; ``--only gan vae`` does a part, and ``--workers 8`` trains so many at a time, a process
each: steps as small as these leave most of a GPU idle. It writes README.md, trilemma.json and
trilemma.webp there.

Damaged digits are repaired by what can: f and the paper's in one evaluation, a VAE by encoding and
decoding, a consistency model as if they were noisy, DDPM as SDEdit does.
"""

import argparse
import json
import math
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import consistency
import ddpm
import diffusion_gan
import gan
import idempotent
import page
import torch
import vae
from common import BATCH, CLASSES, CPU, System, Way, clock, restore, train
from page import DAMAGE, Row
from safetensors.torch import load_file, save_file
from torch import Tensor

from make_it_real.data import dataset
from make_it_real.data.dataset import ImageSet
from make_it_real.degradations.kinds import degraded
from make_it_real.evaluation import feature_extractors, metrics
from make_it_real.evaluation.feature_extractors import Extractor, collect
from make_it_real.images.pixels import grid, to_images, to_pixels

SYSTEMS: dict[str, Callable[[ImageSet, torch.device], System]] = {
    "gan": lambda _, device: gan.system(device),
    "vae": lambda _, device: vae.system(device),
    "diffusion-gan": lambda _, device: diffusion_gan.system(device),
    "consistency": lambda _, device: consistency.system(device),
    "ddpm": lambda _, device: ddpm.system(device),
    "guided-ddpm": lambda _, device: ddpm.system(device, guided=True),
    "paper": idempotent.paper,
    "mir": idempotent.projector,
}
CHUNK, GPU_CHUNK, REPAIRED = 500, 2_500, 1_000


def kept_at(key: str, folder: Path) -> Path:
    """Where a system's trained networks are."""
    return folder / f"{key}.safetensors"


def trained(key: str, source: Path, minutes: float, folder: Path, device: torch.device) -> None:
    """Train a system for so many minutes on the images at ``source`` and keep it."""
    given = dataset.load(source, "train")
    assert given.labels is not None
    torch.manual_seed(0)
    system = SYSTEMS[key](given, device)
    pixels, labels = given.pixels.to(device), given.labels.to(device)
    train(system, pixels, labels, minutes, kept_at(key, folder))
    print(f"{key}: {system.steps:,} steps", flush=True)


def made(way: Way, n: int, folder: Path, device: torch.device) -> tuple[Tensor, float]:
    """(n images of a way, seconds that 1,000 took), kept in chunks in the folder."""
    parts, seconds = [], 0.0
    size = CHUNK if device.type == "cpu" else GPU_CHUNK
    for chunk in range(math.ceil(n / size)):
        path = folder / f"{way.name.replace(' ', '-')}-{chunk:03}.safetensors"
        if not path.exists():
            began = clock(device)
            drawn = way.draw(size, torch.Generator(device).manual_seed(1_000_000 + chunk))
            took = torch.tensor(clock(device) - began)
            folder.mkdir(parents=True, exist_ok=True)
            save_file({"images": to_pixels(drawn.cpu()), "seconds": took}, path)
        kept = load_file(path)
        parts.append(to_images(kept["images"]))
        seconds += float(kept["seconds"])
    return torch.cat(parts)[:n], 1000 * seconds / (size * len(parts))


def measured(y: Tensor, real: Tensor, judge: Extractor, few: int, device: torch.device) -> Row:
    """The figures of images against the features of real ones; fd_few is of so few of them."""
    features, classes = collect(judge, y, 250)
    assert classes is not None
    found = metrics.overlap(metrics.Balls(real.to(device)), features.to(device))
    shares = torch.bincount(classes, minlength=CLASSES) / len(y)
    return {
        "fd": metrics.frechet_distance(features, real),
        "fd_few": metrics.frechet_distance(features[:few], real),
        "precision": float(found.precision.mean()), "recall": float(found.recall.mean()),
        "density": float(found.density.mean()), "coverage": float(found.coverage.mean()),
        "rarest": float(shares.min()), "commonest": float(shares.max()), "n": len(y),
    }  # fmt: skip


def repairs(way: Way, test: ImageSet, judge: Extractor, device: torch.device) -> Row:
    """PSNR and the share read right, before and after, a kind of damage each."""
    assert way.repair is not None
    assert test.labels is not None
    x, labels = to_images(test.pixels[:REPAIRED]), test.labels[:REPAIRED]
    row: Row = {"evaluations": way.repair_evaluations}
    for kind, level in DAMAGE:
        damaged = degraded(x, kind, level, generator=torch.Generator().manual_seed(0))
        y = way.repair(damaged.to(device), torch.Generator(device).manual_seed(1)).cpu()
        for name, each in (("before", damaged), ("after", y)):
            read = collect(judge, each, 250)[1]
            assert read is not None
            right = float((read == labels).float().mean())
            row[f"{kind}_{name}"] = float(metrics.psnr(each, x).clamp_max(100).mean()), right
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("data", type=Path, help="a folder of MNIST's IDX files")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--n", type=int, default=10_000, help="images of each way")
    parser.add_argument(
        "--n-slow", type=int, help="images of ways with 100 evaluations or more [as --n]"
    )
    parser.add_argument("--device", type=torch.device, default=CPU)
    parser.add_argument("--workers", type=int, default=1, help="systems trained at a time")
    parser.add_argument("--only", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS))
    asked = parser.parse_args()
    device = asked.device
    given, test = dataset.load(asked.data, "train"), dataset.load(asked.data, "test")
    judge = feature_extractors.load("digits", 1, 28)
    assert judge is not None
    left = [key for key in asked.only if not kept_at(key, asked.output).exists()]
    training = partial(
        trained, source=asked.data, minutes=asked.minutes, folder=asked.output, device=device
    )
    if asked.workers == 1:
        for key in left:
            training(key)
    elif left:
        # Of processes that are forked, none could use a GPU.
        with ProcessPoolExecutor(asked.workers, get_context("spawn")) as pool:
            list(pool.map(training, left))
    real, _ = collect(judge, to_images(test.pixels), 250)
    few = asked.n_slow or asked.n
    floor = measured(to_images(given.pixels[: asked.n]), real, judge, few, device)
    nothing = {
        "name": "real train images", "parameters": 0, "steps": 0, "evaluations": 0, "seconds": 0.0
    }  # fmt: skip
    rows: list[Row] = [nothing | floor]
    sheets: dict[str, Tensor] = {}
    for key in asked.only:
        torch.manual_seed(0)
        system = SYSTEMS[key](given, device)
        restore(system, kept_at(key, asked.output), asked.minutes)
        print(
            f"{system.name}: {system.parameters:,} parameters, {system.steps:,} steps", flush=True
        )
        for way in system.ways():
            n = asked.n if way.evaluations < 100 else few
            y, seconds = made(way, n, asked.output / "made", device)
            row: Row = {
                "name": way.name, "parameters": system.parameters, "steps": system.steps,
                "batch": BATCH, "evaluations": way.evaluations, "seconds": seconds,
            }  # fmt: skip
            row |= measured(y, real, judge, few, device)
            if way.repair is not None:
                row["repair"] = repairs(way, test, judge, device)
            rows.append(row)
            sheets[way.name] = grid(y[:36], columns=6)
            print(f"  {way.name}: fd {row['fd']:.2f}, recall {row['recall']:.3f}", flush=True)
    options = [f"--minutes {asked.minutes:g}"]
    options += [f"--n {asked.n}"] * (asked.n != parser.get_default("n"))
    options += [f"--n-slow {asked.n_slow}"] * (asked.n_slow is not None)
    options += [f"--device {device}"] * (device != CPU)
    options += [f"--workers {asked.workers}"] * (asked.workers != parser.get_default("workers"))
    options += [f"--only {' '.join(asked.only)}"] * (asked.only != list(SYSTEMS))
    about = {
        "minutes": asked.minutes, "options": " ".join(options), "judge": judge.version,
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": torch.get_num_threads(), "workers": asked.workers,
        "repaired": REPAIRED, "tested": len(test),
    }  # fmt: skip
    text = json.dumps({"about": about, "rows": rows}, indent=1)
    (asked.output / "trilemma.json").write_text(text + "\n", encoding="utf-8")
    (asked.output / "README.md").write_text(page.text(rows, about), encoding="utf-8")
    page.plot(rows, sheets).save(asked.output / "trilemma.webp", quality=15, method=6)
    print(page.tables(rows))


if __name__ == "__main__":
    main()
