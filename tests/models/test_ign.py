"""f and the critic: bounds, independence of the images in a batch, and what they are built of."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from make_it_real.models import layers
from make_it_real.models.critic import Critic
from make_it_real.models.ign import IGNConfig, evaluation_mode, place, running_means
from make_it_real.models.layers import Attention, BoundedOutput, Patches, PlainBlock
from make_it_real.models.projector import Projector


def randomised(net: nn.Module, seed: int = 0) -> None:
    """Weights as after training, for tests: a fresh residual block does nothing yet."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.add_(0.05 * noise)


def network(size: int = 12, channels: int = 1, **changes: Any) -> Projector:
    settings: dict[str, Any] = {"stem": 8, "widths": (8, 16), "bottleneck": 8, "blocks": 2}
    torch.manual_seed(0)
    f = Projector(IGNConfig(size, channels, **settings | changes))
    randomised(f)
    return f


def noise(n: int, channels: int, size: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, size, size, generator=generator)


@pytest.mark.parametrize(
    ("size", "channels", "widths"),
    [
        (12, 1, (8, 16)), (12, 3, (8, 16)), (20, 1, (8, 16)), (20, 3, (16,)), (28, 1, (8, 16)),
        (28, 3, (8, 16)), (32, 1, (8, 16, 24)), (32, 3, (8, 16)), (64, 1, (8, 16, 16)),
        (64, 3, (8, 16, 16, 24)),
    ],
)  # fmt: skip
def test_f_maps_images_to_images_of_their_size(
    size: int, channels: int, widths: tuple[int, ...]
) -> None:
    f = network(size, channels, widths=widths)
    x = noise(2, channels, size)
    y = f(x)
    assert y.shape == x.shape
    assert y.dtype == torch.float32
    assert y.isfinite().all()
    assert not torch.equal(y, x)
    assert f.source.from_seeds([0]).shape == (1, channels, size, size)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_of_one_equals_a_batch_of_many(channels: int) -> None:
    f, x = network(20, channels), noise(7, channels, 20)
    one_by_one = torch.cat([f(image[None]) for image in x])
    torch.testing.assert_close(f(x), one_by_one, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [False, True])
def test_an_image_does_not_feel_its_neighbours(training: bool) -> None:
    f = network().train(training)
    x = noise(3, 1, 12).requires_grad_()
    (gradient,) = torch.autograd.grad(f(x)[1].sum(), x)
    assert gradient[1].abs().max() > 0
    assert gradient[0].abs().max() == 0
    assert gradient[2].abs().max() == 0


