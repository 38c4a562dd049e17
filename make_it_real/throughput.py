"""How well a device is used: operations of a step, and what the device does at its best."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


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
