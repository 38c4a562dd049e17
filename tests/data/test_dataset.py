"""Data sets of every kind become pixels; what is damaged is named."""

import gzip
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from make_it_real.data import dataset, image_folder
from make_it_real.data.image_folder import list_sides
from make_it_real.errors import DataError
from make_it_real.images import listing
from make_it_real.inference.planning import plan
from tests.data.helpers import idx, png, zip_of

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"

needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(), reason=f"MNIST's files are not in {MNIST}; they are not part of the project"
)


@pytest.fixture
def digits() -> Tensor:
    """Pixels (5, 28, 28) of no meaning, all different."""
    return torch.randint(0, 256, (5, 28, 28), generator=torch.Generator().manual_seed(0)).byte()


@pytest.fixture
def idx_folder(digits: Tensor, tmp_path: Path) -> Path:
    """MNIST's four files: five images of train, two of test, gzipped and not."""
    folder = tmp_path / "digits"
    folder.mkdir()
    labels = torch.tensor([3, 1, 4, 1, 5])
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(digits)))
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    (folder / "t10k-images-idx3-ubyte").write_bytes(idx(digits[:2]))
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(labels[:2]))
    return folder


def test_images_are_taken_with_their_labels() -> None:
    pixels = torch.arange(5).byte().view(5, 1, 1, 1)
    images = dataset.ImageSet(pixels, torch.arange(5) + 10, "numbers", ("a: broken",), "no cache")
    some = images.take(torch.tensor([3, 0]))
    assert some.pixels.flatten().tolist() == [3, 0]
    assert some.labels is not None
    assert some.labels.tolist() == [13, 10]
    assert (some.name, some.skipped, some.note) == (images.name, images.skipped, images.note)
    first = images.take(slice(9))
    assert len(first) == 5
    # Pixels may be mapped from a file larger than memory.
    assert first.pixels.data_ptr() == pixels.data_ptr()
    assert dataset.ImageSet(pixels, None, "numbers").take(slice(2)).labels is None


# IDX files


def test_a_folder_of_idx_files_holds_both_splits_with_labels(
    idx_folder: Path, digits: Tensor
) -> None:
    train, test = dataset.load(idx_folder), dataset.load(idx_folder, "test")
    assert torch.equal(train.pixels, digits[:, None])
    assert torch.equal(test.pixels, digits[:2, None])
    assert train.labels is not None
    assert test.labels is not None
    assert train.labels.dtype == torch.int64
    assert train.labels.tolist() == [3, 1, 4, 1, 5]
    assert test.labels.tolist() == [3, 1]
    assert (train.name, len(train), train.skipped) == ("digits", 5, ())


def test_idx_files_with_a_dot_in_their_names_are_found(digits: Tensor, tmp_path: Path) -> None:
    (tmp_path / "train-images.idx3-ubyte").write_bytes(idx(digits))
    found = dataset.load(tmp_path)
    assert torch.equal(found.pixels, digits[:, None])
    assert found.labels is None


def test_a_folder_without_the_split_asked_for_says_so(digits: Tensor, tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(digits))
    with pytest.raises(DataError, match="no test images among its IDX files"):
        dataset.load(tmp_path, "test")


@pytest.mark.parametrize("gzipped", [False, True])
def test_one_idx_file_is_a_set_without_labels(
    gzipped: bool, digits: Tensor, tmp_path: Path
) -> None:
    path = tmp_path / ("some-idx3-ubyte.gz" if gzipped else "some-idx3-ubyte")
    path.write_bytes(gzip.compress(idx(digits)) if gzipped else idx(digits))
    found = dataset.load(path)
    assert torch.equal(found.pixels, digits[:, None])
    assert found.labels is None


def test_an_idx_file_of_four_dimensions_has_channels(tmp_path: Path) -> None:
    pixels = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4).byte()
    (tmp_path / "x").write_bytes(idx(pixels))
    assert torch.equal(dataset.load(tmp_path / "x").pixels, pixels)


