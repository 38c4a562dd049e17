"""Folder jobs: what becomes of each file."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from make_it_real.images import decode
from make_it_real.images.framing import Framing
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.inference.batch import Model, Settings, run
from make_it_real.inference.jobs import STDIN, Job
from make_it_real.inference.planning import plan
from make_it_real.inference.projection import drift, project
from make_it_real.models.ign import IGN

PLAIN = Framing()


def touch(folder: Path, *names: str) -> None:
    """Make files of no content; planning never looks inside."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture(params=[1, 3])
def workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """How many batches go side by side: as many as torch says that it has threads.

    In truth each worker and these tests have one: more wait for each other on a busy machine.
    """
    before, limit = torch.get_num_threads(), torch.set_num_threads
    limit(1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: limit(1))
    yield request.param
    limit(before)


@pytest.fixture
def pixels() -> Tensor:
    """Pixels (7, 1, 28, 28), all different."""
    return torch.randint(0, 256, (7, 1, 28, 28), generator=torch.Generator().manual_seed(0)).byte()


@pytest.fixture
def photos(pixels: Tensor, tmp_path: Path) -> Path:
    """A folder of 0.png … 6.png, which are those pixels."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, image in enumerate(pixels):
        Image.fromarray(image[0].numpy()).save(folder / f"{i}.png")
    return folder


def projected(f: IGN, pixels: Tensor, steps: int = 1) -> Tensor:
    return to_pixels(project(f, to_images(pixels), steps))


def pixels_in(files: Sequence[Path | bytes]) -> Tensor:
    """Pixels (N, C, H, W) of image files or of their bytes."""
    pictures = [decode.read(file) for file in files]
    return torch.stack([to_pixels(picture.colour * 2 - 1) for picture in pictures])


def far_apart(a: Tensor, b: Tensor) -> int:
    """The largest difference between two sets of pixels."""
    assert a.shape == b.shape
    return int((a.int() - b.int()).abs().max())


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("steps", [1, 3])
def test_the_files_hold_what_project_gives(
    tiny_f: IGN, photos: Path, pixels: Tensor, batch: int, steps: int
) -> None:
    jobs = plan([str(photos)]).jobs
    results = list(run(Model(tiny_f, PLAIN), jobs, Settings(steps=steps, batch=batch, drift=True)))
    assert [result.status for result in results] == ["changed"] * 7
    expected = projected(tiny_f, pixels, steps)
    found = pixels_in([Path(result.output) for result in results])
    assert far_apart(found, expected) <= 1
    x = to_images(pixels)
    y = project(tiny_f, x, steps)
    before, after = (drift(tiny_f, image).tolist() for image in (x, y))
    assert [r.drift_before for r in results] == pytest.approx(before, abs=1e-5)
    assert [r.drift_after for r in results] == pytest.approx(after, abs=1e-5)


def test_colour_files_hold_what_project_gives(tiny_colour_f: IGN, tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (3, 32, 32), generator=torch.Generator().manual_seed(0)).byte()
    path = tmp_path / "x.png"
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(path)
    (result,) = run(Model(tiny_colour_f, PLAIN), plan([str(path)]).jobs, Settings())
    found = pixels_in([Path(result.output)])
    assert far_apart(found, projected(tiny_colour_f, pixels[None])) <= 1


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_f_never_gets_more_images_at_once_than_asked_for(
    tiny_f: IGN, photos: Path, batch: int
) -> None:
    sizes: list[int] = []
    tiny_f.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    list(run(Model(tiny_f, PLAIN), plan([str(photos)]).jobs, Settings(batch=batch)))
    assert sum(sizes) == 7
    assert max(sizes) <= batch


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("batch", [1, 2, 64])
def test_results_come_in_the_order_of_the_jobs(tiny_f: IGN, photos: Path, batch: int) -> None:
    jobs = plan([str(photos)]).jobs[::-1]
    (photos / "3.png").write_bytes(b"")
    (photos / "5.png").write_bytes(b"text")
    results = list(run(Model(tiny_f, PLAIN), jobs, Settings(batch=batch)))
    assert [result.input for result in results] == [str(job.source) for job in jobs]


@pytest.mark.usefixtures("workers")
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_bad_files_fail_alone(
    tiny_f: IGN,
    photos: Path,
    pixels: Tensor,
    batch: int,
    huge_png: bytes,
    truncated_png: bytes,
) -> None:
    bad = {"0": b"", "2": b"text", "4": truncated_png, "6": huge_png}
    for stem, content in bad.items():
        (photos / f"{stem}.png").write_bytes(content)
    jobs = plan([str(photos)]).jobs
    results = {
        Path(r.input).stem: r for r in run(Model(tiny_f, PLAIN), jobs, Settings(batch=batch))
    }
    assert {stem for stem, r in results.items() if r.status == "failed"} == set(bad)
    assert all(results[stem].reason and results[stem].drift_before is None for stem in bad)
    good = [results[stem] for stem in ("1", "3", "5")]
    assert [r.status for r in good] == ["changed"] * 3
    found = pixels_in([Path(r.output) for r in good])
    assert far_apart(found, projected(tiny_f, pixels[[1, 3, 5]])) <= 1
    assert everything_in(photos.with_name("photos_real")) == ["1.png", "3.png", "5.png"]


def test_nothing_but_bad_files_is_no_disaster(tiny_f: IGN, photos: Path) -> None:
    for path in photos.iterdir():
        path.write_bytes(b"")
    results = list(run(Model(tiny_f, PLAIN), plan([str(photos)]).jobs, Settings()))
    assert [r.reason for r in results] == ["the file is empty"] * 7
    assert not photos.with_name("photos_real").exists()


def test_no_jobs_give_no_results(tiny_f: IGN) -> None:
    assert list(run(Model(tiny_f, PLAIN), (), Settings())) == []


def test_an_image_over_the_limit_of_pixels_fails(tiny_f: IGN, photos: Path) -> None:
    results = run(Model(tiny_f, PLAIN), plan([str(photos)]).jobs, Settings(max_pixels=783))
    assert {r.reason for r in results} == {
        "28×28 pixels are more than the limit of 783 (--max-pixels)"
    }


def test_a_folder_job_skips_what_exists(tiny_f: IGN, photos: Path) -> None:
    jobs = plan([str(photos)]).jobs
    touch(photos.with_name("photos_real"), "1.png", "4.png")
    results = list(run(Model(tiny_f, PLAIN), jobs, Settings()))
    assert [r.status for r in results].count("changed") == 5
    assert [r.status for r in (results[1], results[4])] == ["skipped"] * 2
    assert results[1].reason == "the output exists; --overwrite replaces it"
    assert jobs[1].output.read_bytes() == b""
    assert [r.status for r in run(Model(tiny_f, PLAIN), jobs, Settings())] == ["skipped"] * 7


def test_a_single_file_does_not_replace_what_exists(
    tiny_f: IGN, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    out.write_bytes(b"old")
    (result,) = run(Model(tiny_f, PLAIN), plan([str(photos / "0.png")], out).jobs, Settings())
    assert (result.status, result.reason) == (
        "failed",
        "the output exists; --overwrite replaces it",
    )
    assert out.read_bytes() == b"old"


def test_overwrite_replaces_what_exists(tiny_f: IGN, photos: Path, pixels: Tensor) -> None:
    out = photos.with_name("photos_real")
    touch(out, *(f"{i}.png" for i in range(7)))
    settings = Settings(overwrite=True)
    results = list(run(Model(tiny_f, PLAIN), plan([str(photos)], overwrite=True).jobs, settings))
    assert [r.status for r in results] == ["changed"] * 7
    assert far_apart(pixels_in(sorted(out.iterdir())), projected(tiny_f, pixels)) <= 1
    assert everything_in(out) == [f"{i}.png" for i in range(7)]


@pytest.mark.parametrize("name", ["file/out", "file/out.png", "file"])
def test_an_output_that_cannot_be_written_fails_and_is_said(
    tiny_f: IGN, photos: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_bytes(b"a regular file")
    jobs = plan([str(photos / "0.png")], tmp_path / name).jobs
    (result,) = run(Model(tiny_f, PLAIN), jobs, Settings())
    assert (result.status, result.drift_before) == ("failed", None)
    assert result.reason.startswith("can't make the folder ")
    assert (tmp_path / "file").read_bytes() == b"a regular file"


def test_an_output_name_that_is_too_long_fails_alone(tiny_f: IGN, photos: Path) -> None:
    long = "n" * 250 + ".png"
    (photos / "0.png").rename(photos / long)
    jobs = plan([str(photos / long), str(photos / "1.png")]).jobs
    first, second = run(Model(tiny_f, PLAIN), jobs, Settings())
    assert (first.status, second.status) == ("failed", "changed")
    assert "File name too long" in first.reason


@pytest.mark.parametrize(
    ("name", "format", "close"),
    [("x.png", "PNG", 1), ("x.PNG", "PNG", 1), ("x.webp", "WEBP", 1), ("x.jpg", "JPEG", 60)],
)
def test_the_outputs_suffix_is_its_format(
    tiny_f: IGN, photos: Path, pixels: Tensor, name: str, format: str, close: int
) -> None:
    out = photos.parent / name
    (result,) = run(Model(tiny_f, PLAIN), plan([str(photos / "0.png")], out).jobs, Settings())
    assert result.status == "changed"
    with Image.open(out) as image:
        assert image.format == format
        found = torch.from_numpy(np.array(image.convert("L")))
    assert far_apart(found[None, None], projected(tiny_f, pixels[:1])) <= close


def test_a_png_says_how_it_was_made(tiny_f: IGN, photos: Path) -> None:
    model = Model(tiny_f, PLAIN, text={"model": "tiny", "steps": "1"})
    (result,) = run(model, plan([str(photos / "0.png")]).jobs, Settings())
    with Image.open(result.output) as image:
        assert image.info == {"model": "tiny", "steps": "1"}


def test_what_goes_to_stdout_is_returned_and_not_written(
    tiny_f: IGN, photos: Path, pixels: Tensor
) -> None:
    data = (photos / "0.png").read_bytes()
    before = everything_in(photos.parent)
    jobs = (Job(STDIN, photos / "1.png", data=data),)
    (result,) = run(Model(tiny_f, PLAIN), jobs, Settings(to_stdout=True))
    assert (result.input, result.output, result.status) == ("-", "-", "changed")
    assert result.encoded is not None
    assert far_apart(pixels_in([result.encoded]), projected(tiny_f, pixels[:1])) <= 1
    assert everything_in(photos.parent) == before


def test_what_was_done_to_the_picture_is_reported(tiny_f: IGN, tmp_path: Path) -> None:
    image = Image.new("L", (100, 60), 255)
    image.paste(0, (40, 10, 48, 50))
    image.save(tmp_path / "x.png")
    jobs = plan([str(tmp_path / "x.png")]).jobs
    framing = Framing(-1.0, 0.714, 0.084)
    (auto,) = run(Model(tiny_f, framing), jobs, Settings(to_stdout=True))
    assert auto.inverted
    assert auto.done == ("cropped to what is drawn (8×40)", "inverted")
    (kept,) = run(Model(tiny_f, framing), jobs, Settings(to_stdout=True, how="pad", invert=False))
    assert not kept.inverted
    assert kept.done == ("resized from 100×60", "padded")


@pytest.mark.usefixtures("workers")
def test_closing_stops_early_and_leaves_whole_files(tiny_f: IGN, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    with io.BytesIO() as file:
        Image.effect_noise((28, 28), 80).save(file, "PNG")
        for i in range(200):
            (folder / f"{i:03}.png").write_bytes(file.getvalue())
    results = run(Model(tiny_f, PLAIN), plan([str(folder)]).jobs, Settings(batch=1))
    assert next(results).status == "changed"
    results.close()  # type: ignore[attr-defined]
    written = sorted((tmp_path / "many_real").iterdir())
    assert 1 <= len(written) < 200
    assert pixels_in(written).shape[1:] == (1, 28, 28)


def test_torch_has_its_threads_back_afterwards(tiny_f: IGN, photos: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        results = list(run(Model(tiny_f, PLAIN), plan([str(photos)]).jobs, Settings(batch=1)))
        assert (len(results), torch.get_num_threads()) == (7, 2)
    finally:
        torch.set_num_threads(before)


def test_links_that_lead_nowhere_fail_alone(here: Path, tiny_f: IGN) -> None:
    (here / "p").mkdir()
    (here / "p/loop.png").symlink_to("loop.png")
    (here / "p/gone.png").symlink_to("nowhere.png")
    Image.new("L", (28, 28)).save(here / "p/x.png")
    results = list(run(Model(tiny_f, PLAIN), plan(["p"]).jobs, Settings()))
    assert [(Path(r.input).name, r.status) for r in results] == [
        ("gone.png", "failed"),
        ("loop.png", "failed"),
        ("x.png", "changed"),
    ]
