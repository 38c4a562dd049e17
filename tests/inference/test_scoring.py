"""mir score and mir calibrate: changes, what they mean, thresholds, heat maps."""

import json
import os
import struct
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

import make_it_real
from make_it_real.cli import app
from make_it_real.errors import WeightsError
from make_it_real.images import decode, encode
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.inference import plots, scoring
from make_it_real.inference.scoring import LEVELS, calibrate, percentile, score
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGN
from make_it_real.weights import model_file, pretrained, verify
from make_it_real.weights.safetensors_file import read_tensors, save_tensors


def noisy(n: int) -> Tensor:
    """n images (n, 1, 28, 28), each noisier than the one before."""
    generator = torch.Generator().manual_seed(0)
    sigma = torch.linspace(0, 1, n)[:, None, None, None]
    return (sigma * torch.randn(n, 1, 28, 28, generator=generator)).clamp(-1, 1)


def mir(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(here: Path) -> Path:
    """Five images of growing noise in here/x, and MNIST-like training data in here/data."""
    (here / "x").mkdir()
    for i, image in enumerate(noisy(5)):
        encode.to_pillow(image).save(here / "x" / f"{i}.png")
    (here / "data").mkdir()
    pixels = to_pixels(noisy(40))
    header = struct.pack(">HBBIII", 0, 8, 3, 40, 28, 28)
    (here / "data" / "train-images-idx3-ubyte").write_bytes(header + pixels.numpy().tobytes())
    return here / "x"


# --- The library ---


def test_a_score_has_the_change_before_and_after_the_gate(tiny_f: IGN) -> None:
    x = noisy(6)
    found = score(tiny_f, x)
    fx, r = tiny_f.with_change(x)
    torch.testing.assert_close(found.drift, (tiny_f(x) - x).abs().mean((1, 2, 3)))
    torch.testing.assert_close(found.change, r.abs().mean((1, 2, 3)))
    torch.testing.assert_close(found.r, r)
    torch.testing.assert_close(found.fx, fx)
    assert found.percentile is None
    calibration = calibrate(tiny_f, to_pixels(noisy(50)))
    ranked = score(tiny_f, x, calibration)
    assert ranked.percentile is not None
    torch.testing.assert_close(ranked.change, found.change)
    assert calibration["n"] == 50
    assert len(calibration["change"]) == len(LEVELS)
    assert make_it_real.score is score
    assert score(tiny_f, x[:0], calibration).change.shape == (0,)


def test_images_that_f_leaves_alone_are_ranked(tiny_f: IGN) -> None:
    # The gate closes for all of them.
    f = build(replace(tiny_f.config, rest=0.9)).eval()
    f.load_state_dict(tiny_f.state_dict())
    x = noisy(5) * 0.1
    found = score(f, x)
    assert found.at_rest.all()
    assert not found.drift.any()
    torch.testing.assert_close(found.fx, x, atol=0, rtol=0)
    assert (found.change > 0).all()
    assert len(set(found.change.tolist())) == 5
    torch.testing.assert_close(found.change, score(tiny_f, x).change, atol=0, rtol=0)


def test_a_percentile_is_the_share_known_to_lie_below() -> None:
    quantiles = [float(level) for level in LEVELS]
    for drift, wanted in ((0.0, 0.0), (0.5, 0.0), (50.5, 50.0), (99.05, 99.0), (1e9, 100.0)):
        assert percentile(quantiles, drift) == wanted
    # Where f leaves nine in ten training images alone, a drift of 0 is not the 90th percentile.
    many = [0.0] * 91 + [0.1] * (len(LEVELS) - 91)
    assert percentile(many, 0.0) == 0
    assert percentile(many, 0.05) == 90
    assert percentile(many, 0.2) == 100


def test_levels_rise_and_are_finest_at_the_end() -> None:
    assert list(LEVELS) == sorted(set(LEVELS))
    assert (LEVELS[0], LEVELS[-1]) == (0, 100)
    assert LEVELS[-2] == 99.99


def test_the_quantiles_are_those_of_the_change(tiny_f: IGN) -> None:
    pixels = to_pixels(noisy(101))
    change = scoring.score(tiny_f, to_images(pixels)).change.sort().values
    quantiles = calibrate(tiny_f, pixels)["change"]
    assert quantiles[0] == pytest.approx(float(change[0]), rel=1e-4)
    assert quantiles[50] == pytest.approx(float(change[50]), rel=1e-4)
    assert quantiles[-1] == pytest.approx(float(change[100]), rel=1e-4)


@pytest.mark.parametrize(
    "calibration",
    [
        {"n": 3}, {"change": [1.0]}, {"change": ["a"] * len(LEVELS)},
        {"change": [float(len(LEVELS) - i) for i in range(len(LEVELS))]},
        {"change": [-1.0] * len(LEVELS)},
        # By an earlier mir: of the drift, after the gate.
        {"n": 100, "drift": [i / 100 for i in range(len(LEVELS))]},
    ],
    ids=lambda c: str(c)[:30],
)  # fmt: skip
def test_a_strange_calibration_is_refused(tiny_f: IGN, calibration: dict[str, Any]) -> None:
    with pytest.raises(WeightsError, match=r"calibration .* mir calibrate makes a new one"):
        score(tiny_f, noisy(2), calibration)


def test_a_heat_map_is_orange_where_f_brightens_and_blue_where_it_darkens() -> None:
    change = torch.zeros(1, 3, 3)
    change[0, 0, 0], change[0, 2, 2] = 0.5, -0.5
    tinted = plots.heat(torch.zeros(1, 3, 3), change)
    assert tinted.shape == (3, 3, 3)
    red, blue = tinted[0], tinted[2]
    assert red[0, 0] > blue[0, 0]
    assert blue[2, 2] > red[2, 2]
    assert tinted[:, 1, 1].tolist() == [0, 0, 0]
    assert tinted.abs().max() <= 1
    faint = plots.heat(torch.zeros(1, 3, 3), change, peak=50.0)
    assert faint.abs().max() < 0.2


# --- The commands ---


def test_mir_score_sorts_by_change_and_says_what_is_missing(tiny_model: Path, folder: Path) -> None:
    result = mir("score", folder, "--no-invert", "-m", tiny_model, "-d", "cpu")
    assert result.exit_code == 0, result.output
    changes = [float(line.split()[0]) for line in result.stdout.splitlines()]
    assert len(changes) == 5
    assert changes == sorted(changes, reverse=True)
    assert "at rest" not in result.stdout
    assert "has no calibration" in result.stderr
    assert "mir calibrate" in result.stderr
    x = torch.stack([decode.read(p).colour * 2 - 1 for p in sorted(folder.iterdir())])
    wanted = scoring.score(pretrained.load(tiny_model), x).change
    assert sorted(changes) == pytest.approx(sorted(wanted.tolist()), abs=1e-6)


def test_at_rest_is_said_and_images_at_rest_are_still_sorted(
    tiny_model: Path, tiny_f: IGN, folder: Path
) -> None:
    f = build(replace(tiny_f.config, rest=0.9)).eval()
    f.load_state_dict(tiny_f.state_dict())
    info = replace(model_file.inspect(tiny_model), config=asdict(f.config))
    model_file.save(f, info, tiny_model)
    lines = mir("score", folder, "--no-invert", "-m", tiny_model).stdout.splitlines()
    changes = [float(line.split()[0]) for line in lines]
    assert changes == sorted(changes, reverse=True)
    assert len(set(changes)) == 5
    assert all("  at rest  " in line for line in lines)
    said = mir("score", folder, "--no-invert", "-m", tiny_model, "--json").stdout.splitlines()
    assert [json.loads(line)["change"] for line in said] == changes
    assert {(json.loads(line)["drift"], json.loads(line)["at_rest"]) for line in said} == {
        (0, True)
    }


def test_the_calibration_of_an_earlier_mir_is_not_mistaken(tiny_model: Path, folder: Path) -> None:
    old = {"n": 9, "drift": [0.0] * len(LEVELS)}
    model_file.describe(replace(model_file.inspect(tiny_model), calibration=old), tiny_model)
    result = mir("score", folder, "-m", tiny_model, "--json")
    assert result.exit_code == 0
    assert "mir calibrate makes a new one" in result.stderr
    assert {json.loads(line)["percentile"] for line in result.stdout.splitlines()} == {None}
    refused = mir("score", folder, "-m", tiny_model, "--threshold", "99%")
    assert refused.exit_code == 2
    assert "earlier mir" in " ".join(refused.stderr.split())


def test_mir_calibrate_gives_scores_a_percentile(tiny_model: Path, folder: Path) -> None:
    half = {k: v.half() for k, v in pretrained.load(tiny_model).state_dict().items()}
    save_tensors(half, {"mir": model_file.header(model_file.inspect(tiny_model))}, tiny_model)
    verify.add(pretrained.load(tiny_model), tiny_model)
    done = mir("calibrate", folder.parent / "data", "-m", tiny_model, "-d", "cpu")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tiny_model}\n"
    info = model_file.inspect(tiny_model)
    assert info.calibration["n"] == 40
    assert info.name == "tiny"
    # Stored as they were, to the type: what the probe says of them still holds.
    after = read_tensors(tiny_model)
    assert all(v.dtype == torch.float16 and torch.equal(v, half[k]) for k, v in after.items())
    assert verify.check(pretrained.load(tiny_model), tiny_model)["difference"] == 0

    result = mir("score", folder, "-m", tiny_model, "-d", "cpu", "--json")
    assert "calibration" not in result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [set(line) for line in lines] == [
        {"input", "change", "drift", "at_rest", "percentile"}
    ] * 5
    ranks = [line["percentile"] for line in lines]
    assert ranks == sorted(ranks, reverse=True)
    assert max(ranks) > 20

    share = mir("score", folder, "-m", tiny_model, "--threshold", f"{max(ranks) - 1}%", "-q")
    assert share.exit_code == 1
    assert mir("score", folder, "-m", tiny_model, "--threshold", "100%", "-q").exit_code == 0


