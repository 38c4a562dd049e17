"""The U-Net: any size, independence of images, a rest that is local, and what it refuses."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from make_it_real.models.architectures import build
from make_it_real.models.ign import IGNConfig
from make_it_real.models.unet import Seen, UNet

# What a model without a tone and of one set of weights sees.
UNSEEN = Seen(None, None)


def network(**changes: Any) -> UNet:
    settings: dict[str, Any] = {
        "widths": (8, 16), "blocks": 2, "dead_zone": 0.0, "rest": 0.0, "architecture": "unet",
        "source": "none",
    }  # fmt: skip
    torch.manual_seed(0)
    f = build(IGNConfig(0, 3, **settings | changes))
    assert isinstance(f, UNet)
    for parameter in f.parameters():
        nn.init.normal_(parameter, std=0.05)
    return f.eval()


def noise(n: int, height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (0.4 * torch.randn(n, 3, height, width, generator=generator)).clamp(-1, 1)


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (8, 8), (9, 31), (40, 24)])
def test_takes_any_size(size: tuple[int, int]) -> None:
    y = network()(noise(2, *size))
    assert y.shape == (2, 3, *size)
    assert y.abs().max() <= 1


def test_an_image_does_not_depend_on_its_batch() -> None:
    f, x = network(), noise(3, 16, 24)
    torch.testing.assert_close(f(x)[1:2], f(x[1:2]), atol=1e-6, rtol=0)


def test_added_rows_are_cut_off_where_they_were_added() -> None:
    """An edge that is repeated beforehand gives the same pixels as one that f repeats."""
    f, x = network(), noise(1, 13, 10)
    given = torch.nn.functional.pad(x, (0, 2, 0, 3), mode="replicate")
    torch.testing.assert_close(f(x), f(given)[..., :13, :10], atol=1e-6, rtol=0)


def test_the_change_is_that_of_the_stated_convolutions() -> None:
    """With all but the first and last convolution silent, r is those two."""
    f, x = network(), noise(1, 8, 8)
    for part in (*f.encoder, *f.decoder, *f.up):
        for parameter in part.parameters():
            nn.init.zeros_(parameter)
    wide = torch.nn.functional.pixel_unshuffle(x, 2)
    wanted = torch.nn.functional.pixel_shuffle(f.last(f.first(wide)), 2)
    torch.testing.assert_close(f.change(x), wanted)


def test_rest_is_local() -> None:
    """Where the change is small, pixels stay bit for bit, whatever changes elsewhere."""
    f = network(rest=0.02, rest_radius=3)
    change = torch.zeros(1, 3, 32, 32)
    change[..., :8, :8] = 0.5
    change[..., 20:, 20:] = 0.019
    share = f.gate(change)
    assert share.shape == (1, 1, 32, 32)
    assert share[..., :8, :8].min() == 1
    assert share[..., 12:, 12:].max() == 0


def test_the_local_gate_is_the_root_mean_square_of_a_square() -> None:
    f = network(rest=0.3, rest_radius=1, rest_ramp=2.0)
    change = noise(1, 9, 9)
    square = change[0, :, 3:6, 4:7].double().square().mean().sqrt()
    wanted = ((square / 0.3 - 1) / 1.0).clamp(0, 1)
    torch.testing.assert_close(f.gate(change)[0, 0, 4, 5].double(), wanted, atol=1e-5, rtol=0)


def judged(logit: float, **changes: Any) -> UNet:
    """A network with a learned gate whose logits are the same everywhere."""
    f = network(**{"rest": 0.2, "rest_ramp": 2.0, "rest_radius": 3, "learned_gate": True} | changes)
    f.get_parameter("last.weight").data[12:] = 0
    f.get_parameter("last.bias").data[12:] = logit
    return f


# The gate opens from a probability of 0.2, and is wide open from 0.4 on.
@pytest.mark.parametrize(("probability", "open"), [(0.19, 0.0), (0.25, 0.25), (0.41, 1.0)])
def test_a_learned_gate_opens_by_its_probability(probability: float, open: float) -> None:
    f, x = judged(math.log(probability / (1 - probability))), noise(1, 16, 16)
    y, change = f.with_change(x)
    assert change.abs().mean() > 0.05
    torch.testing.assert_close(y, (x + open * change).clamp(-1, 1), atol=1e-5, rtol=0)
    assert torch.equal(y, f(x))
    if not open:
        assert torch.equal(y, x)


def test_a_learned_gate_is_local() -> None:
    """Where f sees no damage, pixels stay bit for bit, whatever it sees elsewhere."""
    f, x = judged(0.0), noise(1, 48, 48)
    logits = torch.full((1, 1, 48, 48), -4.0)
    logits[..., :24, :] = 4.0
    y = f.moved(x, f.propose(x) - x, f.opened(f.around(logits).sigmoid()))
    assert torch.equal(y[..., 27:, :], x[..., 27:, :])
    assert torch.equal(y[..., :20, :], f.propose(x)[..., :20, :])


def test_in_training_the_logits_of_a_learned_gate_follow_the_images() -> None:
    f, x = judged(0.7).train(), noise(2, 9, 12)
    images, logits = f.split(f(x))
    torch.testing.assert_close(images, x + f.change(x))
    torch.testing.assert_close(logits, torch.full((2, 1, 9, 12), 0.7))


def test_in_training_nothing_is_bounded_or_gated() -> None:
    f = network(rest=0.5, rest_radius=1)
    f.get_parameter("last.bias").data.fill_(3.0)
    assert f.train()(noise(1, 8, 8)).max() > 1.5


def test_with_change_tells_the_change_before_the_gate() -> None:
    f, x = network(rest=0.9, rest_radius=2), noise(1, 16, 16)
    y, change = f.with_change(x)
    assert torch.equal(y, x)
    assert change.abs().max() > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"image_size": 64}, {"source": "white"}, {"dead_zone": 0.1}, {"rest_radius": -1},
        {"learned_gate": True, "rest_radius": 0}, {"learned_gate": True, "rest": 0.0},
    ],
)  # fmt: skip
def test_configs_that_are_none(wrong: dict[str, Any]) -> None:
    settings: dict[str, Any] = {
        "image_size": 0, "channels": 3, "widths": (8, 16), "dead_zone": 0.0,
        "architecture": "unet", "source": "none",
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"unet|rest_radius"):
        IGNConfig(**settings | wrong)


def test_it_makes_no_images_of_its_own() -> None:
    with pytest.raises(ValueError, match="repairs"):
        network().source.from_seeds([0])


def test_the_tone_is_undone_before_the_rest() -> None:
    """f is that of the toned picture, and of a part by the curves of the whole."""
    f, x = network(tone=True, rest=0.01, rest_radius=1), noise(1, 24, 24)
    assert torch.equal(f(x), f.within(x, UNSEEN))
    f.tone.get_parameter("layers.4.bias").data[:3] = 0.4
    seen = f.see(*f.samples(x))
    assert seen.curves is not None
    toned = f.tone.apply_curves(x, seen.curves)
    assert (toned - x).abs().mean() > 0.1
    assert torch.equal(f(x), f.within(toned, UNSEEN))
    assert torch.equal(f(x), f.within(x, seen))
    y, change = f.with_change(x)
    assert torch.equal(y, f(x))
    torch.testing.assert_close(change, f.propose(toned) - x)