def test_running_f_changes_nothing_in_it() -> None:
    f = network().train()
    before = {name: value.clone() for name, value in f.state_dict().items()}
    f(noise(4, 1, 12))
    after = f.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_every_parameter_takes_part() -> None:
    f = network()
    (f(noise(2, 1, 12) * 0.3) * noise(2, 1, 12, seed=1)).sum().backward()
    still = [name for name, p in f.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


@pytest.mark.parametrize("scale", [0.0, 1.0, 1000.0, -1000.0])
def test_output_stays_within_its_bounds(scale: float) -> None:
    f = network(12, 3)
    y = f(scale * torch.ones(1, 3, 12, 12))
    wild = f(scale * noise(2, 3, 12))
    for each in (y, wild):
        assert each.isfinite().all()
        assert each.min() >= -1
        assert each.max() <= 1


def test_output_reaches_its_bounds_exactly() -> None:
    y = network()(1000 * noise(2, 1, 12))
    assert y.min() == -1
    assert y.max() == 1


def test_gradient_is_blocked_only_where_it_pushes_outward() -> None:
    # (value, gradient of the loss by the output) → (output, gradient by the value). A step
    # goes against the gradient: above 1, a negative one pushes further out.
    table = [
        (2.0, -3.0, 1.0, 0.0), (2.0, 3.0, 1.0, 3.0), (1.0, -3.0, 1.0, -3.0), (1.0, 3.0, 1.0, 3.0),
        (0.5, -3.0, 0.5, -3.0), (0.5, 3.0, 0.5, 3.0), (0.0, 0.0, 0.0, 0.0),
        (-1.0, -3.0, -1.0, -3.0), (-1.0, 3.0, -1.0, 3.0),
        (-2.0, -3.0, -1.0, -3.0), (-2.0, 3.0, -1.0, 0.0),
    ]  # fmt: skip
    values, grads, outputs, wanted = torch.tensor(table).unbind(1)
    values.requires_grad_()
    bounded: Tensor = BoundedOutput.apply(values)  # type: ignore[no-untyped-call]
    assert torch.equal(bounded, outputs)
    bounded.backward(grads)
    assert values.grad is not None
    assert torch.equal(values.grad, wanted)


def proposing(change: float) -> Projector:
    """An f with a dead zone of 0.1 that proposes one change, to every pixel of every image."""
    f = network(dead_zone=0.1)
    f.last.weight.data.zero_()
    f.seen.weight.data.zero_()
    assert f.last.bias is not None
    f.last.bias.data.fill_(change)
    return f


@pytest.mark.parametrize(
    ("change", "made"), [(0.0, 0.0), (0.09, 0.0), (-0.1, 0.0), (0.3, 0.2), (-0.3, -0.2)]
)
def test_changes_within_the_dead_zone_are_not_made(change: float, made: float) -> None:
    f = proposing(change)
    x = noise(3, 1, 12).clamp(-0.8, 0.8)
    y = f(x).detach()
    if made:
        torch.testing.assert_close(y, x + made)
    else:
        assert torch.equal(y, x)


@pytest.mark.parametrize("change", [0.0, 0.05, -0.09, 0.3, -0.3])
def test_damage_within_the_dead_zone_can_be_learnt(change: float) -> None:
    f = proposing(change)
    x = noise(2, 1, 12).clamp(-0.8, 0.8)
    wanted = x + 0.5
    (f(x) - wanted).abs().mean().backward()
    assert f.last.bias is not None
    assert f.last.bias.grad is not None
    torch.testing.assert_close(f.last.bias.grad, torch.tensor([-1.0]))


@pytest.mark.parametrize("change", [0.0, 0.05, -0.09])
def test_what_is_left_alone_rightly_teaches_nothing(change: float) -> None:
    f = proposing(change)
    x = noise(2, 1, 12).clamp(-0.8, 0.8)
    (f(x) - x).abs().mean().backward()
    assert f.last.bias is not None
    assert f.last.bias.grad is not None
    assert not f.last.bias.grad.any()


def test_attention_is_softmax_of_scaled_products_added_to_what_it_sees() -> None:
    layer = Attention(128)
    h = noise(2, 128, 3)
    randomised(layer)
    normed = layer.norm(h).double()
    kernel = layer.qkv.weight[:, :, 0, 0].double()
    assert layer.qkv.bias is not None
    assert layer.out.bias is not None
    mixed = torch.einsum("oc,nchw->nohw", kernel, normed) + layer.qkv.bias.double()[:, None, None]
    seen = []
    for q, k, v in zip(*(part.flatten(2).split(64, 1) for part in mixed.chunk(3, 1)), strict=True):
        share = (q.transpose(1, 2) @ k / 8).softmax(2)
        seen.append(v @ share.transpose(1, 2))
    out = torch.einsum("oc,ncp->nop", layer.out.weight[:, :, 0, 0].double(), torch.cat(seen, 1))
    expected = h + (out + layer.out.bias.double()[:, None]).view_as(h)
    torch.testing.assert_close(layer(h).double(), expected, atol=1e-4, rtol=1e-4)


def test_a_narrow_code_saves_most_parameters() -> None:
    wide, narrow = network(32, bottleneck=64), network(32, bottleneck=64, code=4, attention=True)
    assert narrow.squeeze.in_features * 4 == wide.squeeze.in_features
    assert narrow(noise(2, 1, 32)).shape == (2, 1, 32, 32)


def test_fine_blocks_work_at_full_resolution() -> None:
    plain, fine = network(32), network(32, fine=2)
    fine.load_state_dict(plain.state_dict(), strict=False)
    seen: list[tuple[int, ...]] = []
    for block in fine.fine:
        block.register_forward_hook(lambda _, args, out: seen.append(tuple(out.shape)))
        for parameter in block.parameters():
            parameter.data.zero_()
    images = noise(2, 1, 32)
    # Blocks that add nothing leave f what it was.
    assert torch.equal(fine(images), plain(images))
    assert seen == [(2, plain.config.stem, 32, 32)] * 2
    dict(fine.named_parameters())["fine.1.conv2.bias"].data.fill_(1.0)
    assert not torch.equal(fine(images), plain(images))


def test_the_filters_see_differences_only_and_all_as_much() -> None:
    kernels = layers.dictionary()
    assert kernels.shape == (14, 1, 9, 9)
    torch.testing.assert_close(kernels.sum((1, 2, 3)), torch.zeros(14), atol=1e-6, rtol=0)
    torch.testing.assert_close(kernels.flatten(1).norm(dim=1), torch.ones(14))
    # None is a mixture of the others.
    assert int(torch.linalg.matrix_rank(kernels.flatten(1))) == 14


def test_the_filters_of_a_direction_are_those_of_another_turned() -> None:
    across = layers.gaussian(0.5, 1.5, torch.pi / 4)
    torch.testing.assert_close(layers.gaussian(0.5, 1.5, 3 * torch.pi / 4), across.rot90())
    assert not torch.allclose(across, across.rot90(), atol=1e-3)
    assert float(across.sum()) == pytest.approx(1)


def test_each_pixel_mixes_the_filters_by_its_own_weights() -> None:
    torch.manual_seed(0)
    net = layers.AdaptiveFilters(4, width=6)
    images, h = noise(2, 3, 16), noise(2, 4, 16)
    assert not net(h, images).any()
    randomised(net)
    bias = net.mix.bias
    assert bias is not None
    made = net(h, images)
    n, c, y, x = 1, 2, 7, 6

    padded = nn.functional.pad(images[n], (4,) * 4, mode="replicate")
    windows = padded.unfold(1, 9, 1).unfold(2, 9, 1)
    found = torch.einsum("cyxij,kij->kcyx", windows, net.kernels[:, 0])
    power = found.square().mean((1, 2, 3))
    level = net.strength((power.log10() + 2) / 2)
    hidden = net.local(h)[n, :, y, x] + level
    weights = net.mix.weight[:, :, 0, 0] @ nn.functional.silu(hidden) + bias
    by_hand = (weights * found[:, c, y, x]).sum()
    torch.testing.assert_close(made[n, c, y, x], by_hand, atol=1e-4, rtol=1e-4)
    # Of a plain image there is nothing to add or to take away, up to its border.
    assert float(net(h, torch.full_like(images, 0.7)).detach().abs().max()) < 1e-5


def test_fine_detail_is_filtered_in_full_precision() -> None:
    torch.manual_seed(0)
    net = layers.AdaptiveFilters(4)
    randomised(net)
    # Less than bfloat16 tells apart, on a bright ground.
    images = 0.8 + 1e-3 * noise(2, 3, 16)
    h = torch.zeros(2, 4, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        fast = net(h, images)
    torch.testing.assert_close(fast, net(h, images), rtol=0.02, atol=1e-5)


@pytest.mark.parametrize("part", [{"filters": True}, {"patches": 1}], ids=str)
def test_a_batch_of_none_stays_one(part: dict[str, Any]) -> None:
    assert network(32, 3, **part)(torch.zeros(0, 3, 32, 32)).shape == (0, 3, 32, 32)


def test_a_band_without_power_is_as_weak_as_any() -> None:
    power = torch.tensor([0.0, 1e-9, 1e-8, 1e-4, 1e-2, 1.0])
    wanted = torch.tensor([-3.0, -3.0, -3.0, -1.0, 0.0, 1.0])
    torch.testing.assert_close(layers.log_scale(power), wanted)


def test_filters_that_begin_at_nothing_leave_f_as_it_was() -> None:
    plain, filtering = network(32), network(32, filters=True)
    found = filtering.load_state_dict(plain.state_dict(), strict=False)
    assert all(name.startswith("filters.") for name in found.missing_keys)
    for parameter in filtering.filters.parameters():
        parameter.data.zero_()
    images = noise(2, 1, 32)
    assert torch.equal(filtering(images), plain(images))
    dict(filtering.named_parameters())["filters.mix.bias"].data.fill_(0.5)
    assert not torch.equal(filtering(images), plain(images))


def test_patches_begin_at_nothing_and_leave_f_as_it_was() -> None:
    plain = network(32, 3)
    patched = Projector(IGNConfig(32, 3, 8, (8, 16), 8, 2, patches=2))
    found = patched.load_state_dict(plain.state_dict(), strict=False)
    assert found.missing_keys
    assert all(name.startswith("patches.") for name in found.missing_keys)
    images = noise(2, 3, 32)
    assert torch.equal(patched(images), plain(images))
    randomised(patched.patches)
    assert not torch.equal(patched(images), plain(images))


def test_patches_see_squares_of_pixels_each_in_its_place() -> None:
    torch.manual_seed(0)
    net = Patches(4, 3, 1)
    randomised(net)
    h, images = noise(2, 4, 32), 0.5 * noise(2, 3, 32)
    made = net(h, images)
    assert made.shape == images.shape
    # A shift by a square is the same shift of what is made, away from the borders.
    moved = net(h.roll(2, 3), images.roll(2, 3))
    torch.testing.assert_close(moved[..., 18], made[..., 16], atol=1e-5, rtol=0)
    assert not torch.allclose(net(h.roll(1, 3), images.roll(1, 3))[..., 17], made[..., 16])
    # Four convolutions of 3×3 squares reach eight pixels and no further.
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(net(h.clone(), images)[0, 0, 8, 0].sum(), images)
    assert bool(gradient[0, :, 8, :10].any())
    assert not gradient[0, :, :, 10:].any()


def test_patches_see_of_strong_noise_no_more_than_of_black_and_white() -> None:
    torch.manual_seed(0)
    net = Patches(4, 3, 1)
    randomised(net)
    h, images = noise(2, 4, 16), noise(2, 3, 16)
    images = images / images.square().mean((1, 2, 3), keepdim=True).sqrt()
    torch.testing.assert_close(net(h, 7 * images), net(h, images), atol=1e-5, rtol=0)
    assert not torch.allclose(net(h, 0.5 * images), net(h, images))
    # An image's strength is its own.
    strong = torch.stack([images[0], 7 * images[1]])
    torch.testing.assert_close(net(h, strong), net(h, images), atol=1e-5, rtol=0)


def test_a_plain_block_sees_how_strong_its_input_is() -> None:
    torch.manual_seed(0)
    block = PlainBlock(8)
    h = noise(1, 8, 6)
    assert torch.equal(block(h), h)
    randomised(block)
    change = block(h) - h
    assert not torch.allclose(block(10 * h) - 10 * h, change, rtol=0.5)


def test_gradient_through_an_image_at_rest_is_finite() -> None:
    f = network(rest=0.01).eval()
    for layer in (f.last, f.seen):
        layer.weight.data.zero_()
    assert f.last.bias is not None
    f.last.bias.data.zero_()
    images = noise(2, 1, 12).clamp(-0.8, 0.8).requires_grad_()
    out = f(images)
    assert torch.equal(out, images)
    out.sum().backward()
    assert images.grad is not None
    assert torch.equal(images.grad, torch.ones_like(images))


@pytest.mark.parametrize("ramp", [1.05, 2.0])
def test_a_change_is_made_in_full_from_the_end_of_the_ramp_on(ramp: float) -> None:
    f = network(rest=0.02, rest_ramp=ramp)
    times = torch.tensor([0.5, 0.99, (1 + ramp) / 2, 1.01 * ramp])
    signs = noise(4, 1, 12).sign()
    gate = f.gate(0.02 * times[:, None, None, None] * signs).flatten()
    torch.testing.assert_close(gate, torch.tensor([0, 0, 0.5, 1]), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="rest_ramp"):
        network(rest_ramp=1)


def test_without_a_dead_zone_every_change_is_made() -> None:
    narrow, none = network(dead_zone=0.1), network(dead_zone=0)
    x = noise(3, 1, 12).clamp(-0.5, 0.5)
    change = none(x) - x
    inside = none(x).abs() < 0.99
    wanted = change.sign() * (change.abs() - 0.1).clamp_min(0)
    torch.testing.assert_close((narrow(x) - x)[inside], wanted[inside], atol=1e-6, rtol=0)


@pytest.mark.parametrize("rest", [0.0, 0.01, 0.9])
@pytest.mark.parametrize("training", [False, True])
def test_the_change_before_the_gate_comes_beside_f(rest: float, training: bool) -> None:
    f = network(dead_zone=0.1, rest=rest, filters=True, patches=1).train(training)
    x = noise(3, 1, 12)
    fx, r = f.with_change(x)
    assert torch.equal(fx, f(x))
    # f is r without what lies in the dead zone, then without what the gate stops.
    shrunk = (x + torch.nn.functional.softshrink(f._change(x), 0.1)).clamp(-1, 1)
    change = shrunk - x
    if not training and rest:
        shrunk = (x + f.gate(change) * change).clamp(-1, 1)
    assert torch.equal(fx, shrunk)
    assert torch.equal(r, (x + f._change(x)).clamp(-1, 1) - x)
    # The gate does not touch r.
    none = network(dead_zone=0.0, rest=0.0, filters=True, patches=1)
    torch.testing.assert_close(r, none(x) - x)
    assert f.with_change(x[:0])[1].shape == (0, 1, 12, 12)


def test_channels_last_computes_the_same() -> None:
    f, x = network(20, 3), noise(3, 3, 20)
    before = f(x)
    torch.testing.assert_close(place(f, torch.device("cpu"))(x), before, atol=1e-5, rtol=0)
    assert f.stem.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 2}, "channels must be 1 or 3"),
        ({"image_size": 30}, "multiple of 4"),
        ({"image_size": 0}, "multiple of 4"),
        ({"image_size": -4}, "multiple of 4"),
        ({"image_size": 28, "widths": (64, 128, 256)}, "multiple of 8"),
        ({"widths": ()}, "multiple"),
        ({"widths": (64, 12)}, "multiples of 8"),
        ({"widths": (64, -8)}, "multiples of 8"),
        ({"stem": 0}, "multiples of 8"),
        ({"stem": 20}, "multiples of 8"),
        ({"bottleneck": 0}, "bottleneck must be at least 1"),
        ({"blocks": 1}, "blocks at least 2"),
        ({"dead_zone": -0.01}, "dead_zone must lie in"),
        ({"dead_zone": 1.0}, "dead_zone must lie in"),
        ({"dead_zone": float("nan")}, "dead_zone must lie in"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        IGNConfig(**changes)


def test_a_config_read_from_json_equals_its_original() -> None:
    assert IGNConfig(widths=[64, 128]) == IGNConfig()  # type: ignore[arg-type]
    assert hash(IGNConfig(widths=[64, 128])) == hash(IGNConfig())  # type: ignore[arg-type]


def test_no_norm_of_f_has_statistics_of_the_batch() -> None:
    kinds = {type(module) for module in network().modules()}
    assert nn.GroupNorm in kinds
    assert not kinds & {nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm}


def critic(size: int, channels: int, widths: tuple[int, ...]) -> Critic:
    torch.manual_seed(0)
    C = Critic(size, channels, widths)
    randomised(C)
    return C


@pytest.mark.parametrize(
    ("size", "channels", "widths"),
    [(12, 1, (8, 16)), (20, 3, (8, 16)), (28, 1, (8, 16)), (32, 3, (8, 8, 16)), (64, 3, (8,) * 4)],
)
@pytest.mark.parametrize("n", [1, 3, 8])
def test_the_critic_gives_one_logit_an_image(
    size: int, channels: int, widths: tuple[int, ...], n: int
) -> None:
    logits = critic(size, channels, widths)(noise(n, channels, size))
    assert logits.shape == (n,)
    assert logits.isfinite().all()
    assert n == 1 or logits.std() > 0


def reference_std(features: list[list[float]]) -> list[float]:
    """Image i's group: the four neighbours it is among where the batch has fours, else all."""
    n = len(features)
    size = 4 if n % 4 == 0 else n
    out = []
    for i in range(n):
        group = [features[j] for j in range(n) if j // size == i // size]
        deviations = []
        for values in zip(*group, strict=True):
            mean = sum(values) / len(values)
            variance = sum((value - mean) ** 2 for value in values) / len(values)
            deviations.append((variance + 1e-8) ** 0.5)
        out.append(sum(deviations) / len(deviations))
    return out


@pytest.mark.parametrize("n", [1, 2, 4, 6, 8, 12])
def test_minibatch_std_is_the_deviation_within_groups(n: int) -> None:
    h = noise(n, 5, 3, seed=n)
    std = critic(12, 1, (8, 16)).minibatch_std(h)
    assert std.shape == (n, 1, 3, 3)
    wanted = torch.tensor(reference_std(h.flatten(1).tolist()))
    torch.testing.assert_close(std, wanted[:, None, None, None].expand_as(std))


def test_the_critic_tells_many_images_from_one_image_repeated() -> None:
    C, x = critic(12, 1, (8, 16)), noise(4, 1, 12)
    assert (C(x)[0] - C(x[:1].expand(4, -1, -1, -1))[0]).abs() > 1e-4


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_mode_ends_where_it_began_even_by_an_error(training: bool) -> None:
    f, seen = network().train(training), []

    def fail() -> None:
        with evaluation_mode(f):
            seen.append(f.training)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert seen == [False]
    assert f.training is training
    assert all(part.training is training for part in f.modules())


@pytest.mark.parametrize("width", [1, 2, 7, 17])
def test_running_means_are_those_of_each_window(width: int) -> None:
    values = torch.randn(2, 3, 40, generator=torch.Generator().manual_seed(0))
    means = running_means(values, width)
    assert torch.allclose(means, values.unfold(-1, width, 1).mean(-1), atol=1e-6)
    # To the last bit the same in a part of them, as in the parts of a large picture.
    assert torch.equal(means[..., 5:9], running_means(values[..., 5 : 9 + width - 1], width))
