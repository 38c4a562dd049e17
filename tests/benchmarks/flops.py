"""Operations of a model's parts and of a training step, and what a device does at its best.

python tests/benchmarks/flops.py --size 28 --channels 1 --batch 64
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


def by_module(f: IGN, images: Tensor) -> dict[str, int]:
    """Operations of each child module of f, applied to images (N, C, S, S), the largest first."""
    counts: dict[str, int] = {}
    counter = _Counter()

    def around(name: str, module: torch.nn.Module) -> None:
        before: list[int] = []
        module.register_forward_pre_hook(lambda *_: before.append(counter.total))

        def after(*_: Any) -> None:
            counts[name] = counts.get(name, 0) + counter.total - before.pop()

        module.register_forward_hook(after)

    f = copy.deepcopy(f)
    for name, module in f.named_children():
        around(name, module)
    with counter, torch.no_grad():
        f(images)
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


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
    asked = parser.parse_args()

    shape = (asked.batch, asked.channels, asked.size, asked.size)
    images = ImageSet(torch.randint(0, 256, shape, dtype=torch.uint8), None, "noise")
    projector, paper = (of(asked.size, asked.channels) for of in (default_model, paper_model))
    configs: dict[str, tuple[Any, TrainingConfig]] = {
        "adversarial": (projector, default_config(projector, batch=asked.batch)),
        "restoration": (projector, default_config(projector, batch=asked.batch, critic_every=0)),
        "ign": (paper, IGNTrainingConfig(batch=asked.batch)),
    }
    one = torch.zeros(1, *shape[1:])
    for name, count in by_module(architectures.build(projector), one).items():
        print(f"{name:<16}{count / 1e6:10.1f} MFLOP an image")
    for name, (model, config) in configs.items():
        trainer = begin(build(model, config, asked.device), images)
        print(f"{name:<16}{step_flops(trainer, images.pixels) / 1e9:10.2f} GFLOP a step")
    peak = matmul_peak(asked.device, torch.float32)
    print(f"{'peak':<16}{peak / 1e9:10.1f} GFLOP/s of matrix products in float32")


if __name__ == "__main__":
    main()
