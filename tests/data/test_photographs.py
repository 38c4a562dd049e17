"""Sets of photographs of their own sizes: what is loaded, left out, reduced; random crops."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from make_it_real.data import cache, image_folder, photographs
from make_it_real.data.photographs import PhotographSet, load
from make_it_real.errors import DataError


def places(height: int, width: int, mark: int = 0) -> Tensor:
    """A picture whose pixels say where they lie: (row, column, mark)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([rows, columns, torch.full_like(rows, mark)]).byte()


def saved(path: Path, picture: Tensor) -> None:
    Image.fromarray(picture.permute(1, 2, 0).numpy()).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "photos"
    (path / "deep").mkdir(parents=True)
    saved(path / "a.png", places(50, 70))
    saved(path / "deep" / "b.png", places(120, 60))
    Image.new("L", (64, 80), 77).save(path / "c.png")
    saved(path / "small.png", places(30, 200))
    (path / "text.png").write_text("text")
    return path


def test_photographs_keep_their_sizes_and_colours(folder: Path) -> None:
    found = load([folder], least=40)
    assert [tuple(one.shape) for one in found.pictures] == [(3, 50, 70), (3, 80, 64), (3, 120, 60)]
    assert torch.equal(found.pictures[0], places(50, 70))
    assert set(found.pictures[1].unique().tolist()) == {77}
    assert (len(found), found.name) == (3, "photos")
    assert [reason.rpartition("/")[2] for reason in found.skipped] == [
        "small.png: 200×30 pixels: no side may be under 40",
        "text.png: not an image of a known kind",
    ]


def test_zips_and_folders_are_one_set(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(folder / "a.png", "x.png")
    found = load([tmp_path / "more.zip", folder], least=40)
    assert (len(found), found.name) == (4, "more + photos")
    assert torch.equal(found.pictures[0], found.pictures[1])


def test_large_ones_are_reduced_and_what_is_transparent_is_white(tmp_path: Path) -> None:
    Image.new("RGB", (200, 100), (10, 20, 30)).save(tmp_path / "a.png")
    Image.new("RGBA", (90, 60), (0, 0, 0, 0)).save(tmp_path / "b.png")
    large, clear = load([tmp_path], side=60).pictures
    assert tuple(large.shape) == (3, 60, 120)
    assert large.float().mean((1, 2)).tolist() == pytest.approx([10, 20, 30])
    assert clear.unique().tolist() == [255]


def test_they_are_decoded_once_and_mapped_from_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIR_CACHE", str(tmp_path / "cache"))
    first = load([folder], least=40)
    with monkeypatch.context() as patch:
        patch.setattr(image_folder, "decode_images", None)
        second = load([folder], least=40)
    assert all(map(torch.equal, first.pictures, second.pictures))
    assert (first.skipped, first.note) == (second.skipped, second.note)
    (file,) = (tmp_path / "cache").iterdir()
    assert cache.read(file) is None
    # Smaller crops take smaller photographs, and so do those that are reduced.
    assert len(load([folder], least=30)) == 4
    assert load([folder], least=40, side=45).pictures[0].shape == (3, 45, 63)
    plain = load([folder], least=40, cached=False)
    assert all(map(torch.equal, first.pictures, plain.pictures))


@pytest.mark.parametrize(
    "footer",
    [
        b'{"shapes": [[3, 2, 2], [3, 2]], "skipped": []}', b'{"shapes": [[3, 2, 2]]}',
        b'{"shapes": [[3, 2, 2]], "skipped": []}', b'{"shape": [2, 3, 2, 2], "skipped": []}',
        b'{"shapes": [[3, 2, -2], [3, 2, 2]], "skipped": []}', b"[]",
    ],
)  # fmt: skip
def test_a_cache_with_another_footer_is_none(tmp_path: Path, footer: bytes) -> None:
    path = tmp_path / "x.pixels"
    path.write_bytes(bytes(24) + footer + cache.END.pack(len(footer), cache.MARK))
    assert cache.read_each(path) is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["none"], "none: no such file or folder"), (["a.png"], "neither a folder nor a zip"),
        (["."], "at least two photographs are needed; 1 can be used"),
    ],
)  # fmt: skip
def test_what_can_t_be_trained_on_is_told(tmp_path: Path, names: list[str], said: str) -> None:
    saved(tmp_path / "a.png", places(50, 50))
    with pytest.raises(DataError, match=said):
        load([tmp_path / name for name in names])


def test_a_side_under_that_of_crops_is_told(folder: Path) -> None:
    with pytest.raises(DataError, match="reduced to 50 pixels a side: at least 80 are needed"):
        load([folder], side=50, least=80)


def test_middles_are_of_one_size() -> None:
    found = PhotographSet([places(300, 200), places(140, 260)], "x")
    assert tuple(found.pixels.shape) == (2, 3, photographs.MIDDLE, photographs.MIDDLE)
    assert torch.equal(found.pixels[1], places(140, 260)[:, 6:134, 66:194])
    small = PhotographSet([places(300, 200), places(31, 90)], "x")
    assert tuple(small.pixels.shape) == (2, 3, 31, 31)


def test_places_are_a_grid_over_each_whole_picture() -> None:
    found = PhotographSet([places(288, 192), places(96, 96)], "x")
    assert tuple(found.places.shape) == (2, 3, 96, 96)
    assert torch.equal(found.places[1], found.pictures[1])
    # Each place lies in the middle of 3×2 pixels: between columns 0 and 1, in row 1.
    assert found.places[0, :2, 0, 0].tolist() in ([1, 0], [1, 1])
    assert found.places[0, :2, 9, 9].tolist() in ([28, 18], [28, 19])


def test_crops_are_windows_of_the_pictures() -> None:
    found = PhotographSet([places(40, 60, 1), places(33, 16, 2)], "x")
    crops = found.crops(200, 16, turned=False, generator=torch.Generator().manual_seed(0))
    for crop in crops:
        picture = found.pictures[int(crop[2, 0, 0]) - 1]
        top, left = int(crop[0, 0, 0]), int(crop[1, 0, 0])
        assert torch.equal(crop, picture[:, top : top + 16, left : left + 16])
    tops = crops[crops[:, 2, 0, 0] == 1][:, 0, 0, 0]
    assert (int(tops.min()), int(tops.max())) == (0, 24)
    # By area: 2,400 pixels to 528.
    assert int((crops[:, 2, 0, 0] == 1).sum()) == pytest.approx(200 * 2400 / 2928, abs=15)


def test_turned_crops_are_mirrored_and_transposed_in_all_eight_ways() -> None:
    found = PhotographSet([places(40, 60)] * 2, "x")
    crops = found.crops(300, 8, turned=True, generator=torch.Generator().manual_seed(0))
    ways = set()
    for crop in crops.int():
        down, right = (crop[:2, 1, 0] - crop[:2, 0, 0]).tolist(), crop[:2, 0, 1] - crop[:2, 0, 0]
        ways.add((*down, *right.tolist()))
        assert sorted(map(abs, down)) == [0, 1]
    assert len(ways) == 8


def test_a_seed_is_one_draw_of_crops() -> None:
    found = PhotographSet([torch.from_numpy(np.random.default_rng(0).integers(
        0, 256, (3, 40, 50), dtype=np.uint8)), places(40, 40)], "x")  # fmt: skip
    once, again, other = (
        found.crops(9, 24, turned=True, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
