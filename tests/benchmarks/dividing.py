"""How much faster f is on a processor whose threads divide the images, not the layers.

    python tests/benchmarks/dividing.py [--rounds 5]

For digits and faces: images a second with layers that all threads share and with images divided
among them (``make_it_real/threads.py``), and the ratio of both, by the fastest of several rounds
taken in turns; on an idle machine, and beside a program that keeps one core busy.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor

import make_it_real
from make_it_real import threads
from make_it_real.inference.projection import project
from make_it_real.models.ign import IGN

# Images at a time, and how often they are projected a round.
BATCH, TIMES = 64, {"mnist": 8, "faces": 1}
WAYS = {"shared": 10**9, "divided": threads.FEWEST}


@contextmanager
def busy(program: bool) -> Iterator[None]:
    """Run a program beside, or none, that computes without end."""
    if not program:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def rate(f: IGN, images: Tensor, times: int) -> float:
    """Measure images a second."""
    start = time.perf_counter()
    for _ in range(times):
        project(f, images, batch=BATCH)
    return times * len(images) / (time.perf_counter() - start)


def compare(name: str, rounds: int) -> str:
    """Measure a bundled model in both ways: a line of the table."""
    f = make_it_real.load(name, "cpu")
    images = f.source.from_seeds(range(BATCH))
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds + 1):
        for way, fewest in WAYS.items():
            with patch.object(threads, "FEWEST", fewest):
                measured = rate(f, images, TIMES[name])
            # The first round warms up.
            if number:
                rates[way].append(measured)
    shared, divided = (max(rates[way]) for way in WAYS)
    return f"{name:<8}{shared:>8.0f}{divided:>9.0f}{divided / shared:>7.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"{torch.get_num_threads()} threads, images a second")
    print("model     shared  divided  ratio")
    for beside in (False, True):
        with busy(beside):
            for name in TIMES:
                line = compare(name, rounds)
                print(line + "  beside a busy program" * beside, flush=True)


if __name__ == "__main__":
    main()
