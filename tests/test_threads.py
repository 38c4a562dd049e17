"""Images that are divided among a processor's threads."""

from collections.abc import Iterator
from threading import Barrier, get_ident
from typing import Any

import pytest
import torch
from torch import Tensor

from make_it_real import threads
from make_it_real.inference.projection import project, project_with_change
from make_it_real.models.architectures import build
from make_it_real.models.dcgan import use_batch_statistics
from make_it_real.models.ign import IGN, IGNConfig

CPU = torch.device("cpu")
CLOSE: dict[str, Any] = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(autouse=True)
def two() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_shares_are_computed_side_by_side_with_a_thread_each() -> None:
    # Nobody passes the barrier alone.
    together, seen = Barrier(2, timeout=30), []

    def work(images: Tensor) -> tuple[Tensor, Tensor]:
        together.wait()
        seen.append((len(images), torch.get_num_threads(), get_ident()))
        return images + 1, images.sum(1)

    images = torch.arange(33.0).view(11, 3)
    more, sums = threads.divided(work, images, CPU)
    assert torch.equal(more, images + 1)
    assert torch.equal(sums, images.sum(1))
    assert sorted(entry[:2] for entry in seen) == [(5, 1), (6, 1)]
    assert get_ident() not in {entry[2] for entry in seen}
    assert torch.get_num_threads() == 2


def test_few_images_are_not_divided_and_none_on_a_gpu() -> None:
    shares: list[int] = []

    def work(images: Tensor) -> tuple[Tensor]:
        shares.append(len(images))
        return (images,)

    threads.divided(work, torch.zeros(2 * threads.FEWEST - 1, 3), CPU)
    threads.divided(work, torch.zeros(100, 3), torch.device("cuda"))
    torch.set_num_threads(1)
    threads.divided(work, torch.zeros(50, 3), CPU)
    assert shares == [2 * threads.FEWEST - 1, 100, 50]


def test_an_error_is_the_caller_s_and_its_threads_come_back() -> None:
    def work(images: Tensor) -> tuple[Tensor]:
        raise ValueError(f"of {len(images)}")

    with pytest.raises(ValueError, match="of 50"):
        threads.divided(work, torch.zeros(100, 3), CPU)
    assert torch.get_num_threads() == 2


def test_f_of_divided_images_is_f_of_all(tiny_f: IGN) -> None:
    x = torch.rand(20, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    sizes: list[int] = []
    tiny_f.register_forward_pre_hook(lambda f, args: sizes.append(len(args[0])))
    torch.testing.assert_close(project(tiny_f, x), tiny_f(x), **CLOSE)
    assert sizes[:2] == [10, 10]
    for got, wanted in zip(project_with_change(tiny_f, x), tiny_f.with_change(x), strict=True):
        torch.testing.assert_close(got, wanted, **CLOSE)


def test_batch_norm_sees_its_whole_batch() -> None:
    config = IGNConfig(
        32, 1, 8, (8, 16), 8, 2, dead_zone=0, rest=0, architecture="dcgan", norm="batch"
    )
    f = build(config).eval().requires_grad_(False)
    use_batch_statistics(f)
    x = torch.randn(20, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(project(f, x), f(x), **CLOSE)
