"""The two idempotent generative networks: by the paper's objective, and the projector of ``mir``.

Both are trained by the package's own trainers, at their defaults; the paper's keeps its learning
rate, as published.
"""

from dataclasses import replace

import torch
from common import System, Way, falling, in_batches, mapped
from torch import Tensor

from make_it_real.data.dataset import ImageSet
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.config import IGNTrainingConfig, default_config
from make_it_real.training.ign import IGNObjective
from make_it_real.training.networks import default_model, paper_model
from make_it_real.training.objective import Objective
from make_it_real.training.trainer import begin


def _system(name: str, objective: Objective, images: ImageSet, *, decays: bool) -> System:
    trainer = begin(objective, images)
    f, rate = objective.shipped, objective.config.lr
    pixels = images.pixels.to(trainer.device)

    def learn(x: Tensor, labels: Tensor, over: float) -> None:
        if decays:
            objective.config = replace(objective.config, lr=rate * falling(over))
        trainer.train_step(pixels)

    def z(n: int, generator: torch.Generator) -> Tensor:
        # In float32: on a GPU there is no Fourier transform of bfloat16.
        with torch.autocast(trainer.device.type, enabled=False):
            return f.source.sample(n, generator)

    def draw(n: int, generator: torch.Generator) -> Tensor:
        return in_batches(n, lambda m: f.eval()(z(m, generator)), trainer.device)

    def repair(images: Tensor, generator: torch.Generator) -> Tensor:
        return mapped(images, lambda y: f.eval()(y))

    def twice(n: int, generator: torch.Generator) -> Tensor:
        return in_batches(n, lambda m: f.eval()(f(z(m, generator))), trainer.device)

    def nothing(n: int, generator: torch.Generator) -> Tensor:
        return in_batches(n, lambda m: z(m, generator), trainer.device)

    def ways() -> list[Way]:
        return [
            Way(name, 1, draw, repair, 1),
            Way(f"{name}, f(f(z))", 2, twice),
            Way(f"{name}'s z alone", 0, nothing),
        ]

    return System(name, learn, {"f": f}, ways)


def paper(images: ImageSet, device: torch.device) -> System:
    # Narrower than the paper's, which has 5 million parameters at this size.
    model = paper_model(28, 1, norm="batch", widths=(48, 96, 208), bottleneck=400)
    # Trained for a time, not for steps.
    config = IGNTrainingConfig(steps=10**9)
    return _system("paper's IGN", IGNObjective(model, config, device), images, decays=False)


def projector(images: ImageSet, device: torch.device) -> System:
    model = default_model(28, 1)
    config = default_config(model, steps=10**9)
    return _system("mir", AdversarialObjective(model, config, device), images, decays=True)
