"""What an objective is: networks, what a step draws, the terms of f's loss, and the step itself."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from make_it_real import devices, distributed
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGN, IGNConfig, Net, place
from make_it_real.training.config import TrainingConfig
from make_it_real.training.losses import Network, Terms


class Objective(nn.Module):
    """f and the networks that it is trained with, on one device.

    The child modules' names begin the keys of a checkpoint. trained: those of them that an
    optimizer updates. Parameters begin by the config's seed.
    """

    trained: tuple[str, ...] = ("f",)
    config: TrainingConfig
    f: IGN

    def __init__(self, model: IGNConfig, config: TrainingConfig, device: torch.device) -> None:
        super().__init__()
        torch.manual_seed(config.seed)
        self.config, self.device = config, device
        self.compiled: dict[str, Network] = {}
        self.f = place(build(model), device)

    @property
    def shipped(self) -> IGN:
        """The network that goes into the weights file."""
        return self.f

    def draw(self, x: Tensor, step: int, generator: torch.Generator) -> Any:
        """Everything random of a step, numbered from 0, on the images x (B, C, S, S)."""
        raise NotImplementedError

    def losses(self, draw: Any) -> Terms:
        """The terms L_k of f's loss on a draw, unweighted, by the names of their λ_k."""
        raise NotImplementedError

    def step(self, optimizers: Mapping[str, Optimizer], draws: Sequence[Any]) -> Terms:
        """One update of what ``trained`` names, by gradients averaged over draws and processes.

        optimizers: by the networks' names. Returns all terms, detached and on the device: to
        read them is to wait for it.
        """
        raise NotImplementedError

    def degraded(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        """Ax, images damaged in the ways that this f is to repair, (N, C, S, S)."""
        raise NotImplementedError

    def compile_networks(self) -> None:
        """Have each network compiled when it is first called; parameters stay as they are."""
        self.compiled = {
            name: cast(Network, torch.compile(net, dynamic=False))
            for name, net in self.named_children()
        }

    def fast(self, name: str) -> Network:
        """A network, compiled if there is such: what can be differentiated once."""
        return self.compiled.get(name, self.get_submodule(name))

    def autocast(self) -> AbstractContextManager[None]:
        enabled = self.config.bf16 and devices.fast_bf16(self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)


def frozen_copy(net: Net) -> Net:
    """A copy whose parameters are not trained."""
    return copy.deepcopy(net).requires_grad_(False)


def zero_grad(optimizers: Iterable[Optimizer]) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()


def update(optimizers: Iterable[Optimizer]) -> None:
    """Step by the gradients that there are, averaged over all processes."""
    for optimizer in optimizers:
        distributed.average_gradients(optimizer.param_groups[0]["params"])
        optimizer.step()


@torch.no_grad()
def average(ema: nn.Module, net: nn.Module, step: int, most: float) -> None:
    """ema ← decay·ema + (1 − decay)·net; after so many steps the decay has warmed up to most."""
    decay = min(most, (1 + step) / (10 + step))
    for mean, current in zip(ema.parameters(), net.parameters(), strict=True):
        mean.lerp_(current, 1 - decay)
