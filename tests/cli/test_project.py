"""mir project, as people call it: what is written where, what is said, and how it exits."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from make_it_real.cli import app, console
from make_it_real.images import decode, pixels
from make_it_real.images.framing import Framing, fit
from make_it_real.inference.projection import project
from make_it_real.inference.report import Status
from make_it_real.inference.scoring import LEVELS, score
from make_it_real.models.ign import IGN
from make_it_real.weights import model_file

PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB\x60\x82"
FRAMING = Framing(background=-1.0, extent=0.714, stroke=0.084)


def sketch(level: int = 0) -> bytes:
    """A PNG of a thick stroke on white paper."""
    image = Image.new("L", (120, 80), 255)
    image.paste(level, (50, 15, 62, 65))
    with io.BytesIO() as file:
        image.save(file, "PNG")
        return file.getvalue()


def everything_in(folder: Path) -> dict[str, bytes]:
    """Each file below a folder, with its content."""
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}


@pytest.fixture
def here(here: Path) -> Path:
    """The current folder, which holds a.png alone."""
    (here / "a.png").write_bytes(sketch())
    return here


def mir(model: Path | str, *arguments: str, stdin: bytes | None = None) -> Result:
    """``mir project`` in this process, on the CPU unless the arguments say otherwise."""
    line = ["project", "-m", str(model), "-d", "cpu", *arguments]
    return CliRunner().invoke(app, line, input=stdin)


def mir_of(command: str, model: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [command, "-m", str(model), "-d", "cpu", *arguments])


def mir_process(
    model: Path | str, *arguments: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """``mir project`` as a process of its own."""
    line = ["-m", "make_it_real", "project", "-m", str(model), "-d", "cpu", *arguments]
    return subprocess.run([sys.executable, *line], input=stdin, capture_output=True, check=False)


# A model of any size


def photograph(path: Path, mode: str = "RGB", seed: int = 0) -> None:
    """Noise beside mid-grey, which ``any_size_model`` leaves alone."""
    pixels = torch.randint(0, 256, (40, 60, 3), generator=torch.Generator().manual_seed(seed))
    pixels[:, :30] = 128
    Image.fromarray(pixels.byte().numpy()).convert(mode).save(path)


def test_a_photograph_keeps_its_size_and_json_says_how_much_changed(
    here: Path, any_size_model: Path
) -> None:
    photograph(here / "p.jpg")
    result = mir(any_size_model, "p.jpg", "--json")
    assert result.exit_code == 0, result.output
    line = json.loads(result.stdout)
    assert (line["status"], line["output"], line["drift_after"]) == ("changed", "p_real.png", None)
    assert 0.3 < line["changed_share"] < 0.7
    assert 0.05 < line["drift_before"] < 0.3
    assert decode.read(here / "p_real.png").colour.shape == (3, 40, 60)
    said = mir(any_size_model, "p.jpg", "-v").stderr
    assert f"{100 * line['changed_share']:.3g} % of pixels changed" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--crop"], "--crop is not for halves, which takes pictures as they are"),
        (["--fit", "pad"], "--fit is not for halves"),
        (["--invert"], "--invert is not for halves"),
        (["--scale", "5"], "--scale: photographs are enlarged up to 4 times"),
        (["--strength", "1.5"], "--strength"),
        (["--tile", "8"], "--tile"),
        (["--heat", "x.png", "p.png"], "--heat x.png is one file: name a folder"),
    ],
)
def test_what_makes_no_sense_for_photographs_is_wrong_usage(
    here: Path, any_size_model: Path, arguments: list[str], said: str
) -> None:
    photograph(here / "p.png")
    result = mir(any_size_model, "a.png", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", "").split())
    assert set(everything_in(here)) == {"a.png", "p.png"}


def test_tiles_are_for_models_of_photographs(here: Path, tiny_model: Path) -> None:
    result = mir(tiny_model, "a.png", "--tile", "512")
    assert result.exit_code == 2
    assert "--tile is for models of photographs" in result.stderr


def test_strength_is_for_every_model(here: Path, tiny_model: Path, any_size_model: Path) -> None:
    for model in (tiny_model, any_size_model):
        photograph(here / "p.png")
        images = []
        for strength in ("0", "0.5", "1"):
            out = f"{model.stem}{strength}.png"
            assert mir(model, "p.png", "-o", out, "--strength", strength).exit_code == 0
            images.append(decode.read(here / out).colour)
        none, half, full = images
        assert (full - none).abs().max() > 0.1
        torch.testing.assert_close(half, (none + full) / 2, atol=1.01 / 255, rtol=0)
    assert (here / "halves0.png").read_bytes() == (here / "p.png").read_bytes()


def test_a_heat_map_of_one_input_is_a_file_and_is_not_replaced(
    here: Path, any_size_model: Path, tiny_model: Path
) -> None:
    photograph(here / "p.png")
    assert mir(any_size_model, "p.png", "--heat", "heat.png").exit_code == 0
    with Image.open("heat.png") as image:
        assert image.size == (60, 40)
    again = mir(any_size_model, "p.png", "--heat", "heat.png")
    assert (again.exit_code, "exists" in again.stderr) == (1, True)
    assert mir(tiny_model, "p.png", "-o", "t.png", "--heat", "maps").exit_code == 0
    assert (here / "maps/t.png").exists()


def test_a_photograph_goes_through_stdin_and_stdout(here: Path, any_size_model: Path) -> None:
    photograph(here / "p.png")
    mir(any_size_model, "p.png", "-o", "out.png")
    piped = mir(any_size_model, "-", "-o", "-", stdin=(here / "p.png").read_bytes())
    assert piped.stdout_bytes == (here / "out.png").read_bytes()


# Good inputs


def test_a_picture_is_projected_beside_itself(here: Path, tiny_model: Path, tiny_f: IGN) -> None:
    result = mir(tiny_model, "a.png")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "a_real.png\n", "tiny on cpu\n")
    assert set(everything_in(here)) == {"a.png", "a_real.png"}
    fitted = fit(decode.read(here / "a.png"), 28, 1, FRAMING).image
    expected = pixels.to_pixels(project(tiny_f, fitted[None])[0])
    found = pixels.to_pixels(decode.read(here / "a_real.png").colour * 2 - 1)
    assert (found.int() - expected.int()).abs().max() <= 1


def test_scale_enlarges_a_result_without_smoothing_its_transparency_too(
    here: Path, tiny_model: Path
) -> None:
    with Image.open("a.png") as image:
        image.putalpha(image.point(lambda level: 255 - level))
        image.save("b.png")
    for name in ("a.png", "b.png"):
        found = []
        for scale in ("1", "3"):
            out = f"{scale}_{name}"
            result = mir(tiny_model, name, "-o", out, "--fit", "pad", "--scale", scale)
            assert result.exit_code == 0, result.output
            found.append(decode.read(here / out))
        small, large = found
        assert torch.equal(large.colour, pixels.enlarged(small.colour, 3))
        if small.alpha is not None and large.alpha is not None:
            assert torch.equal(large.alpha, pixels.enlarged(small.alpha, 3))
        assert (large.alpha is None) is (name == "a.png")


def test_scale_and_the_inputs_own_size_exclude_each_other(here: Path, tiny_model: Path) -> None:
    result = mir(tiny_model, "a.png", "--restore-size", "--scale", "2")
    assert result.exit_code == 2
    assert "--restore-size" in result.stderr
    assert set(everything_in(here)) == {"a.png"}


def test_the_input_stays_as_it_was_and_no_output_is_replaced(here: Path, tiny_model: Path) -> None:
    for number in range(3):
        (here / "a.png").write_bytes(sketch(number))
        assert mir(tiny_model, "a.png").exit_code == 0
    files = everything_in(here)
    assert set(files) == {"a.png", "a_real.png", "a_real_2.png", "a_real_3.png"}
    assert files["a.png"] == sketch(2)


def test_a_folder_is_projected_with_its_tree_and_then_skipped(here: Path, tiny_model: Path) -> None:
    for name in ("p/x.png", "p/sub/y.png"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(sketch())
    first = mir(tiny_model, "-r", "p")
    assert first.exit_code == 0
    assert first.stdout.splitlines() == [
        str(here / "p_real" / name) for name in ("x.png", "sub/y.png")
    ]
    assert first.stderr == "tiny on cpu\n2 changed\n"
    before = everything_in(here)
    again = mir(tiny_model, "-r", "p")
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == "tiny on cpu\n2 skipped\n"
    assert everything_in(here) == before
    replaced = mir(tiny_model, "-r", "p", "--overwrite", "-k", "2")
    assert (replaced.exit_code, replaced.stderr) == (0, "tiny on cpu\n2 changed\n")
    assert everything_in(here) != before


def test_a_glob_is_done_once(here: Path, tiny_model: Path) -> None:
    (here / "b.png").write_bytes(sketch(40))
    first = mir(tiny_model, "*.png")
    assert first.stdout.splitlines() == ["a_real.png", "b_real.png"]
    before = everything_in(here)
    again = mir(tiny_model, "*.png")
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == "tiny on cpu\n2 skipped\n"
    assert everything_in(here) == before
    # Other commands look at all of them.
    scored = mir_of("score", tiny_model, "*.png").stdout
    assert len(scored.splitlines()) == 4


def test_a_summary_knows_every_status() -> None:
    assert get_args(Status) == console.STATUSES


def test_json_lines_hold_all_there_is_to_know(here: Path, tiny_model: Path) -> None:
    (here / "bad.png").write_bytes(b"")
    result = mir(tiny_model, "a.png", "bad.png", "no.png", "--json", "-k", "2")
    assert result.exit_code == 1
    lines = {line["input"]: line for line in map(json.loads, result.stdout.splitlines())}
    keys = {
        "input", "output", "status", "reason", "warnings", "inverted", "done",
        "drift_before", "drift_after", "percentile", "changed_share", "seconds", "steps", "model",
        "face", "why", "noise", "seeds",
    }  # fmt: skip
    assert {frozenset(line) for line in lines.values()} == {frozenset(keys)}
    good = lines["a.png"]
    assert 0 < good.pop("drift_before") < 2
    assert 0 < good.pop("drift_after") < 2
    assert 0 < good.pop("changed_share") < 1
    assert good.pop("seconds") > 0
    assert good == {
        "input": "a.png",
        "output": "a_real.png",
        "status": "changed",
        "reason": "",
        "warnings": [],
        "inverted": True,
        "done": ["cropped to what is drawn (12×50)", "inverted"],
        "percentile": None,
        "steps": 2,
        "model": str(tiny_model),
        "why": "",
        "face": 1,
        "noise": [],
        "seeds": [],
    }
    assert (lines["bad.png"]["status"], lines["bad.png"]["drift_before"]) == ("failed", None)
    assert lines["bad.png"]["reason"] == "the file is empty"
    assert lines["no.png"]["reason"] == "no such file or folder"


def calibrated(model: Path, low: float, high: float) -> None:
    """Give a model file a calibration whose changes rise from low to high."""
    changes = torch.linspace(low, high, len(LEVELS), dtype=torch.float64).tolist()
    info = replace(model_file.inspect(model), calibration={"n": 9, "change": changes})
    model_file.describe(info, model)


def test_what_is_unlike_the_training_images_is_counted(here: Path, tiny_model: Path) -> None:
    # A stroke, of which f would change more than of noise that it would hardly change at all.
    calibrated(tiny_model, 0, 1e-4)
    one = mir(tiny_model, "a.png")
    assert one.exit_code == 0
    message = "unlike what the model knows (damaged, or of something else); results may be wrong"
    assert one.stderr == f"tiny on cpu\na.png looks {message}\n"
    (here / "b.png").write_bytes(sketch(90))
    several = mir(tiny_model, "a.png", "b.png", "none.png")
    assert f"\n2 of 3 pictures look {message}\n" in several.stderr
    assert mir(tiny_model, "a.png", "-q").stderr == ""
    line = json.loads(mir(tiny_model, "a.png", "--json").stdout)
    assert line["percentile"] == 100
    # As real as the training images are.
    calibrated(tiny_model, 0, 1.9)
    like = mir(tiny_model, "a.png", "--json")
    assert 0 < json.loads(like.stdout)["percentile"] < 99
    assert "look" not in like.stderr


def test_a_percentile_is_of_the_first_step(here: Path, tiny_model: Path, tiny_f: IGN) -> None:
    calibrated(tiny_model, 0, 0.2)
    fitted = fit(decode.read(here / "a.png"), 28, 1, FRAMING).image
    wanted = score(tiny_f, fitted[None], model_file.inspect(tiny_model).calibration).percentile
    assert wanted is not None
    for steps in ("1", "3"):
        line = json.loads(mir(tiny_model, "a.png", "--json", "-k", steps).stdout)
        assert line["percentile"] == float(wanted[0])


def test_the_calibration_of_an_earlier_mir_gives_no_percentile(
    here: Path, tiny_model: Path
) -> None:
    old = {"n": 9, "drift": [0.0] * len(LEVELS)}
    model_file.describe(replace(model_file.inspect(tiny_model), calibration=old), tiny_model)
    result = mir(tiny_model, "a.png", "--json")
    assert (result.exit_code, result.stderr) == (0, "tiny on cpu\n")
    assert json.loads(result.stdout)["percentile"] is None


def test_fitting_and_polarity_can_be_chosen(here: Path, tiny_model: Path) -> None:
    def report(*arguments: str) -> tuple[bool, list[str]]:
        line = json.loads(mir(tiny_model, "a.png", "--json", *arguments).stdout)
        return line["inverted"], line["done"]

    assert report("--no-invert") == (False, ["resized from 120×80", "padded"])
    assert report("--fit", "stretch") == (True, ["resized from 120×80", "inverted"])
    assert report("--fit", "crop", "--invert")[1][0] == "cropped to the central square"


def test_steps_are_how_often_f_is_applied(here: Path, tiny_model: Path) -> None:
    assert mir(tiny_model, "a.png", "-o", "once.png").exit_code == 0
    assert mir(tiny_model, "a.png", "-o", "thrice.png", "--steps", "3").exit_code == 0
    once, thrice = (here / name for name in ("once.png", "thrice.png"))
    with Image.open(once) as one, Image.open(thrice) as three:
        assert (one.info["steps"], three.info["steps"]) == ("1", "3")
        assert one.info["model"] == three.info["model"] == "tiny"
        assert one.tobytes() != three.tobytes()


def test_quiet_says_nothing_and_verbose_says_more(here: Path, tiny_model: Path) -> None:
    assert mir(tiny_model, "a.png", "-q").stderr == ""
    assert "a.png: cropped to what is drawn" in mir(tiny_model, "a.png", "-v").stderr


def test_the_model_can_come_from_the_environment(here: Path, tiny_model: Path) -> None:
    result = CliRunner().invoke(
        app, ["project", "a.png"], env={"MIR_MODEL": str(tiny_model), "MIR_DEVICE": "cpu"}
    )
    assert (result.exit_code, result.stderr) == (0, "tiny on cpu\n")


# Bad inputs

UNREADABLE = {
    "empty.png": "the file is empty",
    "text.png": "not an image of a known kind",
    "cut.png": "damaged image (",
    "huge.png": "80000×80000 pixels are more than the limit of 200,000,000",
}
NOTHING_THERE = {
    "missing.png": "no such file or folder",
    "empty": "no images in this folder",
    "papers": "no images in this folder",
    "*.gif": "no file matches",
}


@pytest.fixture
def bad(here: Path, truncated_png: bytes, huge_png: bytes) -> Path:
    """The current folder with, beside a.png, everything in UNREADABLE and NOTHING_THERE."""
    for name, content in (
        ("empty.png", b""), ("text.png", b"just some text\n"), ("cut.png", truncated_png),
        ("huge.png", huge_png), ("papers/notes.txt", b"text"),
    ):  # fmt: skip
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_bytes(content)
    (here / "empty").mkdir()
    return here


@pytest.mark.parametrize(
    ("name", "reason", "code"),
    [(name, reason, 1) for name, reason in UNREADABLE.items()]
    + [(name, reason, 3) for name, reason in NOTHING_THERE.items()],
)
def test_a_bad_input_alone_is_one_line_and_writes_nothing(
    bad: Path, tiny_model: Path, name: str, reason: str, code: int
) -> None:
    before = everything_in(bad)
    result = mir(tiny_model, name, "-q")
    assert (result.exit_code, result.stdout) == (code, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"mir: {name}: {reason}")
    assert everything_in(bad) == before


@pytest.mark.parametrize(("name", "reason"), [*UNREADABLE.items(), *NOTHING_THERE.items()])
def test_a_bad_input_does_not_keep_a_good_one_from_being_done(
    bad: Path, tiny_model: Path, name: str, reason: str
) -> None:
    before = everything_in(bad)
    result = mir(tiny_model, name, "a.png", "-q")
    assert (result.exit_code, result.stdout) == (1, "a_real.png\n")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"mir: {name}: {reason}")
    after = everything_in(bad)
    assert after.pop("a_real.png").startswith(PNG_START)
    assert after == before


def test_bad_and_good_inputs_as_a_process(bad: Path, tiny_model: Path) -> None:
    inputs = [*UNREADABLE, *NOTHING_THERE]
    done = mir_process(tiny_model, *inputs, "a.png", "-o", "out")
    assert done.returncode == 1
    assert done.stdout == f"out{os.sep}a.png\n".encode()
    lines = done.stderr.decode().splitlines()
    complaints = [line for line in lines if line.startswith("mir: ")]
    assert sorted(line.split(": ")[1] for line in complaints) == sorted(inputs)
    assert [line for line in lines if line not in complaints] == [
        "tiny on cpu",
        f"1 changed, {len(inputs)} failed",
    ]
    assert set(everything_in(bad / "out")) == {"a.png"}


def test_an_image_over_the_limit_that_is_asked_for_is_refused(here: Path, tiny_model: Path) -> None:
    result = mir(tiny_model, "a.png", "-q", "--max-pixels", "9599")
    assert result.exit_code == 1
    assert (
        result.stderr
        == "mir: a.png: 120×80 pixels are more than the limit of 9,599 (--max-pixels)\n"
    )
    assert mir(tiny_model, "a.png", "--max-pixels", "9600").exit_code == 0


def test_an_output_folder_that_cannot_be_written_is_said_for_each_input(
    here: Path, tiny_model: Path
) -> None:
    (here / "b.png").write_bytes(sketch())
    (here / "file").write_bytes(b"a regular file")
    before = everything_in(here)
    result = mir(tiny_model, "a.png", "b.png", "-o", "file/out", "-q")
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert [line.split(": ")[:3] for line in lines] == [
        ["mir", name, "can't make the folder file/out"] for name in ("a.png", "b.png")
    ]
    assert everything_in(here) == before


def test_a_file_that_exists_is_not_replaced_by_the_output(here: Path, tiny_model: Path) -> None:
    (here / "out.png").write_bytes(b"old")
    result = mir(tiny_model, "a.png", "-o", "out.png", "-q")
    assert result.exit_code == 1
    assert result.stderr == "mir: a.png: the output exists; --overwrite replaces it\n"
    assert (here / "out.png").read_bytes() == b"old"
    assert mir(tiny_model, "a.png", "-o", "out.png", "-q", "--overwrite").exit_code == 0
    assert (here / "out.png").read_bytes().startswith(PNG_START)


# No model, no device


def half(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def refused(result: Result, here: Path) -> str:
    """The one line on stderr of a call that exited with 4 and wrote nothing."""
    assert (result.exit_code, result.stdout) == (4, "")
    assert set(everything_in(here)) == {"a.png"}
    (line,) = result.stderr.splitlines()
    assert line.startswith("mir: ")
    return line


def test_a_weights_file_cut_in_half_is_refused(here: Path, tiny_model: Path) -> None:
    line = refused(mir(half(tiny_model), "a.png"), here)
    assert str(tiny_model) in line
    assert "get the file again" in line


def test_a_weights_file_that_is_none_is_refused(here: Path, tmp_path: Path) -> None:
    for name, content in (("x.safetensors", b""), ("y.safetensors", b"text" * 100)):
        (tmp_path / name).write_bytes(content)
        assert "not a " in refused(mir(tmp_path / name, "a.png"), here)


def test_an_unknown_model_is_refused(here: Path) -> None:
    assert "no model 'unicorns'" in refused(mir("unicorns", "a.png"), here)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_device_that_is_not_here_is_refused(here: Path, tiny_model: Path) -> None:
    line = refused(mir(tiny_model, "a.png", "--device", "cuda"), here)
    assert line == "mir: --device cuda: no CUDA device here; use --device cpu or auto"


@pytest.mark.parametrize("device", ["nonsense", "cuda:x", "meta", ""])
def test_a_device_that_is_none_is_refused(here: Path, tiny_model: Path, device: str) -> None:
    line = refused(mir(tiny_model, "a.png", "--device", device), here)
    assert line == f"mir: no device is called {device!r}: auto, cpu, cuda[:n] or mps"


def test_debug_shows_where_it_happened(here: Path) -> None:
    result = mir("unicorns", "a.png", "--debug")
    assert result.exit_code == 4
    assert result.stderr.startswith("Traceback ")
    assert result.stderr.splitlines()[-1].startswith("mir: no model 'unicorns'")


def test_a_refused_model_as_a_process(here: Path, tiny_model: Path) -> None:
    done = mir_process(half(tiny_model), "a.png")
    assert (done.returncode, done.stdout) == (4, b"")
    assert len(done.stderr.splitlines()) == 1


def test_no_input_as_a_process(here: Path, tiny_model: Path) -> None:
    done = mir_process(tiny_model, "no.png", "no*.png")
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.decode().splitlines() == [
        "mir: no.png: no such file or folder",
        "mir: no*.png: no file matches",
    ]


# Wrong usage


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a.png", "--steps", "0"], "--steps"),
        (["a.png", "--batch", "0"], "--batch"),
        (["a.png", "--fit", "magic"], "--fit"),
        (["a.png", "--max-pixels", "0"], "--max-pixels"),
        ([], "Missing argument"),
        (["-", "-"], "can be named once"),
        (["a.png", "a.png", "-o", "-"], "-o - takes one input"),
        (["a.png", "-", "-o", "-"], "-o - takes one input"),
        (["a.png", "-o", "-", "--json"], "-o - takes one input"),
        (["two", "-o", "-"], "-o - takes one image"),
        (["two/*.png", "-o", "-"], "-o - takes one image"),
        (["a.png", "two", "-o", "x.png"], "name a folder"),
    ],
)
def test_wrong_usage_exits_with_2_and_writes_nothing(
    here: Path, tiny_model: Path, arguments: list[str], said: str
) -> None:
    (here / "two").mkdir()
    for name in ("1.png", "2.png"):
        (here / "two" / name).write_bytes(sketch())
    before = everything_in(here)
    result = mir(tiny_model, *arguments, stdin=sketch())
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert everything_in(here) == before


def test_wrong_usage_as_a_process(here: Path, tiny_model: Path) -> None:
    done = mir_process(tiny_model, "a.png", "--steps", "0")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"--steps" in done.stderr
    assert set(everything_in(here)) == {"a.png"}


# Through pipes


def test_a_pipe_gives_exactly_a_png(here: Path, tiny_model: Path) -> None:
    done = mir_process(tiny_model, "-", "-o", "-", stdin=sketch())
    assert (done.returncode, done.stderr) == (0, b"tiny on cpu" + os.linesep.encode())
    assert done.stdout.startswith(PNG_START)
    assert done.stdout.endswith(PNG_END)
    assert set(everything_in(here)) == {"a.png"}
    assert mir(tiny_model, "a.png", "-o", "file.png").exit_code == 0
    assert done.stdout == (here / "file.png").read_bytes()


def test_a_file_can_go_to_stdout_even_where_its_default_output_exists(
    here: Path, tiny_model: Path
) -> None:
    (here / "a_real.png").write_bytes(b"old")
    result = mir(tiny_model, "a.png", "-o", "-")
    assert result.exit_code == 0
    assert result.stdout_bytes.startswith(PNG_START)
    assert (here / "a_real.png").read_bytes() == b"old"


def test_stdin_goes_to_a_file_in_the_current_folder(here: Path, tiny_model: Path) -> None:
    result = mir(tiny_model, "-", stdin=sketch())
    assert (result.exit_code, result.stdout) == (0, "stdin_real.png\n")
    assert (here / "stdin_real.png").read_bytes().startswith(PNG_START)


@pytest.mark.parametrize(
    ("stdin", "reason"),
    [(b"", "the file is empty"), (b"not an image", "not an image of a known kind")],
)
def test_bad_stdin_gives_nothing_on_stdout(
    here: Path, tiny_model: Path, stdin: bytes, reason: str
) -> None:
    result = mir(tiny_model, "-", "-o", "-", "-q", stdin=stdin)
    assert (result.exit_code, result.stdout_bytes) == (1, b"")
    assert result.stderr == f"mir: -: {reason}\n"


# Interrupted


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT to send to one process")
def test_an_interrupted_folder_job_leaves_whole_files(here: Path, tiny_model: Path) -> None:
    inputs, outputs = here / "many", here / "many_real"
    inputs.mkdir()
    for i in range(2000):
        (inputs / f"{i:04}.png").write_bytes(sketch())
    # Where tests run in the background, SIGINT may be ignored, and that is passed on.
    start = (
        "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('make_it_real', run_name='__main__')"
    )
    line = [sys.executable, "-c", start, "project", "-m", str(tiny_model), "-d", "cpu"]
    with subprocess.Popen(
        [*line, "--batch", "1", "many"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            while not (outputs.is_dir() and any(outputs.glob("*.png"))):
                assert process.poll() is None
                time.sleep(0.005)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    files = everything_in(outputs)
    said = stderr.decode().splitlines()[-1]
    assert said == f"{len(files)} changed, {2000 - len(files)} not reached"
    assert 1 <= len(files) < 2000
    assert set(files) <= set(everything_in(inputs))
    assert all(c.startswith(PNG_START) and c.endswith(PNG_END) for c in files.values())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file names")
def test_a_file_name_that_is_no_text_is_printed_as_its_bytes(here: Path, tiny_model: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (here / name).write_bytes(sketch())
    done = mir_process(tiny_model, name)
    assert done.returncode == 0
    assert done.stdout.strip() == b"caf\xe9_real.png"


def test_a_gallery_shows_each_result_over_its_input(here: Path, tiny_model: Path) -> None:
    (here / "bad.png").write_bytes(b"")
    result = mir(tiny_model, "a.png", "bad.png", "--gallery", "page.html")
    assert result.exit_code == 1
    page = (here / "page.html").read_text("utf-8")
    assert page.count("data:image/png;base64,") == 2
    assert "a.png" in page
    assert "bad.png" not in page
    assert "exists" in mir(tiny_model, "a.png", "--gallery", "page.html").stderr
    assert mir(tiny_model, "a.png", "-o", "-", "--gallery", "other.html").exit_code == 2
