"""Folder jobs under fire: killed, interrupted, out of room, locked out, raced, and watched."""

import contextlib
import errno
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from make_it_real import distributed, files
from make_it_real.cli import app
from make_it_real.errors import ImageError, ReportError
from make_it_real.images import decode
from make_it_real.images.framing import Framing
from make_it_real.inference import jobs
from make_it_real.inference.batch import Model, Settings, run
from make_it_real.inference.jobs import Jobs
from make_it_real.inference.planning import Plan, arrivals, plan
from make_it_real.inference.report import Report, line, part
from make_it_real.models.ign import IGN
from tests.images.imagefiles import restful

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and forks are of POSIX")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="mounts and capabilities are of Linux")
MANY = 2000


def picture(path: Path, level: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (28, 28), level % 256).save(path)


def folder(path: Path, count: int) -> Path:
    for number in range(count):
        picture(path / f"{number:04}.png", number)
    return path


def mir(model: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["project", "-m", str(model), "-d", "cpu", *arguments])


@contextlib.contextmanager
def process(
    model: Path, *arguments: str, before: tuple[str, ...] = (), start: str = ""
) -> Iterator["subprocess.Popen[str]"]:
    """``mir project`` as a process of its own; ``start``: Python to run in it first."""
    code = (
        # Where tests run in the background, SIGINT may be ignored, and that is passed on.
        "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"{start}\nrunpy.run_module('make_it_real', run_name='__main__')"
    )
    call = [*before, sys.executable, "-c", code, "project", "-m", str(model), "-d", "cpu"]
    with subprocess.Popen(
        [*call, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def wait_for(condition: Callable[[], bool], child: "subprocess.Popen[str]") -> None:
    """Wait until something is so; the process must not end before."""
    while not condition():
        assert child.poll() is None, child.communicate()
        time.sleep(0.005)


def written(path: Path, known: Sequence[str] = ()) -> list[str]:
    """The results in a folder, each of which, but for those known, must be whole."""
    names = [name for name in os.listdir(path) if not name.endswith(files.PART)]
    for name in set(names) - set(known):
        assert decode.read(path / name).colour.shape[1:] == (28, 28)
    return sorted(names)


def reported(path: Path) -> list[dict[str, Any]]:
    """A report's lines, but for what was cut off of the last one."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(x) for x in text.splitlines(keepends=True) if x.endswith("\n")]


@pytest.fixture
def model(tiny_f: IGN, tmp_path: Path) -> Path:
    return restful(tiny_f, tmp_path / "rest.safetensors")


# Killed


def forked(f: IGN, inputs: Path, output: Path, report: Path) -> int:
    """Start the job of a folder in a child process, which never returns from here."""
    child = os.fork()
    if child:
        return child
    code = 1
    with contextlib.suppress(BaseException):
        book = Report(report)
        for result in run(Model(f, Framing()), plan([str(inputs)], output).jobs, Settings(batch=8)):
            book.add(line(result))
        code = 0
    os._exit(code)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_job_that_is_killed_twenty_times_ends_as_if_it_never_was(
    tiny_f: IGN, tmp_path: Path
) -> None:
    inputs, output, report = folder(tmp_path / "in", MANY), tmp_path / "out", tmp_path / "r.jsonl"
    moments, kills, whole = random.Random(0), 0, list[str]()
    threads = torch.get_num_threads()
    # A fork has one thread only: one that waited for OpenMP's others would do so for good.
    torch.set_num_threads(1)
    gc.freeze()
    try:
        while kills < 20:
            child = forked(tiny_f, inputs, output, report)
            # So many files further on, and then some milliseconds: anywhere about a write.
            goal = len(whole) + moments.randrange(0, MANY // 25)
            while (len(os.listdir(output)) if output.exists() else 0) < goal:
                assert os.waitpid(child, os.WNOHANG) == (0, 0)
                time.sleep(0.005)
            time.sleep(moments.random() * 0.01)
            os.kill(child, signal.SIGKILL)
            assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
            kills += 1
            names = written(output, whole) if output.exists() else []
            assert set(whole) <= set(names)
            assert len(names) < MANY
            whole = names
        child = forked(tiny_f, inputs, output, report)
        assert os.waitpid(child, 0)[1] == 0
    finally:
        gc.unfreeze()
        torch.set_num_threads(threads)
    # All there, whole, and nothing else, unfinished files included.
    assert written(output) == sorted(os.listdir(output)) == sorted(os.listdir(inputs))
    said = reported(report)
    done = Counter(x["input"] for x in said if x["status"] == "changed")
    assert set(done.values()) == {1}
    assert {x["status"] for x in said} == {"changed", "skipped"}
    assert {x["input"] for x in said} == {str(inputs / name) for name in os.listdir(inputs)}
    # What a kill fell between the file and its line of: at most one batch a worker.
    assert MANY - len(done) <= 20 * 8


def test_the_unfinished_files_of_the_dead_are_removed_and_of_the_living_are_not(
    model: Path, here: Path
) -> None:
    folder(here / "p", 2)
    (here / "out").mkdir()
    living = here / "out" / f"{files._START}{os.getppid()}-0123abcd-0{files.PART}"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    dead = here / "out" / f"{files._START}{gone.pid}-0123abcd-0{files.PART}"
    namesake = here / "out" / f"{files._START}{os.getpid()}-0123abcd-0{files.PART}"
    foreign = here / "out" / f".mir-elsewhere.example-1-0123abcd-0{files.PART}"
    for path in (living, dead, namesake, foreign):
        path.write_bytes(b"half")
    assert mir(model, "p", "-o", "out").exit_code == 0
    assert [path.exists() for path in (living, dead, namesake, foreign)] == [
        True,
        False,
        False,
        True,
    ]


# No room, no access


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty disk of 64 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    if not shutil.which("mount") or os.geteuid():
        pytest.skip("only root can mount a small disk")
    call = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)]
    mounted = subprocess.run(call, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.decode().strip()}")
    yield path
    # Lazily: a report whose disk was full is open until its process ends, which is this one.
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@LINUX
def test_a_full_disk_fails_what_does_not_fit_and_can_be_gone_on_with(
    model: Path, here: Path, small_disk: Path
) -> None:
    folder(here / "p", 40)
    result = mir(model, "p", "-o", str(small_disk / "out"))
    assert result.exit_code == 1
    whole = written(small_disk / "out")
    assert sorted(os.listdir(small_disk / "out")) == whole
    assert 0 < len(whole) < 40
    complaints = [x for x in result.stderr.splitlines() if x.startswith("mir: ")]
    assert len(complaints) == 40 - len(whole)
    assert all(x.endswith(": No space left on device") for x in complaints)
    assert result.stderr.splitlines()[-1] == f"{len(whole)} unchanged, {40 - len(whole)} failed"
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    again = mir(model, "p", "-o", str(small_disk / "out"))
    assert again.exit_code == 0
    assert again.stderr.splitlines()[-1] == f"{40 - len(whole)} unchanged, {len(whole)} skipped"
    assert len(written(small_disk / "out")) == 40


@LINUX
def test_a_full_disk_for_the_report_ends_the_job_in_one_line(
    model: Path, here: Path, small_disk: Path
) -> None:
    folder(here / "p", 20)
    with contextlib.suppress(OSError):
        (small_disk / "filler").write_bytes(bytes(100 * 1024))
    result = mir(model, "p", "-o", "out", "--report", str(small_disk / "r.jsonl"))
    assert result.exit_code == 1
    (complaint,) = [x for x in result.stderr.splitlines() if x.startswith("mir: ")]
    assert complaint.startswith(f"mir: can't write {small_disk}/r.jsonl: ")
    written(here / "out")


def test_no_room_by_any_other_way_fails_those_files_alone(
    model: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(here / "p", 6)
    link, calls = os.link, Counter[str]()

    def full(source: str, target: Path) -> None:
        calls["link"] += 1
        if calls["link"] % 2:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        link(source, target)

    def no_replace(source: str, target: Path) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(os, "replace", no_replace)
    result = mir(model, "p", "-o", "out")
    assert result.exit_code == 1
    assert result.stderr.count("Disk quota exceeded\n") == 3
    assert os.listdir("out") == written(here / "out") or len(written(here / "out")) == 3
    assert not any(name.endswith(files.PART) for name in os.listdir("out"))


# Root may do anything: the child lets that go.
POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--")


@pytest.fixture
def powerless() -> tuple[str, ...]:
    """What to put before a command so that permissions bind it."""
    if os.geteuid():
        return ()
    probe = (
        subprocess.run([*POWERLESS, "cat", "/proc/self/status"], capture_output=True, text=True)
        if (shutil.which("setpriv"))
        else None
    )
    if probe is None or "CapEff:\t0000000000000000" not in probe.stdout:
        pytest.skip("root can't give up its powers here: no setpriv")
    return POWERLESS


@LINUX
def test_a_file_that_may_not_be_read_fails_alone(
    model: Path, here: Path, powerless: tuple[str, ...]
) -> None:
    folder(here / "p", 3)
    folder(here / "p/closed", 2)
    (here / "p/0001.png").chmod(0)
    (here / "p/closed").chmod(0)
    try:
        with process(model, "-r", "p", "-o", "out", before=powerless) as child:
            _, stderr = child.communicate(timeout=120)
    finally:
        (here / "p/closed").chmod(0o755)
    assert child.returncode == 1
    complaints = {x for x in stderr.splitlines() if x.startswith("mir: ")}
    assert complaints == {
        "mir: p/0001.png: Permission denied",
        "mir: p/closed: can't be listed: Permission denied",
    }
    assert written(here / "out") == ["0000.png", "0002.png"]


@LINUX
@pytest.mark.parametrize("exists", [True, False])
def test_an_output_folder_that_may_not_be_written_is_said(
    model: Path, here: Path, powerless: tuple[str, ...], exists: bool
) -> None:
    folder(here / "p", 3)
    (here / "locked").mkdir()
    if exists:
        (here / "locked/out").mkdir()
        (here / "locked/out").chmod(0o555)
    (here / "locked").chmod(0o555)
    with process(model, "p", "-o", "locked/out", before=powerless) as child:
        stdout, stderr = child.communicate(timeout=120)
    (here / "locked").chmod(0o755)
    assert (child.returncode, stdout) == (1, "")
    complaints = [x for x in stderr.splitlines() if x.startswith("mir: ")]
    assert len(complaints) == 3
    assert all(x.endswith(": Permission denied") for x in complaints)
    assert stderr.splitlines()[-1] == "3 failed"
    assert "Traceback" not in stderr


def test_a_file_that_vanishes_after_listing_fails_alone(tiny_f: IGN, tmp_path: Path) -> None:
    folder(tmp_path / "in", 4)
    listed = plan([str(tmp_path / "in")], tmp_path / "out").jobs
    (tmp_path / "in/0001.png").unlink()
    (tmp_path / "in/0002.png").unlink()
    (tmp_path / "in/0002.png").mkdir()
    results = list(run(Model(tiny_f, Framing()), listed, Settings()))
    assert [(r.status, r.reason) for r in results] == [
        ("changed", ""),
        ("failed", "No such file or directory"),
        ("failed", "Is a directory"),
        ("changed", ""),
    ]


def test_a_folder_that_vanishes_while_it_is_written_to_fails_those_files(
    tiny_f: IGN, tmp_path: Path
) -> None:
    folder(tmp_path / "in", 6)
    results = run(
        Model(tiny_f, Framing()),
        plan([str(tmp_path / "in")], tmp_path / "out").jobs,
        Settings(batch=1),
    )
    assert next(results).status == "changed"
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    rest = list(results)
    assert len(rest) == 5
    assert {r.status for r in rest} <= {"changed", "failed"}


def test_a_file_that_is_far_too_large_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with path.open("wb") as file:
        try:
            # Sparse: it takes no room, and would take all memory.
            file.truncate(2**40)
        except OSError:
            pytest.skip("this disk knows no sparse files of that size")
    with pytest.raises(ImageError, match="more than 2 GiB"):
        decode.read(path)


# Two jobs at once


def test_two_jobs_on_one_output_folder_do_each_file_once(model: Path, here: Path) -> None:
    folder(here / "p", 120)
    call = ["p", "-o", "out", "--batch", "4", "--report"]
    with process(model, *call, "a.jsonl") as one, process(model, *call, "b.jsonl") as two:
        ends = [child.communicate(timeout=300) for child in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), ends
    assert written(here / "out") == sorted(os.listdir(here / "out")) == sorted(os.listdir("p"))
    said = [reported(here / name) for name in ("a.jsonl", "b.jsonl")]
    assert [len(x) for x in said] == [120, 120]
    done = Counter(x["input"] for x in said[0] + said[1] if x["status"] == "unchanged")
    assert set(done.values()) == {1}
    assert len(done) == 120
    assert {x["status"] for x in said[0] + said[1]} <= {"unchanged", "skipped"}


# Interrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_what_is_in_hand_and_sums_up(
    model: Path, here: Path, number: signal.Signals
) -> None:
    folder(here / "p", 500)
    with process(model, "p", "-o", "out", "--batch", "2", "--report", "r.jsonl") as child:
        wait_for(lambda: (here / "out").is_dir() and bool(os.listdir("out")), child)
        child.send_signal(number)
        stdout, stderr = child.communicate(timeout=120)
    assert child.returncode == 130
    names = written(here / "out")
    assert names == sorted(os.listdir("out"))
    assert 0 < len(names) < 500
    assert stdout.splitlines() == [f"out/{name}" for name in names]
    assert [x["output"] for x in reported(here / "r.jsonl")] == stdout.splitlines()
    said = stderr.splitlines()
    assert said[-2:] == [
        "stopping; once more to stop at once",
        f"{len(names)} unchanged, {500 - len(names)} not reached",
    ]
    assert "Traceback" not in stderr
    again = mir(model, "p", "-o", "out", "-q", "--report", "r.jsonl")
    assert (again.exit_code, len(again.stdout.splitlines())) == (0, 500 - len(names))
    done = Counter(x["input"] for x in reported(here / "r.jsonl") if x["status"] == "unchanged")
    assert (len(done), set(done.values())) == (500, {1})


# f that takes longer than anybody waits.
SLOW = """
import time
from make_it_real.models.ign import IGN
IGN.forward = lambda self, images: (print("in f", flush=True), time.sleep(3600))
"""


def test_the_same_signal_again_ends_at_once(model: Path, here: Path) -> None:
    folder(here / "p", 4)
    with process(model, "p", "-o", "out", start=SLOW) as child:
        assert child.stdout
        assert child.stderr
        assert child.stdout.readline() == "in f\n"
        child.send_signal(signal.SIGINT)
        assert child.stderr.readline() == "rest on cpu\n"
        assert child.stderr.readline() == "stopping; once more to stop at once\n"
        # torchrun passes Ctrl-C on as SIGTERM; that is no second one.
        child.send_signal(signal.SIGTERM)
        assert child.stderr.readline() == "stopping; once more to stop at once\n"
        assert child.poll() is None
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=60)
    assert child.returncode == 130
    assert stderr == "mir: stopped at once; what was finished is kept\n"
    assert not (here / "out").exists()


# Options of jobs


def test_fail_fast_stops_at_the_first_failure(model: Path, here: Path) -> None:
    folder(here / "p", 60)
    (here / "p/0003.png").write_bytes(b"")
    (here / "p/0050.png").write_bytes(b"")
    result = mir(model, "p", "-o", "out", "--batch", "1", "--fail-fast")
    assert result.exit_code == 1
    assert result.stderr.count("the file is empty") == 1
    names = written(here / "out")
    assert names[:3] == ["0000.png", "0001.png", "0002.png"]
    assert len(names) < 59
    assert (
        result.stderr.splitlines()[-1]
        == f"{len(names)} unchanged, 1 failed, {59 - len(names)} not reached"
    )
    assert mir(model, "p", "-o", "out").exit_code == 1
    assert len(written(here / "out")) == 58


def test_fail_fast_counts_inputs_that_are_not_there(model: Path, here: Path) -> None:
    folder(here / "p", 3)
    result = mir(model, "nowhere.png", "p", "--fail-fast")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "mir: nowhere.png: no such file or folder",
        "1 failed, 3 not reached",
    ]
    assert not (here / "p_real").exists()


def everything_in(path: Path) -> dict[str, bytes]:
    return {str(x.relative_to(path)): x.read_bytes() for x in path.rglob("*") if x.is_file()}


def test_a_dry_run_says_what_would_be_and_does_nothing(model: Path, here: Path) -> None:
    folder(here / "p", 3)
    folder(here / "p_real", 1)
    before = everything_in(here)
    model.unlink()
    result = mir(model, "p", "--dry-run", "--report", "r.jsonl")
    assert (result.exit_code, result.stderr) == (0, "2 planned, 1 skipped\n")
    where = here / "p_real"
    assert result.stdout.splitlines() == [
        f"p/0000.png -> {where}/0000.png (is there: skipped)",
        f"p/0001.png -> {where}/0001.png",
        f"p/0002.png -> {where}/0002.png",
    ]
    redo = mir(model, "p", "--dry-run", "--overwrite", "--json")
    assert redo.exit_code == 0
    assert [json.loads(x)["status"] for x in redo.stdout.splitlines()] == ["planned"] * 3
    some = mir(model, "p", "nowhere.png", "--dry-run")
    assert (some.exit_code, some.stderr) == (
        1, "mir: nowhere.png: no such file or folder\n2 planned, 1 skipped\n",
    )  # fmt: skip
    none = mir(model, "nowhere.png", "--dry-run")
    assert none.exit_code == 3
    there = mir(model, "p/0000.png", "-o", "p_real/0000.png", "--dry-run")
    assert (there.exit_code, there.stderr) == (1, "1 failed\n")
    assert mir(model, "p/0000.png", "-o", "-", "--dry-run").exit_code == 0
    assert everything_in(here) == before


def test_a_report_is_appended_to_and_gone_on_with(model: Path, here: Path) -> None:
    folder(here / "p", 3)
    (here / "p/bad.png").write_bytes(b"")
    call = ["p", "nowhere.png", "-o", "out", "--report", "logs/r.jsonl"]
    assert mir(model, *call).exit_code == 1
    report = here / "logs/r.jsonl"
    first = reported(report)
    assert [x["status"] for x in first] == [
        "failed",
        "unchanged",
        "unchanged",
        "unchanged",
        "failed",
    ]
    for said in first:
        assert set(said) >= {"input", "output", "status", "reason", "drift_before", "drift_after"}
    good = first[1]
    assert (good["input"], good["output"], good["reason"]) == ("p/0000.png", "out/p/0000.png", "")
    assert good["drift_before"] == good["drift_after"] == 0
    assert good["seconds"] > 0
    # A process that was killed while it wrote, and whose line is of no use.
    with report.open("a") as file:
        file.write('{"input": "p/00')
    (here / "out/p/0001.png").unlink()
    assert mir(model, *call).exit_code == 1
    lines = report.read_text().splitlines()
    assert [json.loads(x) for x in lines[:5]] == first
    assert [json.loads(x)["status"] for x in lines[5:]] == [
        "failed", "skipped", "unchanged", "skipped", "failed",
    ]  # fmt: skip


def test_a_report_that_can_not_be_written_is_one_line_and_no_job(model: Path, here: Path) -> None:
    folder(here / "p", 2)
    (here / "file").write_bytes(b"")
    result = mir(model, "p", "--report", "file/r.jsonl")
    assert (result.exit_code, result.stdout) == (1, "")
    (said,) = result.stderr.splitlines()
    assert said.startswith("mir: can't write file/r.jsonl: ")
    assert not (here / "p_real").exists()


# "done" is what mir said before it told changed from unchanged.
LINE = '{"input": "x.png", "output": "y.png", "status": "done"}\n'


@pytest.mark.parametrize("tail", ["", "x", "x" * 65_535, "x" * 65_536, "x" * 200_000])
@pytest.mark.parametrize("whole", [LINE, LINE * 9000, "other\n" + LINE])
def test_of_a_report_only_whole_lines_are_kept(tmp_path: Path, whole: str, tail: str) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text(whole + tail)
    book = Report(path)
    book.add({"b": 2})
    book.close()
    assert path.read_text() == whole + '{"b": 2}\n'


NO_REPORTS = {
    "photo.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\n\0more\nof it",
    "one line.json": b'{"input": "a", "output": "b", "status": "c"}',
    "only.json": b'{"name": "Ada", "born": 1815}\n',
    "list.json": b'["input", "output", "status"]\n',
    "notes.txt": b"one\ntwo\n",
    "blank at its end.jsonl": LINE.encode() + b"\n",
    "utf-16.txt": "input\noutput\n".encode("utf-16"),
    "deep.json": b"[" * 100_000 + b"\n",
    "long.txt": b"x" * 3_000_000,
    "newline": b"\n",
}


@pytest.mark.parametrize("name", NO_REPORTS)
def test_a_file_that_is_no_report_is_left_as_it_is(model: Path, here: Path, name: str) -> None:
    folder(here / "p", 2)
    (here / name).write_bytes(NO_REPORTS[name])
    for call in (["p"], ["nowhere.png"], ["p", "--dry-run"], ["p", "--watch"]):
        result = mir(model, *call, "--report", name)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr == (
            f"mir: {name} is no report of mir's: give --report a new file, or a report\n"
        )
    with pytest.raises(ReportError):
        Report(here / name)
    assert (here / name).read_bytes() == NO_REPORTS[name]
    assert not (here / "p_real").exists()


def test_where_nothing_matched_no_report_is_written(model: Path, here: Path) -> None:
    (here / "old.jsonl").write_text(LINE + "torn")
    for name in ("new.jsonl", "old.jsonl"):
        result = mir(model, "nowhere.png", "*.gif", "--report", name)
        assert result.exit_code == 3
    assert (here / "old.jsonl").read_text() == LINE + "torn"
    assert os.listdir(here) == ["old.jsonl"]
    folder(here / "p", 1)
    (here / "empty.jsonl").touch()
    assert mir(model, "p", "--report", "empty.jsonl").exit_code == 0
    assert len(reported(here / "empty.jsonl")) == 1


def test_reports_of_other_processes_are_merged_and_nothing_else_is_touched(
    model: Path, here: Path
) -> None:
    folder(here / "p", 1)
    report = here / "r[1].jsonl"
    part(report, 1).write_text(LINE.replace("x.png", "one") + '{"input": "half')
    part(report, 12).write_text(LINE.replace("x.png", "twelve"))
    # What logrotate and people leave beside a log.
    others = ["r[1].jsonl.1", "r[1].jsonl.20240101", "r[1].jsonl.rank1.bak", "r1.jsonl.rank1"]
    others += ["r[1].jsonl.rank7"]
    for name in others:
        (here / name).write_text("old\n")
    assert mir(model, "p", "--report", str(report)).exit_code == 0
    assert [x["input"] for x in reported(report)] == ["p/0000.png", "one", "twelve"]
    assert {x.name for x in here.iterdir()} == {"p", "p_real", report.name, *others}


def test_the_summary_is_there_for_several_inputs_only(model: Path, here: Path) -> None:
    folder(here / "p", 2)
    alone = mir(model, "p/0000.png", "-o", "one.png")
    assert alone.stderr == "rest on cpu\np/0000.png: unchanged\n"
    (here / "p/bad.png").write_bytes(b"")
    assert mir(model, "p").stderr.splitlines() == [
        "rest on cpu", "mir: p/bad.png: the file is empty", "2 unchanged, 1 failed",
    ]  # fmt: skip
    assert mir(model, "p", "-q").stderr == "mir: p/bad.png: the file is empty\n"


@LINUX
def test_on_a_terminal_there_are_a_bar_and_a_table(model: Path, here: Path) -> None:
    folder(here / "p", 30)
    (here / "p/bad.png").write_bytes(b"")
    master, slave = os.openpty()
    call = [sys.executable, "-m", "make_it_real", "project", "-m", str(model), "-d", "cpu", "p"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=slave, env=environment) as child:
        os.close(slave)
        said = b""
        with contextlib.suppress(OSError):
            while data := os.read(master, 65536):
                said += data
        assert child.stdout
        stdout = child.stdout.read()
    os.close(master)
    assert child.returncode == 1
    # Stdout has names alone, whatever the terminal shows.
    assert stdout.decode().splitlines() == [f"{here}/p_real/{n:04}.png" for n in range(30)]
    shown = said.decode()
    for word in ("projecting", "31/31", "images/s", "1 failed", "unchanged", "the file is empty"):
        assert word in shown


# What is passed over


def test_links_in_circles_hidden_files_locks_and_thumbnails_are_passed_over(
    model: Path, here: Path
) -> None:
    folder(here / "p/sub", 1)
    (here / "p/sub/up").symlink_to(here / "p")
    (here / "p/again").symlink_to(here / "p/sub")
    (here / "p/self").symlink_to("self")
    for name in (
        ".hidden.png", "._x.png", "~$x.png", ".~lock.x.png#", ".git/x.png", ".thumbnails/x.png",
        "@eaDir/x.png", "__MACOSX/x.png", "sub/@eaDir/y.png", "x.png.part", "x.png~", "Thumbs.db",
        "x.txt", "$RECYCLE.BIN/x.png", "System Volume Information/x.png",
    ):  # fmt: skip
        (here / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "p" / name).write_bytes(b"no image")
    os.mkfifo(here / "p/pipe.png")
    (here / "p/linked pipe.png").symlink_to("pipe.png")
    result = mir(model, "-r", "p", "-o", "out")
    assert result.exit_code == 0, result.stderr
    # Found once, under the first of its names.
    assert result.stdout == "out/again/0000.png\n"


# Watching


def test_watch_takes_what_arrives_once_it_has_settled(model: Path, here: Path) -> None:
    (here / "p").mkdir()
    picture(here / "new.png", 7)
    whole = (here / "new.png").read_bytes()

    def has(name: str) -> Callable[[], bool]:
        return lambda: (here / "out" / name).exists()

    with process(model, "p", "-o", "out", "--watch", "--overwrite", "--report", "r.jsonl") as child:
        assert child.stderr
        assert child.stderr.readline() == "rest on cpu\n"
        assert child.stderr.readline() == "watching; Ctrl-C ends it\n"
        picture(here / "p/0.png", 1)
        wait_for(has("0.png"), child)
        # One that grows while others come and go.
        with (here / "p/growing.png").open("wb", buffering=0) as file:
            for at in range(len(whole)):
                file.write(whole[at : at + 1])
                if at % (len(whole) // 5) == 0:
                    picture(here / f"p/beside{at}.png", at)
                    time.sleep(0.4)
        wait_for(has("growing.png"), child)
        # One that is replaced.
        (here / "out/0.png").unlink()
        picture(here / "p/0.png", 99)
        os.utime(here / "p/0.png", ns=(1, 1))
        wait_for(has("0.png"), child)
        child.send_signal(signal.SIGINT)
        _, stderr = child.communicate(timeout=120)
    assert child.returncode == 130
    said = reported(here / "r.jsonl")
    # Where the machine stands still for a second, a growing file seems settled: it is read
    # again once it has grown.
    assert {x["input"] for x in said if x["status"] == "failed"} <= {"p/growing.png"}
    times = Counter(Path(x["input"]).name for x in said if x["status"] == "unchanged")
    assert times.pop("0.png") == 2
    assert set(times.values()) == {1}
    assert set(times) == {"growing.png"} | {f.name for f in (here / "p").glob("beside*")}
    assert decode.read(here / "out/0.png").colour.mean() == pytest.approx(99 / 255)
    assert stderr.splitlines()[-1].startswith(f"{2 + sum(times.values())} unchanged")


def test_a_file_arrives_when_two_looks_in_a_row_find_it_the_same(here: Path) -> None:
    (here / "p").mkdir()
    looks: list[int] = []

    def look() -> Plan:
        """One more look, at a file that grows until the fourth and changes at the eighth."""
        looks.append(len(looks))
        if looks[-1] < 4 or looks[-1] == 8:
            with (here / "p/x.png").open("ab") as file:
                file.write(b"more")
        if looks[-1] > 12:
            stop.set()
        return plan(["p"], Path("out"))

    class Clock(Event):
        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            assert timeout == 5
            self.waits += 1
            return self.is_set()

    stop = Clock()
    found = [(looks[-1], [job.source.name for job in some]) for some in arrivals(look, stop, 5)]
    assert found == [(4, ["x.png"]), (9, ["x.png"])]
    # After each look, also one that found something: looks in no time tell nothing.
    assert stop.waits == len(looks)


def test_watch_replaces_nothing_unless_told(model: Path, here: Path) -> None:
    picture(here / "p/0.png", 1)
    with process(model, "p", "-o", "out", "--watch", "--report", "r.jsonl") as child:
        wait_for(lambda: len(reported(here / "r.jsonl")) == 1, child)
        picture(here / "p/0.png", 99)
        os.utime(here / "p/0.png", ns=(1, 1))
        wait_for(lambda: len(reported(here / "r.jsonl")) == 2, child)
        child.send_signal(signal.SIGTERM)
        _, stderr = child.communicate(timeout=120)
    assert child.returncode == 130
    assert [x["status"] for x in reported(here / "r.jsonl")] == ["unchanged", "skipped"]
    assert decode.read(here / "out/0.png").colour.max() < 0.1
    assert stderr.splitlines()[-1] == "1 unchanged, 1 skipped"


@pytest.mark.parametrize("arguments", [["a.png"], ["p", "-o", "-"], ["p", "--dry-run"], ["-"]])
def test_watch_is_for_folders(model: Path, here: Path, arguments: list[str]) -> None:
    picture(here / "a.png")
    folder(here / "p", 1)
    result = mir(model, *arguments, "--watch")
    assert result.exit_code == 2
    assert "--watch" in result.stderr


# Shared out


def torchrun(model: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    call = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    call += ["-m", "make_it_real", "project", "-m", str(model), "-d", "cpu", *arguments]
    return subprocess.run(
        call, capture_output=True, text=True, check=False, timeout=900,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_processes_share_a_folder_out(model: Path, here: Path) -> None:
    folder(here / "p", 20)
    folder(here / "p/sub", 20)
    (here / "p/bad.png").write_bytes(b"")
    done = torchrun(model, "-r", "p", "nowhere.png", "-o", "out", "--report", "r.jsonl")
    assert done.returncode == 1, done.stderr
    assert written(here / "out/p/sub") == [f"{n:04}.png" for n in range(20)]
    assert len(list((here / "out").rglob("*.*"))) == 40
    said = reported(here / "r.jsonl")
    assert len(said) == 42
    times = Counter(x["input"] for x in said)
    assert set(times.values()) == {1}
    failed = {x["input"]: x["reason"] for x in said if x["status"] == "failed"}
    assert failed == {"p/bad.png": "the file is empty", "nowhere.png": "no such file or folder"}
    assert {x.name for x in here.iterdir()} == {"p", "out", "r.jsonl"}
    # The first process speaks for both, each prints what it wrote.
    assert done.stderr.count("40 unchanged, 2 failed\n") == 1
    assert done.stderr.count("nowhere.png: no such file") == 1
    assert sorted(done.stdout.split()) == sorted(
        x["output"] for x in said if x["status"] == "unchanged"
    )


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_shares_are_disjoint_and_complete(here: Path, world: int) -> None:
    folder(here / "p", 40)
    folder(here / "p/sub", 40)
    picture(here / "single.png")
    listed = plan(["p", "single.png"], Path("out"), recursive=True).jobs
    shares = [list(listed.share(rank, world)) for rank in range(world)]
    assert sum(map(len, shares)) == len(listed) == 81
    assert {job for share in shares for job in share} == set(listed)
    assert all(len(listed.share(rank, world)) == len(shares[rank]) for rank in range(world))
    # About equal, and in the order of the listing.
    assert all(len(share) > 81 / world / 3 for share in shares)
    order = {job: number for number, job in enumerate(listed)}
    for share in shares:
        assert [order[job] for job in share] == sorted(order[job] for job in share)


def test_a_share_does_not_hang_on_the_rest_of_the_listing(here: Path) -> None:
    folder(here / "p", 30)
    before = plan(["p"]).jobs
    mine = {job.source for job in before.share(0, 2)}
    folder(here / "p", 60)
    after = plan(["p"]).jobs
    assert mine == {job.source for job in after.share(0, 2)} & {job.source for job in before}


def test_names_stay_unique_when_shared(here: Path) -> None:
    for name in ("x.png", "x.jpg", "x.gif", "y.png"):
        (here / "p").mkdir(exist_ok=True)
        (here / "p" / name).touch()
    listed = plan(["p"]).jobs
    shares = [job for rank in range(3) for job in listed.share(rank, 3)]
    assert {(job.source, job.output) for job in shares} == {
        (job.source, job.output) for job in listed
    }


def test_jobs_are_a_sequence_of_folders_and_files(here: Path) -> None:
    folder(here / "p", 5)
    listed = plan(["p"]).jobs
    assert isinstance(listed, Jobs)
    assert [listed[1], listed[-1]] == [list(listed)[1], list(listed)[-1]]
    assert listed[1:3] == list(listed)[1:3]
    assert jobs.Jobs([]).share(0, 2)[:] == []


def test_the_processes_wait_for_the_slowest(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist

    started: dict[str, Any] = {}

    def start(backend: str, timeout: Any) -> None:
        started.update(backend=backend, days=timeout.days)

    monkeypatch.setattr(dist, "is_initialized", lambda: False)
    monkeypatch.setattr(dist, "init_process_group", start)
    share = distributed.join({"WORLD_SIZE": "3", "RANK": "2", "LOCAL_RANK": "1"})
    assert (share.rank, share.world, share.local_rank, share.first) == (2, 3, 1, False)
    # gloo's own half an hour is soon over where one process has the large files.
    assert started["backend"] == "gloo"
    assert started["days"] >= 30


@pytest.mark.parametrize("environment", [{}, {"WORLD_SIZE": "1", "RANK": "0"}, {"WORLD_SIZE": "4"}])
def test_a_process_that_torchrun_did_not_start_is_alone(environment: dict[str, str]) -> None:
    alone = distributed.join(environment)
    assert (alone.rank, alone.world, alone.first) == (0, 1, True)
    assert alone.gathered(5) == [5]
    assert alone.device("auto") == "auto"
    alone.meet()
