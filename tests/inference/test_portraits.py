"""Photos of people through a model of faces: what is aligned, written, put back and said."""

import json
import shutil
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.data import dataset
from make_it_real.errors import NO_DETECTOR, NO_FACE, DataError
from make_it_real.images import decode, faces
from make_it_real.images.alignment import Similarity, cut_out
from make_it_real.images.faces import Face, template
from make_it_real.images.framing import Framing, fit_all
from make_it_real.images.pixels import to_pixels
from make_it_real.inference.projection import project
from make_it_real.models.ign import IGN
from make_it_real.weights import model_file

PORTRAITS = Path(__file__).parents[2] / "examples" / "portraits"
SIZE = 32
WIDTH, HEIGHT = 160, 120
# Two faces, upright and tilted, of which the second is the larger one in the photo.
SMALL = Similarity(1 + 0j, -8 - 12j)
LARGE = Similarity(0.48 - 0.14j, -30 + 2j)


class Finds(Protocol):
    def __call__(self, places: list[Similarity] | None, others: int = 0) -> list[int]: ...


def face_at(place: Similarity) -> Face:
    return Face(tuple(place.back(p) for p in template(SIZE)), 0.9)


@pytest.fixture
def finds(monkeypatch: pytest.MonkeyPatch) -> Finds:
    """Sets what the detector finds in any picture; the list grows with each time it is asked.

    others: how many things more might be faces.
    """

    def set_to(places: list[Similarity] | None, others: int = 0) -> list[int]:
        asked: list[int] = []

        def search(colour: Tensor) -> tuple[list[Face], int] | None:
            asked.append(1)
            return None if places is None else ([face_at(place) for place in places], others)

        monkeypatch.setattr("make_it_real.images.framing.search", search)
        return asked

    return set_to


@pytest.fixture
def model(tiny_colour_f: IGN, tmp_path: Path) -> Path:
    """A model of aligned faces of 32×32, which changes what it is given."""
    path = tmp_path / "faces.safetensors"
    info = model_file.ModelInfo(
        name="faces", config=asdict(tiny_colour_f.config), framing=asdict(Framing(faces=True))
    )
    model_file.save(tiny_colour_f, info, path)
    return path


def noise(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed)
    small = random.integers(40, 216, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def photo(here: Path) -> Path:
    noise().save(here / "photo.png")
    return here / "photo.png"


def mir(command: str, model: Path, *arguments: str, stdin: bytes | None = None) -> Result:
    line = [command, *arguments, "-m", str(model)]
    return CliRunner().invoke(app, [*line, "-d", "cpu"], input=stdin)


def pixels(path: Path) -> Tensor:
    return to_pixels(decode.read(path).colour * 2 - 1)


def expected(f: IGN, photo: Path, place: Similarity) -> Tensor:
    """f of the face at a place, as pixels (3, S, S)."""
    x = cut_out(decode.read(photo).colour, place, SIZE) * 2 - 1
    return to_pixels(project(f, x[None].clamp(-1, 1))[0])


# One face, several, none


def test_a_face_is_aligned_and_projected(
    photo: Path, model: Path, finds: Finds, tiny_colour_f: IGN
) -> None:
    finds([LARGE])
    result = mir("project", model, "photo.png", "--crop")
    assert (result.exit_code, result.stdout) == (0, "photo_real.png\n")
    assert result.stderr == "faces on cpu\n"
    wanted = expected(tiny_colour_f, photo, LARGE)
    assert (pixels(Path("photo_real.png")).int() - wanted.int()).abs().max() <= 1


def test_what_was_done_says_where_the_face_is_and_how_it_was_turned(
    photo: Path, model: Path, finds: Finds
) -> None:
    finds([LARGE, SMALL])
    result = mir("project", model, "photo.png", "--json", "--crop")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["face"] for line in lines] == [1, 2]
    assert lines[0]["done"] == ["face 1 of 2 at 80, 53, turned by -16°, resized from 64×64"]
    assert lines[1]["done"] == ["face 2 of 2 at 24, 28, turned by 0°, resized from 32×32"]
    assert all(line["drift_before"] > 0 and line["drift_after"] >= 0 for line in lines)
    assert all(line["input"] == "photo.png" and line["warnings"] == [] for line in lines)


def test_each_face_becomes_an_image_of_its_own(
    photo: Path, model: Path, finds: Finds, tiny_colour_f: IGN
) -> None:
    finds([LARGE, SMALL])
    result = mir("project", model, "photo.png", "--crop")
    assert result.stdout.splitlines() == ["photo_real.png", "photo_real-face2.png"]
    for name, place in (("photo_real.png", LARGE), ("photo_real-face2.png", SMALL)):
        wanted = expected(tiny_colour_f, photo, place)
        assert (pixels(Path(name)).int() - wanted.int()).abs().max() <= 1


