"""Small images, networks and runs that the tests of training share."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.data.dataset import ImageSet
from make_it_real.data.photographs import PhotographSet
from make_it_real.models.ign import IGNConfig
from make_it_real.training import checkpoint
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.config import AdversarialConfig, IGNTrainingConfig
from make_it_real.training.graphs import Work
from make_it_real.training.ign import IGNObjective
from make_it_real.training.losses import Terms
from make_it_real.training.networks import paper_model
from make_it_real.training.restoration import RestorationObjective
from make_it_real.training.trainer import Trainer, begin, train

CPU = torch.device("cpu")
MODEL = IGNConfig(12, 1, 8, (8, 16), 8, 2)
CONFIG = AdversarialConfig(
    steps=8, decay_steps=3, batch=16, ramp=2, critic_widths=(8, 16), penalty_every=2
)
IGN_CONFIG = IGNTrainingConfig(steps=6, batch=16)
RESTORER = IGNConfig(
    0, 3, widths=(8, 16), blocks=2, dead_zone=0.0, rest=0.008, rest_radius=2, architecture="unet",
    source="none",
)  # fmt: skip
JUDGED = replace(RESTORER, rest=0.1, rest_ramp=2.0, learned_gate=True)
OPTIONS = ["--size", "12", "--channels", "1", "--batch", "16", "--device", "cpu"]


def bars(n: int = 4) -> ImageSet:
    """n plain images of 12×12: bright bars on black, each at another place."""
    pixels = torch.zeros(n, 1, 12, 12, dtype=torch.uint8)
    for i in range(n):
        pixels[i, 0, 2:10, 2 + i : 5 + i] = 255
    return ImageSet(pixels, None, "bars")


def pictures(n: int = 6, size: int = 12, channels: int = 1) -> ImageSet:
    """n images of noise."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, channels, size, size), generator=generator)
    return ImageSet(pixels.byte(), None, "noise")


def scenes(n: int = 4, height: int = 52, width: int = 70) -> PhotographSet:
    """n smooth colour pictures of even parts with sharp edges."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(n, 3, 5, 6, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear")
    return PhotographSet([*(255 * (smooth * 6).round() / 6).byte()], "scenes")


def _images(model: IGNConfig) -> ImageSet:
    images = bars()
    return replace(images, pixels=images.pixels.expand(-1, model.channels, -1, -1))


def begun(
    config: AdversarialConfig = CONFIG, model: IGNConfig = MODEL
) -> Trainer[AdversarialObjective]:
    return begin(AdversarialObjective(model, config, CPU), _images(model))


def begun_restoration(**changes: Any) -> Trainer[RestorationObjective]:
    config = replace(CONFIG, **{"critic_every": 0} | changes)
    return begin(RestorationObjective(MODEL, config, CPU), bars())


def begun_ign(config: IGNTrainingConfig = IGN_CONFIG, norm: str = "group") -> Trainer[IGNObjective]:
    return begin(IGNObjective(dcgan(norm), config, CPU), bars())


def dcgan(norm: str = "group", **changes: Any) -> IGNConfig:
    small: dict[str, Any] = {"widths": (8, 16), "bottleneck": 8, "norm": norm}
    return paper_model(12, 1, **small | changes)


def follow(
    trainer: Trainer[Any], steps: int | None = None, ahead: bool | None = None
) -> Iterator[dict[str, float]]:
    """The steps that are left, or so many: what each reports, its number and learning rate."""
    images = _images(trainer.objective.f.config)
    for terms in islice(train(trainer, images, ahead), steps):
        numbers = {name: float(value) for name, value in terms.items()}
        yield {"step": trainer.step, "lr": trainer.lr, **numbers}


def run(
    trainer: Trainer[Any], steps: int | None = None, ahead: bool | None = None
) -> list[dict[str, float]]:
    return list(follow(trainer, steps, ahead))


def finite(record: dict[str, float]) -> bool:
    return bool(torch.tensor(list(record.values())).isfinite().all())


def resumed(trainer: Trainer[Any], images: PhotographSet, path: Path) -> Trainer[Any]:
    """Do three steps, save, and do the rest twice: with the trainer, and with what was saved."""
    for _ in range(3):
        trainer.train_step(images)
    checkpoint.save(trainer, path)
    again = checkpoint.load(path, CPU)
    for each in (trainer, again):
        for _ in train(each, images):
            pass
    return again


def same_state(a: Trainer[Any], b: Trainer[Any]) -> bool:
    """Parameters, averages, critic, moments and the generator, all bit by bit."""
    states = checkpoint.state(a), checkpoint.state(b)
    assert states[0].keys() == states[1].keys()
    assert a.step == b.step
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def copied(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in net.named_parameters()}


def mir(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


class Repeated:
    """Stands in for a GPU's recorder: what it records is done again with the memory it had."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def warm(self, work: Work) -> Terms:
        return work()

    def record(self, work: Work) -> Work:
        self.recorded += 1

        def replay() -> Terms:
            self.replayed += 1
            return work()

        return replay


class Compiled(nn.Module):
    """A stand-in for what torch.compile makes: no second derivative goes through it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return Once.apply(self.net(x))  # type: ignore[no-any-return, no-untyped-call]


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad
