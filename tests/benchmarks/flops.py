"""Operations of a model's parts and of a training step, and what a device does at its best.

    python tests/benchmarks/flops.py --size 28 --channels 1 --batch 64
    python tests/benchmarks/flops.py --model faces [--depth 2]

The first is of a model that training begins with at that size, and of a step of each objective.
The second is of a bundled model's f alone, module by module; of photos it is a picture of
``--size`` pixels a side. An addition and a multiplication are two operations.
"""

import argparse
import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

import make_it_real
from make_it_real.data.dataset import ImageSet
from make_it_real.models import architectures
from make_it_real.models.ign import IGN
from make_it_real.training.checkpoint import build
from make_it_real.training.config import IGNTrainingConfig, TrainingConfig, default_config
from make_it_real.training.networks import default_model, paper_model
from make_it_real.training.trainer import Trainer, begin


class _Counter(TorchDispatchMode):
    """Adds up what torch says its operations cost.

    torch's own FlopCounterMode also sorts by module, with hooks that refuse a gradient's graph.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if cost := flop_registry.get(func._overloadpacket):
            self.total += int(cost(*args, **(kwargs or {}), out_val=out))
        return out


def flops(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and convolutions in ``work``.

    An addition and a multiplication are two. What is compiled is not seen.
    """
    with _Counter() as counter:
        work()
    total: int = counter.total
    return total


def by_module(f: IGN, images: Tensor, depth: int = 1) -> dict[str, int]:
    """Operations of each module of f, applied to images (N, C, H, W), the largest first.

    depth: how many parts of a module's name are told apart. Operations of none count as f's own.
    """
    counts: dict[str, int] = {}
    counter = _Counter()
    # Names of the modules that are at work, the outermost first, and what was counted till then.
    inside, since = ["f"], 0

    def book() -> None:
        nonlocal since
        name = ".".join(inside[-1].split(".")[:depth])
        counts[name] = counts.get(name, 0) + counter.total - since
        since = counter.total

    def around(name: str, module: torch.nn.Module) -> None:
        def enter(*_: Any) -> None:
            book()
            inside.append(name)

        def leave(*_: Any) -> None:
            book()
            inside.pop()

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave)

    f = copy.deepcopy(f)
    # Weights that f transforms at first use are not part of every application.
    with torch.no_grad():
        f(images)
    for name, module in f.named_modules():
        if name:
            around(name, module)
    with counter, torch.no_grad():
        f(images)
    book()
    return {name: n for name, n in sorted(counts.items(), key=lambda item: -item[1]) if n}


def table(counts: dict[str, int], pixels: int) -> str:
    """Lay out operations by module: millions an image, share of all, and number a pixel."""
    total = sum(counts.values())
    rows = [*counts.items(), ("all", total)]
    head = f"{'module':<16}{'MFLOP an image':>16}{'share':>8}{'a pixel':>12}"
    lines = (
        f"{name:<16}{count / 1e6:16.1f}{count / total:8.1%}{count / pixels:12,.0f}"
        for name, count in rows
    )
    return "\n".join([head, *lines])


def step_flops(trainer: Trainer[Any], pixels: Tensor) -> float:
    """Operations of a training step on average, over one cycle of steps with and without critics.

    The trainer goes on by so many steps.
    """
    config: Any = trainer.config
    cycle = max(1, getattr(config, "critic_every", 1)) * getattr(config, "penalty_every", 1)
    total = 0
    for _ in range(cycle):
        total += flops(lambda: trainer.train_step(pixels))
    return total / cycle


def matmul_peak(device: torch.device, dtype: torch.dtype, seconds: float = 1.0) -> float:
    """Operations a second of square matrix products there, measured for about ``seconds``."""
    n = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))

    def finished() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    a @ b
    best, began = 0.0, finished()
    while (start := finished()) - began < seconds:
        for _ in range(4):
            a @ b
        best = max(best, 4 * 2 * n**3 / (finished() - start))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--model")
    parser.add_argument("--depth", type=int, default=1)
    asked = parser.parse_args()

    if asked.model:
        f = make_it_real.load(asked.model, "cpu")
        side = f.config.image_size or asked.size
        image = torch.zeros(1, f.config.channels, side, side)
        print(table(by_module(f, image, asked.depth), side**2))
        return
    shape = (asked.batch, asked.channels, asked.size, asked.size)
    images = ImageSet(torch.randint(0, 256, shape, dtype=torch.uint8), None, "noise")
    projector, paper = (of(asked.size, asked.channels) for of in (default_model, paper_model))
    configs: dict[str, tuple[Any, TrainingConfig]] = {
        "adversarial": (projector, default_config(projector, batch=asked.batch)),
        "restoration": (projector, default_config(projector, batch=asked.batch, critic_every=0)),
        "ign": (paper, IGNTrainingConfig(batch=asked.batch)),
    }
    fresh, one = architectures.build(projector), torch.zeros(1, *shape[1:])
    print(table(by_module(fresh, one, asked.depth), asked.size**2))
    for name, (model, config) in configs.items():
        trainer = begin(build(model, config, asked.device), images)
        print(f"{name:<16}{step_flops(trainer, images.pixels) / 1e9:10.2f} GFLOP a step")
    peak = matmul_peak(asked.device, torch.float32)
    print(f"{'peak':<16}{peak / 1e9:10.1f} GFLOP/s of matrix products in float32")


if __name__ == "__main__":
    main()