def test_a_batch_of_one_takes_a_photo_of_several_faces(
    photo: Path, model: Path, finds: Finds
) -> None:
    finds([LARGE, SMALL, SMALL])
    result = mir("project", model, "photo.png", "--batch", "1", "--crop")
    assert result.stdout.splitlines()[2:] == ["photo_real-face3.png"]


NOTHING = pytest.mark.parametrize(("found", "said"), [(None, NO_DETECTOR), ([], NO_FACE)])


@NOTHING
@pytest.mark.parametrize("size", [[], ["--crop"], ["--restore-size"]])
def test_without_a_face_nothing_is_changed_and_that_is_said(
    photo: Path,
    model: Path,
    finds: Finds,
    found: list[Similarity] | None,
    said: str,
    size: list[str],
) -> None:
    finds(found)
    result = mir("project", model, "photo.png", "--report", "report.jsonl", *size)
    assert (result.exit_code, result.stdout) == (0, "photo_real.png\n")
    assert result.stderr.splitlines() == [
        "faces on cpu", f"mir: warning: photo.png: {said}", "photo.png: unchanged",
    ]  # fmt: skip
    (line,) = map(json.loads, Path("report.jsonl").read_text().splitlines())
    assert (line["status"], line["reason"]) == ("unchanged", said)
    assert (line["warnings"], line["drift_before"], line["drift_after"]) == ([], None, None)
    assert Path("photo_real.png").read_bytes() == photo.read_bytes()


@NOTHING
def test_insisting_on_the_central_square_or_on_faces(
    photo: Path, model: Path, finds: Finds, found: list[Similarity] | None, said: str
) -> None:
    finds(found)
    square = mir("project", model, "photo.png", "--fit", "crop", "--crop", "-o", "square.png")
    assert (square.exit_code, square.stderr) == (0, "faces on cpu\n")
    assert pixels(Path("square.png")).shape[1:] == (SIZE, SIZE)
    result = mir("project", model, "photo.png", "--fit", "faces", "-o", "face.png", "--json")
    assert result.exit_code == 1
    line = json.loads(result.stdout)
    assert (line["status"], line["reason"]) == ("failed", said)
    assert result.stderr.count(said) == 1
    assert not Path("face.png").exists()


@NOTHING
def test_what_is_true_of_many_pictures_is_said_once_with_their_number(
    here: Path, model: Path, finds: Finds, found: list[Similarity] | None, said: str
) -> None:
    finds(found)
    for number in range(4):
        noise(seed=number).save(here / f"{number}.png")
    noise(SIZE, SIZE).save(here / "aligned.png")
    result = mir("project", model, "*.png", "-o", "out", "--gallery", "page.html")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 5)
    assert result.stderr.splitlines()[1:] == [
        f"mir: warning: 4 of 5 inputs: {said}", "1 changed, 4 unchanged",
    ]  # fmt: skip
    assert Path("page.html").read_text().count("<dd>unchanged</dd>") == 4
    failed = mir("project", model, "*.png", "-o", "other", "--fit", "faces")
    assert failed.exit_code == 1
    assert failed.stderr.splitlines()[-1] == "5 failed"
    if found is None:
        assert failed.stderr.count(said) == 1
    scored = mir("score", model, "*.png")
    lines = [line for line in scored.stderr.splitlines() if said in line]
    assert lines == [f"mir: warning: 4 of 5 inputs: {said}; the central square is taken"]


@pytest.mark.parametrize(
    ("size", "status"),
    [((64, 64), "changed"), ((256, 256), "changed"), ((257, 257), "unchanged"),
     ((64, 65), "unchanged"), ((20, 24), "unchanged")],
)  # fmt: skip
def test_without_the_extra_small_squares_are_taken_for_aligned_faces(
    here: Path, model: Path, finds: Finds, size: tuple[int, int], status: str
) -> None:
    finds(None)
    noise(*size).save("x.png")
    result = mir("project", model, "x.png", "--json")
    assert json.loads(result.stdout)["status"] == status
    assert f"mir: warning: x.png: {NO_DETECTOR}\n" in result.stderr
    assert pixels(Path("x_real.png")).shape[1:] == (size[1], size[0])


