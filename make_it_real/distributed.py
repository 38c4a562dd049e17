"""Several processes that train one f, as torchrun starts them: who I am, and adding things up.

Every process draws the same random numbers for the whole batch, works on its own part of it and
adds its gradients to the others'; so f and all state stay the same everywhere, and what is
trained does not depend on how many take part. That is simpler than DistributedDataParallel,
whose hooks expect one forward and one backward pass of one network a step.
"""

import atexit
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


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


Item = TypeVar("Item")


def begin(device: "torch.device") -> "torch.device":
    """Join the other processes if torchrun started this one; the device it should use.

    gloo carries what lies on the CPU, NCCL what lies on GPUs, one a process.
    """
    import torch
    import torch.distributed as dist

    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    start("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    atexit.register(leave)
    return device


def end() -> None:
    """Part from the other processes once all are done; what no error path must wait for.

    A process that leaves while another still works may be aborted by gloo's threads.
    """
    import torch.distributed as dist

    if dist.is_initialized():
        dist.barrier()
        leave()


def rank() -> int:
    """This process's number, 0 where there is one alone."""
    import torch.distributed as dist

    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes train together."""
    import torch.distributed as dist

    return dist.get_world_size() if dist.is_initialized() else 1


def add_up(tensor: "Tensor") -> "Tensor":
    """The sum of all processes' tensors, in place."""
    import torch.distributed as dist

    if size() > 1:
        dist.all_reduce(tensor)
    return tensor


def add_up_gradients(parameters: Iterable["nn.Parameter"]) -> None:
    """Give every process the sum of all processes' gradients, sent as one."""
    import torch

    if size() < 2:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = add_up(torch.cat([gradient.flatten() for gradient in gradients]))
    pieces = flat.split([gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view(gradient.shape))


def same(tensors: Iterable["Tensor"]) -> None:
    """Give every process the first one's tensors: other machines round the last bits otherwise."""
    import torch.distributed as dist

    if size() > 1:
        for tensor in tensors:
            # Channels-last tensors can't be sent as they lie.
            sent = tensor.detach().contiguous()
            dist.broadcast(sent, 0)
            tensor.detach().copy_(sent)


def agreed(flag: bool) -> bool:
    """Whether the flag is set in any process: all stop at the same step or none does."""
    import torch

    if size() < 2:
        return flag
    return bool(add_up(torch.tensor([float(flag)])) > 0)


def leads_machine() -> bool:
    """Whether this process does what is to be done once on each machine."""
    return size() < 2 or os.environ.get("LOCAL_RANK", "0") == "0"


def mine(items: list[Item]) -> list[Item]:
    """This process's share of what is to be read, a stretch of it."""
    return items[rank() * len(items) // size() : (rank() + 1) * len(items) // size()]


def gathered(rows: "list[Tensor | str]") -> "list[Tensor | str]":
    """What all processes made of their shares (``mine``), in order, in every process.

    rows: uint8 tensors of one shape, or the reason why there is none; any number for an item.
    """
    import torch
    import torch.distributed as dist

    if size() < 2:
        return rows
    shares: list[list[str | None]] = [[] for _ in range(size())]
    # Reasons and the order are text, sent as such; the pixels follow as one tensor a process.
    dist.all_gather_object(shares, [row if isinstance(row, str) else None for row in rows])
    pixels = [row for row in rows if isinstance(row, torch.Tensor)]
    shapes: list[tuple[int, ...] | None] = [None] * size()
    dist.all_gather_object(shapes, tuple(pixels[0].shape) if pixels else None)
    shape = next(filter(None, shapes), (0,))
    out: list[Tensor | str] = []
    for sender, share in enumerate(shares):
        count = sum(reason is None for reason in share)
        own = sender == rank() and pixels
        buffer = torch.stack(pixels) if own else torch.empty((count, *shape), dtype=torch.uint8)
        dist.broadcast(buffer, sender)
        sent = iter(buffer)
        out += [next(sent) if reason is None else reason for reason in share]
    return out
