"""Weights for sorts of pictures: what is seen of a picture, their mix, and what f makes of it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from make_it_real.models.ign import IGNConfig
from make_it_real.models.layers import PlainBlock
from make_it_real.models.mixture import GRID, SIDE, SORTS, Reader, mixed, places
from make_it_real.models.unet import Seen, UNet

WHOLE = GRID * SIDE
CONFIG = IGNConfig(
    0, 3, widths=(8, 16), blocks=2, dead_zone=0.0, rest=0.0, architecture="unet", source="none",
    mixed=True,
)  # fmt: skip


def network(config: IGNConfig = CONFIG) -> UNet:
    torch.manual_seed(0)
    f = UNet(config)
    for parameter in f.parameters():
        nn.init.normal_(parameter, std=0.1)
    return f.eval()


def noise(n: int, height: int, width: int, channels: int = 3) -> Tensor:
    return torch.randn(n, channels, height, width, generator=torch.Generator().manual_seed(n)) / 2


# --- Places ---


def test_a_picture_as_large_as_its_places_is_seen_whole() -> None:
    x = noise(2, WHOLE, WHOLE)
    torch.testing.assert_close(places(x), x)


def test_places_are_spread_evenly_from_edge_to_edge() -> None:
    x = torch.arange(1000.0).expand(1, 1, 500, 1000)
    seen = places(x)
    assert seen.shape == (1, 1, WHOLE, WHOLE)
    first = seen[0, 0, 0, ::SIDE]
    assert first.tolist() == [i * (1000 - SIDE) // (GRID - 1) for i in range(GRID)]
    assert seen.max() == 999
    # Within a place pixels are neighbours.
    assert (seen[0, 0, 0].unflatten(0, (GRID, SIDE)).diff(dim=1) == 1).all()


def test_places_of_a_small_picture_repeat_its_edge() -> None:
    seen = places(noise(1, 5, 9))
    assert seen.shape == (1, 3, WHOLE, WHOLE)
    torch.testing.assert_close(seen[..., 5:SIDE, :], seen[..., 4:5, :].expand(1, 3, SIDE - 5, -1))


def test_the_reader_judges_each_place_by_itself() -> None:
    torch.manual_seed(0)
    reader, seen = Reader(3), noise(2, WHOLE, WHOLE)
    told = reader(seen)
    assert told.shape == (2, len(SORTS))
    assert (told > 0).all()
    assert (told.sum(1) < 1).all()
    squares = seen.unflatten(2, (GRID, SIDE)).unflatten(4, (GRID, SIDE))
    turned = squares.flip(2, 4).flatten(4, 5).flatten(2, 3)
    torch.testing.assert_close(reader(turned), told)


# --- The mix ---


def blocks() -> list[PlainBlock]:
    torch.manual_seed(0)
    made = [PlainBlock(8, torch.relu) for _ in ("", *SORTS)]
    for block in made:
        for parameter in block.parameters():
            nn.init.normal_(parameter, std=0.1)
    return made


def test_without_a_share_the_first_block_is_what_it_was_bit_for_bit() -> None:
    (first, *deltas), h = blocks(), noise(1, 6, 7, 8)
    assert torch.equal(mixed(first, deltas, h, torch.zeros(1, len(SORTS))), first(h))


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("which", range(len(SORTS)))
def test_a_share_of_a_delta_is_added_to_the_weights(which: int, share: float) -> None:
    (first, *deltas), h = blocks(), noise(1, 6, 7, 8)
    shares = share * torch.eye(len(SORTS))[which, None]
    out = mixed(first, deltas, h, shares)
    for weight, delta in zip(first.parameters(), deltas[which].parameters(), strict=True):
        weight.data += share * delta
    assert torch.equal(out, first(h))


def test_images_with_shares_of_their_own_are_as_if_alone() -> None:
    (first, *deltas), h = blocks(), noise(3, 6, 7, 8)
    some = [[0.2, 0.3, 0.2, 0.1, 0.1, 0.1], [0.0, 0.1, 0.0, 0.9, 0.0, 0.0]]
    shares = torch.tensor([[0.0] * 6, *some])
    alone = [mixed(first, deltas, h[i : i + 1], shares[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(mixed(first, deltas, h, shares), torch.cat(alone), atol=1e-5, rtol=0)
    alike = [mixed(first, deltas, h[i : i + 1], shares[1:2]) for i in range(3)]
    torch.testing.assert_close(
        mixed(first, deltas, h, shares[1:2]), torch.cat(alike), atol=1e-5, rtol=0
    )


# --- f ---


def test_f_sees_whole_images_once_and_applies_it_to_their_parts() -> None:
    f, x = network(), noise(1, 40, 64)
    seen = f.see(*f.samples(x))
    assert seen.curves is None
    assert seen.shares is not None
    assert seen.shares.shape == (1, len(SORTS))
    torch.testing.assert_close(f.within(x, seen), f(x))
    other = f.within(x, Seen(None, seen.shares.roll(1, 1)))
    assert (other - f(x)).abs().max() > 1e-3


def test_a_grey_sample_is_seen_in_equal_channels() -> None:
    f, grey = network(), noise(1, 40, 64, 1)
    wide = grey.expand(-1, 3, -1, -1)
    alone, equal = (f.see(*f.samples(x)).shares for x in (grey, wide))
    assert alone is not None
    torch.testing.assert_close(alone, equal)


@pytest.mark.parametrize("sort", ["", *SORTS])
def test_f_has_the_weights_of_its_pictures_sort(sort: str) -> None:
    f, x = network(), noise(1, 40, 64)
    plain = network(replace(CONFIG, mixed=False))
    plain.load_state_dict(f.state_dict(), strict=False)
    f.reader.last.bias.data[["", *SORTS].index(sort)] = 1000.0
    if sort:
        weights = nn.ModuleList([plain.encoder[0], plain.decoder[0]]).parameters()
        for weight, delta in zip(weights, f.deltas[sort].parameters(), strict=True):
            weight.data += delta
    assert torch.equal(f(x), plain(x))
    # In training, images are taken for what they are said to be.
    torch.testing.assert_close(f.train()(x, sort), plain.train()(x))


def test_deltas_begin_as_none() -> None:
    assert all(not parameter.any() for parameter in UNet(CONFIG).deltas.parameters())


def test_in_training_the_weights_without_deltas_learn_or_one_sorts() -> None:
    for sort in ("", "blurred"):
        f, x = network().train(), noise(2, 16, 16)
        f(x, sort).square().mean().backward()
        learning = (f.encoder, f.decoder, f.deltas["blurred"]) if sort else (f.encoder, f.decoder)
        for part in learning:
            assert all(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
        for part in (f.reader, *(f.deltas[each] for each in SORTS if each != sort)):
            assert all(p.grad is None or not p.grad.any() for p in part.parameters())


def test_other_architectures_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="mixed is for the architecture unet"):
        replace(IGNConfig(), mixed=True)