def test_faces_that_are_left_out_are_counted(photo: Path, model: Path, finds: Finds) -> None:
    finds([LARGE, SMALL], 1)
    result = mir("project", model, "photo.png")
    assert "mir: warning: photo.png: 2 of 3 faces: the rest is too small" in result.stderr
    finds([], 2)
    result = mir("project", model, "photo.png", "--json")
    assert json.loads(result.stdout)["done"] == ["0 of 2 faces: too small, turned away or none"]


def test_a_photo_whose_second_face_alone_is_changed_is_changed(
    here: Path, tiny_colour_f: IGN, model: Path, finds: Finds, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (WIDTH, HEIGHT), "#8a8").save("photo.png")
    finds([LARGE, SMALL, SMALL])

    def second_alone(f: IGN, images: Tensor, steps: int = 1, *, batch: int = 64) -> Tensor:
        change = torch.tensor([0.0, 0.5, 0.0])[: len(images), None, None, None]
        return images + change.to(images)

    monkeypatch.setattr("make_it_real.inference.worker.project", second_alone)
    lines = mir("project", model, "photo.png", "--crop", "--json").stdout.splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["unchanged", "changed", "unchanged"]
    (whole,) = mir("project", model, "photo.png", "--json").stdout.splitlines()
    assert json.loads(whole)["status"] == "changed"
    said = mir("project", model, "photo.png", "missing.png", "--crop").stderr
    assert said.splitlines()[-1] == "1 changed, 1 failed"


def test_a_missing_extra_is_named(
    photo: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faces, "_THREAD", threading.local())
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    result = mir("project", model, "photo.png")
    assert result.exit_code == 0
    assert "pip install -c .ci/constraints.txt '.[faces]'" in result.stderr
    assert Path("photo_real.png").read_bytes() == photo.read_bytes()


@pytest.mark.parametrize("how", ["pad", "crop", "stretch"])
def test_other_ways_to_fit_look_for_no_faces(
    photo: Path, model: Path, finds: Finds, how: str
) -> None:
    asked = finds([LARGE])
    assert mir("project", model, "photo.png", "--fit", how).exit_code == 0
    assert not asked


def test_a_picture_of_the_models_size_is_taken_as_it_is(
    here: Path, model: Path, finds: Finds
) -> None:
    asked = finds([LARGE])
    noise(SIZE, SIZE).save("aligned.png")
    assert mir("project", model, "aligned.png").exit_code == 0
    assert not asked
    assert mir("project", model, "aligned.png", "--fit", "faces", "-o", "again.png").exit_code == 0
    assert asked


def test_a_model_of_anything_else_looks_for_faces_where_it_is_told_to(
    photo: Path, tiny_model: Path, finds: Finds
) -> None:
    asked = finds([LARGE])
    assert mir("project", tiny_model, "photo.png").exit_code == 0
    assert not asked
    result = mir("project", tiny_model, "photo.png", "--fit", "faces", "--json", "-o", "face.png")
    assert "face at" in json.loads(result.stdout)["done"][0]
    assert asked


def test_a_transparent_photo_keeps_its_transparency(here: Path, model: Path, finds: Finds) -> None:
    finds([SMALL])
    image = noise().convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save("photo.png")
    assert mir("project", model, "photo.png", "--crop").exit_code == 0
    alpha = decode.read(Path("photo_real.png")).alpha
    assert alpha is not None
    # SMALL lies from row 12 on, at the photo's own scale.
    rows = (torch.arange(SIZE) + 12.5) / HEIGHT
    assert torch.allclose(alpha, rows[:, None].expand(-1, SIZE), atol=0.02)


def test_a_photo_can_be_inverted(photo: Path, model: Path, finds: Finds) -> None:
    finds([SMALL])
    (plain,) = fit_all(decode.read(photo), SIZE, 3, Framing(faces=True))
    (inverted,) = fit_all(decode.read(photo), SIZE, 3, Framing(faces=True), invert=True)
    assert torch.allclose(inverted.image, -plain.image, atol=1e-5)
    assert inverted.done[-1] == "inverted"


# Put back


@pytest.mark.parametrize("size", [[], ["--restore-size"]])
def test_faces_are_put_back_into_the_photo_and_nothing_else_is_changed(
    photo: Path, model: Path, finds: Finds, size: list[str]
) -> None:
    finds([LARGE, SMALL])
    result = mir("project", model, "photo.png", "--json", *size)
    (line,) = map(json.loads, result.stdout.splitlines())
    assert line["face"] == 1
    assert [note[:11] for note in line["done"]] == ["face 1 of 2", "face 2 of 2"]
    before, after = pixels(photo), pixels(Path("photo_real.png"))
    assert after.shape == before.shape
    rows, columns = torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5
    within = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    for place in (LARGE, SMALL):
        v, u = place.look(rows, columns)
        inside = (v >= 0) & (v <= SIZE) & (u >= 0) & (u <= SIZE)
        assert (before != after).any(0)[inside].float().mean() > 0.5
        within |= inside
    assert torch.equal(after[:, ~within], before[:, ~within])


