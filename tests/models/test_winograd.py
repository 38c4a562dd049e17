"""Convolutions that multiply less: equal to direct ones, and taken only where they pay."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import make_it_real
from make_it_real.models import winograd
from make_it_real.models.winograd import Conv3x3, convolve, pays, transformed

# Rounding, as a share of the results' deviation.
ROUNDING = 3e-5


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def layer(inputs: int = 96, outputs: int = 96) -> Conv3x3:
    torch.manual_seed(0)
    return Conv3x3(inputs, outputs).requires_grad_(False)


def direct(conv: nn.Conv2d, images: Tensor) -> Tensor:
    return F.conv2d(images, conv.weight, conv.bias, padding=1)


SIZES = [(1, 1), (4, 4), (7, 7), (8, 5), (2, 3), (9, 9), (14, 21), (3, 30)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("at_once", [1, 3_000, winograd.AT_ONCE])
def test_equals_a_direct_convolution(
    size: tuple[int, int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "AT_ONCE", at_once)
    images, weight, bias = noise(3, 10, *size), noise(6, 10, 3, 3), noise(6)
    expected = F.conv2d(images, weight, bias, padding=1)
    for b, y in ((bias, expected), (None, expected - bias[:, None, None])):
        out = convolve(images, transformed(weight, *size), b)
        assert out.shape == y.shape
        assert (out - y).abs().max() < ROUNDING * expected.std()


def test_is_taken_where_it_pays() -> None:
    assert pays(128, 128, 32, 32)
    assert pays(96, 96, 160, 161)
    assert not pays(48, 48, 160, 160)
    assert pays(128, 128, 7, 7)
    assert not pays(16, 16, 8, 8)
    # Nine products for one, and a square of 4×4 results for 2×1 and 1×1 of its ends.
    assert not pays(128, 128, 1, 1)
    assert not pays(128, 128, 1, 9)


def test_follows_its_weights() -> None:
    conv, images = layer(), noise(2, 96, 16, 16)
    others = {key: noise(*value.shape) for key, value in conv.state_dict().items()}
    with torch.inference_mode():
        assert not torch.equal(before := conv(images), direct(conv, images))
        conv.weight.mul_(2)
        assert torch.allclose(conv(images), direct(conv, images), atol=1e-4)
        assert not torch.allclose(conv(images), before, atol=1e-2)
    again = copy.deepcopy(conv)
    conv.load_state_dict(others)
    again.weight.data = others["weight"].clone()
    with torch.no_grad():
        for changed in (conv, again):
            assert torch.allclose(changed(images), direct(changed, images), atol=1e-3)


@pytest.mark.parametrize("size", [8, 16])
def test_follows_weights_that_a_fused_optimizer_trains(size: int) -> None:
    conv, images = layer().requires_grad_(True), noise(2, 96, size, size)
    optimizer = torch.optim.Adam(conv.parameters(), lr=0.1, fused=True)
    for _ in range(2):
        with torch.no_grad():
            assert not torch.equal(conv(images), direct(conv, images))
            assert torch.allclose(conv(images), direct(conv, images), atol=1e-3)
        conv(images).square().sum().backward()
        optimizer.step()


def test_images_of_many_sizes_one_after_the_other() -> None:
    conv = layer()
    for size in [(16, 16), (8, 8), (8, 7), (12, 12), (8, 8), (7, 8)]:
        images = noise(2, 96, *size)
        with torch.no_grad():
            out = conv(images)
        assert not torch.equal(out, direct(conv, images))
        assert torch.allclose(out, direct(conv, images), atol=1e-4)


def test_weights_made_in_inference_mode() -> None:
    with torch.inference_mode():
        conv, images = layer(), noise(2, 96, 16, 16)
        conv(images)
        conv.weight.mul_(2)
        assert torch.allclose(conv(images), direct(conv, images), atol=1e-4)


def test_is_direct_where_gradients_half_precision_or_graphs_are_asked_for() -> None:
    conv, images = layer(), noise(2, 96, 16, 16)
    assert torch.equal(conv(images), direct(conv, images))
    with torch.no_grad():
        assert not torch.equal(conv(images), direct(conv, images))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(conv(images), direct(conv, images))
        assert torch.equal(conv.double()(images.double()), direct(conv, images.double()))
        graph = torch.export.export(conv.float(), (images,)).graph
    called = {str(node.target) for node in graph.nodes if node.op == "call_function"}
    assert called == {"aten.conv2d.default"}


def test_no_images() -> None:
    with torch.no_grad():
        assert layer()(noise(0, 96, 16, 16)).shape == (0, 96, 16, 16)


@pytest.mark.parametrize("name", ["mnist", "faces"])
def test_a_seed_is_the_same_image(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    f = make_it_real.load(name)
    z = f.source.from_seeds([0, 1, 2])
    with torch.no_grad():
        images = f(z)
        monkeypatch.setattr(winograd, "pays", lambda *shape: False)
        expected = f(z)
    # Less than a hundredth of an 8-bit level apart.
    assert 0 < (images - expected).abs().max() < 0.01 / 127.5
