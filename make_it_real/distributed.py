"""Processes that ``torchrun`` started: rank, world size, sums, averages, barrier.

To train one f, each process draws its own images, and gradients are averaged over all processes, so
that the weights stay the same everywhere. A plain all-reduce does this: DistributedDataParallel
expects one forward and one backward pass of one network in a step. torch is imported in the
functions that need it, so that a command in a single process starts without it.
"""

import atexit
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


# Processes that are done wait for the slowest, which may take days.
PATIENCE = timedelta(days=365)


@dataclass(frozen=True)
class Share:
    """This process's place among all.

    rank: its number, from 0 to world − 1. world: number of processes. local_rank: its number
    among the processes of its machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the process of rank 0."""
        return self.rank == 0

    def device(self, name: str) -> str:
        """Name the device of this process: its own GPU where ``name`` is auto or cuda."""
        if self.world > 1 and name in ("auto", "cuda"):
            import torch

            if torch.cuda.is_available():
                return f"cuda:{self.local_rank}"
        return name

    def meet(self) -> None:
        """Wait until all processes are here."""
        if self.world > 1:
            meet()

    def gathered(self, item: Any) -> list[Any]:
        """Return the items of all processes, by rank. Waits for all."""
        items = [item] * self.world
        if self.world > 1:
            _group().all_gather_object(items, item)
        return items


def join(environment: Mapping[str, str] = os.environ) -> Share:
    """Join the other processes, and return this one's share of the work.

    environment: has the variables that torchrun sets; without them the process is alone. The
    processes communicate through gloo: they share lists of files, not tensors.
    """
    world = int(environment.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in environment:
        return Share()
    if not _group():
        start("gloo")
    return Share(int(environment["RANK"]), world, int(environment.get("LOCAL_RANK", "0")))


def begin(device: "torch.device") -> "torch.device":
    """Join the other processes if torchrun started this one; return the device to use.

    Tensors on the CPU are sent through gloo, those on GPUs through NCCL. Each process has its own
    GPU.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or _group():
        return device
    if device.type == "cuda":
        import torch

        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    start("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    atexit.register(leave)
    return device


def start(backend: str) -> None:
    """Join the processes that torchrun started, in a group that ends in ``leave``.

    torch.distributed.nn keeps the group that exists when it is imported in default arguments.
    Compiling and an optimizer's first step import it. The threads of that group would then live
    on, and a thread that needs the interpreter while it shuts down aborts the process. So this
    function imports the module before there is a group.
    """
    import torch.distributed as dist
    import torch.distributed.nn  # noqa: F401

    dist.init_process_group(backend, timeout=PATIENCE)


def end() -> None:
    """Leave the other processes once all are done.

    A process that leaves while another still works may be aborted by gloo's threads. Do not call
    this after an error: the others may never get here.
    """
    meet()
    leave()


def leave() -> None:
    """Leave the other processes at once, if there are any."""
    if group := _group():
        group.destroy_process_group()


def rank() -> int:
    """Return the number of this process, 0 where it is alone."""
    group = _group()
    return group.get_rank() if group else 0


def size() -> int:
    """Return the number of processes."""
    group = _group()
    return group.get_world_size() if group else 1


def leads_machine() -> bool:
    """Tell whether this is the process that does what is done once on each machine."""
    return size() < 2 or os.environ.get("LOCAL_RANK", "0") == "0"


def meet() -> None:
    """Wait until all processes are here, if there are others."""
    if size() > 1:
        import torch

        # A sum on the CPU goes through gloo, which does not use GPUs while it waits.
        add_up(torch.zeros(1))


def add_up(tensor: "Tensor") -> "Tensor":
    """Add up the tensors of all processes, in place, and return the sum."""
    if group := _group():
        group.all_reduce(tensor)
    return tensor


def average_gradients(parameters: Iterable["nn.Parameter"]) -> None:
    """Replace the gradients by their means over all processes, sent as one tensor."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if size() < 2 or not gradients:
        return
    import torch

    flat = add_up(torch.cat([gradient.flatten() for gradient in gradients])) / size()
    pieces = flat.split([gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view(gradient.shape))


def same(tensors: Iterable["Tensor"]) -> None:
    """Give all processes the tensors of the first: machines may round the last bits differently."""
    if group := _group():
        for tensor in tensors:
            # Channels-last tensors can't be sent as they are.
            sent = tensor.detach().contiguous()
            group.broadcast(sent, 0)
            tensor.detach().copy_(sent)


def agreed(flag: bool) -> bool:
    """Tell whether the flag is set in any process, so that all stop at the same step."""
    if size() < 2:
        return flag
    import torch

    return bool(add_up(torch.tensor([float(flag)])) > 0)


def _group() -> Any:
    """Return torch.distributed where this process is in a group, None where it is alone."""
    import torch.distributed as dist

    return dist if dist.is_available() and dist.is_initialized() else None