def test_a_threshold_decides_the_exit_code(tiny_model: Path, folder: Path) -> None:
    lines = mir("score", folder, "-m", tiny_model, "--json").stdout.splitlines()
    changes = [json.loads(line)["change"] for line in lines]
    over = mir("score", folder, "-m", tiny_model, "--threshold", (changes[0] + changes[1]) / 2)
    assert over.exit_code == 1
    assert "1 of 5 above" in over.stderr
    assert len(over.stdout.splitlines()) == 5
    assert mir("score", folder, "-m", tiny_model, "--threshold", changes[0] + 1e-4).exit_code == 0


def test_heat_map_and_gallery(tiny_model: Path, folder: Path) -> None:
    result = mir("score", folder, "-m", tiny_model, "--heat", "h.png", "--gallery", "g.html", "-q")
    assert result.exit_code == 0, result.output
    with Image.open("h.png") as sheet:
        assert sheet.size == (3 * 30 - 2, 5 * 30 - 2)
        assert sheet.mode == "RGB"
        x = np.asarray(sheet)[:28, :28]
    # The first row is of the image that f would change most.
    worst = result.stdout.splitlines()[0].split()[-1]
    assert np.array_equal(x[..., 0], np.asarray(Image.open(worst)))
    page = Path("g.html").read_text()
    scores = [float(part.split('"')[0]) for part in page.split('data-score="')[1:]]
    assert scores == sorted(scores, reverse=True)
    assert len(scores) == 5


