"""How much of f's own speed a folder job keeps, and whether its memory stays flat.

    python tests/benchmarks/folder.py [--n 10000] [--batch 64] [--steps 1] [--model mnist]

Makes n PNGs of the model's size and prints images per second, and their ratio to f^steps alone
on 10,000 images at the same batch size: of the folder job, of ``mir project`` as a process with
its start, and of the files alone (the job with an f that does nothing; small files keep one
core busy, since they are nearly all Python). f and files share the cores, so that with w cores
no job is faster than 1 / (1 / f + 1 / (w · files)), f at its best: a worker a core, each with a
thread of its own. Memory is what is resident at the end of the job, for a tenth of the images
and for all of them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

import make_it_real
from make_it_real.images import encode
from make_it_real.inference.projection import apply, project
from make_it_real.models.ign import IGN

CHILD = """
import json, os, sys, time
from pathlib import Path
import make_it_real
from make_it_real.images import encode
from make_it_real.images.framing import described
from make_it_real.inference import batch, worker
from make_it_real.inference.planning import plan
from make_it_real.inference.report import WRITTEN
from make_it_real.weights import model_file
model, size, steps, folder, out, what = sys.argv[1:]
f = make_it_real.load(model, "cpu")
info = model_file.inspect(model_file.resolve(model))
if what == "files":
    worker.project = lambda f, x, steps=1, batch=64: x
start = time.perf_counter()
text = encode.provenance(info.name, "0" * 12, int(steps))
framing = described(info.framing)
model = batch.Model(f, framing, text=text)
settings = batch.Settings(steps=int(steps), batch=int(size))
jobs = plan([folder], Path(out)).jobs
done = sum(r.status in WRITTEN for r in batch.run(model, jobs, settings))
seconds = time.perf_counter() - start
pages = int(Path("/proc/self/statm").read_text().split()[1])
resident = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
print(json.dumps({"rate": done / seconds, "resident": resident, "done": done}))
"""


def side_by_side(f: IGN, x: torch.Tensor, steps: int, batch: int) -> float:
    """Images per second of f as the job runs it: a worker a core, each on one thread."""
    workers = torch.get_num_threads()
    chunks = x.split(batch)

    def work(start: int) -> None:
        torch.set_num_threads(1)
        for chunk in chunks[start::workers]:
            apply(f, chunk, steps)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(workers)]
    torch.set_num_threads(1)
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    torch.set_num_threads(workers)
    return len(x) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--model", default="mnist")
    options = parser.parse_args()

    f = make_it_real.load(options.model, "cpu")
    x = make_it_real.generate(f, range(256))
    with tempfile.TemporaryDirectory() as temporary:
        all_of_them, tenth = Path(temporary, "all"), Path(temporary, "tenth")
        encoded = [encode.encode(image) for image in x]
        for folder, count in ((tenth, options.n // 10), (all_of_them, options.n)):
            folder.mkdir()
            for i in range(count):
                (folder / f"{i:06d}.png").write_bytes(encoded[i % len(encoded)])

        def job(folder: Path, out: str, what: str = "f") -> dict[str, float]:
            numbers = [str(options.batch), str(options.steps)]
            words = [options.model, *numbers, str(folder), str(Path(temporary, out))]
            child = [sys.executable, "-c", CHILD, *words, what]
            output = subprocess.run(child, check=True, capture_output=True, text=True).stdout
            result: dict[str, float] = json.loads(output)
            return result

        many = x.repeat(40, 1, 1, 1)[: min(options.n, 10_000)]
        project(f, many[: 4 * options.batch], batch=options.batch)
        start = time.perf_counter()
        project(f, many, options.steps, batch=options.batch)
        alone = len(many) / (time.perf_counter() - start)
        small, large = job(tenth, "a"), job(all_of_them, "b")
        assert large["done"] == options.n
        workers = side_by_side(f, many, options.steps, options.batch)
        # What a start costs shows where a job is short.
        folder, count = (
            (all_of_them, options.n) if options.n <= 20_000 else (tenth, options.n // 10)
        )
        start = time.perf_counter()
        command = [sys.executable, "-m", "make_it_real", "project", str(folder), "-q"]
        out = ["-o", str(Path(temporary, "c")), "--batch", str(options.batch)]
        command += [*out, "-m", options.model, "-d", "cpu", "--steps", str(options.steps)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        whole = count / (time.perf_counter() - start)
        files = job(folder, "d", "files")["rate"]

    limit = 1 / (1 / workers + 1 / (torch.get_num_threads() * files))
    for name, rate in (
        (f"f^{options.steps} alone, batch {options.batch}", alone),
        ("f, a worker a core", workers),
        ("files alone", files),
        ("limit of both", limit),
        ("folder job", large["rate"]),
        ("whole mir project", whole),
    ):
        print(f"{name:22}{rate:8.0f} images/s{rate / alone:8.2f} of f alone")
    ratio = large["resident"] / small["resident"]
    print(f"resident after {options.n // 10:7,} {small['resident']:8.0f} MiB")
    print(f"resident after {options.n:7,} {large['resident']:8.0f} MiB, {ratio:.3f} of that")


if __name__ == "__main__":
    main()