def test_what_f_leaves_alone_stays_as_it_was(
    photo: Path, tiny_colour_f: IGN, tmp_path: Path, finds: Finds
) -> None:
    for name in ("last.weight", "last.bias", "seen.weight"):
        tiny_colour_f.get_parameter(name).zero_()
    still = tmp_path / "still.safetensors"
    info = model_file.ModelInfo(
        name="still", config=asdict(tiny_colour_f.config), framing=asdict(Framing(faces=True))
    )
    model_file.save(tiny_colour_f, info, still)
    finds([LARGE, SMALL])
    result = mir("project", still, "photo.png", "--json")
    assert json.loads(result.stdout)["status"] == "unchanged"
    assert Path("photo_real.png").read_bytes() == photo.read_bytes()
    crops = mir("project", still, "photo.png", "--json", "--crop").stdout.splitlines()
    assert [json.loads(line)["status"] for line in crops] == ["unchanged"] * 2
    assert mir("project", still, "photo.png", "-o", "photo.webp").exit_code == 0
    assert torch.equal(pixels(Path("photo.webp")), pixels(photo))


# Names and folders


def test_nothing_is_overwritten(photo: Path, model: Path, finds: Finds) -> None:
    finds([LARGE, SMALL])
    Path("photo_real-face2.png").write_bytes(b"mine")
    result = mir("project", model, "photo.png", "--crop")
    assert result.exit_code == 1
    assert result.stdout == "photo_real.png\n"
    assert "photo.png: the output exists" in result.stderr
    assert Path("photo_real-face2.png").read_bytes() == b"mine"
    again = mir("project", model, "photo.png", "--crop")
    assert again.stdout.splitlines() == ["photo_real_2.png", "photo_real_2-face2.png"]
    replaced = mir("project", model, "photo.png", "--overwrite", "--crop")
    assert replaced.stdout.splitlines() == ["photo_real.png", "photo_real-face2.png"]
    assert Path("photo_real-face2.png").read_bytes() != b"mine"


def test_a_folder_job_counts_photos_and_goes_on_where_it_was_stopped(
    here: Path, model: Path, finds: Finds
) -> None:
    finds([LARGE, SMALL])
    (here / "photos").mkdir()
    for name in ("a", "b"):
        noise(seed=ord(name)).save(here / "photos" / f"{name}.jpg")
    first = mir("project", model, "photos", "--report", "r.jsonl", "--crop")
    assert [Path(name).name for name in first.stdout.split()] == [
        "a.png", "a-face2.png", "b.png", "b-face2.png",
    ]  # fmt: skip
    assert "2 changed" in first.stderr
    assert len(Path("r.jsonl").read_text().splitlines()) == 4
    # Stopped after the second face of b was written, which comes before the first.
    (here / "photos_real" / "b.png").unlink()
    second = mir("project", model, "photos", "--json", "--crop")
    found = [json.loads(line) for line in second.stdout.splitlines()]
    assert [(Path(one["output"]).name, one["status"]) for one in found] == [
        ("a.png", "skipped"), ("b.png", "changed"), ("b-face2.png", "skipped"),
    ]  # fmt: skip
    assert "1 changed, 1 skipped" in second.stderr
    assert second.exit_code == 0


def test_a_face_does_not_take_the_name_of_another_photos_result(
    here: Path, model: Path, finds: Finds
) -> None:
    finds([LARGE, SMALL])
    (here / "photos").mkdir()
    for name in ("a.jpg", "a-face2.JPG"):
        noise(seed=len(name)).save(here / "photos" / name, "JPEG")
    result = mir("project", model, "photos", "--crop")
    assert result.exit_code == 0
    assert sorted(Path(name).name for name in result.stdout.split()) == [
        "a-face2-face2.png", "a-face2.png", "a-face2_2.png", "a.png",
    ]  # fmt: skip


def test_stdout_takes_the_largest_face_and_says_so(photo: Path, model: Path, finds: Finds) -> None:
    finds([LARGE, SMALL])
    data = photo.read_bytes()
    result = mir("project", model, "-", "-o", "-", "--crop", stdin=data)
    assert decode.read(result.stdout_bytes).colour.shape[1:] == (SIZE, SIZE)
    assert "of 2 faces only the largest" in result.stderr
    whole = mir("project", model, "-", "-o", "-", stdin=data)
    assert decode.read(whole.stdout_bytes).colour.shape[1:] == (HEIGHT, WIDTH)
    assert "largest" not in whole.stderr


