"""How much of f's own speed a folder job keeps, and whether its memory stays flat.

    python tests/benchmarks/folder.py [--n 10000] [--batch 64] [--model mnist]

Makes n PNGs of 28×28, runs ``mir project`` on the folder in a process of its own, and f
alone on the same images at the same batch size on the same device. Prints images per second,
their ratio, and the peak memory for a tenth of the images and for all of them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import make_it_real
from make_it_real import images
from make_it_real.projection import project

CHILD = """
import json, resource, sys, time
from pathlib import Path
import make_it_real
from make_it_real import batch, weights
from make_it_real.framing import Framing
model, size, folder, out = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
f = make_it_real.load(model, "cpu")
framing = Framing(**weights.inspect(weights.resolve(model)).framing)
start = time.perf_counter()
plan = batch.plan([folder], out)
settings = batch.Settings(framing=framing, batch=size)
done = sum(r.status == "done" for r in batch.run(f, plan.jobs, settings))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"done": done, "seconds": seconds, "peak_mib": peak}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--model", default="mnist")
    options = parser.parse_args()

    f = make_it_real.load(options.model, "cpu")
    x = make_it_real.generate(f, range(256))
    with tempfile.TemporaryDirectory() as temporary:
        all_of_them, tenth = Path(temporary, "all"), Path(temporary, "tenth")
        for folder, count in ((tenth, options.n // 10), (all_of_them, options.n)):
            folder.mkdir()
            for i in range(count):
                data = images.encode(x[i % len(x)])
                (folder / f"{i:06d}.png").write_bytes(data)

        def job(folder: Path, out: str) -> dict[str, float]:
            words = [options.model, str(options.batch), str(folder), str(Path(temporary, out))]
            child = [sys.executable, "-c", CHILD, *words]
            output = subprocess.run(child, check=True, capture_output=True, text=True).stdout
            result: dict[str, float] = json.loads(output)
            return result

        small, large = job(tenth, "a"), job(all_of_them, "b")
        start = time.perf_counter()
        command = [sys.executable, "-m", "make_it_real", "project", str(all_of_them), "-q"]
        out = ["-o", str(Path(temporary, "c")), "--batch", str(options.batch)]
        command += [*out, "-m", options.model, "-d", "cpu"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole = options.n / (time.perf_counter() - start)

    many = x.repeat(-(-options.n // len(x)), 1, 1, 1)[: options.n]
    project(f, many[: 4 * options.batch], batch=options.batch)
    start = time.perf_counter()
    project(f, many, batch=options.batch)
    alone = options.n / (time.perf_counter() - start)
    rate = large["done"] / large["seconds"]
    print(f"f alone            {alone:8.0f} images/s (batch {options.batch}, {f.device})")
    print(f"folder job         {rate:8.0f} images/s, {rate / alone:.2f} of f alone")
    print(f"whole mir project  {whole:8.0f} images/s, {whole / alone:.2f} of f alone")
    print(f"peak memory        {small['peak_mib']:8.0f} MiB for {options.n // 10:,} images")
    print(f"                   {large['peak_mib']:8.0f} MiB for {options.n:,} images")


if __name__ == "__main__":
    main()