@pytest.mark.parametrize(
    ("options", "exit_code"),
    [
        (["--threshold", "much"], 2), (["--threshold", "-1"], 2), (["--threshold", "101%"], 2),
        (["--threshold", "50%"], 2), (["--heat", "x.jpg"], 2), (["--gallery", "x.png"], 2),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_usage_is_told(
    tiny_model: Path, folder: Path, options: list[str], exit_code: int
) -> None:
    result = mir("score", folder, "-m", tiny_model, *options)
    assert result.exit_code == exit_code, result.output


def test_nothing_to_score_and_something_that_fails(tiny_model: Path, folder: Path) -> None:
    assert mir("score", "none.png", "-m", tiny_model).exit_code == 3
    Path("bad.png").write_bytes(b"no image")
    result = mir("score", folder / "0.png", "bad.png", "-m", tiny_model)
    assert result.exit_code == 1
    assert "bad.png: not an image" in result.stderr
    assert len(result.stdout.splitlines()) == 1


def test_calibration_by_images_of_another_shape_is_refused(tiny_model: Path, here: Path) -> None:
    header = struct.pack(">HBBIII", 0, 8, 3, 2, 12, 12)
    Path("train-images-idx3-ubyte").write_bytes(header + bytes(2 * 144))
    before = tiny_model.read_bytes()
    result = mir("calibrate", here, "-m", tiny_model)
    # The loader brings them to the model's size; what has no images at all is refused.
    assert result.exit_code == 0, result.output
    tiny_model.write_bytes(before)
    assert mir("calibrate", here / "none", "-m", tiny_model).exit_code == 2
    assert tiny_model.read_bytes() == before


def test_a_header_s_calibration_must_be_an_object(tiny_model: Path, tiny_f: IGN) -> None:
    info = model_file.inspect(tiny_model)
    model_file.save(tiny_f, replace(info, calibration=[1, 2]), tiny_model)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="calibration"):
        model_file.inspect(tiny_model)


def test_mir_calibrate_leaves_models_that_are_not_the_user_s(
    tiny_model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folder.parent / "data"
    assert mir("calibrate", data).exit_code == 2
    monkeypatch.setattr(model_file, "bundled_folder", lambda: tiny_model.parent)
    monkeypatch.setattr(model_file, "ALIASES", {"small": tiny_model.stem})
    before = tiny_model.read_bytes()
    for name in (tiny_model.stem, "small", tiny_model, os.path.relpath(tiny_model)):
        for words in (["calibrate", data], ["evaluate", data, "--record"]):
            refused = mir(*words, "-m", name, "-d", "cpu")
            assert refused.exit_code == 2, refused.output
            assert "not a model of your own" in refused.stderr
            assert tiny_model.read_bytes() == before
    done = mir("calibrate", data, "-m", "small", "-d", "cpu", "--overwrite")
    assert done.exit_code == 0, done.output
    assert model_file.inspect(tiny_model).calibration["n"] == 40
