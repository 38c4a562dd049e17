"""Folders, zips and globs are listed by one rule."""

import os
from pathlib import Path

import pytest

from make_it_real.images import listing


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with links, thumbnails, lock files, hidden files and subfolders."""
    folder = tmp_path / "photos"
    names = (
        "b.JPG", "a.png", "notes.txt", "~$a.png", ".hidden.png", "@eaDir/a.png",
        "__MACOSX/._a.png", "$RECYCLE.BIN/old.png", ".thumbnails/a.png", "trip/c.webp",
        "trip/deep/d.png",
    )  # fmt: skip
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "e.png").touch()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "trip" / "round").symlink_to(folder)
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    return folder


def names(folder: Path, output: Path | None = None, *, recursive: bool = True) -> list[str]:
    listed, failed = listing.list_images(folder, output, set(), recursive=recursive)
    assert failed == []
    return [str((here / name).relative_to(folder)) for here, own in listed for name in own]


def test_a_folder_is_listed_with_what_links_lead_to_and_without_thumbnails(photos: Path) -> None:
    own = ["a.png", "b.JPG", "gone.png"]
    assert names(photos, recursive=False) == own
    assert names(photos) == [*own, "linked/e.png", "trip/c.webp", "trip/deep/d.png"]


def test_the_folder_of_results_and_folders_of_before_are_left_out(photos: Path) -> None:
    assert "trip/c.webp" not in names(photos, photos / "trip")
    visited: set[tuple[int, int]] = set()
    listing.list_images(photos / "trip" / "deep", None, visited, recursive=True)
    listed, _ = listing.list_images(photos, None, visited, recursive=True)
    assert photos / "trip" in dict(listed)
    assert photos / "trip" / "deep" not in dict(listed)


def test_a_folder_that_is_gone_is_said_to_be_so(tmp_path: Path) -> None:
    listed, failed = listing.list_images(tmp_path / "gone", None, set(), recursive=True)
    assert listed == []
    assert failed == [(tmp_path / "gone", "can't be listed: No such file or directory")]


def test_members_of_a_zip_are_listed_as_files_of_a_folder(photos: Path) -> None:
    members = [str(file.relative_to(photos)) for file in photos.rglob("*") if file.is_file()]
    found = listing.list_members([*members, "folder.png/", "./top.png"])
    assert found == ["./top.png", "a.png", "b.JPG", "trip/c.webp", "trip/deep/d.png"]


def test_a_glob_is_its_matches_and_a_file_is_itself(photos: Path) -> None:
    assert listing.expand(f"{photos}/*.[pJ]*") == [
        str(photos / name) for name in ("a.png", "b.JPG", "gone.png", "pipe.png", "~$a.png")
    ]
    assert listing.expand("-") == ["-"]
    assert listing.expand(f"{photos}/*.tif") == [f"{photos}/*.tif"]
    odd = photos / "[1].png"
    odd.touch()
    assert listing.expand(str(odd)) == [str(odd)]
    assert listing.fixed_part("photos/**/*.jpg") == Path("photos")


def test_a_path_is_within_a_folder_whatever_links_lead_there(photos: Path, tmp_path: Path) -> None:
    assert listing.is_within(photos / "linked" / "e.png", tmp_path / "elsewhere")
    assert listing.is_within(photos, photos)
    assert not listing.is_within(photos, photos / "trip")
