"""Applying a trained f: f^k by hand, in batches of any size, and when memory runs out."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import make_it_real
from make_it_real.errors import MirError, ShapeError
from make_it_real.inference import projection
from make_it_real.inference.projection import apply, drift, generate, project, project_with_change
from make_it_real.inference.refinement import refine
from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.models.unet import UNet

CLOSE: dict[str, Any] = {"atol": 1e-5, "rtol": 0}


def images(n: int, channels: int = 1, size: int = 28, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, channels, size, size, generator=generator) * 2 - 1


class Narrow(IGN):
    """f(y) = y/2, which runs out of memory for more than ``most`` images at once."""

    def __init__(self, most: int, error: Callable[[], BaseException]) -> None:
        super().__init__(IGNConfig(12, 1, 8, (8, 16), 8, 2))
        self.most, self.error = most, error
        self.sizes: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        if len(images) > self.most:
            raise self.error()
        return images / 2


def test_generate_is_f_of_z(tiny_f: IGN) -> None:
    wanted = tiny_f(tiny_f.source.from_seeds([3, 1, 4]))
    torch.testing.assert_close(generate(tiny_f, [3, 1, 4]), wanted, **CLOSE)


def test_project_is_f_of_x(tiny_colour_f: IGN) -> None:
    x = images(5, 3, 32)
    torch.testing.assert_close(project(tiny_colour_f, x), tiny_colour_f(x), **CLOSE)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_steps_are_applications(tiny_f: IGN, steps: int) -> None:
    x, z = images(3), tiny_f.source.from_seeds([0, 1])
    for _ in range(steps):
        x, z = tiny_f(x), tiny_f(z)
    torch.testing.assert_close(project(tiny_f, images(3), steps), x, **CLOSE)
    torch.testing.assert_close(generate(tiny_f, [0, 1], steps=steps), z, **CLOSE)


def test_further_steps_go_on_from_the_former(tiny_f: IGN) -> None:
    once = project(tiny_f, images(4))
    assert (project(tiny_f, once) - once).abs().max() > 1e-3
    torch.testing.assert_close(project(tiny_f, once, 2), project(tiny_f, images(4), 3), **CLOSE)


def white(seed: int, channels: int, size: int) -> Tensor:
    return torch.randn(channels, size, size, generator=torch.Generator().manual_seed(seed))


def test_noise_makes_a_variant_of_each_image_for_each_seed(tiny_colour_f: IGN) -> None:
    x, seeds = images(2, 3, 32), [3, 0, 2**40]
    y = project(tiny_colour_f, x, 2, noise=0.7, seeds=iter(seeds), batch=4)
    noisy = torch.stack([image + 0.7 * white(seed, 3, 32) for image in x for seed in seeds])
    torch.testing.assert_close(y, tiny_colour_f(tiny_colour_f(noisy)), **CLOSE)
    # The same seed gives the same image beside others and in another batch.
    alone = project(tiny_colour_f, x[1:], 2, noise=0.7, seeds=[0])
    torch.testing.assert_close(alone, y.unflatten(0, (2, 3))[1, 1][None], **CLOSE)
    assert (y[0] - y[1]).abs().max() > 0.01


def test_noise_without_seeds_is_that_of_seed_0(tiny_f: IGN) -> None:
    x = images(2)
    assert torch.equal(project(tiny_f, x, noise=1), project(tiny_f, x, noise=1, seeds=[0]))
    assert (project(tiny_f, x, noise=1) - project(tiny_f, x)).abs().max() > 0.01


def test_seeds_without_noise_repeat_the_projection(tiny_f: IGN) -> None:
    x = images(2)
    y = project(tiny_f, x, seeds=range(3))
    torch.testing.assert_close(y, project(tiny_f, x).repeat_interleave(3, 0), **CLOSE)


def test_strength_counts_from_the_image_without_noise(tiny_f: IGN) -> None:
    x = images(1)
    y = project(tiny_f, x, noise=1, seeds=range(2))
    half = project(tiny_f, x, noise=1, seeds=range(2), strength=0.5)
    torch.testing.assert_close(half, (x + y) / 2, **CLOSE)
    assert torch.equal(x, images(1))


def test_an_f_of_any_size_takes_noise_at_the_images_own_size(any_size_f: UNet) -> None:
    x = images(1, 3, 40)[..., :24]
    n = torch.randn(3, 40, 24, generator=torch.Generator().manual_seed(5))
    y = project(any_size_f, x, noise=0.5, seeds=[5])
    torch.testing.assert_close(y, any_size_f(x + 0.5 * n), **CLOSE)


@pytest.mark.parametrize("noise", [-0.1, float("inf"), float("nan")])
def test_noise_out_of_range_is_refused(tiny_f: IGN, noise: float) -> None:
    with pytest.raises(ValueError, match="noise must be at least 0, and finite"):
        project(tiny_f, images(1), noise=noise)


def test_no_seed_at_all_is_refused(tiny_f: IGN) -> None:
    with pytest.raises(ValueError, match="seeds must name one or more"):
        project(tiny_f, images(1), noise=1, seeds=[])


@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_batch_sizes_agree(tiny_f: IGN, batch: int) -> None:
    x = images(5)
    torch.testing.assert_close(project(tiny_f, x, 2, batch=batch), tiny_f(tiny_f(x)), **CLOSE)
    wanted = tiny_f(tiny_f.source.from_seeds(range(5)))
    torch.testing.assert_close(generate(tiny_f, range(5), batch=batch), wanted, **CLOSE)


def test_no_batch_is_larger_than_asked_for() -> None:
    f = Narrow(100, AssertionError)
    project(f, images(7, size=12), batch=3)
    assert f.sizes == [3, 3, 1]
    f.sizes.clear()
    generate(f, range(7), steps=2, batch=4)
    assert f.sizes == [4, 4, 3, 3]


def test_seeds_can_come_from_an_iterator(tiny_f: IGN) -> None:
    wanted = generate(tiny_f, [2, 3])
    assert torch.equal(generate(tiny_f, iter((2, 3))), wanted)


def test_a_seed_s_image_does_not_depend_on_the_other_seeds(tiny_f: IGN) -> None:
    alone, among = generate(tiny_f, [7]), generate(tiny_f, [1, 7, 2**40])
    torch.testing.assert_close(among[1], alone[0], **CLOSE)
    assert (among[0] - among[1]).abs().max() > 0.01


def test_nothing_comes_of_nothing(tiny_f: IGN, tiny_colour_f: IGN) -> None:
    assert generate(tiny_f, []).shape == (0, 1, 28, 28)
    assert project(tiny_f, images(0)).shape == (0, 1, 28, 28)
    assert project(tiny_colour_f, images(0, 3, 32)).shape == (0, 3, 32, 32)
    assert drift(tiny_f, images(0)).shape == (0,)


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (2, 3, 28, 28), (2, 1, 28, 27), (2, 1, 32, 32), (28, 28), (0, 3, 28, 28)]
)
def test_images_of_another_shape_are_refused(tiny_f: IGN, shape: tuple[int, ...]) -> None:
    said = rf"shape \(N, 1, 28, 28\), not \({', '.join(map(str, shape))}\)"
    for work in (project, project_with_change, drift, partial(refine, steps=2)):
        with pytest.raises(ShapeError, match=said) as error:
            work(tiny_f, torch.zeros(shape))
        # What a user can mend, and what Python calls such an argument.
        assert isinstance(error.value, MirError)
        assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("steps", [0, -1])
def test_no_step_at_all_is_refused(tiny_f: IGN, steps: int) -> None:
    with pytest.raises(ValueError, match=f"steps must be at least 1, not {steps}"):
        project(tiny_f, images(1), steps)
    with pytest.raises(ValueError, match=f"steps must be at least 1, not {steps}"):
        generate(tiny_f, [0], steps)


def test_the_input_is_left_as_it_was(tiny_f: IGN) -> None:
    x = images(3)
    before = x.clone()
    project(tiny_f, x, 2)
    assert torch.equal(x, before)


def test_other_kinds_of_floats_are_taken(tiny_f: IGN) -> None:
    x = images(3).double()
    y = project(tiny_f, x)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, tiny_f(x.float()), **CLOSE)


def test_results_can_be_trained_on(tiny_f: IGN) -> None:
    # They are no inference tensors, which autograd refuses.
    weight = torch.ones((), requires_grad=True)
    for y in (generate(tiny_f, [0]), project(tiny_f, images(1))):
        (weight * y).sum().backward()
        y.add_(1)
    assert weight.grad is not None


def out_of_memory() -> BaseException:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def cpu_out_of_memory() -> BaseException:
    return RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to")


@pytest.mark.parametrize("error", [out_of_memory, cpu_out_of_memory, MemoryError])
@pytest.mark.parametrize(("n", "most"), [(8, 3), (7, 1), (2, 1), (5, 4)])
def test_where_memory_runs_out_the_batch_is_halved(
    error: Callable[[], BaseException], n: int, most: int
) -> None:
    f, x = Narrow(most, error), images(n, size=12)
    assert torch.equal(project(f, x, steps=2), x / 4)
    assert f.sizes[0] == n
    done = [size for size in f.sizes if size <= most]
    assert sum(done) == 2 * n


def test_one_image_that_is_too_large_is_an_error() -> None:
    f = Narrow(0, out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        project(f, images(4, size=12))
    assert f.sizes == [4, 2, 1]


def test_other_errors_are_not_tried_again() -> None:
    f = Narrow(1, lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        project(f, images(4, size=12))
    assert f.sizes == [4]


def test_the_change_comes_with_the_projection_whatever_the_batch(tiny_colour_f: IGN) -> None:
    x = images(5, 3, 32)
    for batch in (1, 2, 64):
        fx, r = project_with_change(tiny_colour_f, x, batch=batch)
        torch.testing.assert_close(fx, tiny_colour_f(x), **CLOSE)
        torch.testing.assert_close(r, tiny_colour_f.with_change(x)[1], **CLOSE)
    fx, r = project_with_change(tiny_colour_f, x[:0])
    assert fx.shape == r.shape == (0, 3, 32, 32)


def test_drift_is_how_far_f_moves_an_image(tiny_f: IGN) -> None:
    x = images(5)
    moved = tiny_f(x) - x
    wanted = [sum(map(abs, image.flatten().tolist())) / 784 for image in moved]
    for batch in (2, 64):
        assert drift(tiny_f, x, batch=batch).tolist() == pytest.approx(wanted, abs=1e-5)


def test_drift_is_zero_at_a_fixed_point() -> None:
    f = Narrow(10, AssertionError)
    assert drift(f, torch.zeros(3, 1, 12, 12)).tolist() == [0, 0, 0]
    assert drift(f, torch.ones(1, 1, 12, 12)).tolist() == [0.5]


def test_apply_gives_images_in_the_usual_layout(tiny_colour_f: IGN) -> None:
    assert apply(tiny_colour_f, images(2, 3, 32)).is_contiguous()


def test_the_package_offers_them_by_name() -> None:
    for name in ("generate", "project", "drift"):
        assert getattr(make_it_real, name) is getattr(projection, name)
    assert set(make_it_real.__all__) <= set(dir(make_it_real))
    with pytest.raises(AttributeError, match="no attribute 'genrate'"):
        _ = make_it_real.genrate
