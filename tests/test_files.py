"""Files appear whole or not at all, whoever writes them and whatever ends the writing."""

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from make_it_real import files
from make_it_real.data import cache
from make_it_real.errors import ExportError, ImageError, WeightsError
from make_it_real.models.ign import IGN
from make_it_real.weights import export
from make_it_real.weights.safetensors_file import rewrite, save_tensors


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_file_is_written(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "x.png", b"new")
    assert (tmp_path / "x.png").read_bytes() == b"new"
    assert names_in(tmp_path) == ["x.png"]


def test_a_written_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    files.write_bytes(tmp_path / "x.png", b"new")
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / "x.png").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_that_exists_is_kept(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"old")
    with pytest.raises(ImageError, match=r"x\.png exists; give --overwrite to replace it"):
        files.write_bytes(tmp_path / "x.png", b"new")
    assert (tmp_path / "x.png").read_bytes() == b"old"
    assert names_in(tmp_path) == ["x.png"]


def test_a_file_that_exists_is_replaced_where_asked(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"old")
    files.write_bytes(tmp_path / "x.png", b"new", overwrite=True)
    assert (tmp_path / "x.png").read_bytes() == b"new"
    assert names_in(tmp_path) == ["x.png"]


@pytest.mark.parametrize(("overwrite", "step"), [(True, "replace"), (False, "link")])
def test_a_file_appears_in_one_step_when_all_of_it_is_written(
    overwrite: bool, step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.png"
    if overwrite:
        path.write_bytes(b"old")
    before = names_in(tmp_path)
    seen: list[tuple[bytes, list[str]]] = []
    real = getattr(os, step)

    def spy(source: str, target: Path) -> None:
        others = [name for name in names_in(tmp_path) if name != Path(source).name]
        seen.append((Path(source).read_bytes(), others))
        real(source, target)

    monkeypatch.setattr(os, step, spy)
    files.write_bytes(path, b"new" * 100_000, overwrite=overwrite)
    assert seen == [(b"new" * 100_000, before)]
    assert path.read_bytes() == b"new" * 100_000


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize(
    ("overwrite", "step"), [(True, "os.replace"), (False, "make_it_real.files._move")]
)
def test_a_failed_write_leaves_nothing_behind(
    error: BaseException,
    overwrite: bool,
    step: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*args: object) -> None:
        raise error

    if overwrite:
        (tmp_path / "x.png").write_bytes(b"old")
    before = names_in(tmp_path)
    monkeypatch.setattr(step, fail)
    expected = ImageError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        files.write_bytes(tmp_path / "x.png", b"new", overwrite=overwrite)
    assert names_in(tmp_path) == before
    assert not overwrite or (tmp_path / "x.png").read_bytes() == b"old"


@pytest.mark.parametrize("exists", [False, True])
def test_a_disk_without_hard_links_is_written_to_as_carefully(
    exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A memory card's FAT and some network folders know none.
    def fail(*args: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    path = tmp_path / "x.png"
    if exists:
        path.write_bytes(b"old")
    monkeypatch.setattr(os, "link", fail)
    if exists:
        with pytest.raises(ImageError, match="exists"):
            files.write_bytes(path, b"new")
    else:
        files.write_bytes(path, b"new")
    assert path.read_bytes() == (b"old" if exists else b"new")
    assert names_in(tmp_path) == ["x.png"]


def test_a_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"can't write .*No such file"):
        files.write_bytes(tmp_path / "nowhere" / "x.png", b"new")


def test_a_folder_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ImageError, match=r"can't make the folder .*Not a directory"):
        files.make_folder(tmp_path / "file" / "folder")
    with pytest.raises(ImageError, match=r"can't write .*Not a directory"):
        files.write_bytes(tmp_path / "file" / "x.png", b"new")


def test_a_folder_is_made_with_its_parents_and_may_exist(tmp_path: Path) -> None:
    for _ in range(2):
        files.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


# All who write


def saved(path: Path, tiny_f: IGN) -> None:
    save_tensors({"a": torch.ones(3)}, {}, path)


def rewritten(path: Path, tiny_f: IGN) -> None:
    rewrite(path, {"other": "words"})


def cached(path: Path, tiny_f: IGN) -> None:
    cache.write(path, [[torch.ones(1, 2, 2, dtype=torch.uint8)]], 4)


def exported(path: Path, tiny_f: IGN) -> None:
    def write(temporary: Path) -> None:
        temporary.write_bytes(b"f")

    export._export(tiny_f.eval(), path, write, lambda temporary: tiny_f)


WRITERS: list[tuple[Callable[[Path, IGN], None], type[Exception]]] = [
    (saved, WeightsError), (rewritten, WeightsError), (cached, OSError), (exported, ExportError),
]  # fmt: skip


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A file to replace, alone in a folder."""
    path = tmp_path / "folder" / "x.file"
    save_tensors({"a": torch.zeros(3)}, {}, path)
    return path


@pytest.mark.parametrize(("write", "error"), WRITERS)
def test_every_writer_keeps_the_file_before_until_the_new_one_is_whole(
    write: Callable[[Path, IGN], None],
    error: type[Exception],
    whole: Path,
    tiny_f: IGN,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, names = whole.read_bytes(), []

    def full(*args: Any) -> None:
        names.extend(names_in(whole.parent))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(error, match="No space left"):
            write(whole, tiny_f)
    assert len(names) == 2
    assert names_in(whole.parent) == [whole.name]
    assert whole.read_bytes() == before
    write(whole, tiny_f)
    assert names_in(whole.parent) == [whole.name]
    assert whole.read_bytes() != before


@pytest.mark.parametrize("write", [write for write, _ in WRITERS])
def test_every_writer_gives_the_permissions_of_any_other_file(
    write: Callable[[Path, IGN], None], whole: Path, tiny_f: IGN
) -> None:
    (whole.parent / "other").write_bytes(b"")
    write(whole, tiny_f)
    assert whole.stat().st_mode == (whole.parent / "other").stat().st_mode


@pytest.mark.skipif(os.name != "posix", reason="forks and signals are of POSIX")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("write", [write for write, _ in WRITERS])
def test_every_writer_removes_what_one_that_was_killed_has_left(
    write: Callable[[Path, IGN], None], whole: Path, tiny_f: IGN
) -> None:
    before = whole.read_bytes()
    threads = torch.get_num_threads()
    # A fork has one thread only: one that waited for OpenMP's others would do so for good.
    torch.set_num_threads(1)
    try:
        child = os.fork()
        if not child:
            os.replace = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
            try:
                write(whole, tiny_f)
            finally:
                os._exit(1)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    finally:
        torch.set_num_threads(threads)
    assert len(names_in(whole.parent)) == 2
    assert whole.read_bytes() == before
    write(whole, tiny_f)
    assert names_in(whole.parent) == [whole.name]
    assert whole.read_bytes() != before


# Sweeping


def left(folder: Path, start: str, age: float = 0) -> Path:
    """An unfinished file of a process, whose last change is so many seconds ago."""
    path = folder / f"{start}{files.PART}"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_what_may_still_be_written_is_left_for_a_day(tmp_path: Path) -> None:
    mine = f"{files._START}{os.getpid()}-{files._TOKEN}"
    kept = [
        left(tmp_path, f"{mine}-0"),
        left(tmp_path, f"{mine}-1", files.DAY - 60),
        left(tmp_path, ".mir-elsewhere-1-0123abcd-0", files.DAY - 60),
        # A machine whose name begins with this one's, and goes on with no process's number.
        left(tmp_path, f"{files._START}999999999-1-0123abcd-0"),
        left(tmp_path, "photo", 2 * files.DAY),
        left(tmp_path, ".photo", 2 * files.DAY),
    ]
    gone = [
        left(tmp_path, f"{mine}-2", files.DAY + 60),
        left(tmp_path, ".mir-elsewhere-1-0123abcd-1", files.DAY + 60),
        left(tmp_path, f"{files._START}{os.getpid()}-01234567-0"),
        left(tmp_path, f"{files._START}999999999-0123abcd-0"),
    ]
    files.sweep(tmp_path)
    assert [path for path in kept if not path.exists()] == []
    assert [path for path in gone if path.exists()] == []


def test_sweeping_a_folder_that_is_not_there_does_nothing(tmp_path: Path) -> None:
    files.sweep(tmp_path / "nowhere")
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EBADF, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_nobody_is_kept_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    with files.hold_lock(tmp_path / "lock"), files.hold_lock(tmp_path / "lock"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_keeps_others_out_and_its_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with files.hold_lock(path):
        with pytest.raises(BlockingIOError), files.hold_lock(path):
            pass
        assert path.exists()
    assert not path.exists()
    with files.hold_lock(path):
        assert path.exists()
