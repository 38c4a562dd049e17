"""A run's folder: nothing is lost there, and one training at a time writes to it."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from make_it_real.training import checkpoint
from make_it_real.training.folder import CHECKPOINT, LOCK, LOG, MODEL, reserve
from make_it_real.weights import model_file
from tests.training.helpers import CPU, OPTIONS, mir


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", [MODEL, "critic.safetensors", "samples/000025.png"])
def test_what_has_no_checkpoint_beside_it_is_not_replaced(
    folder: Path, tmp_path: Path, name: str
) -> None:
    out = tmp_path / "run"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_bytes(b"someone's work")
    result = mir("train", folder, "-o", out, *OPTIONS, "--steps", 1)
    assert result.exit_code == 2, result.output
    assert f"{out / name} exists" in result.stderr
    assert "--overwrite replaces it" in result.stderr
    assert contents(out) == {name: b"someone's work"}


def test_overwrite_begins_anew_and_leaves_nothing_of_the_run_before(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    assert mir("train", folder, "-o", out, *OPTIONS, "--steps", 25).exit_code == 0
    again = [*OPTIONS, "--steps", 2, "--objective", "ign", "--set", "norm=group"]
    result = mir("train", folder, "-o", out, *again, "--overwrite")
    assert result.exit_code == 0, result.output
    # The paper's objective has no critic; the one before would be taken for this model's.
    assert set(contents(out)) == {CHECKPOINT, MODEL, LOG, "samples/000002.png"}
    assert (out / LOG).read_bytes() == b""
    assert checkpoint.inspect(out / CHECKPOINT).config.objective == "ign"


HOLD = """
import sys, time
from pathlib import Path
from make_it_real.training.folder import reserve
with reserve(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_second_training_is_refused_until_the_first_is_gone(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    first = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdout=subprocess.PIPE, env=environment
    )
    assert first.stdout is not None
    try:
        assert first.stdout.readline() == b"held\n"
        for options in ([], ["--overwrite"], ["--resume"]):
            result = mir("train", folder, "-o", out, *OPTIONS, "--steps", 1, *options)
            assert result.exit_code == 2, result.output
            assert f"another mir train is at work in {out}" in result.stderr
            assert len(result.stderr.splitlines()) == 1
    finally:
        first.kill()
        first.wait()
        first.stdout.close()
    # A process that was killed leaves no lock behind.
    result = mir("train", folder, "-o", out, *OPTIONS, "--steps", 1)
    assert result.exit_code == 0, result.output
    assert set(contents(out)) == {
        CHECKPOINT, MODEL, LOG, "critic.safetensors", "samples/000001.png",
    }  # fmt: skip


def test_a_folder_that_can_not_be_written_to_is_told_before_anything_is_decoded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("make_it_real.training.setup.load", lambda *a, **k: pytest.fail("decoded"))
    (tmp_path / "file").write_text("no folder")
    result = mir("train", folder, "-o", tmp_path / "file" / "run", *OPTIONS)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert f"can't write in {tmp_path / 'file' / 'run'}: Not a directory" in result.stderr
    named = mir("train", folder, "-o", tmp_path / "file", *OPTIONS)
    assert named.exit_code == 2
    assert "is a file; name a folder" in named.stderr


def test_reserving_leaves_nothing_where_nothing_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with reserve(folder):
        assert os.listdir(folder) == [LOCK]
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_keeps_what_was_saved_before(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert mir("train", folder, "-o", out, *OPTIONS, "--steps", 1).exit_code == 0
    before = contents(out)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk, the write of a larger file fails.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        words = ["-o", out, "--resume", "--steps", 3, "--no-cache", "--device", "cpu"]
        result = mir("train", folder, *words)
        new = mir("train", folder, "-o", tmp_path / "new", *OPTIONS, "--steps", 1, "--no-cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.exit_code == 1, result.output
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"mir: step 3 can't be saved: can't write {out / CHECKPOINT}: ")
    assert last.endswith("--resume goes on from what was saved last")
    assert "Traceback" not in result.stderr
    assert contents(out) == before
    assert new.exit_code == 1
    assert new.stderr.splitlines()[-1].endswith("nothing was saved yet")


def test_images_that_are_all_alike_are_one_line(tmp_path: Path) -> None:
    equal = tmp_path / "equal"
    equal.mkdir()
    for number in range(8):
        Image.new("RGB", (16, 16), (9, 99, 200)).save(equal / f"{number}.png")
    result = mir("train", equal, "-o", tmp_path / "run", "--device", "cpu", "-q")
    assert result.exit_code == 2
    assert result.stderr == "mir: equal: all 8 images are alike: nothing to learn\n"
    assert not (tmp_path / "run").exists()
    held = mir("train", equal, "-o", tmp_path / "run", "-d", "cpu", "-q", "--set", "hold_out=7")
    assert held.exit_code == 2
    assert "hold_out is 7 of 8 images; two must be left" in held.stderr


@pytest.mark.parametrize(
    ("sizes", "side", "said"),
    [
        ([(20, 20)], 20, "the images have 20 pixels a side: trained at 20×20"),
        ([(18, 25), (30, 18)], 16, "the images have 18 pixels a side: trained at 16×16"),
        ([(20, 20), (24, 24)], 64, "the images have 20 to 24 pixels a side: trained at 64×64"),
        ([(200, 200)], 64, "the images have 200 pixels a side: trained at 64×64; --size sets"),
    ],
)
def test_the_size_is_the_images_own(
    tmp_path: Path, sizes: list[tuple[int, int]], side: int, said: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    generator = torch.Generator().manual_seed(0)
    for number in range(6):
        width, height = sizes[number % len(sizes)]
        pixels = torch.randint(0, 256, (height, width, 3), generator=generator).byte()
        Image.fromarray(pixels.numpy()).save(data / f"{number}.png")
    (data / "bad.png").write_bytes(b"no image")
    words = ["--batch", 4, "--steps", 1, "--objective", "ign", "--device", "cpu", "--no-cache"]
    result = mir("train", data, "-o", tmp_path / "run", *words)
    assert result.exit_code == 0, result.output
    assert said in result.stderr
    assert model_file.inspect(tmp_path / "run" / MODEL).config["image_size"] == side
    assert checkpoint.load(tmp_path / "run" / CHECKPOINT, CPU).objective.f.config.channels == 3


def test_a_run_says_what_was_done_and_what_comes_next(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "my run"
    result = mir("train", folder, "-o", out, *OPTIONS, "--steps", 12, "--flip")
    assert result.exit_code == 0, result.output
    estimate, done, *rest = result.stderr.splitlines()[-5:]
    assert estimate.startswith("3 steps at about ")
    assert done.startswith("12 steps in ")
    assert done.endswith(" s, 12 of 12 steps in all: all are done")
    assert rest == [
        f"  look at:   {out / 'samples' / '000012.png'}",
        f"  try:       mir generate -m '{out}'",
        f"  go on by:  mir train {folder} -o '{out}' --resume --steps 24",
    ]
    assert checkpoint.load(out / CHECKPOINT, CPU).config.flip is True
    more = mir("train", folder, "-o", out, "--resume", "--minutes", 0, "-d", "cpu", "--steps", 24)
    assert "1 step in " in more.stderr
    assert "13 of 24 steps in all: the time of --minutes is over" in more.stderr
