"""How much less time f takes on a processor with convolutions that multiply less.

    python tests/benchmarks/convolutions.py [--threads 1] [--rounds 5]

For digits, faces and photos, with direct convolutions and with those of ``models/winograd.py``:
millions of operations an image, seconds an application, the fastest of several taken in turns, the
ratio of both, and how far apart the images are in 8-bit levels. Freed memory is kept, as ``mir``
keeps it.
"""

import argparse
import time
from unittest.mock import patch

import torch

import make_it_real
from make_it_real import memory
from make_it_real.models import winograd
from tests.benchmarks.flops import flops

# Images at a time, and the side of a photograph in pixels.
BATCHES = {"mnist": 125, "faces": 32, "photos": 1}
PHOTOGRAPH = 640


def compare(name: str, batch: int, rounds: int) -> str:
    """Measure a bundled model with both kinds of convolutions: a line of the table."""
    f = make_it_real.load(name, "cpu")
    side = f.config.image_size or PHOTOGRAPH
    images = torch.rand(batch, f.config.channels, side, side) * 2 - 1
    images = images.contiguous(memory_format=torch.channels_last)
    ways = {"direct": lambda *shape: False, "less": winograd.pays}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    out, mflop = {}, {}
    for _ in range(rounds):
        for way, pays in ways.items():
            with torch.no_grad(), patch.object(winograd, "pays", pays):
                out[way] = f(images)
                mflop[way] = flops(lambda: f(images[:1])) / 1e6
                start = time.perf_counter()
                f(images)
                seconds[way].append(time.perf_counter() - start)
    slow, fast = (min(seconds[way]) for way in ways)
    apart = (out["direct"] - out["less"]).abs().max() * 127.5
    counts = "".join(f"{count:>10,.0f}" for count in mflop.values())
    return f"{name:<8}{batch:>6}{counts}{slow:>8.3f}{fast:>8.3f}{slow / fast:>7.2f}{apart:>9.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    memory.keep()
    torch.set_num_threads(asked.threads)
    print("                      MFLOP an image   s a batch")
    print("model    batch    direct      less  direct    less  ratio   levels")
    for name, batch in BATCHES.items():
        print(compare(name, batch, asked.rounds), flush=True)


if __name__ == "__main__":
    main()