def test_idx_images_are_brought_to_a_size_and_channels(digits: Tensor, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(idx(digits))
    assert dataset.load(tmp_path / "x", size=32, channels=3).pixels.shape == (5, 3, 32, 32)
    own = dataset.load(tmp_path / "x", size=28, channels=1)
    assert torch.equal(own.pixels, digits[:, None])


def test_idx_pixels_can_be_written_to(idx_folder: Path) -> None:
    pixels = dataset.load(idx_folder).pixels
    pixels[0] = 7
    assert (pixels[0] == 7).all()


@pytest.mark.parametrize("gzipped", [False, True])
@pytest.mark.parametrize("length", [0, 3, 10, 16, 500, -1])
def test_a_truncated_idx_file_is_refused(
    gzipped: bool, length: int, digits: Tensor, tmp_path: Path
) -> None:
    whole = gzip.compress(idx(digits)) if gzipped else idx(digits)
    path = tmp_path / ("x.gz" if gzipped else "x")
    path.write_bytes(whole[:length])
    with pytest.raises(DataError, match=f"^{path}: not "):
        dataset.load(path)


def test_gzip_with_damaged_contents_is_refused(digits: Tensor, tmp_path: Path) -> None:
    whole = bytearray(gzip.compress(idx(digits)))
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "x.gz").write_bytes(whole)
    with pytest.raises(DataError, match="not a readable IDX file"):
        dataset.load(tmp_path / "x.gz")


