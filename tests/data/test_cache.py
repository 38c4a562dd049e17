"""Decoded once: the cache of image folders and zips, and what happens when there is none."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from make_it_real.data import cache, dataset, image_folder
from make_it_real.data.dataset import ImageSet
from make_it_real.errors import DataError
from make_it_real.files import DAY
from make_it_real.images import decode
from tests.data.helpers import idx, png, zip_of
from tests.helpers import torchrun


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own, which is not there yet."""
    folder = tmp_path / "caches"
    monkeypatch.setenv("MIR_CACHE", str(folder))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four images, one of them unreadable."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, content in (("a", png(10)), ("b", b"text"), ("c", png(30)), ("d", png(40))):
        (folder / f"{name}.png").write_bytes(content)
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Grows by each image that is decoded."""
    seen: list[object] = []
    read = decode.read

    def counted(source: Any, *rest: Any, **named: Any) -> Any:
        seen.append(source)
        return read(source, *rest, **named)

    monkeypatch.setattr(image_folder, "read", counted)
    return seen


def levels(found: ImageSet) -> list[int]:
    return found.pixels[:, 0, 0, 0].tolist()


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.mark.parametrize("zipped", [False, True])
def test_the_second_load_decodes_nothing(
    photos: Path, tmp_path: Path, caches: Path, decoded: list[object], zipped: bool
) -> None:
    path = photos
    if zipped:
        path = zip_of(tmp_path / "x.zip", {p.name: p.read_bytes() for p in photos.iterdir()})
    first = dataset.load(path, size=16)
    assert len(decoded) == 4
    (name,) = files(caches)
    assert name.endswith(cache.SUFFIX)
    again = dataset.load(path, size=16)
    assert len(decoded) == 4
    assert levels(again) == [10, 30, 40]
    assert torch.equal(first.pixels, again.pixels)
    assert (first.skipped, first.name, first.note) == (again.skipped, again.name, "")
    assert len(first.skipped) == 1
    plain = dataset.load(path, size=16, cached=False)
    assert len(decoded) == 8
    assert torch.equal(plain.pixels, again.pixels)
    assert plain.skipped == again.skipped


def test_pixels_are_mapped_and_what_is_written_to_them_stays_here(
    photos: Path, caches: Path
) -> None:
    pixels = dataset.load(photos, size=16).pixels
    pixels[0] = 7
    assert levels(dataset.load(photos, size=16)) == [10, 30, 40]
    assert pixels.is_contiguous()
    maps = Path("/proc/self/maps")
    if maps.exists():
        (name,) = files(caches)
        assert name in maps.read_text()


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.png").write_bytes(png(99)),
        lambda folder: (folder / "e.png").write_bytes(png(50)),
        lambda folder: (folder / "a.png").unlink(),
        lambda folder: (folder / "a.png").rename(folder / "z.png"),
        lambda folder: os.utime(folder / "a.png", (1, 1)),
    ],
    ids=["content", "more", "fewer", "name", "time"],
)
def test_a_changed_folder_gets_a_new_cache_in_place_of_the_old(
    photos: Path, caches: Path, decoded: list[object], change: Callable[[Path], object]
) -> None:
    dataset.load(photos, size=16)
    (before,) = files(caches)
    change(photos)
    decoded.clear()
    found = dataset.load(photos, size=16)
    assert decoded
    (after,) = files(caches)
    assert after != before
    assert torch.equal(found.pixels, dataset.load(photos, size=16, cached=False).pixels)


def test_other_sizes_and_channels_have_caches_of_their_own(photos: Path, caches: Path) -> None:
    shapes = [(16, 3), (32, 3), (16, 1)]
    for _ in range(2):
        for size, channels in shapes:
            found = dataset.load(photos, size=size, channels=channels)
            assert found.pixels.shape == (3, channels, size, size)
    assert len(files(caches)) == 3


@pytest.mark.parametrize("length", [0, 5, 100, -1, -16])
def test_a_damaged_cache_is_made_anew(
    photos: Path, caches: Path, decoded: list[object], length: int
) -> None:
    dataset.load(photos, size=16)
    (name,) = files(caches)
    whole = (caches / name).read_bytes()
    (caches / name).write_bytes(whole[:length])
    decoded.clear()
    assert levels(dataset.load(photos, size=16)) == [10, 30, 40]
    assert len(decoded) == 4
    assert (caches / name).read_bytes() == whole


@pytest.mark.parametrize(
    "footer",
    [b"", b"[]", b"{", b'{"shape": [3, 3, 16]}', b'{"shape": [9, 3, 16, 16], "skipped": []}'],
)
def test_a_cache_with_another_footer_is_none(tmp_path: Path, footer: bytes) -> None:
    path = tmp_path / "x.pixels"
    path.write_bytes(bytes(3 * 3 * 16 * 16) + footer + cache.END.pack(len(footer), cache.MARK))
    assert cache.read(path) is None


def test_a_full_disk_is_told_before_anything_is_decoded(
    photos: Path, caches: Path, decoded: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    found = dataset.load(photos, size=16)
    assert levels(found) == [10, 30, 40]
    assert len(decoded) == 4
    assert files(caches) == []
    assert found.note.startswith(f"decoded into memory, not cached in {caches}: ")
    assert "GB are needed" in found.note
    assert "\n" not in found.note


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_behind(
    photos: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    found = dataset.load(photos, size=16)
    assert levels(found) == [10, 30, 40]
    assert found.note.endswith(": No space left on device")
    assert files(caches) == []


def test_a_cache_folder_that_cannot_be_made_is_told(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MIR_CACHE", str(tmp_path / "file" / "caches"))
    found = dataset.load(photos, size=16)
    assert levels(found) == [10, 30, 40]
    assert found.note.endswith("Not a directory")


def test_images_that_are_all_unreadable_leave_no_cache(tmp_path: Path, caches: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"0 found; .*a\.png"):
        dataset.load(folder)
    assert files(caches) == []


def test_parts_of_killed_processes_are_removed_in_time(photos: Path, caches: Path) -> None:
    dataset.load(photos, size=16)
    (name,) = files(caches)
    for part, age in (("old", 2 * DAY), ("young", 60)):
        path = caches / f".mir-elsewhere-{part}.part"
        path.write_bytes(b"x")
        os.utime(path, (time.time() - age,) * 2)
    (caches / name).unlink()
    dataset.load(photos, size=16)
    assert files(caches) == sorted([name, ".mir-elsewhere-young.part"])


@pytest.mark.parametrize(
    ("set_to", "wanted"),
    [
        ({"MIR_CACHE": "/own"}, "/own"),
        ({"XDG_CACHE_HOME": "/shared"}, "/shared/make_it_real"),
        ({"HOME": "/home/me"}, "/home/me/.cache/make_it_real"),
    ],
)
def test_the_folder_is_where_caches_are(
    monkeypatch: pytest.MonkeyPatch, set_to: dict[str, str], wanted: str
) -> None:
    for name in ("MIR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    for name, value in set_to.items():
        monkeypatch.setenv(name, value)
    assert cache.folder() == Path(wanted)


def test_without_a_home_folder_nothing_is_cached_and_one_note_says_so(
    monkeypatch: pytest.MonkeyPatch, photos: Path
) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    for name in ("HOME", "XDG_CACHE_HOME", "MIR_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    note = "decoded into memory, not cached: there is no home folder; MIR_CACHE names another"
    for cached in (True, False):
        images = dataset.load(photos, size=16, cached=cached)
        assert len(images) > 2
        assert images.note == (note if cached else "")


def test_a_home_folder_that_cannot_be_written_costs_a_note_alone(
    monkeypatch: pytest.MonkeyPatch, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "home").write_bytes(b"a file")
    for name in ("XDG_CACHE_HOME", "MIR_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    images = dataset.load(photos, size=16)
    assert len(images) > 2
    assert images.note.startswith("decoded into memory, not cached in ")


# Several sets as one


def test_several_folders_and_zips_are_one_set_with_one_cache(
    photos: Path, tmp_path: Path, caches: Path, decoded: list[object]
) -> None:
    zipped = zip_of(tmp_path / "more.zip", {"y.png": png(60), "x.png": png(50)})
    for _ in range(2):
        found = dataset.load([photos, zipped], size=16)
        assert levels(found) == [10, 30, 40, 50, 60]
        assert found.name == "photos + more"
    assert len(decoded) == 6
    assert len(files(caches)) == 1


def idx_set(folder: Path, level: int, labels: bool) -> Path:
    folder.mkdir()
    pixels = torch.full((2, 16, 16), level)
    (folder / "train-images-idx3-ubyte").write_bytes(idx(pixels))
    if labels:
        (folder / "train-labels-idx1-ubyte").write_bytes(idx(torch.tensor([level, 1])))
    return folder


def test_labels_are_joined_where_all_have_them(tmp_path: Path, photos: Path) -> None:
    a, b = (idx_set(tmp_path / name, level, True) for name, level in (("a", 3), ("b", 4)))
    both = dataset.load([a, b])
    assert both.pixels[:, 0, 0, 0].tolist() == [3, 3, 4, 4]
    assert both.labels is not None
    assert both.labels.tolist() == [3, 1, 4, 1]
    without = idx_set(tmp_path / "c", 5, False)
    assert dataset.load([a, without]).labels is None
    mixed = dataset.load([a, photos], size=16, channels=1)
    assert levels(mixed) == [3, 3, 10, 30, 40]
    assert mixed.labels is None
    with pytest.raises(DataError, match="not of one shape: a 1×16×16, photos 3×64×64; --size"):
        dataset.load([a, photos])


# Several processes


def test_two_processes_at_once_make_one_whole_cache(photos: Path, caches: Path) -> None:
    code = "import sys; from pathlib import Path; from make_it_real.data import dataset\n"
    code += "print(dataset.load(Path(sys.argv[1]), size=16).pixels.sum().item())"
    search = os.pathsep.join(filter(None, sys.path))
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(photos)],
            env={**os.environ, "PYTHONPATH": search}, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    printed = [process.communicate(timeout=120)[0] for process in both]
    wanted = int(dataset.load(photos, size=16, cached=False).pixels.sum())
    assert [int(text) for text in printed] == [wanted] * 2
    assert len(files(caches)) == 1


SCRIPT = """
import shutil, sys
from pathlib import Path
from types import SimpleNamespace
import torch
from make_it_real import distributed
from make_it_real.data import dataset, image_folder
image_folder.CHUNK = 2
distributed.begin(torch.device("cpu"))
folder, out, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
seen, read = [], image_folder.read
image_folder.read = lambda source: (seen.append(source), read(source))[1]
if how == "full":
    shutil.disk_usage = lambda path: SimpleNamespace(free=0)
