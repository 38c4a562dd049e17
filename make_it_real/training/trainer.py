"""What all ways of training f share: batches, learning rate, checkpoints and the loop.

Everything random comes from one seeded generator, everything that has a state is in the
checkpoint, and nothing is unpickled.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager
from dataclasses import asdict, fields, is_dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from make_it_real import devices
from make_it_real.data.dataset import ImageSet
from make_it_real.errors import WeightsError, one_line
from make_it_real.images.pixels import to_images
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGN, IGNConfig, place
from make_it_real.throughput import flops
from make_it_real.training.checkpoint import _under
from make_it_real.training.config import BaseConfig, Step
from make_it_real.weights.safetensors_file import save_tensors

Network = Callable[[Tensor], Tensor]


class BaseTrainer:
    """f, other networks and their optimizers, on one device.

    A child adds to ``nets`` and ``optimizers`` (by the names they have in the checkpoint) and
    says what a step does. accumulate: parts that a step's batch is worked off in, for memory;
    what is learned is the same. objective: its name on the command line; title: in weights files.
    """

    objective: ClassVar[str]
    title: ClassVar[str]
    config_class: ClassVar[type[BaseConfig]]

    def __init__(self, model: IGNConfig, config: Any, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        # cuDNN's attention has gradients of NaN at times: github.com/pytorch/pytorch/issues/196678.
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.config, self.device, self.step = config, device, 0
        self.accumulate = 1
        self.compiled: dict[str, Network] = {}
        # The generator's state as of the step in hand, where the next is being drawn already.
        self.drawn: Tensor | None = None
        self.f = place(build(model), device)
        self.nets: dict[str, nn.Module] = {"f": self.f}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.generator = torch.Generator(device).manual_seed(config.seed)

    @property
    def shipped(self) -> IGN:
        """The network that goes into the weights file."""
        return self.f

    def train_step(self, pixels: Tensor) -> Step[Any]:
        """One step on a batch out of the pixels (N, C, H, W)."""
        return self.learn(self.draw(pixels))

    def draw(self, pixels: Tensor) -> Any:
        """Everything random of a step on a batch out of the pixels (N, C, H, W)."""
        raise NotImplementedError

    def learn(self, draw: Any) -> Step[Any]:
        """One step on what was drawn."""
        raise NotImplementedError

    def backward(self, draw: Any) -> None:
        """Add a step's gradients to the parameters', and leave it at that."""
        raise NotImplementedError

    @property
    def kinds(self) -> dict[int, float]:
        """One step of each kind, some of which have more to do, and what share of all it is."""
        return {0: 1.0}

    def fast(self, name: str) -> Network:
        """One of ``nets``, compiled if there is such: what can be differentiated once."""
        return self.compiled.get(name, self.nets[name])

    def compile(self, pixels: Tensor) -> str | None:
        """Have the networks compiled; why that does not work here, if it does not.

        Parameters and checkpoints stay as they are.
        """
        for name, net in self.nets.items():
            self.compiled[name] = torch.compile(net, dynamic=False)
        try:
            for step in self.kinds:
                self.rehearse(pixels, step)
        except Exception as error:
            self.compiled = {}
            return one_line(error)
        return None

    def rehearse(self, pixels: Tensor, step: int = 0) -> None:
        """All the work of a step but its updates; nothing is changed, nothing is drawn."""
        state, now = self.generator.get_state(), self.step
        # Batch norm takes note of all that it sees.
        buffers = [b for net in self.nets.values() for b in net.buffers()]
        values = [b.clone() for b in buffers]
        self.step = step
        try:
            self.backward(self.draw(pixels))
        finally:
            self.step = now
            self.generator.set_state(state)
            with torch.no_grad():
                for buffer, value in zip(buffers, values, strict=True):
                    buffer.copy_(value)
            for net in self.nets.values():
                net.zero_grad(set_to_none=True)

    def step_flops(self, pixels: Tensor) -> float:
        """Floating-point operations of a step of this process, on average."""
        before, self.compiled = self.compiled, {}
        counts = {step: flops(partial(self.rehearse, pixels, step)) for step in self.kinds}
        self.compiled = before
        return sum(share * counts[step] for step, share in self.kinds.items())

    def damaged(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        """Ax, damage of the kind that this f is to repair, (N, C, H, W)."""
        raise NotImplementedError

    def adam(self, net: nn.Module) -> torch.optim.Adam:
        config = self.config
        betas = (config.beta1, config.beta2)
        return torch.optim.Adam(net.parameters(), lr=config.lr, betas=betas, fused=True)

    def autocast(self) -> AbstractContextManager[None]:
        enabled = self.config.bf16 and devices.fast_bf16(self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def learning_rate(self) -> float:
        left: int = self.config.steps - self.step
        return float(self.config.lr * min(1.0, left / max(1, self.config.decay_steps)))

    def set_learning_rate(self) -> float:
        """Give every optimizer the rate of this step, and return it."""
        lr = self.learning_rate()
        for optimizer in self.optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = lr
        return lr

    def batch(self, pixels: Tensor) -> Tensor:
        """x: a random batch (B, C, H, W) in [−1, 1] out of the pixels (N, C, H, W)."""
        n = self.config.batch
        index = torch.randint(len(pixels), (n,), generator=self.generator, device=self.device)
        x = to_images(fetched(pixels, index, self.device))
        if self.config.flip:
            coin = torch.rand(n, generator=self.generator, device=self.device) < 0.5
            x = torch.where(coin[:, None, None, None], x.flip(3), x)
        return x

    def state(self) -> dict[str, Tensor]:
        """Everything with a state, flat, as tensors."""
        out: dict[str, Tensor] = {}
        for name, net in self.nets.items():
            out |= {f"{name}.{k}": v for k, v in net.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            for index, moments in optimizer.state_dict()["state"].items():
                out |= {f"{name}.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
        out["generator"] = self.generator.get_state() if self.drawn is None else self.drawn
        return out

    def save(self, path: Path) -> None:
        """Write the checkpoint as one safetensors file, atomically."""
        header = {
            "objective": self.objective, "step": self.step,
            "model": asdict(self.f.config), "config": asdict(self.config),
        }  # fmt: skip
        save_tensors(self.state(), {"mir_checkpoint": json.dumps(header)}, path)

    @classmethod
    def load(cls, path: Path, device: torch.device, **changes: Any) -> Self:
        """Go on from a checkpoint; ``changes`` replace fields of its config.

        Raises WeightsError if the file is not a whole checkpoint of this objective.
        """
        try:
            with safe_open(path, "pt") as file:
                header = json.loads((file.metadata() or {})["mir_checkpoint"])
                state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            # Checkpoints from before there were two objectives name none.
            if header.get("objective", "adversarial") != cls.objective:
                raise ValueError(f"of the objective {header['objective']}, not {cls.objective}")
            config = cls.config_class(**{**header["config"], **changes})
            self = cls(IGNConfig(**header["model"]), config, device)
            for name, net in self.nets.items():
                net.load_state_dict(_under(state, name))
            for name, optimizer in self.optimizers.items():
                moments: dict[int, dict[str, Tensor]] = {}
                parameters = dict(enumerate(optimizer.param_groups[0]["params"]))
                for key, value in _under(state, name).items():
                    index, kind = key.split(".")
                    # Fused Adam walks memory: moments must be laid out as their parameters.
                    if value.ndim:
                        value = torch.empty_like(parameters[int(index)]).copy_(value)
                    moments.setdefault(int(index), {})[kind] = value
                optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
            self.generator.set_state(state["generator"])
            self.step = int(header["step"])
        except (OSError, SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            reason = one_line(error)
            raise WeightsError(f"{path}: not a checkpoint to resume from ({reason})") from error
        return self


@torch.no_grad()
def average(ema: nn.Module, net: nn.Module, step: int, most: float) -> None:
    """ema ← decay·ema + (1 − decay)·net; after so many steps the decay has warmed up to most."""
    decay = min(most, (1 + step) / (10 + step))
    for mean, current in zip(ema.parameters(), net.parameters(), strict=True):
        mean.lerp_(current, 1 - decay)


def fit_source(trainer: BaseTrainer, images: ImageSet) -> None:
    """Give the source of every f the statistics of (up to 30,000 of) the images."""
    generator = torch.Generator().manual_seed(trainer.config.seed)
    order = torch.randperm(len(images), generator=generator)
    # Of large images fewer: half a GB of them.
    count = min(30_000, max(100, 2**27 // images.pixels[0].numel()))
    sample = to_images(images.pixels[order[:count]]).to(trainer.device)
    first, *others = [net.source for net in trainer.nets.values() if isinstance(net, IGN)]
    first.fit(sample)
    if trainer.config.spread != 1:
        first.widen(trainer.config.spread)
    for source in others:
        source.load_state_dict(first.state_dict())


def train(trainer: BaseTrainer, images: ImageSet, ahead: bool | None = None) -> Iterator[Step[Any]]:
    """Run the steps that are left. Stop iterating at any time to pause.

    ahead: draw each step's batch during the step before it, which changes nothing but the
    time; None does so on GPUs.
    """
    pixels = placed(images.pixels, trainer.device)
    if ahead is False or (ahead is None and trainer.device.type != "cuda"):
        while trainer.step < trainer.config.steps:
            yield trainer.train_step(pixels)
        return
    with Ahead(lambda: trainer.draw(pixels), trainer.device) as feed:
        if trainer.step < trainer.config.steps:
            feed.start()
        try:
            while trainer.step < trainer.config.steps:
                draw = feed.take()
                trainer.drawn = trainer.generator.get_state()
                if trainer.step + 1 < trainer.config.steps:
                    feed.start()
                yield trainer.learn(draw)
        finally:
            feed.settle()
            if trainer.drawn is not None:
                trainer.generator.set_state(trainer.drawn)
            trainer.drawn = None


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