@pytest.mark.parametrize(
    "start",
    [
        struct.pack(">HBB", 1, 8, 1), struct.pack(">HBB", 0, 13, 1), struct.pack(">HBB", 0, 8, 0),
        b"GIF8", b"text",
    ],
    ids=["magic", "floats", "no dimensions", "gif", "text"],
)  # fmt: skip
def test_what_is_no_idx_file_of_bytes_is_refused(start: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(start + struct.pack(">I", 2) + b"ab" + bytes(2000))
    with pytest.raises(DataError, match="not an IDX file of unsigned bytes, a zip or a folder"):
        dataset.load(tmp_path / "x")


@pytest.mark.parametrize(
    "shape",
    [(4_000_000_000, 4_000_000_000, 28), (2**31, 28, 28), (2**20, 2**20), (1,) * 100, (0, 28, 28)],
    ids=["astronomic", "huge", "large", "dimensions", "none"],
)
def test_a_header_that_promises_nonsense_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    (tmp_path / "x").write_bytes(header + b"\x05" * (1 if len(shape) == 100 else 0))
    with pytest.raises(DataError, match=f"^{tmp_path / 'x'}: "):
        dataset.load(tmp_path / "x")


def test_bytes_after_the_last_image_are_refused(digits: Tensor, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(idx(digits) + b"\0")
    with pytest.raises(DataError, match="not the 3,920 bytes that its header promises"):
        dataset.load(tmp_path / "x")


def test_idx_files_that_hold_no_square_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(idx(torch.tensor([1, 2, 3])))
    (tmp_path / "oblong").write_bytes(idx(torch.zeros(2, 3, 4)))
    (tmp_path / "pairs").write_bytes(idx(torch.zeros(2, 2, 4, 4)))
    shapes = {"labels": r"\(3,\)", "oblong": r"\(2, 1, 3, 4\)", "pairs": r"\(2, 2, 4, 4\)"}
    for name, shape in shapes.items():
        with pytest.raises(DataError, match=f"holds no square images, its shape is {shape}"):
            dataset.load(tmp_path / name)


def test_labels_of_another_number_than_images_are_refused(idx_folder: Path) -> None:
    (idx_folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(torch.arange(4))))
    with pytest.raises(DataError, match="4 labels for 5 images"):
        dataset.load(idx_folder)


def test_a_missing_path_is_called_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        dataset.load(tmp_path / "nowhere")


# Folders of images


def test_a_folder_of_images_is_searched_through_in_order(tmp_path: Path) -> None:
    for name, level in (("b.png", 20), ("a/z.PNG", 10), ("c/d/x.png", 30)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(level))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_bytes(png(99))
    found = dataset.load(tmp_path)
    assert found.pixels[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert found.pixels.dtype == torch.uint8
    assert found.pixels.shape == (3, 3, 64, 64)
    assert (found.name, found.labels, found.skipped) == (tmp_path.name, None, ())


def test_hidden_folders_are_left_out(tmp_path: Path) -> None:
    for name, level in ((".thumbnails/a.png", 99), ("b.png", 10), ("c.png", 20)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(level))
    assert dataset.load(tmp_path).pixels[:, 0, 0, 0].tolist() == [10, 20]


def test_a_hidden_folder_named_as_the_data_set_is_read(tmp_path: Path) -> None:
    folder = tmp_path / ".cache" / "faces"
    folder.mkdir(parents=True)
    for level in (10, 20):
        (folder / f"{level}.png").write_bytes(png(level))
    assert len(dataset.load(folder)) == 2


def test_a_folder_holds_the_images_that_projecting_it_takes(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for name in ("a.png", "sub/b.png", "@eaDir/a.png", "~$a.png", ".thumbnails/a.png", "x.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(10))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.png").write_bytes(png(30))
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "sub" / "round").symlink_to(folder)
    images = image_folder.list_images(folder, set())
    projected = plan([str(folder)], tmp_path / "out", recursive=True).jobs
    assert [file for file, _ in images.refs] == sorted(job.source for job in projected)
    assert dataset.load(folder).pixels[:, 0, 0, 0].tolist() == [10, 30, 10]


def test_a_folder_that_was_listed_is_not_taken_twice(tmp_path: Path) -> None:
    for name in ("a.png", "sub/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(10))
    assert len(dataset.load([tmp_path, tmp_path / "sub"])) == 2


def test_a_link_that_leads_nowhere_is_skipped_and_named(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png(10))
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (line,) = dataset.load(tmp_path).skipped
    assert line.startswith(f"{tmp_path / 'gone.png'}: ")


def test_a_subfolder_that_can_not_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.png", "b.png", "locked/c.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(10))
    entries = listing._entries

    def refuse(folder: Path) -> tuple[list[str], list[str]]:
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return entries(folder)

    monkeypatch.setattr(listing, "_entries", refuse)
    found = dataset.load(tmp_path)
    assert len(found) == 2
    assert found.skipped == (f"{tmp_path / 'locked'}: can't be listed: Permission denied",)


@pytest.mark.parametrize(("size", "channels"), [(32, 1), (16, 3), (None, 1), (48, None)])
def test_images_are_brought_to_the_size_and_channels_asked_for(
    size: int | None, channels: int | None, tmp_path: Path
) -> None:
    (tmp_path / "grey.png").write_bytes(png(50, (30, 90), "L"))
    (tmp_path / "colour.png").write_bytes(png(50, (200, 100)))
    pixels = dataset.load(tmp_path, size=size, channels=channels).pixels
    assert pixels.shape == (2, channels or 3, size or 64, size or 64)
    assert (pixels == 50).all()


def test_images_are_cropped_to_their_central_square(tmp_path: Path) -> None:
    image = Image.new("L", (128, 64), 0)
    image.paste(200, (32, 0, 96, 64))
    for name in ("a.png", "b.png"):
        image.save(tmp_path / name)
    assert (dataset.load(tmp_path).pixels == 200).all()


def test_images_of_the_size_asked_for_keep_their_pixels(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (2, 64, 64, 3), generator=torch.Generator().manual_seed(0))
    for i, image in enumerate(pixels):
        Image.fromarray(image.numpy().astype(np.uint8)).save(tmp_path / f"{i}.png")
    assert torch.equal(dataset.load(tmp_path).pixels, pixels.permute(0, 3, 1, 2).byte())


def test_unreadable_images_are_skipped_and_listed(
    truncated_png: bytes, huge_png: bytes, tmp_path: Path
) -> None:
    bad = {"0.png": b"", "2.png": truncated_png, "4.png": huge_png, "5.jpg": b"text"}
    for name, content in {"1.png": png(10), "3.png": png(30), **bad}.items():
        (tmp_path / name).write_bytes(content)
    found = dataset.load(tmp_path)
    assert found.pixels[:, 0, 0, 0].tolist() == [10, 30]
    assert len(found.skipped) == len(bad)
    for name, line in zip(bad, found.skipped, strict=True):
        assert line.startswith(f"{tmp_path / name}: ")
        assert "\n" not in line


@pytest.mark.parametrize("readable", [0, 1])
def test_a_folder_with_too_few_images_is_refused(readable: int, tmp_path: Path) -> None:
    for name in ["a.png"][:readable]:
        (tmp_path / name).write_bytes(png(1))
    with pytest.raises(DataError, match=f"two readable images are needed; {readable} found"):
        dataset.load(tmp_path)


# Zips


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_of_images_is_read_in_order(compression: int, tmp_path: Path) -> None:
    members = {"b.png": png(20), "sub/a.JPG": png(30), "a.png": png(10), "readme.txt": b"text"}
    found = dataset.load(zip_of(tmp_path / "faces.zip", members, compression))
    assert found.pixels[:, 0, 0, 0].tolist() == [10, 20, 30]
    assert (found.name, found.labels, found.skipped) == ("faces", None, ())


def test_a_zip_and_its_folder_are_the_same_data(tmp_path: Path) -> None:
    members = {f"{i}.png": png(10 * i, (70 + i, 80)) for i in range(5)}
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, content in members.items():
        (folder / name).write_bytes(content)
    zipped = dataset.load(zip_of(tmp_path / "x.zip", members), size=32, channels=1)
    assert torch.equal(zipped.pixels, dataset.load(folder, size=32, channels=1).pixels)


def test_what_a_mac_adds_to_a_zip_is_left_out(tmp_path: Path) -> None:
    members = {
        "a.png": png(10),
        "b.png": png(20),
        "__MACOSX/._a.png": b"\0\5\x16\7",
        "@eaDir/a.png": b"",
    }
    found = dataset.load(zip_of(tmp_path / "x.zip", members))
    assert (len(found), found.skipped) == (2, ())


def test_unreadable_images_of_a_zip_are_skipped_and_listed(
    truncated_png: bytes, tmp_path: Path
) -> None:
    members = {"a.png": png(10), "b.png": truncated_png, "c.png": png(30), "d.png": b""}
    path = zip_of(tmp_path / "x.zip", members)
    found = dataset.load(path)
    assert len(found) == 2
    assert [line.split(": ")[0] for line in found.skipped] == [f"{path}:b.png", f"{path}:d.png"]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_member_that_is_damaged_in_the_zip_is_skipped_and_listed(
    compression: int, tmp_path: Path
) -> None:
    members = {name: png(level) for name, level in (("a.png", 10), ("b.png", 20), ("c.png", 30))}
    path = zip_of(tmp_path / "x.zip", members, compression)
    damaged = bytearray(path.read_bytes())
    place = damaged.index(b"b.png") + 40
    damaged[place : place + 20] = bytes(20)
    path.write_bytes(damaged)
    found = dataset.load(path)
    assert found.pixels[:, 0, 0, 0].tolist() == [10, 30]
    assert [line.split(": ")[0] for line in found.skipped] == [f"{path}:b.png"]


def test_a_zip_cut_short_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "x.zip", {f"{i}.png": png(i) for i in range(5)})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"^{path}: "):
        dataset.load(path)


