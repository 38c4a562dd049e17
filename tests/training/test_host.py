"""A step never waits for its device, and its graphs are whole: what a GPU needs to be kept busy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from make_it_real.data.photographs import PhotographSet
from make_it_real.degradations.kinds import (
    COLOUR_DAMAGE,
    DEGRADATIONS,
    GREY_DAMAGE,
    randomly_degraded,
)
from make_it_real.models.ign import IGNConfig
from make_it_real.models.layers import AdaptiveFilters
from make_it_real.training import checkpoint
from make_it_real.training.config import PhotographConfig
from make_it_real.training.lambdas import AdversarialLambdas
from make_it_real.training.losses import gradient_penalty
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

    def __enter__(self) -> Any:
        # On a CPU it is no operation of torch's.
        self.to_list = Tensor.tolist

        def noted(tensor: Tensor) -> Any:
            self.waits.append("tolist")
            return self.to_list(tensor)

        Tensor.tolist = noted  # type: ignore[method-assign,assignment]
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        Tensor.tolist = self.to_list  # type: ignore[method-assign]
        super().__exit__(*error)  # type: ignore[no-untyped-call]

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
    config = PhotographConfig(batch=4, crop=16, alone="tone" if model.tone else "")
    return begin(checkpoint.build(model, config, CPU), scenes())


def begun_alone(part: str) -> Trainer[Any]:
    config = PhotographConfig(batch=4, crop=16, alone=part)
    return begin(checkpoint.build(replace(RESTORER, mixed=True), config, CPU), scenes())


BEGUN: dict[str, Callable[[], Trainer[Any]]] = {
    "adversarial": begun,
    "adversarial, every other step": lambda: begun(replace(CONFIG, critic_every=2, augment=0.5)),
    "restoration": begun_restoration,
    "restoration, all terms": lambda: begun_restoration(
        held=True,
        critic_every=1,
        projected=1.5,
        energy=1.5,
        lambdas=AdversarialLambdas(perceptual=0.4, rest=20.0),
    ),
    "ign": begun_ign,
    "ign with batch norm": lambda: begun_ign(norm="batch"),
    "photographs": begun_photographs,
    "photographs, a learned gate": lambda: begun_photographs(JUDGED),
    "photographs, mixed": lambda: begun_photographs(replace(RESTORER, mixed=True)),
    "tone": lambda: begun_photographs(replace(RESTORER, tone=True)),
    "photographs, a delta": lambda: begun_alone("blurred"),
    "reader": lambda: begun_alone("reader"),
}


def pixels(name: str) -> Tensor | PhotographSet:
    whole = name in ("tone", "reader") or "photographs" in name
    return scenes() if whole else bars().pixels


@pytest.mark.parametrize(
    "read", [lambda x: float(x.sum()), lambda x: x[x > 0], lambda x: x.tolist()]
)
def test_what_waits_is_noticed(read: Callable[[Tensor], Any]) -> None:
    with Watch() as watch:
        read(torch.ones(2))
    assert len(watch.waits) == 1
    assert torch.ones(2).tolist() == [1, 1]
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


# Strokes are drawn, and pixels encoded, by the host.
ON_THE_HOST = {"scribbles", "jpeg"}


@pytest.mark.parametrize("kind", sorted({*GREY_DAMAGE, *COLOUR_DAMAGE} - ON_THE_HOST))
def test_damage_waits_for_its_device_once_at_most(kind: str) -> None:
    """To know how large a kernel is, or how many images have a level: not for each level."""
    generator, damage = torch.Generator().manual_seed(0), DEGRADATIONS[kind]
    levels = torch.linspace(*damage.levels, 12)
    with Watch() as watch:
        damage.apply(torch.zeros(12, 3, 16, 16), levels, generator)
    assert len(watch.waits) <= 1


def test_kinds_of_damage_are_drawn_with_one_wait() -> None:
    """But for those of each kind."""
    with Watch() as watch:
        kinds = {"noise": 1.0, "mask": 1.0, "contrast": 1.0, "thin": 1.0}
        randomly_degraded(
            torch.zeros(32, 1, 8, 8), kinds, generator=torch.Generator().manual_seed(0)
        )
    assert watch.waits == ["tolist"]


def whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function into one graph, or fail: nothing of it is left to Python."""
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


# Critics lead f by gradients that are taken within a step.
LED = {"adversarial", "restoration, all terms"}


@pytest.mark.parametrize("name", sorted(BEGUN.keys() - LED))
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
