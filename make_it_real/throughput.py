"""How well a device is used: operations of a step, and what the device does at its best."""

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def flops(work: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and convolutions in ``work``.

    An addition and a multiplication are two. What is compiled is not seen.
    """
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


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
