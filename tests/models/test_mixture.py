"""Two sets of weights: what is seen of a picture, their mix, and what f makes of it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from make_it_real.models.ign import IGNConfig
from make_it_real.models.layers import PlainBlock
from make_it_real.models.mixture import GRID, SIDE, NoiseReader, mixed, places
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
    reader, seen = NoiseReader(3), noise(2, WHOLE, WHOLE)
    told = reader(seen)
    assert told.shape == (2,)
    assert (told > 0).all()
    assert (told < 1).all()
    squares = seen.unflatten(2, (GRID, SIDE)).unflatten(4, (GRID, SIDE))
    turned = squares.flip(2, 4).flatten(4, 5).flatten(2, 3)
    torch.testing.assert_close(reader(turned), told)


# --- The mix ---


def blocks() -> tuple[PlainBlock, PlainBlock]:
    torch.manual_seed(0)
    pair = PlainBlock(8, torch.relu), PlainBlock(8, torch.relu)
    for parameter in (*pair[0].parameters(), *pair[1].parameters()):
        nn.init.normal_(parameter, std=0.1)
    return pair


@pytest.mark.parametrize("which", [0, 1])
def test_a_share_of_nothing_or_all_is_one_of_the_blocks(which: int) -> None:
    pair, h = blocks(), noise(1, 6, 7, 8)
    torch.testing.assert_close(mixed(*pair, h, torch.tensor([float(which)])), pair[which](h))


def test_images_with_shares_of_their_own_are_as_if_alone() -> None:
    pair, h, share = blocks(), noise(3, 6, 7, 8), torch.tensor([0.0, 0.3, 1.0])
    alone = [mixed(*pair, h[i : i + 1], share[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(mixed(*pair, h, share), torch.cat(alone), atol=1e-5, rtol=0)
    alike = [mixed(*pair, h[i : i + 1], share[1:2]) for i in range(3)]
    torch.testing.assert_close(mixed(*pair, h, share[1:2]), torch.cat(alike), atol=1e-5, rtol=0)


# --- f ---


def test_f_sees_whole_images_once_and_applies_it_to_their_parts() -> None:
    f, x = network(), noise(1, 40, 64)
    seen = f.see(*f.samples(x))
    assert seen.curves is None
    assert seen.noisy is not None
    assert seen.noisy.shape == (1,)
    torch.testing.assert_close(f.within(x, seen), f(x))
    other = f.within(x, Seen(None, 1 - seen.noisy))
    assert (other - f(x)).abs().max() > 1e-3


def test_a_grey_sample_is_seen_in_equal_channels() -> None:
    f, grey = network(), noise(1, 40, 64, 1)
    wide = grey.expand(-1, 3, -1, -1)
    alone, equal = (f.see(*f.samples(x)).noisy for x in (grey, wide))
    assert alone is not None
    torch.testing.assert_close(alone, equal)


def test_without_noise_f_is_that_of_the_first_set_bit_for_bit() -> None:
    f, x = network(), noise(1, 40, 64)
    f.reader.last.bias.data.fill_(-1000.0)
    plain = network(replace(CONFIG, mixed=False))
    plain.load_state_dict(f.state_dict(), strict=False)
    assert torch.equal(f(x), plain(x))
    f.reader.last.bias.data.fill_(1000.0)
    plain.encoder[0].load_state_dict(nn.Sequential(f.noisy[0]).state_dict())
    plain.decoder[0].load_state_dict(nn.Sequential(f.noisy[1]).state_dict())
    torch.testing.assert_close(f(x), plain(x), atol=1e-6, rtol=0)


def test_both_sets_learn_and_the_reader_is_left_to_its_own_training() -> None:
    f, x = network().train(), noise(2, 16, 16)
    f(x).square().mean().backward()
    for part in (f.encoder, f.decoder, f.noisy):
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in part.parameters())
    assert all(parameter.grad is None for parameter in f.reader.parameters())


def test_other_architectures_are_not_mixed() -> None:
    with pytest.raises(ValueError, match="mixed is for the architecture unet"):
        replace(IGNConfig(), mixed=True)
