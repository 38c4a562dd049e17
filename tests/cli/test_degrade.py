"""mir degrade: damage at an image's own size, named, seeded, and shown as the paper does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.cli.degrade import KINDS
from make_it_real.degradations.kinds import DEGRADATIONS, degraded
from make_it_real.images import decode


def mir(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def photo(here: Path) -> Path:
    """A colour picture of 40×30."""
    path = here / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((40, 30)).save(path)
    return path


def test_the_command_s_kinds_are_the_library_s() -> None:
    assert set(KINDS) == set(DEGRADATIONS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_works_at_an_image_s_own_size(photo: Path, kind: str) -> None:
    result = mir("degrade", photo, "--kind", kind)
    assert result.exit_code == 0, result.output
    out = photo.with_name("photo_degraded.png")
    assert result.stdout == f"{out}\n"
    with Image.open(out) as made, Image.open(photo) as given:
        assert made.size == given.size
        assert made.tobytes() != given.tobytes()
        assert made.info["damage"] == f"{kind} {DEGRADATIONS[kind].default:g}"
        assert made.info["seed"] == "0"


def test_grayscale_is_the_channel_mean(photo: Path) -> None:
    mir("degrade", photo, "--kind", "grayscale", "-o", "g.png")
    x = decode.read(photo).colour
    found = decode.read(Path("g.png")).colour
    torch.testing.assert_close(found, x.mean(0, keepdim=True).expand(3, -1, -1), atol=0.003, rtol=0)


def test_noise_has_the_level_asked_for(here: Path) -> None:
    Image.new("L", (200, 200), 128).save("grey.png")
    mir("degrade", "grey.png", "--kind", "noise", "--level", 0.3, "-o", "n.png")
    assert float(decode.read(Path("n.png")).colour.std() * 2) == pytest.approx(0.3, rel=0.03)


def test_several_kinds_are_done_in_turn_each_at_its_level(photo: Path) -> None:
    result = mir("degrade", photo, "--kind", "blur=1", "--kind", "jpeg=40", "-o", "b.png", "-v")
    assert result.exit_code == 0, result.output
    assert "blur: level 1, standard deviation in pixels" in result.stderr
    x = decode.read(photo).colour[None] * 2 - 1
    generator = torch.Generator()
    wanted = degraded(degraded(x, "blur", 1, generator=generator), "jpeg", 40, generator=generator)
    torch.testing.assert_close(decode.read(Path("b.png")).colour * 2 - 1, wanted[0])
    with Image.open("b.png") as made:
        assert made.info["damage"] == "blur 1, jpeg 40"


def test_a_kind_s_level_may_be_written_behind_it(photo: Path) -> None:
    mir("degrade", photo, "--kind", "scratches=2", "-o", "a/photo.png")
    mir("degrade", photo, "--kind", "scratches", "--level", 2, "-o", "b/photo.png")
    assert Path("a/photo.png").read_bytes() == Path("b/photo.png").read_bytes()


def test_a_name_a_level_and_a_seed_are_one_damage(photo: Path, here: Path) -> None:
    other = here / "other.png"
    other.write_bytes(photo.read_bytes())
    mir("degrade", photo, "-o", "alone.png")
    mir("degrade", photo, "--seed", 1, "-o", "seed.png")
    mir("degrade", other, photo, "-o", "both/")
    alone = decode.read(Path("alone.png")).colour
    assert torch.equal(decode.read(Path("both/photo.png")).colour, alone)
    assert not torch.equal(decode.read(Path("seed.png")).colour, alone)
    assert not torch.equal(decode.read(Path("both/other.png")).colour, alone)


def test_folders_keep_their_tree_and_a_second_run_skips(here: Path) -> None:
    (here / "in" / "deep").mkdir(parents=True)
    for name in ("a.png", "deep/b.png"):
        Image.new("L", (9, 9), 100).save(here / "in" / name)
    first = mir("degrade", "in", "-r", "--json")
    assert first.exit_code == 0, first.output
    lines = [json.loads(line) for line in first.stdout.splitlines()]
    outputs = sorted(str(Path(line["output"]).relative_to(here)) for line in lines)
    assert outputs == ["in_degraded/a.png", "in_degraded/deep/b.png"]
    assert all(line["damage"] == [{"kind": "noise", "level": 0.15}] for line in lines)
    assert all(line["changed"] > 0 for line in lines)
    second = mir("degrade", "in", "-r")
    assert second.stdout == ""
    assert "2 skipped" in second.stderr


def test_nothing_is_overwritten_and_names_go_on(photo: Path) -> None:
    mir("degrade", photo)
    before = photo.with_name("photo_degraded.png").read_bytes()
    assert mir("degrade", photo, "--seed", 3).stdout.strip().endswith("photo_degraded_2.png")
    assert photo.with_name("photo_degraded.png").read_bytes() == before


def test_a_bad_file_fails_alone(photo: Path) -> None:
    Path("bad.png").write_bytes(b"no image")
    result = mir("degrade", photo, "bad.png", "none.png")
    assert result.exit_code == 1
    assert photo.with_name("photo_degraded.png").exists()
    assert "bad.png: not an image of a known kind" in result.stderr
    assert "none.png: no such file or folder" in result.stderr


@pytest.mark.parametrize(
    ("options", "exit_code", "said"),
    [
        (["--kind", "rain"], 2, "--kind rain"), (["--kind", "jpeg=300"], 2, "1 to 95"),
        (["--kind", "jpeg=much"], 2, "'much' is no level"),
        (["--kind", "blur", "--kind", "jpeg", "--level", "2"], 2, "--level is of one kind"),
        (["--kind", "blur=1", "--level", "2"], 2, "--level is of one kind"),
        (["--kind", "jpeg", "--level", "300"], 2, "1 to 95"),
        (["--level", "-1"], 2, "0 to inf"), (["--strip", "x.jpg"], 2, "--strip"),
        (["--gallery", "x.txt"], 2, "--gallery"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_usage_is_told(photo: Path, options: list[str], exit_code: int, said: str) -> None:
    result = mir("degrade", photo, *options)
    assert result.exit_code == exit_code
    assert said in result.output
    assert not photo.with_name("photo_degraded.png").exists()


def test_the_strip_is_x_and_damage_and_f_twice(tiny_model: Path, here: Path) -> None:
    x = torch.zeros(1, 28, 28)
    x[:, 5:20, 8:12] = 1
    Image.fromarray((x[0] * 255).byte().numpy()).save("x.png")
    result = mir(
        "degrade", "x.png", "--kind", "mask", "--strip", "s.png", "--gallery", "g.html",
        "-m", tiny_model, "-d", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    sheet = decode.read(Path("s.png")).colour
    assert sheet.shape == (1, 28, 4 * 30 - 2)
    torch.testing.assert_close(sheet[:, :, :28], x, atol=0.003, rtol=0)
    Ax = decode.read(Path("x_degraded.png")).colour
    torch.testing.assert_close(sheet[:, :, 30:58], Ax, atol=0.003, rtol=0)
    page = Path("g.html").read_text()
    assert page.count("<figure") == 1
    assert 'class="before"' in page


# --- The new kinds ---


def test_the_sketch_is_the_paper_s_formula() -> None:
    x = torch.rand(2, 3, 40, 36, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.6
    found = degraded(x, "sketch", generator=torch.Generator())
    # A Gaussian over 21 × 21 pixels, as torchvision makes one of a size, one pixel by hand.
    sigma = 0.3 * ((21 - 1) / 2 - 1) + 0.8
    offsets = torch.arange(-10, 11, dtype=torch.float64)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    g = x.double().mean(1)
    r, c = 20, 18
    around = g[:, r - 10 : r + 11, c - 10 : c + 11]
    blurred = (around * weights[:, None] * weights[None, :]).sum((1, 2))
    wanted = ((g[:, r, c] + 1) / (blurred + 1) - 1).clamp(-1, 1)
    for channel in range(3):
        torch.testing.assert_close(found[:, channel, r, c].double(), wanted, atol=1e-5, rtol=0)
    assert found.abs().max() <= 1


@pytest.mark.parametrize("count", [0, 1, 4])
def test_scribbles_paint_strokes_of_three_colours_and_leave_the_rest(count: int) -> None:
    x = torch.full((3, 1, 60, 60), 0.3)
    y = degraded(x, "scribbles", count, generator=torch.Generator().manual_seed(1))
    painted = y[y != torch.tensor(0.3)]
    assert set(painted.tolist()) <= {-1.0, 0.0, 1.0}
    share = len(painted) / x.numel()
    assert share == 0 if count == 0 else 0.002 < share < 0.12 * count