loaded = [dataset.load(folder, size=16) for _ in range(2)]
rank = distributed.rank()
torch.save([[s.pixels.clone() for s in loaded], loaded[1].skipped, len(seen), loaded[1].note],
           out / f"{rank}.pt")
distributed.end()
"""


@pytest.mark.parametrize("how", ["whole", "full"])
def test_of_two_processes_that_train_together_one_decodes_for_both(
    tmp_path: Path, caches: Path, how: str
) -> None:
    folder, out = tmp_path / "many", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    for i in range(7):
        (folder / f"{i}.png").write_bytes(b"text" if i == 3 else png(10 * i))
    (tmp_path / "script.py").write_text(SCRIPT)
    done = torchrun(tmp_path / "script.py", folder, out, how)
    assert done.returncode == 0, done.stderr
    alone = dataset.load(folder, size=16, cached=False)
    counts = []
    for rank in range(2):
        pixels, skipped, count, note = torch.load(out / f"{rank}.pt")
        assert all(torch.equal(part, alone.pixels) for part in pixels)
        assert tuple(skipped) == alone.skipped
        assert bool(note) is (how == "full")
        counts.append(count)
    # Once where it is cached, else each process for itself at each load.
    assert counts == ([7, 0] if how == "whole" else [14, 14])
    assert len(files(caches)) == (1 if how == "whole" else 0)


def test_memory_stays_flat_while_a_set_is_decoded(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Rows reach the file before more are decoded: never more than a chunk is alive.
    monkeypatch.setattr(image_folder, "CHUNK", 1)
    alive: list[int] = []
    decode = image_folder.decode_images

    def watched(*arguments: Any) -> Iterator[list[Tensor | str]]:
        for rows in decode(*arguments):
            alive.append(len(rows))
            yield rows

    monkeypatch.setattr(image_folder, "decode_images", watched)
    assert levels(dataset.load(photos, size=16)) == [10, 30, 40]
    assert alive == [1, 1, 1, 1]
