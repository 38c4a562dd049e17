"""The tone of a photograph: its curves, its rest, and that parts are changed as the whole is."""

import torch
from torch import Tensor

from make_it_real.models import tone
from make_it_real.models.tone import Tone, sample


def picture(height: int = 40, width: int = 56, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, height, width, generator=generator) * 2 - 1


def curves(**changes: list[float]) -> Tensor:
    """Curves that change nothing but what is named: b, w, g of three channels, s and a share."""
    parts = {"b": [0.0] * 3, "w": [1.0] * 3, "g": [1.0] * 3, "s": [1.0], "share": [1.0]} | changes
    return torch.tensor([[value for part in parts.values() for value in part]])


def test_untrained_it_changes_nothing() -> None:
    x = picture()
    assert torch.equal(Tone()(x), x)


def test_curves_are_those_of_the_docstring() -> None:
    x = picture()
    read = curves(b=[0.1, 0.0, 0.2], w=[0.9, 0.8, 1.1], g=[1.5, 1.0, 0.7], s=[1.3])
    v = (x.double() + 1) / 2
    b, w, g = (read[0, i : i + 3].double()[:, None, None] for i in (0, 3, 6))
    v = ((v - b) / (w - b)).clamp(1e-3, 1) ** g
    grey = v.mean(1, keepdim=True)
    wanted = (grey + 1.3 * (v - grey)).clamp(0, 1) * 2 - 1
    torch.testing.assert_close(Tone().apply_curves(x, read).double(), wanted, atol=1e-5, rtol=0)


def test_they_undo_a_fading_by_the_same_curves() -> None:
    x = picture() * 0.9
    faded = (0.3 + 0.4 * (x + 1) / 2) * 2 - 1
    undone = Tone().apply_curves(faded, curves(b=[0.3] * 3, w=[0.7] * 3))
    torch.testing.assert_close(undone, x, atol=1e-5, rtol=0)


def test_a_small_change_is_not_made_at_all() -> None:
    """A share of 0 leaves pixels bit for bit; the share grows from REST to RAMP · REST."""
    net, x = Tone().requires_grad_(False), picture(tone.SIDE, tone.SIDE)
    small = curves(b=[0.01] * 3, share=[0.0])
    assert torch.equal(net.apply_curves(x, small), x)
    net.get_parameter("layers.4.bias").data[6:9] = 0.02
    assert float(net.curves(x)[0, 10]) == 0
    net.get_parameter("layers.4.bias").data[6:9] = 2.0
    assert float(net.curves(x)[0, 10]) == 1


def test_parts_are_changed_as_the_whole_is() -> None:
    net, x = Tone(), picture()
    read = curves(b=[0.2] * 3, g=[0.8] * 3)
    whole = net.apply_curves(x, read)
    assert torch.equal(net.apply_curves(x[..., 8:20, 16:40], read), whole[..., 8:20, 16:40])


def test_the_grid_covers_pictures_of_any_size() -> None:
    ramp = torch.linspace(-1, 1, 300).expand(1, 3, 200, 300)
    found = sample(ramp)
    assert found.shape == (1, 3, tone.SIDE, tone.SIDE)
    torch.testing.assert_close(found.mean(), ramp.mean(), atol=1e-3, rtol=0)
    assert found.min() < -0.98
    assert found.max() > 0.98


def test_it_learns_to_undo_a_fading() -> None:
    """A few steps on one picture and one fading bring it back by more than half of the way."""
    torch.manual_seed(0)
    net, x = Tone(), picture(tone.SIDE, tone.SIDE)
    faded = x * 0.5 + 0.1
    adam = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(60):
        loss = (net.proposal(faded) - x).abs().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert (net(faded) - x).abs().mean() < 0.5 * (faded - x).abs().mean()
