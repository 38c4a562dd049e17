"""CUDA graphs: what a step launches on a GPU is recorded once and then replayed as a whole.

A small network's step is thousands of launches, and a GPU waits for its host between them. A
recording repeats the same operations on the same memory, so all that differs from step to step
has to be in tensors: the draws, λ_k and the learning rate are copied into the memory that was
recorded. What else a step's number decides is its ``Objective.phase``, and each phase has a
recording of its own.
"""

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from make_it_real.errors import one_line
from make_it_real.training.losses import Terms
from make_it_real.training.objective import Objective

Work = Callable[[], Terms]
# How far a recorded step may be from the step itself, relative to that: sums on a GPU are not of
# the same order each time.
TOLERANCE = 0.05


class Recorder(Protocol):
    """Makes recordings of work on a device."""

    def warm(self, work: Work) -> Terms:
        """Do work as it will be recorded, so that all it sets up is there."""
        ...

    def record(self, work: Work) -> Work:
        """Record work without doing it. What is returned does it, and gives what it gave."""
        ...


class CUDARecorder:
    """Records with ``torch.cuda.graph``; all recordings share their memory."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.pool = torch.cuda.graph_pool_handle()

    def warm(self, work: Work) -> Terms:
        current = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            terms = work()
        current.wait_stream(self.stream)
        return terms

    def record(self, work: Work) -> Work:
        graph = torch.cuda.CUDAGraph()
        # Meanwhile another thread may draw the next step, on its own stream.
        how: dict[str, Any] = {"pool": self.pool, "stream": self.stream}
        with torch.cuda.graph(graph, capture_error_mode="thread_local", **how):
            terms = work()

        def replay() -> Terms:
            graph.replay()
            # The next replay writes to the same memory.
            return {name: term.clone() for name, term in terms.items()}

        return replay


class Recording:
    """A recorded step: its replay, and the draws and λ that it reads."""

    def __init__(self, draws: Sequence[Any], lambdas: Mapping[str, float]) -> None:
        self.draws: list[Any] = copy.deepcopy(list(draws))
        device = next(tensors(self.draws)).device
        self.weights = torch.zeros(len(lambdas), device=device)
        self.lambdas = dict(zip(lambdas, self.weights, strict=True))
        self.replay: Work | None = None

    def read(self, draws: Sequence[Any], lambdas: Mapping[str, float]) -> None:
        """Copy draws and λ to where the recording reads them."""
        self.weights.copy_(torch.tensor(list(lambdas.values())))
        for kept, drawn in zip(tensors(self.draws), tensors(list(draws)), strict=True):
            kept.copy_(drawn)


class Graphs:
    """Does an objective's steps by recordings, once it has made them.

    A phase is done as it is when it comes first, recorded when it comes again, and replayed from
    then on. A new recording is compared with the step itself. error: why recordings were given up,
    or "". recorder: None records on the objective's GPU.
    """

    def __init__(
        self,
        objective: Objective,
        optimizers: Mapping[str, Optimizer],
        recorder: Recorder | None = None,
    ) -> None:
        self.objective, self.optimizers = objective, optimizers
        self.recorder = recorder or CUDARecorder(objective.device)
        self.recordings: dict[Hashable, Recording | None] = {}
        self.error = ""

    def update(self, draws: Sequence[Any], step: int) -> Terms:
        """Do what ``Objective.update`` does in a step, numbered from 0."""
        lambdas = self.objective.lambdas(step)

        def as_it_is() -> Terms:
            return self.objective.update(self.optimizers, draws, lambdas)

        if self.error:
            return as_it_is()
        key = (self.objective.phase(step), layout(list(draws)))
        if key not in self.recordings:
            self.recordings[key] = None
            return self.recorder.warm(as_it_is)
        recording = self.recordings[key]
        if recording is None:
            try:
                recording = self._recorded(draws, lambdas)
            except RuntimeError as error:
                self._give_up(one_line(error))
                return as_it_is()
            self.recordings[key] = recording
            return self._compared(recording, as_it_is)
        recording.read(draws, lambdas)
        assert recording.replay is not None
        return recording.replay()

    def _recorded(self, draws: Sequence[Any], lambdas: Mapping[str, float]) -> Recording:
        recording = Recording(draws, lambdas)
        recording.read(draws, lambdas)
        recording.replay = self.recorder.record(
            lambda: self.objective.update(self.optimizers, recording.draws, recording.lambdas)
        )
        return recording

    def _compared(self, recording: Recording, as_it_is: Work) -> Terms:
        """Do a step as it is, after a recording of it that is undone. Give up where they differ."""
        assert recording.replay is not None
        state = self._state()
        before = copy.deepcopy(state)
        replayed = recording.replay()
        after = copy.deepcopy(state)
        with torch.no_grad():
            for tensor, value in zip(tensors(state), tensors(before), strict=True):
                tensor.copy_(value)
        terms = as_it_is()
        alike = all(
            torch.allclose(replayed[name], term, rtol=TOLERANCE, atol=1e-4)
            for name, term in terms.items()
        )
        if not (alike and all(map(_moved_alike, before, after, state))):
            self._give_up("a recorded step does not do what the step does")
        return terms

    def _state(self) -> list[list[Tensor]]:
        """Collect all that a step changes: the networks', and each of the optimizers' moments."""
        groups = {"networks": list(self.objective.state_dict().values())}
        for optimizer in self.optimizers.values():
            for moments in optimizer.state.values():
                for name, value in moments.items():
                    groups.setdefault(name, []).append(value)
        return list(groups.values())

    def _give_up(self, reason: str) -> None:
        self.error, self.recordings = reason, {}


def _moved_alike(before: list[Tensor], a: list[Tensor], b: list[Tensor]) -> bool:
    """Tell whether tensors went from before to a as they went to b, all in all."""
    apart = torch.stack([(x - y).double().square().sum() for x, y in zip(a, b, strict=True)])
    way = torch.stack([(x - y).double().square().sum() for x, y in zip(b, before, strict=True)])
    return bool(apart.sum().sqrt() <= TOLERANCE * way.sum().sqrt())


def tensors(made: Any) -> Iterator[Tensor]:
    """Yield all tensors in nested dataclasses, lists and tuples."""
    if isinstance(made, Tensor):
        yield made
    elif isinstance(made, tuple | list):
        for part in made:
            yield from tensors(part)
    elif is_dataclass(made):
        for field in fields(made):
            yield from tensors(getattr(made, field.name))


def layout(made: Any) -> Hashable:
    """Describe what is drawn but for the tensors' values and for the number of the step."""
    if isinstance(made, Tensor):
        return made.shape, made.stride(), made.dtype
    if isinstance(made, tuple | list):
        return tuple(map(layout, made))
    if is_dataclass(made):
        names = (field.name for field in fields(made) if field.name != "step")
        return type(made), tuple((name, layout(getattr(made, name))) for name in names)
    return made  # type: ignore[no-any-return]
