"""What all ways of training f share: batches, learning rate, checkpoints and the loop.

Everything random comes from one seeded generator, everything that has a state is in the
checkpoint, and nothing is unpickled.
"""

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from make_it_real import devices
from make_it_real.data import ImageSet
from make_it_real.errors import WeightsError, one_line
from make_it_real.images import to_images
from make_it_real.model import IGN, IGNConfig, place
from make_it_real.tensorfile import save_tensors


@dataclass(frozen=True)
class BaseConfig:
    """What every objective needs to be told.

    steps: optimizer steps in all; the learning rate falls linearly to zero over the last
        ``decay_steps``. batch: images x, and as many z, a step. flip: mirror images at random.
    hold_out: images kept from training, to be measured against. start: the model that f
        started from, and the beginning of its hash.
    bf16: compute in bfloat16 where the device is fast at it; weights stay float32.
    """

    steps: int = 12_000
    decay_steps: int = 3_000
    batch: int = 64
    lr: float = 2e-4
    beta1: float = 0.0
    beta2: float = 0.99
    flip: bool = False
    hold_out: int = 0
    start: str = ""
    seed: int = 0
    bf16: bool = True


@dataclass(frozen=True)
class BaseRecord:
    """What one step reports: its number from 1 and the learning rate; children add losses."""

    step: int
    lr: float


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
        self.config, self.device, self.step = config, device, 0
        self.accumulate = 1
        self.f = place(IGN(model), device)
        self.nets: dict[str, nn.Module] = {"f": self.f}
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.generator = torch.Generator(device).manual_seed(config.seed)

    @property
    def shipped(self) -> IGN:
        """The network that goes into the weights file."""
        return self.f

    def train_step(self, pixels: Tensor) -> BaseRecord:
        """One step on a batch out of the pixels (N, C, H, W)."""
        raise NotImplementedError

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
        x = to_images(pixels[index.to(pixels.device)].to(self.device))
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
        out["generator"] = self.generator.get_state()
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


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}


def objective_of(path: Path) -> str:
    """The objective that a checkpoint was begun with. Raises WeightsError if it is none."""
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["mir_checkpoint"])
        return str(header.get("objective", "adversarial"))
    except (OSError, SafetensorError, KeyError, ValueError, AttributeError) as error:
        reason = one_line(error)
        raise WeightsError(f"{path}: not a checkpoint to resume from ({reason})") from error


def fit_source(trainer: BaseTrainer, images: ImageSet) -> None:
    """Give the source of every f the statistics of (up to 10,000 of) the images."""
    generator = torch.Generator().manual_seed(trainer.config.seed)
    order = torch.randperm(len(images), generator=generator)
    sample = to_images(images.pixels[order[:10_000]]).to(trainer.device)
    for net in trainer.nets.values():
        if isinstance(net, IGN):
            net.source.fit(sample)


def train(trainer: BaseTrainer, images: ImageSet) -> Iterator[Any]:
    """Run the steps that are left, one record each. Stop iterating at any time to pause."""
    pixels = images.pixels.to(trainer.device)
    while trainer.step < trainer.config.steps:
        yield trainer.train_step(pixels)