def test_a_gallery_shows_each_face_beside_what_it_was(
    photo: Path, model: Path, finds: Finds
) -> None:
    finds([LARGE, SMALL])
    assert mir("project", model, "photo.png", "--gallery", "x.html", "--crop").exit_code == 0
    page = Path("x.html").read_text()
    assert page.count("<figure") == 2
    assert "photo.png (face 2)" in page
    assert page.count('class="before"') == 2


# Other commands


def test_score_and_refine_look_at_every_face(photo: Path, model: Path, finds: Finds) -> None:
    finds([LARGE, SMALL])
    scored = mir("score", model, "photo.png", "--json")
    names = {json.loads(line)["input"] for line in scored.stdout.splitlines()}
    assert names == {"photo.png", "photo.png (face 2)"}
    assert mir("refine", model, "photo.png", "-k", "2").exit_code == 0
    finds(None)
    alone = mir("score", model, "photo.png")
    said = f"warning: photo.png: {NO_DETECTOR}; the central square is taken"
    assert said in alone.stderr


def test_training_on_photos_takes_their_faces(
    here: Path, finds: Finds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "available", lambda: True)
    (here / "photos").mkdir()
    noise().save(here / "photos" / "two.png")
    noise(SIZE, SIZE).save(here / "photos" / "aligned.png")
    finds([LARGE, SMALL])
    found = dataset.load(here / "photos", size=SIZE, channels=3, faces=True)
    assert len(found) == 3
    assert torch.equal(found.pixels[0], pixels(here / "photos" / "aligned.png"))
    finds([])
    noise(SIZE, SIZE, 1).save(here / "photos" / "other.png")
    found = dataset.load(here / "photos", size=SIZE, channels=3, faces=True)
    assert len(found) == 2
    assert [reason.split(": ")[1] for reason in found.skipped] == ["no face was found"]


def test_training_on_faces_without_the_extra_is_refused(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "available", lambda: False)
    with pytest.raises(DataError, match=r"make-it-real\[faces\]"):
        dataset.load(here, faces=True)


@pytest.mark.skipif(not faces.available(), reason="needs the extra: make-it-real[faces]")
def test_training_on_portraits_makes_a_model_of_faces(here: Path) -> None:
    (here / "photos").mkdir()
    for path in PORTRAITS.glob("*.jpg"):
        shutil.copy(path, here / "photos")
    line = ["train", "photos", "-o", "run", "--size", "8", "--batch", "16", "--steps", "1", "-q"]
    result = CliRunner().invoke(app, [*line, "--faces", "-d", "cpu"])
    assert result.exit_code == 0, result.output
    path = Path("run/model.safetensors")
    assert model_file.inspect(path).framing["faces"] is True
    line = ["train", "photos", "-o", "next", "--from", "run", "--batch", "16", "--steps", "1", "-q"]
    assert CliRunner().invoke(app, [*line, "-d", "cpu"]).exit_code == 0
    assert model_file.inspect(Path("next/model.safetensors")).framing["faces"] is True


# Drawings


@pytest.fixture
def sheet(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A white sheet with a drawn face, whose square is LARGE's, which only its strokes tell of."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((55, 20, 105, 100), outline="navy", width=3)
    draw.line((65, 75, 95, 75), "red", 3)
    image.save(here / "sheet.png")
    monkeypatch.setattr("make_it_real.images.portraits.search", lambda colour: None)
    monkeypatch.setattr("make_it_real.images.portraits.locate", lambda drawing: face_at(LARGE))
    return here / "sheet.png"


def test_a_face_in_a_drawing_is_written_at_the_models_size(
    sheet: Path, model: Path, tiny_colour_f: IGN
) -> None:
    result = mir("project", model, "sheet.png", "--json")
    assert result.exit_code == 0, result.output
    assert "paper made white" in json.loads(result.stdout)["done"]
    # The paper is white as it is: f sees the drawing.
    wanted = expected(tiny_colour_f, sheet, LARGE)
    assert (pixels(Path("sheet_real.png")).int() - wanted.int()).abs().max() <= 2


def test_a_face_in_a_drawing_is_pasted_back_where_that_is_asked_for(
    sheet: Path, model: Path
) -> None:
    assert mir("project", model, "sheet.png", "--restore-size").exit_code == 0
    before, after = pixels(sheet), pixels(Path("sheet_real.png"))
    assert after.shape == before.shape
    assert not torch.equal(after, before)
    assert torch.equal(after[:, :4], before[:, :4])
