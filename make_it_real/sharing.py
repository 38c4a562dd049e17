"""One of several processes that ``torchrun`` started: which, and how they meet."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any


@dataclass(frozen=True)
class Share:
    """This process among ``world``: rank 0 to world − 1, local_rank among those of its machine."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        return self.rank == 0

    def device(self, name: str) -> str:
        """The device of this process where ``name`` leaves that open: each its own GPU."""
        if self.world > 1 and name in ("auto", "cuda"):
            import torch

            if torch.cuda.is_available():
                return f"cuda:{self.local_rank}"
        return name

    def meet(self) -> None:
        """Wait until all are here."""
        if self.world > 1:
            import torch.distributed as dist

            dist.barrier()

    def gathered(self, item: Any) -> list[Any]:
        """Everyone's item, by rank; waits for all."""
        if self.world == 1:
            return [item]
        import torch.distributed as dist

        items: list[Any] = [None] * self.world
        dist.all_gather_object(items, item)
        return items


def join(environment: Mapping[str, str] = os.environ) -> Share:
    """This process's share, by the variables that torchrun sets; alone where there are none.

    Processes meet through gloo: what they share is the list of files, not tensors.
    """
    world = int(environment.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in environment:
        return Share()
    import torch.distributed as dist

    if not dist.is_initialized():
        # At the end, those that are done wait for the slowest, which may take days.
        start("gloo", timeout=timedelta(days=365))
    return Share(int(environment["RANK"]), world, int(environment.get("LOCAL_RANK", "0")))


def start(backend: str, **options: Any) -> None:
    """Join the processes that torchrun started, in a group that ends when it is left.

    torch.distributed.nn, which compiling or an optimizer's first step imports, keeps the group of
    that time in default arguments. Its threads would live on, and a thread that wants the
    interpreter as it goes down aborts the process: so the module is imported before there is one.
    """
    import torch.distributed as dist
    import torch.distributed.nn  # noqa: F401

    dist.init_process_group(backend, **options)


def leave() -> None:
    """Part from the others, if there are any."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
