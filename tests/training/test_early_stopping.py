"""Early stopping: the split, the distance, and telling copies from what is merely close."""

import pytest
import torch
from torch import Tensor

from make_it_real.data.dataset import ImageSet
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.models.ign import IGN
from make_it_real.training import early_stopping
from make_it_real.training.early_stopping import (
    EarlyStopping,
    RandomFeatures,
    neighbour_ratios,
    share_out,
    split,
)


def blobs(n: int, seed: int, brightness: float = 1.0) -> Tensor:
    """n images (n, 1, 16, 16): a round spot of a drawn place and size, on black, with grain."""
    generator = torch.Generator().manual_seed(seed)
    y, x, size = torch.rand(3, n, 1, 1, generator=generator)
    places = torch.linspace(0, 1, 16)
    away = (places[:, None] - y) ** 2 + (places[None] - x) ** 2
    spots = brightness * torch.exp(-away / (0.01 + 0.1 * size)) * 2 - 1
    return (spots + 0.02 * torch.randn(n, 16, 16, generator=generator))[:, None].clamp(-1, 1)


@pytest.mark.parametrize(
    ("n", "held"),
    [(2, 0), (19, 0), (20, 4), (50, 10), (100, 20), (1_000, 100), (60_000, 2_000)],
)
def test_few_images_are_held_out_and_of_very_few_none(n: int, held: int) -> None:
    assert share_out(n) == held


def test_the_split_keeps_every_image_once() -> None:
    pixels = torch.arange(30, dtype=torch.uint8).view(30, 1, 1, 1).expand(30, 1, 4, 4)
    images = ImageSet(pixels, torch.arange(30), "numbers", ("one: skipped",))
    kept, held = split(images, 6, seed=3)
    assert sorted([*kept.pixels[:, 0, 0, 0].tolist(), *held[:, 0, 0, 0].tolist()]) == [*range(30)]
    assert kept.labels is not None
    assert kept.labels.tolist() == kept.pixels[:, 0, 0, 0].tolist()
    assert (kept.name, kept.skipped) == ("numbers", ("one: skipped",))
    assert torch.equal(split(images, 6, seed=3)[1], held)
    assert not torch.equal(split(images, 6, seed=4)[1], held)


def test_features_are_white_on_the_training_images_and_the_same_each_time() -> None:
    train = blobs(500, 0)
    found = RandomFeatures(train, 20)(train)
    assert found.shape == (500, 20)
    torch.testing.assert_close(torch.cov(found.T), torch.eye(20).double(), atol=1e-6, rtol=0)
    assert torch.equal(RandomFeatures(train, 20)(train), found)


def test_a_copy_has_ratio_0_and_a_blur_near_1() -> None:
    train = blobs(60, 0)
    ratios = neighbour_ratios(torch.cat([train[:3], train.mean(0, keepdim=True)]), train)
    assert ratios[:3].max() < 1e-3
    assert ratios[3] > 0.9


@pytest.fixture
def stopping() -> EarlyStopping:
    return EarlyStopping(to_pixels(blobs(400, 0)), to_pixels(blobs(200, 1)))


def test_the_distance_ranks_what_is_made(stopping: EarlyStopping) -> None:
    alike, dim = stopping.distance(blobs(200, 2)), stopping.distance(blobs(200, 2, brightness=0.7))
    noise = stopping.distance(
        torch.rand(200, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    )
    assert alike < dim < noise
    assert stopping.floor == pytest.approx(alike, rel=0.5)


def test_copies_are_told_from_new_images(stopping: EarlyStopping) -> None:
    train = to_images(to_pixels(blobs(400, 0)))
    grain = 0.01 * torch.randn(200, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert stopping.copied(train[:200] + grain) > 0.9
    assert stopping.copied(blobs(200, 5)) < early_stopping.COPY_ALARM
    # What is blurred is close to everything, and no copy.
    assert stopping.copied(train.mean(0, keepdim=True).expand(200, -1, -1, -1)) == 0


def test_the_best_distance_and_the_checks_since_are_kept(stopping: EarlyStopping) -> None:
    assert [stopping.improved(d) for d in (5.0, 4.0, 4.5, 4.0, 3.0, 9.0)] == [
        True, True, False, False, True, False,
    ]  # fmt: skip
    assert (stopping.best, stopping.stale) == (3.0, 1)
    for _ in range(early_stopping.PATIENCE - 1):
        assert not stopping.over
        stopping.improved(3.5)
    assert stopping.over


def test_a_network_is_measured_in_evaluation_and_goes_on_training(tiny_f: IGN) -> None:
    pixels = torch.randint(0, 256, (60, 1, 28, 28), dtype=torch.uint8)
    stopping = EarlyStopping(pixels[:40], pixels[40:])
    tiny_f.train()
    made = stopping.images(tiny_f)
    assert tiny_f.training
    assert made.shape == (200, 1, 28, 28)
    assert torch.equal(made, stopping.images(tiny_f.eval()))
    check = stopping.check(tiny_f)
    assert (check.distance, check.best) == (stopping.distance(made), True)
    assert check.distance > 0
    assert check.copies == stopping.copied(made)
    assert not stopping.check(tiny_f).best
