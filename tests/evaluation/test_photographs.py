"""What is measured of photographs is what was done to them: by hand, on made pictures."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.cli.sections import show
from make_it_real.degradations.kinds import DEGRADATIONS, kept_out
from make_it_real.evaluation import peers, photographs
from make_it_real.evaluation.figures import Figure, Group
from make_it_real.evaluation.peers import PEERS, Peer
from make_it_real.evaluation.photographs import CLEAN, DAMAGE, Damage
from make_it_real.evaluation.report import PHOTOGRAPH_NOTES, Report, html, markdown
from make_it_real.images.encode import encode
from make_it_real.images.pixels import to_images
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.weights import model_file

CONFIG = IGNConfig(
    0, 3, widths=(8, 16), blocks=2, dead_zone=0.0, architecture="unet", source="none"
)


class Darker(IGN):
    """An f that makes red one level darker, of what is over level 200; it counts its images."""

    counted = 0

    def forward(self, images: Tensor) -> Tensor:
        self.counted += len(images)
        out = images.clone()
        out[:, 0] -= (images[:, 0] > 200 / 127.5 - 1) / 127.5
        return out


class Reader:
    """A feature extractor whose features are the mean of each channel."""

    name, version, classifies = "mean", "0" * 12, False

    def read(self, images: Tensor) -> tuple[Tensor, None]:
        return images.mean((2, 3)), None


def pictures(n: int = 2, height: int = 40, width: int = 53) -> list[Tensor]:
    """Smooth pictures with edges, uint8 (3, H, W), each of another size."""
    made = []
    for i in range(n):
        generator = torch.Generator().manual_seed(i)
        coarse = torch.rand(1, 3, 5, 5, generator=generator) * 255
        size = (height + i, width - i)
        picture = torch.nn.functional.interpolate(coarse, size, mode="bilinear")[0]
        picture[:, height // 2 :] = 255 - picture[:, height // 2 :]
        made.append(picture.round().byte())
    return made


@pytest.fixture
def darker() -> Darker:
    return Darker(CONFIG)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> tuple[Damage, ...]:
    names = {("noise", 25), ("noise-10-jpeg", 40), ("motion-blur", 7)}
    chosen = tuple(damage for damage in DAMAGE if (damage.name, damage.level) in names)
    monkeypatch.setattr(photographs, "DAMAGE", chosen)
    return chosen


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "net.safetensors"
    info = model_file.ModelInfo(name="net", config=asdict(CONFIG))
    model_file.save(build(CONFIG).eval(), info, path)
    return path


def figures(groups: Iterator[Group]) -> dict[str, float]:
    return {name: value for group in groups for name, value in group.figures.items()}


def decibels(y: Tensor, x: Tensor) -> float:
    error = float((y.double() - x.double()).square().mean())
    return min(60.0, 10 * math.log10(255**2 / error)) if error else 60.0


def test_damage_is_of_8_bits_and_the_same_for_the_same_seed() -> None:
    x = pictures(1)[0][None]
    for damage in DAMAGE:
        y = damage(x, 3)
        assert y.dtype == torch.uint8
        assert y.shape == x.shape
        assert torch.equal(y, damage(x, 3)), damage.name
        assert not torch.equal(y, x), damage.name
    assert torch.equal(CLEAN(x, 3), x)


def test_noise_is_of_as_many_levels_as_its_figures_say() -> None:
    grey = torch.full((1, 3, 128, 128), 128, dtype=torch.uint8)
    for damage in DAMAGE:
        if damage.name in ("noise", "phone-noise"):
            assert damage.level is not None
            deviation = float(damage(grey, 0).double().std())
            assert deviation == pytest.approx(damage.level, rel=0.15), damage


def test_the_kinds_that_are_kept_out_are_measured() -> None:
    kinds = [kind for damage in DAMAGE for kind, _ in damage.steps]
    assert set(kinds) <= set(DEGRADATIONS)
    assert set(kept_out(3, any_size=True)) == {damage.name for damage in DAMAGE[-4:]}
    assert len({(damage.name, damage.level) for damage in DAMAGE}) == len(DAMAGE)


def test_figures_are_those_of_a_plain_loop(darker: Darker, few: tuple[Damage, ...]) -> None:
    found = figures(photographs.evaluate(darker, pictures()))
    for damage in (CLEAN, *few):
        rows: list[list[float]] = []
        for i, x in enumerate(pictures()):
            y = damage(x[None], i)[0]
            once, twice = y.clone(), y.clone()
            once[0] -= (y[0] > 200).byte()
            twice[0] -= (y[0] > 200).byte() + (once[0] > 200).byte()
            rest = float((once == twice).all(0).double().mean())
            rows.append([*(decibels(z, x) for z in (y, once, twice)), rest])
        level = "" if damage.level is None else f"_{damage.level:g}"
        names = [f"psnr_{damage.name}{level}_{k}" for k in ("before", "after", "after2")]
        names.append(f"rest_{damage.name}{level}_after2")
        wanted = torch.tensor(rows, dtype=torch.float64).mean(0).tolist()
        assert [found[name] for name in names] == pytest.approx(wanted), damage.name


def test_clean_pictures_are_compared_pixel_by_pixel(darker: Darker, few: object) -> None:
    groups = list(photographs.evaluate(darker, pictures()))
    found = figures(iter(groups))
    bright = torch.tensor([float((x[0] > 200).double().mean()) for x in pictures()]).mean()
    assert found["fidelity_unchanged"] == pytest.approx(1 - float(bright))
    assert 0.5 < found["fidelity_unchanged"] < 1
    assert found["fidelity_within_1"] == 1
    assert found["psnr_clean_before"] == 60
    low, high = groups[0].intervals["fidelity_unchanged"]
    assert low <= found["fidelity_unchanged"] <= high


def test_what_f_leaves_alone_is_not_computed_again(darker: Darker, few: object) -> None:
    dark = [x // 2 for x in pictures()]
    found = figures(photographs.evaluate(darker, dark))
    assert found["fidelity_unchanged"] == found["rest_clean_after2"] == 1
    # Two pictures, clean and with three kinds of damage, none of which is bright.
    assert darker.counted == 2 * 4


def test_distances_are_shares_of_those_between_pictures(
    darker: Darker, few: tuple[Damage, ...]
) -> None:
    found = figures(photographs.evaluate(darker, pictures(), extractor=Reader()))
    x = [to_images(picture[None]) for picture in pictures()]
    scale = float((Reader().read(x[0])[0] - Reader().read(x[1])[0]).norm())
    away = [
        float((to_images(few[0](p[None], i)) - to_images(p[None])).mean((2, 3)).norm())
        for i, p in enumerate(pictures())
    ]
    name = f"feature_mean_noise_{few[0].level:g}_before"
    assert found[name] == pytest.approx(sum(away) / 2 / scale, rel=1e-4)
    assert found["feature_mean_clean_before"] == 0


def test_peers_get_the_same_pictures_and_are_told_white_noise_alone(
    darker: Darker, few: tuple[Damage, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[Any, float]] = []

    def negative(pixels: peers.Pixels, sigma: float) -> peers.Pixels:
        given.append((pixels, sigma))
        return 255 - pixels

    monkeypatch.setitem(PEERS, "negative", Peer("Negative", (), (), negative))
    monkeypatch.setattr(photographs, "estimate_sigma", lambda pixels: 7.0)
    ticks: list[int] = []
    groups = list(
        photographs.evaluate(darker, pictures(), peers=["negative"], seed=2, tick=ticks.append)
    )
    found = figures(iter(groups))
    assert sum(ticks) == len(given) == 2 * 4
    assert [sigma for _, sigma in given[:4]] == [7, few[0].sigma, 7, 7]
    x = pictures()[0][None]
    assert np.array_equal(given[1][0], few[0](x, 2 * photographs.SEEDS)[0].permute(1, 2, 0))
    wanted = [decibels(255 - picture, picture) for picture in pictures()]
    assert found["psnr_clean_negative"] == pytest.approx(sum(wanted) / 2)
    assert found["seconds_negative"] >= 0
    assert found["seconds_f"] > 0
    report = Report("all", {}, groups, kept_out=kept_out(3, any_size=True))
    title, (overview,) = report.tables()[0]
    assert title == "Overview"
    assert "Negative" in overview.columns
    assert "motion-blur 7 (kept out)" in {row[0] for row in overview.rows}


def test_the_time_is_estimated_from_a_part(darker: Darker) -> None:
    one = photographs.seconds(darker, pictures(1)[0], 1, None, ())
    assert 0 < one < 0.1 * photographs.seconds(darker, pictures(1)[0], 100, None, ())


@pytest.mark.parametrize("name", sorted(PEERS))
def test_a_peer_that_is_installed_denoises(name: str) -> None:
    if name not in peers.installed():
        pytest.skip(f"needs {' and '.join(PEERS[name].packages)}, of the extra peers or its own")
    x = pictures(1, 64, 64)[0][None]
    noisy = DAMAGE[1](x, 0)
    array = noisy[0].permute(1, 2, 0).numpy()
    y = PEERS[name].denoise(array, 25.0)
    assert (y.dtype, y.shape) == (array.dtype, array.shape)
    cleaned = torch.tensor(y.copy()).permute(2, 0, 1)[None]
    assert decibels(cleaned, x) > decibels(noisy, x) + 2


def test_sigma_is_estimated_where_scikit_image_is(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.full((64, 64, 3), 128, np.uint8)
    if "wavelet" in peers.installed():
        noisy = DAMAGE[1](torch.tensor(flat).permute(2, 0, 1)[None], 0)[0].permute(1, 2, 0).numpy()
        assert peers.estimate_sigma(noisy) == pytest.approx(25, rel=0.1)
        assert peers.estimate_sigma(flat) == peers.LEAST_SIGMA
    monkeypatch.setattr(peers, "find_spec", lambda module: None)
    assert peers.estimate_sigma(flat) == peers.DEFAULT_SIGMA
    assert peers.installed() == {}


def test_a_figure_of_a_peer_has_its_name() -> None:
    figure = Figure("projection", "psnr", 0, of="jpeg", level=10, k=1, by="wavelet")
    assert figure.name == "psnr_jpeg_10_wavelet"
    assert Figure("projection", "psnr", 0, of="clean", k=2).name == "psnr_clean_after2"
    assert Figure("speed", "seconds", 0, k=1).name == "seconds_f"


def test_the_overview_has_a_row_for_each_damage_in_every_report() -> None:
    group, speed = Group("projection"), Group("speed")
    for k, value in enumerate((20.55, 30.8, 30.75)):
        group.add("psnr", value, (value - 1, value + 1), of="noise", level=25, k=k)
    group.add("psnr", 25.65, of="noise", level=25, k=1, by="opencv-nlm")
    group.add("rest", 0.987, of="noise", level=25, k=2)
    speed.add("seconds", 0.8, k=1)
    report = Report("all", {}, [group, speed], notes=PHOTOGRAPH_NOTES)
    text, page = markdown(report), html(report)
    assert "| PSNR (dB) | A(x) | f | f² | OpenCV NLM | at rest |" in text
    assert "| noise 25 | 20.55 | 30.8 ±1 | 30.75 | 25.65 | 98.7% |" in text
    assert "| CPU seconds a megapixel |  | 0.80 |  |  |  |" in text
    assert "<td>30.8 ±1</td>" in page
    assert PHOTOGRAPH_NOTES in text


def test_the_overview_with_all_peers_fits_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    group = Group("projection")
    for k in range(3):
        group.add("psnr", 30.81, (29.6, 32.0), of="salt-and-pepper", level=0.04, k=k)
    for by in PEERS:
        group.add("psnr", 25.65, (24.5, 26.7), of="salt-and-pepper", level=0.04, k=1, by=by)
    group.add("rest", 0.987, (0.98, 0.99), of="salt-and-pepper", level=0.04, k=2)
    show(Report("all", {"model": "net"}, [group], notes=PHOTOGRAPH_NOTES))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines if "98.7%" in line]
    assert sum("25.65" in line for line in lines) == 2


# --- mir evaluate ---


def mir(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, pixels in enumerate(pictures(3)):
        (folder / f"{i}.png").write_bytes(encode(to_images(pixels)))
    (folder / "grey.png").write_bytes(encode(to_images(pictures(1)[0][:1])))
    (folder / "none.png").write_bytes(b"no picture")
    (folder / "small.png").write_bytes(encode(to_images(pictures(1, 7, 20)[0])))
    return folder


def test_photographs_are_measured_at_their_own_size(
    folder: Path, model: Path, few: object, tmp_path: Path
) -> None:
    report = tmp_path / "out" / "report.md"
    words = ("evaluate", folder, "-m", model, "--features", "auto")
    done = mir(*words, "--report", report, "-v")
    assert done.exit_code == 0, done.output
    lines = dict(line.split() for line in done.stdout.splitlines())
    assert {"fidelity_unchanged", "psnr_noise_25_after2", "rest_noise_25_after2"} <= set(lines)
    assert float(lines["psnr_clean_before"]) == 60 > float(lines["psnr_noise_25_before"])
    assert "none.png: not an image" in done.stderr
    assert "small.png: a side is under 8 pixels" in done.stderr
    assert "## Overview" in report.read_text("utf-8")
    assert "photographs (1 of 1): done" not in done.stdout
    found = json.loads(mir(*words, "--json", "--n", 2, "--crop", "32x24", "--seed", 1).stdout)
    assert found["about"]["part of each"] == "32×24 from top left"
    assert found["about"]["data"] == "photos, 2 pictures"
    assert found["intervals"]["rest_clean_after2"][0] <= found["rest_clean_after2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--train", "x"), "--train is for models of one size"),
        (("--sections", "fidelity"), "--sections is for models of one size"),
        (("--crop", "7x9"), "width and height"),
        (("--crop", "32"), "as in 320x256"),
        (("--record", "--quick"), "recorded figures are of all photographs"),
    ],
)
def test_wrong_options_are_usage_errors(
    folder: Path, model: Path, words: tuple[str, ...], message: str
) -> None:
    done = mir("evaluate", folder, "-m", model, *words)
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_there_must_be_photographs(tmp_path: Path, model: Path) -> None:
    assert mir("evaluate", "-m", model).exit_code == 2
    assert "no such file" in mir("evaluate", tmp_path / "none", "-m", model).output
    (tmp_path / "a.png").write_bytes(b"no picture")
    done = mir("evaluate", tmp_path, "-m", model)
    assert done.exit_code == 2
    assert "no picture that can be read" in done.output


def test_a_model_of_one_size_refuses_what_is_for_photographs(
    tmp_path: Path, tiny_model: Path
) -> None:
    for words in (("--crop", "32x32"), ("--peers",), ("--n", "100")):
        assert mir("evaluate", tmp_path, "-m", tiny_model, *words).exit_code == 2


def test_missing_peers_are_named_in_one_line(
    folder: Path, model: Path, few: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda module: None)
    done = mir("evaluate", folder, "-m", model, "--peers", "--quick")
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stderr.splitlines() if "not installed" in line]
    assert "OpenCV NLM" in line
    assert "pip install opencv-python-headless scikit-image pywavelets bm3d" in line
