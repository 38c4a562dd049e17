"""What the benchmark of photographs measures: as many pictures, of the size, with the noise."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from make_it_real.images.encode import encode
from make_it_real.images.pixels import scaled, to_pixels
from make_it_real.models.ign import IGN, IGNConfig
from tests.benchmarks import photos


class Counting(IGN):
    """An f that leaves all as it is, and counts."""

    counted = 0

    def forward(self, images: Tensor) -> Tensor:
        self.counted += len(images)
        return images


def test_photographs_are_enlarged_and_noisy() -> None:
    image = photos.drawn(0)
    assert image.shape == (3, 240, 320)
    assert not torch.equal(image, photos.drawn(1))
    large = photos.photograph(image, 640, 480, 0)
    assert large.shape == (3, 480, 640)
    # Where nothing is clipped.
    clean = to_pixels(scaled(image, 480, 640)).double()
    inner = (clean > 40) & (clean < 215)
    assert float((large - clean)[inner].std()) == pytest.approx(photos.SIGMA, rel=0.05)


def test_pictures_of_a_folder_are_used(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(photos.drawn(3)))
    (tmp_path / "b.png").write_bytes(b"none")
    (image,) = photos.originals(tmp_path, 5)
    assert torch.equal(to_pixels(image), to_pixels(photos.drawn(3)))
    assert len(photos.originals(None, 2)) == 2


def test_all_cores_share_the_pictures() -> None:
    f = Counting(IGNConfig(0, 3, dead_zone=0.0, architecture="unet", source="none"))
    assert photos.alone(f, torch.zeros(1, 3, 8, 8), 7) > 0
    assert f.counted == 7
