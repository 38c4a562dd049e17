"""Batches on their way to the device: where the pixels lie, and draws made a step ahead."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import fields, is_dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def free_memory(device: torch.device) -> float:
    """Bytes free on a GPU; elsewhere memory is shared or not asked about: no limit."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else float("inf")


def placed(pixels: Tensor, device: torch.device) -> Tensor:
    """The pixels on the device if they take up to a third of what is free there, else as given.

    The rest is for f, its gradients and its activations.
    """
    return pixels.to(device) if pixels.nbytes <= free_memory(device) / 3 else pixels


def fetched(pixels: Tensor, index: Tensor, device: torch.device) -> Tensor:
    """The rows ``index`` (B,) of the pixels (N, …), on the device, wherever the pixels lie."""
    # Not by equality: what lies on "cuda" says that it is on "cuda:0".
    if pixels.device.type == device.type:
        return pixels[index]
    rows = pixels[index.to(pixels.device)]
    if device.type == "cuda":
        # Only from pinned memory does a copy go on while other work is handed out.
        rows = rows.pin_memory()
    return rows.to(device, non_blocking=True)


def _tensors(made: Any) -> Iterator[Tensor]:
    """All tensors in nested dataclasses and tuples."""
    if isinstance(made, Tensor):
        yield made
    elif isinstance(made, tuple):
        for part in made:
            yield from _tensors(part)
    elif is_dataclass(made):
        for field in fields(made):
            yield from _tensors(getattr(made, field.name))


class Ahead(Generic[T]):
    """Makes what the next step needs while this one is worked on, in a thread of its own.

    Damage to images asks the device for numbers, and JPEG for pixels: each time the host
    waits. On a GPU that happens on a stream of its own here, so that nobody waits for the step.
    """

    def __init__(self, make: Callable[[], T], device: torch.device) -> None:
        self.make, self.device = make, device
        self.pool = ThreadPoolExecutor(1)
        self.pending: Future[T] | None = None
        self.stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self.stream = torch.cuda.Stream(device)
            # What the draws read, pixels and statistics, must have arrived.
            self.stream.wait_stream(torch.cuda.current_stream(device))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.pool.shutdown()

    def start(self) -> None:
        """Begin to make the next one."""
        self.pending = self.pool.submit(self._made)

    def take(self) -> T:
        """What was begun, once it is there; raises what making it raised."""
        assert self.pending is not None
        made = self.pending.result()
        if self.stream is not None:
            for tensor in _tensors(made):
                # Its memory must not be used anew before the step that reads it is done.
                tensor.record_stream(torch.cuda.current_stream(self.device))
        return made

    def settle(self) -> None:
        """Wait until nothing is being made any more, whatever came of it."""
        if self.pending is not None:
            wait([self.pending])

    def _made(self) -> T:
        if self.stream is None:
            return self.make()
        with torch.cuda.stream(self.stream):
            made = self.make()
            self.stream.synchronize()
            return made
