"""A step never waits for its device, and its graphs are whole: what a GPU needs to be kept busy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from make_it_real.data.photographs import PhotographSet
from make_it_real.degradations.noise import coarse_noise
from make_it_real.models.ign import IGNConfig
from make_it_real.models.layers import AdaptiveFilters
from make_it_real.training.config import PhotographConfig
from make_it_real.training.losses import gradient_penalty
from make_it_real.training.photographs import PhotographObjective
from make_it_real.training.tone import ToneObjective
from make_it_real.training.trainer import Trainer, begin
from tests.training.helpers import (
    CONFIG,
    CPU,
    JUDGED,
    RESTORER,
    bars,
    begun,
    begun_ign,
    begun_restoration,
    scenes,
)

# torch's compiler makes an instance of each autograd function, of which torch warns.
pytestmark = pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")

ATEN = torch.ops.aten
# Operations whose result a host has to know: a number, or how many elements there are.
KNOWN_TO_THE_HOST = (
    ATEN._local_scalar_dense, ATEN.is_nonzero, ATEN.equal, ATEN.nonzero, ATEN.masked_select,
    ATEN._unique2, ATEN.unique_consecutive, ATEN.bincount,
)  # fmt: skip
BY_INDEX = (ATEN.index, ATEN.index_put, ATEN.index_put_)


class Watch(TorchDispatchMode):
    """Collects the names of operations that would wait for a GPU, or that need its masks' sums."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.waits: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        packet = func._overloadpacket
        masked = packet in BY_INDEX and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if masked or packet in KNOWN_TO_THE_HOST:
            self.waits.append(str(packet))
        return func(*args, **(kwargs or {}))


def begun_photographs(model: IGNConfig = RESTORER) -> Trainer[Any]:
    config = PhotographConfig(batch=4, crop=16, tone_alone=model.tone)
    objective = ToneObjective if model.tone else PhotographObjective
    return begin(objective(model, config, CPU), scenes())


BEGUN: dict[str, Callable[[], Trainer[Any]]] = {
    "adversarial": begun,
    "adversarial, every other step": lambda: begun(replace(CONFIG, critic_every=2, augment=0.5)),
    "restoration": begun_restoration,
    "ign": begun_ign,
    "ign with batch norm": lambda: begun_ign(norm="batch"),
    "photographs": begun_photographs,
    "photographs, a learned gate": lambda: begun_photographs(JUDGED),
    "tone": lambda: begun_photographs(replace(RESTORER, tone=True)),
}


def pixels(name: str) -> Tensor | PhotographSet:
    return scenes() if "photographs" in name or name == "tone" else bars().pixels


@pytest.mark.parametrize("tensors", [(torch.ones(2),), (torch.ones(2), torch.ones(2) > 0)])
def test_what_waits_is_noticed(tensors: tuple[Tensor, ...]) -> None:
    with Watch() as watch:
        _ = float(tensors[0].sum()) if len(tensors) == 1 else tensors[0][tensors[1]]
    assert len(watch.waits) == 1


@pytest.mark.parametrize("name", BEGUN)
def test_no_step_waits_for_its_device(name: str) -> None:
    trainer = BEGUN[name]()
    # Steps with critics and without, with a penalty and without.
    for _ in range(4):
        draws = trainer.draw(pixels(name), trainer.step)
        with Watch() as watch:
            trainer.learn(draws)
        assert watch.waits == []


def test_coarse_noise_waits_for_its_device_once() -> None:
    """To know how many images have squares of each side; not for where each image's squares lie."""
    images = bars(4).pixels.float().repeat(8, 1, 1, 1)
    with Watch() as watch:
        coarse_noise(images, torch.ones(len(images)), torch.Generator().manual_seed(0))
    assert watch.waits == ["aten.bincount"]


def whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function into one graph, or fail: nothing of it is left to Python."""
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in BEGUN if name != "adversarial"])
def test_the_losses_are_one_graph(name: str) -> None:
    """Of the adversarial objective in steps without critics; those are below."""
    trainer = BEGUN[name]()
    (draw,) = trainer.draw(pixels(name), trainer.step)
    parameters = [p for p in trainer.objective.f.parameters() if p.requires_grad]
    results = []
    for losses in (trainer.objective.losses, whole(trainer.objective.losses)):
        terms = losses(draw)
        loss = torch.stack(list(terms.values())).sum()
        results.append((terms, torch.autograd.grad(loss, parameters, allow_unused=True)))
    (terms, gradient), (other_terms, other_gradient) = results
    assert terms.keys() == other_terms.keys()
    for key in terms:
        close(other_terms[key], terms[key])
    for one, other in zip(gradient, other_gradient, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            close(other, one)


class Pads(TorchDispatchMode):
    """Collects the number of dimensions of what was padded, at each gradient of padding."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dimensions: list[int] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func._overloadpacket == ATEN.replication_pad2d_backward:
            self.dimensions.append(args[1].dim())
        return func(*args, **(kwargs or {}))


def test_filters_pad_images_as_the_compiler_expects_them() -> None:
    """Padding of four dimensions, channels last, has a gradient that fails once compiled."""
    images = torch.randn(2, 3, 16, 16).to(memory_format=torch.channels_last).requires_grad_()
    h = torch.randn(2, 8, 16, 16).to(memory_format=torch.channels_last)
    out = AdaptiveFilters(8)(h, images)
    with Pads() as pads:
        out.square().mean().backward()
    assert pads.dimensions == [3]


def test_with_critics_f_and_critic_are_a_graph_each_and_the_penalty_stays_out() -> None:
    trainer = begun()
    C, f, x = trainer.objective.C, trainer.objective.f, bars(4).pixels.float() / 127.5 - 1
    close(whole(f)(x), f(x))
    fast = whole(C)
    close(fast(x), C(x))
    # What is compiled can be differentiated once only: the penalty has C as it is.
    with pytest.raises(RuntimeError, match="double backward"):
        gradient_penalty(fast, x).backward()
    gradient_penalty(C, x).backward()
