"""Drawn pictures: their form at every size, what they show, and their share among photographs."""

import pytest
import torch
from PIL import Image
from torch import Tensor

from make_it_real.data.graphics import among, drawn


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photograph(side: int) -> Tensor:
    """A picture without one colour that two neighbours share."""
    return torch.randint(0, 256, (3, side, side), generator=seeded(0)).byte()


@pytest.mark.parametrize("side", [24, 104])
def test_pictures_keep_their_form_and_show_few_colours_or_the_photograph(side: int) -> None:
    ground, kept = photograph(side), 0
    for seed in range(120):
        picture = drawn(ground, seeded(seed))
        assert (picture.dtype, picture.shape) == (torch.uint8, ground.shape)
        same = (picture == ground).all(0).float().mean()
        colours = len(picture.flatten(1).unique(dim=1).T)
        kept += bool(same > 0.1)
        assert same > 0.1 or colours < 0.8 * side**2, seed
    # A third of them are drawn on a photograph.
    assert kept / 120 == pytest.approx(0.33, abs=0.12)


def test_a_seed_is_a_picture() -> None:
    ground = photograph(104)
    assert torch.equal(drawn(ground, seeded(3)), drawn(ground, seeded(3)))
    assert len({drawn(ground, seeded(seed)).numpy().tobytes() for seed in range(20)}) == 20


def test_a_share_of_the_pictures_is_drawn_on_and_the_others_stay() -> None:
    pictures = torch.stack([photograph(32)] * 200)
    generator = seeded(1)
    before = generator.get_state()
    assert among(pictures, 0.0, generator) is pictures
    assert torch.equal(generator.get_state(), before)
    some = among(pictures, 0.3, generator)
    changed = (some != pictures).flatten(1).any(1).float().mean()
    assert changed == pytest.approx(0.3, abs=0.1)
    assert (among(pictures, 1.0, generator) != pictures).flatten(1).any(1).float().mean() > 0.9


def test_text_is_seen_against_its_ground() -> None:
    """Of pages on one colour most show at least two colours that differ clearly."""
    ground, clear = photograph(104), 0
    for seed in range(100):
        grey = Image.fromarray(drawn(ground, seeded(seed)).permute(1, 2, 0).numpy()).convert("L")
        low, high = grey.getextrema()
        assert isinstance(low, int)
        assert isinstance(high, int)
        clear += high - low > 40
    assert clear > 90
