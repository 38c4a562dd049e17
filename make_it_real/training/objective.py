"""The base class of objectives: networks, a step's random draw, the losses, and the step."""

import copy
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from make_it_real import devices, distributed
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGN, IGNConfig, Net, place
from make_it_real.training.config import TrainingConfig
from make_it_real.training.losses import Lambdas, Network, Terms, mean, weighted_sum


class Objective(nn.Module):
    """f and the networks that it is trained with, on one device.

    The keys of a checkpoint begin with the names of the child modules. trained: names of those
    that an optimizer updates. The config's seed determines the initial parameters.
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
        """Draw all random numbers of a step, numbered from 0, for images x (B, C, S, S)."""
        raise NotImplementedError

    def losses(self, draw: Any) -> Terms:
        """Compute the terms L_k of f's loss on a draw, unweighted, by the names of their λ_k."""
        raise NotImplementedError

    def lambdas(self, step: int) -> dict[str, float]:
        """Return λ_k of f's terms in a step, numbered from 0."""
        return dict(asdict(self.config)["lambdas"])

    def phase(self, step: int) -> Hashable:
        """Tell what the number of a step decides besides λ: steps of a phase do the same."""
        return ()

    def update(
        self, optimizers: Mapping[str, Optimizer], draws: Sequence[Any], lambdas: Lambdas
    ) -> Terms:
        """Update the trained networks once, with gradients averaged over draws and processes.

        optimizers: by the networks' names. lambdas: λ_k, numbers or scalars on the device. Returns
        all terms, detached. They stay on the device, since reading them waits for it.
        """
        raise NotImplementedError

    def follow(self, step: int) -> None:
        """Update averages of the networks, after a step, numbered from 0."""

    def backward(self, draws: Sequence[Any], lambdas: Lambdas) -> Terms:
        """Add the gradients of Σ λ_k L_k, averaged over draws; return the terms' means."""
        steps = []
        for draw in draws:
            with self.autocast():
                terms = self.losses(draw)
                loss = weighted_sum(terms, lambdas)
            (loss / len(draws)).backward()
            steps.append(terms)
        return mean(steps)

    def degraded(self, x: Tensor, z: Tensor, generator: torch.Generator) -> Tensor:
        """Damage images x (N, C, S, S) in the ways that this f is trained to repair.

        z: as many draws of the source.
        """
        raise NotImplementedError

    def compile_networks(self) -> None:
        """Compile each network at its first call; parameters stay as they are."""
        # Each size of a batch is compiled for itself, with gradients and without. After 8 of them
        # torch would go on without compiling.
        torch._dynamo.config.recompile_limit = 64
        self.compiled = {
            name: cast(Network, torch.compile(net, dynamic=False))
            for name, net in self.named_children()
        }

    def fast(self, name: str) -> Network:
        """Return a network, compiled where it is; compiled ones can be differentiated only once."""
        return self.compiled.get(name, self.get_submodule(name))

    def autocast(self) -> AbstractContextManager[None]:
        enabled = self.config.bf16 and devices.fast_bf16(self.device)
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)


def frozen_copy(net: Net) -> Net:
    """Return a copy whose parameters are not trained."""
    return copy.deepcopy(net).requires_grad_(False)


def zero_grad(optimizers: Iterable[Optimizer]) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()


def apply_gradients(optimizers: Iterable[Optimizer], clip: float = math.inf) -> None:
    """Take a step of each optimizer, with gradients averaged over all processes.

    clip: the norm that an optimizer's gradients are scaled down to, if theirs is larger.
    """
    for optimizer in optimizers:
        parameters = optimizer.param_groups[0]["params"]
        distributed.average_gradients(parameters)
        if clip < math.inf:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()


@torch.no_grad()
def average(ema: nn.Module, net: nn.Module, step: int, most: float) -> None:
    """Update averaged weights: ema ← decay·ema + (1 − decay)·net.

    The decay grows with the number of steps, up to ``most``.
    """
    decay = min(most, (1 + step) / (10 + step))
    # All at once, which is a few launches on a GPU instead of one for each parameter.
    torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - decay)
