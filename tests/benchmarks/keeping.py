"""How much faster f and a training step are on a processor where freed memory is kept.

    python tests/benchmarks/keeping.py [--rounds 3]

Milliseconds of f of 64 digits, of 64 faces and of a photograph of 640×640 pixels, and of a step of
training on 64 images of 28 and of 64 pixels, where memory that is freed goes back to the system and
where it is kept (``make_it_real/memory.py``), and the ratio of both. Each is the least of several
rounds taken in turns, each round in a process of its own.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice

import torch

import make_it_real
from make_it_real import memory
from make_it_real.inference.projection import project
from make_it_real.training.trainer import train
from tests.benchmarks.training import begun

CPU = torch.device("cpu")
BATCH, SIDE = 64, 640
# How often each is timed, after a first time that warms up.
TIMES = {"mnist": 5, "faces": 3, "photos": 4, "step of 28 pixels": 4, "step of 64 pixels": 2}


def work(name: str) -> Callable[[], object]:
    """Prepare what is timed."""
    if name.startswith("step"):
        trainer, images = begun(int(name.split()[2]), BATCH, CPU)
        steps = train(trainer, images)
        return lambda: list(islice(steps, 1))
    f = make_it_real.load(name, "cpu")
    x = torch.zeros(1, 3, SIDE, SIDE) if name == "photos" else f.source.from_seeds(range(BATCH))
    return lambda: project(f, x)


def least(name: str) -> float:
    """Measure milliseconds, the least of a few times."""
    do, taken = work(name), []
    for _ in range(1 + TIMES[name]):
        start = time.perf_counter()
        do()
        taken.append(1000 * (time.perf_counter() - start))
    return min(taken[1:])


def measured(way: str) -> dict[str, float]:
    """Measure everything in a process of its own. way: "freed" or "kept"."""
    command = [sys.executable, "-m", "tests.benchmarks.keeping", "--way", way]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    times: dict[str, float] = json.loads(done.stdout)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--way", choices=["freed", "kept"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        if options.way == "kept":
            memory.keep()
        print(json.dumps({name: least(name) for name in TIMES}))
        return
    rounds = [(measured("freed"), measured("kept")) for _ in range(options.rounds)]
    print(f"{torch.get_num_threads()} threads, milliseconds")
    print(f"{'':20}{'freed':>8}{'kept':>8}{'ratio':>8}")
    for name in TIMES:
        freed, kept = (min(each[way][name] for each in rounds) for way in (0, 1))
        print(f"{name:20}{freed:8.0f}{kept:8.0f}{freed / kept:8.2f}")


if __name__ == "__main__":
    main()
