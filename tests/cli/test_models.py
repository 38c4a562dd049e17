"""mir models, but for the network: list, info, verify and export; and the probe."""

import json
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from make_it_real.cli import app, models
from make_it_real.cli.options import model_names
from make_it_real.errors import ExportError, WeightsError
from make_it_real.models.ign import IGN
from make_it_real.weights import export, model_card, model_file, pretrained, verify

BUNDLED = sorted(model_file.bundled())


def mir(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", *(str(argument) for argument in arguments)])


@pytest.fixture
def probed(tiny_f: IGN, tmp_path: Path) -> Path:
    path = tmp_path / "probed.safetensors"
    figures = {"fd_f": 3.5, "fd_floor_train": 0.4}
    info = model_file.ModelInfo(
        "tiny", {}, data="mnist, 9 images", licence="CC BY-SA 3.0", steps=1_200, version="0.1.0",
        objective="adversarial projector", figures=figures,
        training={"steps": 1_200, "lr": 2e-4, "damage": ["noise", "blur"], "flip": True},
    )  # fmt: skip
    verify.save(tiny_f, info, path)
    return path


# --- list and info ---


def test_list_and_info_import_no_torch(probed: Path) -> None:
    code = f"""
import sys
from typer.testing import CliRunner
from make_it_real.cli import app
for line in (["list"], ["list", "--json"], ["info", "mnist"], ["info", {str(probed)!r}]):
    result = CliRunner().invoke(app, ["models", *line])
    assert result.exit_code == 0, result.output
    print(result.stdout)
assert "torch" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for shown in ("mnist", "bundled", "1×28×28", "6.3 MB", "CC BY-SA 3.0", "fd_f", "# tiny"):
        assert shown in done.stdout, shown


@pytest.mark.parametrize(("columns", "objective"), [(80, False), (120, True)])
def test_on_a_terminal_the_list_is_a_table_of_whole_values(
    columns: int,
    objective: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    paths = model_file.bundled()
    rows = [(name, model_file.inspect(p), p.stat().st_size) for name, p in paths.items()]
    models._print_table(rows)
    head, *lines = capsys.readouterr().out.splitlines()
    assert ("objective" in head) is objective
    assert len(lines) == len(rows)
    assert max(map(len, [head, *lines])) <= columns
    for (name, info, _), line in zip(rows, lines, strict=True):
        assert line.startswith(name)
        for value in (model_card.resolution(info), f"{info.steps:,}", info.licence):
            assert value in line
    assert any(line.startswith("mnist, digits ") for line in lines)


@pytest.mark.parametrize(
    ("damage", "weights", "option"),
    [
        (["noise", "noise", "mask", "noise"], "noise 3, mask 1", "--damage noise=3,mask "),
        ({"noise": 7, "mask": 2.5}, "noise 7, mask 2.5", "--damage noise=7,mask=2.5 "),
        ([], None, None), (7, None, None), ({"noise": "x"}, None, None),
    ],
)  # fmt: skip
def test_degradations_are_shown_as_weights(
    probed: Path, damage: object, weights: str | None, option: str | None
) -> None:
    info = model_file.inspect(probed)
    training = {**info.training, "damage": damage, "flip": True}
    card = model_card.text(replace(info, training=training))
    if weights is None:
        assert "Repairs" not in card
        assert "--damage" not in card
    else:
        assert f"- Repairs: {weights}\n" in card
        assert f"{option}--flip" in card


@pytest.mark.parametrize(("alias", "name"), [("digits", "mnist"), ("clothes", "fashion")])
def test_models_have_names_of_what_they_make(alias: str, name: str) -> None:
    assert model_file.resolve(alias) == model_file.resolve(name)
    assert json.loads(mir("info", alias, "--json").stdout)["name"] == name
    assert alias in model_names()


def test_the_card_shows_how_real_repairs_look_beside_psnr() -> None:
    figures = {
        "fd_lite0_f": 65.4, "kd_lite0_f": 0.058, "kd_lite0_real": -0.0014,
        "psnr_noise_0.5_before": 12.04, "psnr_noise_0.5_after": 24.23,
        "kd_lite0_noise_0.5_before": 1.269, "kd_lite0_noise_0.5_after": 0.261,
        "unchanged_noise_0.5_before": 0.0125, "kd_lite0_drawings_before": 0.8,
        "kd_lite0_drawings_after": 0.666,
    }  # fmt: skip
    card = model_card.text(model_file.ModelInfo("faces", {}, figures=figures))
    assert "| noise 0.5 | -1 | 1,269 | 261 | 12.0 | 24.2 | 1 |\n" in card
    assert "| drawings | -1 | 800 | 666 |  |  |  |\n\n| figure | value |" in card
    assert "| kd_lite0_f | 0.058 |" in card
    del figures["kd_lite0_noise_0.5_before"], figures["kd_lite0_drawings_before"]
    card = model_card.text(model_file.ModelInfo("faces", {}, figures=figures))
    assert "How real" not in card


def test_info_shows_the_card(probed: Path) -> None:
    shown = mir("info", probed).stdout
    command = "mir train DATA -o RUN --size 28 --channels 1 --steps 1200 --lr 0.0002"
    assert f"{command} --damage noise,blur --flip" in shown
    assert "With other settings that `mir models info tiny --json` prints." in shown
    for line in ("- Data: mnist, 9 images", "- Steps: 1,200", "| fd_floor_train | 0.4 |"):
        assert line in shown
    assert model_file.fingerprint(probed) in shown
    described = json.loads(mir("info", probed, "--json").stdout)
    assert (described["name"], described["licence"]) == ("tiny", "CC BY-SA 3.0")
    missing = mir("info", probed.with_name("none.safetensors"))
    assert missing.exit_code == 4
    assert len(missing.stderr.splitlines()) == 1


def test_the_command_of_a_header_is_readable_whatever_its_version() -> None:
    old = {"decay_steps": 9, "damage": ["noise", "mask", "noise"], "flip": False}
    assert model_card.training_command(model_file.ModelInfo("old", {}, training=old)).endswith(
        " --damage noise=2,mask --set decay_steps=9"
    )
    new: dict[str, Any] = {"damage": {"noise": 2.0, "mask": 1.5}, "compile": None, "flip": True}
    names = [*new, "lambdas.rec", "critic_widths", "gone"]
    new |= {"critic_widths": [8, 16], "lambdas": {"rec": 2.0}, "nondefault": names}
    assert model_card.training_command(model_file.ModelInfo("new", {}, training=new)).endswith(
        " --damage noise=2,mask=1.5 --set compile=none --flip --set lambdas.rec=2.0 "
        "--set critic_widths=8,16 --set gone="
    )


def test_info_shows_nothing_that_a_terminal_would_obey(probed: Path) -> None:
    info = replace(model_file.inspect(probed), figures={"\x1b[2J\x9b31m": 1.0})
    model_file.save(pretrained.load(probed), info, probed)
    for shown in (mir("info", probed).stdout, mir("info", probed, "--json").stdout):
        assert "\x1b" not in shown
        assert "\x9b" not in shown


@pytest.mark.parametrize(
    ("licence", "tag"),
    [
        ("CC BY-SA 3.0", "cc-by-sa-3.0"), ("MIT", "mit"), ("CC0-1.0", "cc0-1.0"),
        ("Apache-2.0", "apache-2.0"), ("research only, ask us", None), ("", None),
    ],
)  # fmt: skip
def test_licences_get_the_hubs_names(licence: str, tag: str | None) -> None:
    assert model_card.licence_tag(licence) == tag
    text = model_card.with_metadata(model_file.ModelInfo("x", {}, licence=licence), "me/x")
    assert (f"license: {tag or 'other'}" in text) is bool(licence)
    assert ("license_name: research only, ask us" in text) is licence.startswith("research")


def test_the_cards_metadata_holds_the_figures(probed: Path) -> None:
    metadata = model_card.with_metadata(model_file.inspect(probed), "me/tiny").split("---\n")[1]
    for line in ("- mnist", "pipeline_tag: unconditional-image-generation", "value: 3.5"):
        assert line in metadata


# --- verify ---


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_models_make_what_they_made(name: str) -> None:
    result = mir("verify", name, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["ok"]
    assert found["difference"] <= verify.TOLERANCE


def test_verify_finds_a_flipped_bit_that_still_loads(probed: Path) -> None:
    assert mir("verify", probed).exit_code == 0
    raw = bytearray(probed.read_bytes())
    raw[-2] ^= 1  # The lowest bits of a bias: finite still, and nothing that can be seen.
    probed.write_bytes(raw)
    pretrained.load(probed)
    result = mir("verify", probed)
    assert result.exit_code == 4
    assert "its tensors are not those it was saved with" in result.stderr


def test_verify_finds_an_f_that_makes_something_else(
    probed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = model_file.inspect(probed)
    pixels = bytes.fromhex(info.probe["pixels"])
    nearly = bytes(min(255, pixel + 3) for pixel in pixels)
    for changed, ok in ((nearly, True), (bytes(255 - pixel for pixel in pixels), False)):
        stated = replace(info, probe={**info.probe, "pixels": changed.hex()})
        model_file.save(pretrained.load(probed), stated, probed)
        result = mir("verify", probed)
        assert (result.exit_code == 0) is ok
    assert "f makes other images than when it was saved" in result.stderr


@pytest.mark.parametrize(
    "broken",
    [
        {"pixels": "xyz"}, {"pixels": "00"}, {"pixels": 7}, {"seeds": "ab"}, {"seeds": [None]},
        {"seeds": [0]}, {"seeds": []}, {"seeds": [2**70]}, {"tensors": 3}, {"seeds": [-1, 0, 1, 2]},
    ],
    ids=str,
)  # fmt: skip
def test_a_broken_probe_is_an_error_of_one_line(probed: Path, broken: dict[str, object]) -> None:
    info = model_file.inspect(probed)
    stated = replace(info, probe={**info.probe, **broken})
    model_file.save(pretrained.load(probed), stated, probed)
    result = mir("verify", probed)
    assert result.exit_code == 4
    assert len(result.stderr.splitlines()) == 1, result.stderr


def test_a_file_without_a_probe_gets_one_and_keeps_its_tensors(
    tiny_model: Path, tiny_f: IGN
) -> None:
    with pytest.raises(WeightsError, match="has no probe"):
        verify.check(pretrained.load(tiny_model), tiny_model)
    before, info = tiny_model.read_bytes(), model_file.inspect(tiny_model)
    verify.add(pretrained.load(tiny_model), tiny_model)
    after = tiny_model.read_bytes()
    bodies = [raw[8 + struct.unpack("<Q", raw[:8])[0] :] for raw in (before, after)]
    assert bodies[0] == bodies[1]
    assert replace(model_file.inspect(tiny_model), probe={}) == info
    assert verify.check(pretrained.load(tiny_model), tiny_model)["difference"] == 0


def test_a_model_in_half_precision_is_half_as_large_and_makes_the_same(
    probed: Path, tmp_path: Path
) -> None:
    f, path = pretrained.load(probed), tmp_path / "half.safetensors"
    model_file.save(f, f.info, path, half=True)
    with pytest.raises(WeightsError, match="not those it was saved with"):
        verify.check(pretrained.load(path), path)
    half = pretrained.load(path)
    verify.add(half, path)
    assert verify.check(half, path)["difference"] == 0
    assert model_file.inspect(path).probe["pixels"] == f.info.probe["pixels"]
    for name, value in f.state_dict().items():
        assert half.state_dict()[name].dtype == torch.float32
        assert torch.equal(half.state_dict()[name], value.half().float())
    body = path.stat().st_size / probed.stat().st_size
    assert body < 0.7


def test_the_probe_is_of_evaluation_and_leaves_the_mode(tiny_f: IGN) -> None:
    in_evaluation = verify.measure(tiny_f.eval())
    assert verify.measure(tiny_f.train()) == in_evaluation
    assert tiny_f.training


def test_verify_goes_on_after_a_bad_one(probed: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    result = mir("verify", tmp_path / "bad.safetensors", probed)
    assert result.exit_code == 4
    assert f"{probed}: whole" in result.stdout


# --- export ---


@pytest.mark.parametrize("name", model_file.makers())
def test_onnx_equals_torch_and_runs_in_onnxruntime(name: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "f.onnx"
    result = mir("export", name, "-o", path)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}\n"
    f = pretrained.load(model_file.resolve(name))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    z = f.source.from_seeds(range(1_000, 1_064)).contiguous()
    noisy = z + torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    for images in (z, noisy, z[:1], z[:7]):
        (made,) = session.run(["made"], {"images": images.numpy()})
        with torch.no_grad():
            assert np.abs(made - f(images).numpy()).max() <= 1e-4


def test_torch_export_comes_back(probed: Path, tmp_path: Path) -> None:
    path = tmp_path / "f.pt2"
    result = mir("export", probed, "-o", path)
    assert result.exit_code == 0, result.output
    f = pretrained.load(probed)
    z = f.source.from_seeds(range(5))
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(path).module()(z), f(z), atol=1e-5, rtol=0)


def test_an_export_that_differs_is_not_kept(
    probed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    f, path = pretrained.load(probed), tmp_path / "f.pt2"
    for wrong, said in ((2e-4, r"off by .* from torch; nothing was written"), (torch.nan, "nan")):

        def read(temporary: Path, wrong: float = wrong) -> export.Network:
            return lambda x: f(x) + wrong

        with pytest.raises(ExportError, match=said):
            export._export(f, path, lambda temporary: None, read)
    assert [p.name for p in tmp_path.iterdir()] == [probed.name]


def test_without_the_extra_onnx_names_it(
    probed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    result = mir("export", probed, "-o", tmp_path / "f.onnx")
    assert result.exit_code == 1
    assert "pip install 'make-it-real[export]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("f.txt", "end it in .onnx or .pt2"), ("probed.safetensors", "--format"),
        ("f.pt2", "exists"), ("a/f.onnx", "no such folder"),
    ],
)  # fmt: skip
def test_export_refuses_names_it_cannot_use(probed: Path, output: str, message: str) -> None:
    (probed.parent / "f.pt2").write_bytes(b"mine")
    result = mir("export", probed, "-o", probed.parent / output)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert (probed.parent / "f.pt2").read_bytes() == b"mine"
