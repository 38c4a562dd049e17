"""mir project --noise: variants of a picture by seed and level, as a grid or as files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.images import decode, encode, pixels
from make_it_real.inference.projection import project
from make_it_real.models.ign import IGN


def mir(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["project", "-d", "cpu", *arguments])


@pytest.fixture
def digit() -> Tensor:
    """A grey image of the model's size, (1, 28, 28) in [−1, 1], of whole 8-bit levels."""
    image = torch.full((1, 28, 28), -1.0)
    image[:, 5:23, 12:16] = 1.0
    return image


@pytest.fixture
def here(here: Path, digit: Tensor) -> Path:
    """The current folder, which holds a.png alone, of the model's size."""
    (here / "a.png").write_bytes(encode.encode(digit))
    return here


def read(path: str) -> Tensor:
    """The 8-bit levels of a PNG, (1, H, W)."""
    with Image.open(path) as image:
        return torch.from_numpy(np.asarray(image.convert("L")).copy())[None]


def made(f: IGN, image: Tensor, level: float, seeds: list[int], steps: int = 1) -> Tensor:
    """The variants of one image (C, S, S), (len(seeds), C, S, S)."""
    return project(f, image[None], steps, noise=level, seeds=seeds)


def assert_same(path: str, image: Tensor) -> None:
    """Compare but for a level, since a batch's last bits may differ."""
    given, wanted = read(path).int(), pixels.to_pixels(image).int()
    assert given.shape == wanted.shape
    assert (given - wanted).abs().max() <= 1


def test_a_grid_of_seeds(here: Path, tiny_model: Path, tiny_f: IGN, digit: Tensor) -> None:
    line = ["-m", str(tiny_model), "--noise", "0.8", "--n", "4", "--seed", "3", "--json"]
    result = mir("a.png", *line)
    assert result.exit_code == 0, result.output
    fields = json.loads(result.stdout)
    assert (fields["output"], fields["noise"], fields["seeds"]) == (
        "a_real.png", [0.8], [3, 4, 5, 6],
    )  # fmt: skip
    assert fields["status"] == "changed"
    assert_same("a_real.png", pixels.grid(made(tiny_f, digit, 0.8, [3, 4, 5, 6])))
    with Image.open("a_real.png") as image:
        assert image.info["noise"] == "0.8"
        assert image.info["seeds"] == "3-6"


def test_levels_are_columns_and_seeds_rows(
    here: Path, tiny_model: Path, tiny_f: IGN, digit: Tensor
) -> None:
    line = ["-m", str(tiny_model), "--noise", "0,0.5,2", "--seeds", "7,1", "-k", "2"]
    assert mir("a.png", *line, "-o", "way.png").exit_code == 0
    cells = [made(tiny_f, digit, s, [seed], 2)[0] for seed in (7, 1) for s in (0, 0.5, 2)]
    assert_same("way.png", pixels.grid(torch.stack(cells), columns=3))
    with Image.open("way.png") as image:
        assert (image.info["noise"], image.info["seeds"]) == ("0,0.5,2", "7,1")


def test_a_folder_gets_a_file_for_each_variant(
    here: Path, tiny_model: Path, tiny_f: IGN, digit: Tensor
) -> None:
    command = ["a.png", "-m", str(tiny_model), "--noise", "0.5,1", "-o", "out", "--json"]
    result = mir(*command, "--n", "2", "--seed", "1")
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    names = [Path(line["output"]).name for line in lines]
    assert names == [
        f"a-noise{level}-seed00000{seed}.png" for seed in (1, 2) for level in ("0.5", "1")
    ]
    assert [(line["noise"], line["seeds"]) for line in lines] == [
        ([level], [seed]) for seed in (1, 2) for level in (0.5, 1.0)
    ]
    assert sorted(names) == sorted(path.name for path in Path("out").iterdir())
    for line in lines:
        wanted = made(tiny_f, digit, line["noise"][0], line["seeds"])
        assert_same(line["output"], wanted[0])
        # |f(y) − y| is that of each variant, |f(x) − x| that of the picture.
        y = wanted[0]
        assert line["drift_after"] == pytest.approx(
            float((project(tiny_f, y[None])[0] - y).abs().mean()), rel=1e-3
        )
    assert len({line["drift_before"] for line in lines}) == 1
    with Image.open(lines[0]["output"]) as image:
        assert (image.info["noise"], image.info["seed"]) == ("0.5", "1")
    # More seeds later: those that are there stay, and are said to be skipped.
    before = Path(lines[0]["output"]).stat().st_mtime_ns
    result = mir(*command, "--n", "3", "--seed", "1")
    assert result.exit_code == 0, result.output
    status = [json.loads(line)["status"] for line in result.stdout.splitlines()]
    assert status == ["skipped"] * 4 + ["changed"] * 2
    assert Path(lines[0]["output"]).stat().st_mtime_ns == before


def test_a_folder_of_pictures_gets_a_grid_each_and_goes_on(
    here: Path, tiny_model: Path, digit: Tensor
) -> None:
    for name in ("p", "q"):
        (here / "in").mkdir(exist_ok=True)
        (here / "in" / f"{name}.png").write_bytes(encode.encode(digit))
    line = ["in", "-m", str(tiny_model), "--noise", "1", "-n", "2"]
    assert mir(*line).exit_code == 0
    assert read("in_real/p.png").shape == (1, 28, 58)
    result = mir(*line, "--json")
    assert [json.loads(line)["status"] for line in result.stdout.splitlines()] == ["skipped"] * 2