def test_a_zip_with_a_damaged_table_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "x.zip", {f"{i}.png": png(i) for i in range(5)})
    damaged = path.read_bytes().replace(b"PK\1\2", b"PK\0\0")
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=f"^{path}: can't be read as a zip"):
        dataset.load(path)


def test_a_zip_without_images_is_refused(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "x.zip", {"readme.txt": b"text"})
    with pytest.raises(DataError, match="two readable images are needed; 0 found"):
        dataset.load(path)


def test_a_zip_that_needs_a_password_says_so(tmp_path: Path) -> None:
    path = zip_of(tmp_path / "x.zip", {f"{i}.png": png(i) for i in range(3)})
    content = bytearray(path.read_bytes())
    # The lowest flag bit of each member, in its own header and in the table at the end.
    for signature, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = content.find(signature)
        while place >= 0:
            content[place + flags] |= 1
            place = content.find(signature, place + 1)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"0 found; .*0\.png: can't be read .*password required"):
        dataset.load(path)


# Real data


@needs_mnist
def test_mnist_is_what_it_is_known_to_be() -> None:
    test = dataset.load(MNIST, "test")
    assert test.pixels.shape == (10_000, 1, 28, 28)
    assert test.labels is not None
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    # The counts of the ten digits among the 10,000 of the test split.
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert test.labels.bincount().tolist() == counts
    assert test.pixels.float().mean() / 255 == pytest.approx(0.1325, abs=1e-4)


def test_sides_are_read_off_headers_of_folders_and_zips_alone(
    idx_folder: Path, tmp_path: Path
) -> None:
    folder, zipped = tmp_path / "folder", tmp_path / "images.zip"
    folder.mkdir()
    for number, size in enumerate([(30, 20), (20, 40)]):
        Image.new("RGB", size).save(folder / f"{number}.png")
    (folder / "bad.png").write_bytes(b"no image")
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.write(folder / "0.png", "in/0.png")
    assert list_sides([folder]) == {20}
    assert list_sides([zipped, tmp_path / "none"]) == {20}
    Image.new("RGB", (50, 50)).save(folder / "2.png")
    assert list_sides([folder, zipped]) == {20, 50}
    assert list_sides([idx_folder]) == set()
