"""How fast a training step is, and where its time goes.

    python tests/benchmarks/training.py [--device cuda] [--quick] [--sizes 28,64]
        [--batches 64,256,1024] [--seconds 3]

For each size (28 pixels grey, 64 in colour: f, critic and settings as ``mir train`` takes them) and
batch, eager, compiled and, on CUDA, recorded as CUDA graphs: images a second, and the share of the
device's best matrix product that the operations of a step come to. Below, milliseconds of a step's
parts by torch.profiler, of the largest batch: on the host, and of a GPU's kernels. What can't be
compiled or recorded says why. ``--quick`` is to see that all of it runs: small batches, short
times, and a penalty in every second step.
"""

import argparse
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, record_function

from make_it_real import devices
from make_it_real.data.dataset import ImageSet
from make_it_real.errors import one_line
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.compiling import RECORDED_CYCLES
from make_it_real.training.config import AdversarialConfig, default_config
from make_it_real.training.graphs import Graphs
from make_it_real.training.losses import Terms
from make_it_real.training.networks import default_model
from make_it_real.training.trainer import Trainer, begin, train
from tests.benchmarks.flops import matmul_peak, step_flops

# Images to draw from.
IMAGES = 2048
WAYS = ("eager", "compiled", "recorded", "compiled and recorded")
PARTS = ("draw", "forward and losses", "backward", "optimizers")


def begun(
    size: int, batch: int, device: torch.device, **changes: Any
) -> tuple[Trainer[Any], ImageSet]:
    """A new trainer of the adversarial objective, and images of noise. changes: of its config."""
    model = default_model(size, 1 if size == 28 else 3)
    generator = torch.Generator().manual_seed(0)
    shape = (IMAGES, model.channels, size, size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    images = ImageSet(pixels, None, "noise")
    config = default_config(model, batch=batch, steps=10**9, **changes)
    return begin(AdversarialObjective(model, config, device), images), images


def finished(device: torch.device) -> float:
    """Wait for a device, and return the time."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def cycle_of(trainer: Trainer[Any]) -> int:
    """Number of steps from one gradient penalty to the next."""
    assert isinstance(trainer.config, AdversarialConfig)
    return trainer.config.penalty_every


def images_a_second(trainer: Trainer[Any], images: ImageSet, seconds: float) -> float:
    """Train for about so many seconds, whole cycles from one penalty to the next."""
    cycle = cycle_of(trainer)
    with closing(cast(Generator[Terms, None, None], train(trainer, images))) as steps:
        # Much is set up in the first cycle, networks are compiled, and steps are recorded.
        list(islice(steps, cycle * (RECORDED_CYCLES if trainer.graphs else 1)))
        start, done = finished(trainer.device), 0
        while (now := finished(trainer.device)) - start < seconds or not done:
            done += len(list(islice(steps, cycle)))
        return done * trainer.config.batch / (now - start)


@contextmanager
def named(owner: Any, method: str, name: str) -> Iterator[None]:
    """Let the profiler know the calls of a method by a name."""
    before = getattr(owner, method)

    def around(*args: Any, **kwargs: Any) -> Any:
        with record_function(name):
            return before(*args, **kwargs)

    setattr(owner, method, around)
    try:
        yield
    finally:
        setattr(owner, method, before)


def parts(trainer: Trainer[Any], pixels: Tensor) -> dict[str, tuple[float, float]]:
    """Milliseconds of a step's parts: (on the host, of the GPU's kernels), on average."""
    activities, on_gpu = [ProfilerActivity.CPU], trainer.device.type == "cuda"
    if on_gpu:
        activities.append(ProfilerActivity.CUDA)
    steps = cycle_of(trainer)
    with (
        named(trainer, "draw", "draw"), named(trainer, "learn", "step"),
        named(Tensor, "backward", "backward"), profile(activities=activities) as profiled,
    ):  # fmt: skip
        for _ in range(steps):
            trainer.train_step(pixels)
        finished(trainer.device)
    times = {"draw": (0.0, 0.0), "step": (0.0, 0.0), "backward": (0.0, 0.0)}
    times["optimizers"] = (0.0, 0.0)
    for event in profiled.key_averages():
        name = "optimizers" if event.key.startswith("Optimizer.step") else event.key
        if name in times:
            host, gpu = event.cpu_time_total, event.device_time_total if on_gpu else 0.0
            times[name] = (times[name][0] + host, times[name][1] + gpu)
    whole = times.pop("step")
    others = [times["backward"], times["optimizers"]]
    rest = [whole[i] - sum(one[i] for one in others) for i in (0, 1)]
    times["forward and losses"] = (rest[0], rest[1])
    milliseconds = 1e-3 / steps
    return {name: (times[name][0] * milliseconds, times[name][1] * milliseconds) for name in PARTS}


def measure(
    size: int, batch: int, device: torch.device, way: str, seconds: float, **changes: Any
) -> str:
    """Measure one setting: a line. way: one of ``WAYS``. changes: of the config."""
    trainer, images = begun(size, batch, device, **changes)
    label = f"{size:4} px  batch {batch:5}  {way:21}"
    try:
        operations = step_flops(trainer, images.pixels.to(device)) / batch
        if "compiled" in way:
            trainer.objective.compile_networks()
        if "recorded" in way:
            trainer.graphs = Graphs(trainer.objective, trainer.optimizers)
        rate = images_a_second(trainer, images, seconds)
    except torch.OutOfMemoryError:
        return f"{label} out of memory"
    if trainer.compile_error:
        return f"{label} not compiled: {one_line(RuntimeError(trainer.compile_error))[:60]}"
    if trainer.graphs and trainer.graphs.error:
        return f"{label} not recorded: {trainer.graphs.error[:60]}"
    short = trainer.config.bf16 and devices.fast_bf16(device)
    peak = matmul_peak(device, torch.bfloat16 if short else torch.float32, min(1.0, seconds))
    share = rate * operations / peak
    kind = "bfloat16" if short else "float32"
    return f"{label}{rate:10,.1f} images/s  {share:7.2%} of {peak / 1e12:.3g} TFLOP/s in {kind}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--sizes", default="28,64")
    parser.add_argument("--batches")
    parser.add_argument("--seconds", type=float)
    asked = parser.parse_args()
    device = devices.pick(asked.device)
    batches = asked.batches or ("8" if asked.quick else "64,256,1024")
    sizes, batches = ([int(n) for n in text.split(",")] for text in (asked.sizes, batches))
    seconds = asked.seconds or (0.1 if asked.quick else 3.0)
    changes = {"penalty_every": 2} if asked.quick else {}

    print(devices.describe(device))
    for size in sizes:
        for batch in batches:
            # Compiling takes longest of all, so one batch is enough.
            one = batch == batches[len(batches) // 2]
            for way in (WAYS if device.type == "cuda" else WAYS[:2]) if one else WAYS[:1]:
                print(measure(size, batch, device, way, seconds, **changes), flush=True)
        trainer, images = begun(size, batches[-1], device, **changes)
        pixels = images.pixels.to(device)
        trainer.train_step(pixels)
        for name, (host, gpu) in parts(trainer, pixels).items():
            kernels = f", {gpu:8.2f} ms of kernels" if device.type == "cuda" else ""
            print(f"    {name:20}{host:9.2f} ms on the host{kernels}")


if __name__ == "__main__":
    main()