def test_one_variant_in_a_folder_keeps_the_name(here: Path, tiny_model: Path) -> None:
    assert mir("a.png", "-m", str(tiny_model), "--noise", "1", "-o", "out").exit_code == 0
    assert [path.name for path in Path("out").iterdir()] == ["a.png"]


def test_the_same_seed_is_the_same_image_in_a_grid_of_a_large_picture(
    here: Path, tiny_colour_model: Path
) -> None:
    """What f changes is pasted back into the picture's own size, for each seed."""
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (80, 96, 3), dtype=np.uint8)).save("p.png")
    line = ["p.png", "-m", str(tiny_colour_model), "--noise", "1"]
    assert mir(*line, "--n", "2", "-o", "grid.png").exit_code == 0
    assert mir(*line, "--n", "2", "-o", "each").exit_code == 0
    sheet = decode.read(here / "grid.png").colour
    assert sheet.shape == (3, 80, 2 * 96 + 2)
    tiles = [sheet[:, :, i * 98 : i * 98 + 96] for i in range(2)]
    for seed, tile in enumerate(tiles):
        alone = decode.read(here / f"each/p-seed00000{seed}.png").colour
        assert torch.equal(alone, tile)
    assert not torch.equal(tiles[0], tiles[1])


def test_a_grid_that_no_memory_holds_is_refused_in_one_line(
    here: Path, tiny_colour_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from make_it_real.inference import variations

    monkeypatch.setattr(variations, "GRID_PIXELS", 10_000)
    Image.new("RGB", (96, 80), "red").save("p.png")
    result = mir("p.png", "-m", str(tiny_colour_model), "--noise", "1", "--n", "4")
    assert result.exit_code == 1
    assert "a grid of 4 pictures of 96×80 pixels is too large: name a folder by -o" in result.stderr


def test_transparency_stays_in_a_grid(here: Path, tiny_colour_model: Path) -> None:
    Image.new("RGBA", (80, 80), (200, 30, 30, 128)).save("p.png")
    line = ["p.png", "-m", str(tiny_colour_model), "--noise", "1", "--n", "2", "-o", "grid.png"]
    assert mir(*line).exit_code == 0
    with Image.open("grid.png") as image:
        alpha = np.asarray(image.getchannel("A"))
    assert alpha.shape == (80, 162)
    assert (alpha[:, :80] == 128).all()
    assert (alpha[:, 80:82] == 0).all()


def test_a_dry_run_names_every_file(here: Path, tiny_model: Path) -> None:
    line = ["a.png", "-m", str(tiny_model), "--noise", "1", "--n", "2", "-o", "out/"]
    result = mir(*line, "--dry-run")
    assert result.stdout.splitlines() == [
        f"a.png -> out/a-seed00000{seed}.png" for seed in (0, 1)
    ]  # fmt: skip
    assert not Path("out").exists()


def test_a_gallery_has_a_card_for_each_file(here: Path, tiny_model: Path) -> None:
    line = ["a.png", "-m", str(tiny_model), "--noise", "1", "--n", "2"]
    assert mir(*line, "-o", "out/", "--gallery", "page.html").exit_code == 0
    assert Path("page.html").read_text().count("<figure ") == 2
    assert mir(*line, "--gallery", "grid.html").exit_code == 0
    assert Path("grid.html").read_text().count("<figure ") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--n", "3"], "--n is about the noise that --noise adds"),
        (["--seeds", "3"], "--seeds is about the noise that --noise adds"),
        (["--seed", "0"], "--seed is about the noise that --noise adds"),
        (["--noise", "1", "--n", "2", "--seeds", "3"], "--n and --seeds both choose seeds"),
        (["--noise", "-1"], "must be a level of 0 or more"),
        (["--noise", "nan"], "must be a level of 0 or more"),
        (["--noise", "1,x"], "must be a level of 0 or more"),
        (["--noise", "1,1.0"], "a level is named twice"),
        (["--noise", "1", "--seeds", "4,4"], "a seed is named twice"),
        (["--noise", "1", "--heat", "h.png"], "--heat compares with the picture without noise"),
    ],
)
def test_what_makes_no_sense_is_wrong_usage(
    here: Path, tiny_model: Path, arguments: list[str], said: str
) -> None:
    result = mir("a.png", "-m", str(tiny_model), *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", "").split())
    assert [path.name for path in here.iterdir()] == ["a.png"]


def test_a_model_of_photographs_makes_nothing_of_noise(here: Path, any_size_model: Path) -> None:
    result = mir("a.png", "-m", str(any_size_model), "--noise", "1")
    assert result.exit_code == 2
    assert "--noise is not for halves, which repairs pictures" in " ".join(result.stderr.split())


def test_without_a_model_noise_is_for_faces(here: Path) -> None:
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save("p.png")
    result = mir("p.png", "--noise", "1", "--n", "2", "--json", "--scale", "2")
    assert result.exit_code == 0, result.output
    fields = json.loads(result.stdout)
    assert fields["model"] == "faces"
    with Image.open(fields["output"]) as image:
        assert image.size == (260, 128)
