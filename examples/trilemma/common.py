"""What the systems of the comparison have in common: what they can do, and how they are trained.

Images are (N, 1, 28, 28) in [−1, 1], labels (N,) from 0 to 9. On a CPU time is processor time of
one thread (``time.process_time``), so that systems which train side by side are not slowed by it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from make_it_real.devices import fast_bf16

BATCH = 64
CLASSES = 10
EMA = 0.999
CPU = torch.device("cpu")

# (images n, generator) → images; (damaged images, generator) → images.
Draw = Callable[[int, torch.Generator], Tensor]
Repair = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Way:
    """One way of using a trained system: its name, and how often a network sees each image.

    draw makes images, on the generator's device; repair maps damaged ones onto images, where the
    system can, and has its generator on the images' device.
    """

    name: str
    evaluations: int
    draw: Draw
    repair: Repair | None = None
    repair_evaluations: int = 0


@dataclass
class System:
    """A system in training. learn: one step on a batch of images and their labels.

    The share of the training time that is over comes with it. shipped: the networks that making
    images takes, whose parameters are counted and which are kept. ways: what it can do when
    trained. optimizers: those whose learning rate falls to 0 over the last quarter of the time.
    """

    name: str
    learn: Callable[[Tensor, Tensor, float], None]
    shipped: Mapping[str, nn.Module]
    ways: Callable[[], list[Way]]
    optimizers: tuple[torch.optim.Optimizer, ...] = ()
    steps: int = 0

    @property
    def parameters(self) -> int:
        return sum(p.numel() for net in self.shipped.values() for p in net.parameters())


def autocast(device: torch.device) -> torch.autocast:
    """Compute in bfloat16 where the device is fast at it; a CPU without it is 20 times slower."""
    return torch.autocast(device.type, torch.bfloat16, enabled=fast_bf16(device))


def clock(device: torch.device) -> float:
    """Seconds: processor time, or on a GPU the time of day once all that it was given is done."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def adam(
    *nets: nn.Module, lr: float = 2e-4, betas: tuple[float, float] = (0.0, 0.99)
) -> torch.optim.Adam:
    return torch.optim.Adam([p for net in nets for p in net.parameters()], lr, betas)


def train(system: System, pixels: Tensor, labels: Tensor, minutes: float, path: Path) -> None:
    """Train for so many minutes on the device of pixels and labels; keep the shipped networks."""
    device = pixels.device
    generator = torch.Generator(device).manual_seed(0)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in system.optimizers]
    began = clock(device)
    while (over := (clock(device) - began) / (60 * minutes)) < 1:
        for optimizer, rate in zip(system.optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * falling(over)
        index = torch.randint(len(pixels), (BATCH,), generator=generator, device=device)
        system.learn(pixels[index].float() / 127.5 - 1, labels[index], over)
        system.steps += 1
    state = {
        f"{name}.{key}": value.cpu().contiguous()
        for name, net in system.shipped.items()
        for key, value in net.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path, {"steps": str(system.steps), "minutes": str(minutes)})


def falling(over: float) -> float:
    """The learning rate's share of what it began with: 1, to 0 over the last quarter."""
    return min(1.0, 4 * (1 - over))


def restore(system: System, path: Path, minutes: float) -> None:
    """Load what ``train`` kept; ValueError if it had another time than so many minutes."""
    with safe_open(path, "pt") as file:
        kept = file.metadata()
    if float(kept["minutes"]) != minutes:
        raise ValueError(f"{path} was trained for {kept['minutes']} minutes, not {minutes}")
    system.steps = int(kept["steps"])
    state = load_file(path)
    for name, net in system.shipped.items():
        start = f"{name}."
        net.load_state_dict({k[len(start) :]: v for k, v in state.items() if k.startswith(start)})


@torch.inference_mode()
def in_batches(n: int, made: Callable[[int], Tensor], device: torch.device) -> Tensor:
    """n images, a part at a time, in bfloat16 where that is fast."""
    out, batch = [], at_once(device)
    for first in range(0, n, batch):
        with autocast(device):
            out.append(made(min(batch, n - first)).float().clamp(-1, 1))
    return torch.cat(out)


def mapped(images: Tensor, made: Callable[[Tensor], Tensor]) -> Tensor:
    """What is made of images, a part at a time, as by ``in_batches``."""
    parts = iter(images.split(at_once(images.device)))
    return in_batches(len(images), lambda _: made(next(parts)), images.device)


def at_once(device: torch.device) -> int:
    """How many images a network is given at a time when it no longer learns."""
    return 250 if device.type == "cpu" else 2_500
