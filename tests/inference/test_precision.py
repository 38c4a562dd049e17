"""f in bfloat16, emulated where the processor has none: how near it stays to float32."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import make_it_real
from make_it_real.degradations.kinds import degraded
from make_it_real.images import decode
from make_it_real.images.pixels import levels, to_images, to_pixels
from make_it_real.inference.projection import generate, project, project_with_change
from make_it_real.models.ign import IGN
from make_it_real.models.layers import PlainBlock
from make_it_real.models.unet import UNet

PHOTOGRAPHS = Path(__file__).parents[2] / "examples" / "photographs"


def picture(size: int = 96) -> Tensor:
    """Draw slopes, edges and a texture: a picture (1, 3, size, size) in [−1, 1]."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    disc = ((x**2 + y**2) < 0.4).float()
    image = torch.stack([x * 0.8, y * 0.6 - 0.2, 0.5 - 0.4 * x]) * (1 - disc) + disc * 0.4
    return (image + 0.1 * (40 * x).sin() * (y > 0.3)).clamp(-1, 1)[None]


@pytest.fixture(scope="module")
def photos() -> UNet:
    f = make_it_real.load("photos", "cpu")
    assert isinstance(f, UNet)
    return f


def photograph(name: str) -> Tensor:
    """A part of an example, (1, 3, 160, 160) in [−1, 1]."""
    return decode.read(PHOTOGRAPHS / f"{name}.jpg").colour[None, :, 60:220, 100:260] * 2 - 1


DAMAGE = [("noise", 0.1), ("noise", 0.3), ("jpeg", 15), ("fading", 0.6), ("scratches", 3)]
# What fills a scratch on the drawn picture changes by more levels than bfloat16 has digits for.
CASES = [
    *[("drawn", *damage) for damage in DAMAGE[:-1]],
    *[(name, *damage) for name in ("chelsea", "rocket") for damage in DAMAGE],
]


@pytest.mark.parametrize(("name", "kind", "level"), CASES)
def test_photos_stay_within_a_level(
    photos: UNet, name: str, kind: str, level: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = picture() if name == "drawn" else photograph(name)
    damaged = degraded(image, kind, level, generator=torch.Generator().manual_seed(0))
    x = to_images(to_pixels(damaged))
    whole = project(photos, x)
    assert not torch.equal(whole, x)
    monkeypatch.setattr(photos, "precision", torch.bfloat16)
    short = project(photos, x)
    assert short.dtype == torch.float32
    away = (levels(short) - levels(whole)).abs().amax(1)
    assert float((away <= 1).float().mean()) >= 0.999
    if kind != "fading":
        # It did compute in other numbers; curves of tone never do.
        assert not torch.equal(short, whole)


def test_its_blocks_add_up_bfloat16_alone(photos: UNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums of float32 and bfloat16 took a third of the time of its convolutions."""
    given: list[torch.dtype] = []
    # The first block and the last one are mixed, and not called: the next layer is given theirs.
    mixed = [photos.encoder.get_submodule("0.0"), photos.decoder.get_submodule("0.0")]
    called = [m for m in photos.modules() if isinstance(m, PlainBlock) or m is photos.down[0]]
    deltas = {block for blocks in photos.deltas.values() for block in blocks.children()}
    blocks = [m for m in called if m not in {*mixed, *deltas}]
    hooks = [b.register_forward_hook(lambda _, h, out: given.extend([h[0].dtype, out.dtype]))
             for b in blocks]  # fmt: skip
    monkeypatch.setattr(photos, "precision", torch.bfloat16)
    project(photos, picture(32))
    for hook in hooks:
        hook.remove()
    assert len(given) == 2 * len(blocks)
    assert set(given) == {torch.bfloat16}


def test_what_f_leaves_alone_stays_bit_for_bit(
    photos: UNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = picture()
    alone = (project(photos, x) == x).all(1)
    assert float(alone.float().mean()) > 0.5
    monkeypatch.setattr(photos, "precision", torch.bfloat16)
    still = (project(photos, x) == x).all(1)
    assert float((still[alone]).float().mean()) >= 0.999


def test_other_ways_to_apply_f_are_as_precise(tiny_f: IGN) -> None:
    x = generate(tiny_f, range(3)) + 0.3
    whole = [generate(tiny_f, range(3)), *project_with_change(tiny_f, x)]
    tiny_f.precision = torch.bfloat16
    short = [generate(tiny_f, range(3)), *project_with_change(tiny_f, x)]
    for a, b in zip(whole, short, strict=True):
        assert b.dtype == torch.float32
        assert not torch.equal(a, b)
        torch.testing.assert_close(a, b, atol=0.1, rtol=0)
