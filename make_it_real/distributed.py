"""One of several processes that ``torchrun`` started: rank, world size, sums, barrier.

To train one f, every process draws its own images, and gradients are averaged over all of them, so
that parameters stay the same everywhere. A plain all-reduce does it: the hooks of
DistributedDataParallel expect one forward and one backward pass of one network a step. torch is
imported where it is needed: a command that works alone starts without it.
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


# Those that are done wait for the slowest, which may take days.
PATIENCE = timedelta(days=365)


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
            meet()

    def gathered(self, item: Any) -> list[Any]:
        """Everyone's item, by rank; waits for all."""
        items = [item] * self.world
        if self.world > 1:
            _group().all_gather_object(items, item)
        return items


def join(environment: Mapping[str, str] = os.environ) -> Share:
    """This process's share, by the variables that torchrun sets; alone where there are none.

    Processes meet through gloo: what they share is the list of files, not tensors.
    """
    world = int(environment.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in environment:
        return Share()
    if not _group():
        start("gloo")
    return Share(int(environment["RANK"]), world, int(environment.get("LOCAL_RANK", "0")))


def begin(device: "torch.device") -> "torch.device":
    """Join the other processes if torchrun started this one; the device it should use.

    gloo carries what lies on the CPU, NCCL what lies on GPUs, one a process.
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
    """Join the processes that torchrun started, in a group that ends when it is left.

    torch.distributed.nn, which compiling or an optimizer's first step imports, keeps the group of
    that time in default arguments. Its threads would live on, and a thread that wants the
    interpreter as it goes down aborts the process: so the module is imported before there is one.
    """
    import torch.distributed as dist
    import torch.distributed.nn  # noqa: F401

    dist.init_process_group(backend, timeout=PATIENCE)


def end() -> None:
    """Part from the other processes once all are done; what no error path must wait for.

    A process that leaves while another still works may be aborted by gloo's threads.
    """
    meet()
    leave()


def leave() -> None:
    """Part from the others, if there are any."""
    if group := _group():
        group.destroy_process_group()


def rank() -> int:
    """This process's number, 0 where there is one alone."""
    group = _group()
    return group.get_rank() if group else 0


def size() -> int:
    """How many processes there are."""
    group = _group()
    return group.get_world_size() if group else 1


def leads_machine() -> bool:
    """Whether this process does what is to be done once on each machine."""
    return size() < 2 or os.environ.get("LOCAL_RANK", "0") == "0"


def meet() -> None:
    """Wait until all processes are here, if there are others."""
    if size() > 1:
        import torch

        # A sum on the CPU goes through gloo, which leaves GPUs alone while it waits.
        add_up(torch.zeros(1))


def add_up(tensor: "Tensor") -> "Tensor":
    """The sum of all processes' tensors, in place."""
    if group := _group():
        group.all_reduce(tensor)
    return tensor


def average_gradients(parameters: Iterable["nn.Parameter"]) -> None:
    """Give every process the mean of all processes' gradients, sent as one."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    if size() < 2 or not gradients:
        return
    import torch

    flat = add_up(torch.cat([gradient.flatten() for gradient in gradients])) / size()
    pieces = flat.split([gradient.numel() for gradient in gradients])
    for gradient, piece in zip(gradients, pieces, strict=True):
        gradient.copy_(piece.view(gradient.shape))


def same(tensors: Iterable["Tensor"]) -> None:
    """Give every process the first one's tensors: other machines round the last bits otherwise."""
    if group := _group():
        for tensor in tensors:
            # Channels-last tensors can't be sent as they lie.
            sent = tensor.detach().contiguous()
            group.broadcast(sent, 0)
            tensor.detach().copy_(sent)


def agreed(flag: bool) -> bool:
    """Whether the flag is set in any process: all stop at the same step or none does."""
    if size() < 2:
        return flag
    import torch

    return bool(add_up(torch.tensor([float(flag)])) > 0)


def _group() -> Any:
    """torch.distributed where this process is in a group, None where it is alone."""
    import torch.distributed as dist

    return dist if dist.is_available() and dist.is_initialized() else None
