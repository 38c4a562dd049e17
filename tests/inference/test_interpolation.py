"""Interpolation and arithmetic in the source space, and the commands that do it."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.images import decode
from make_it_real.images.pixels import enlarged
from make_it_real.inference.interpolation import (
    Operand,
    Term,
    interpolate,
    lerp,
    mix,
    parse,
    seed_operand,
    slerp,
)
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGN, IGNConfig


def mir(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fit_source(f: IGN) -> None:
    """Give f a source that is not white, so that mixing before and after it differ."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.randn(40, 1, 28, 28, generator=generator)
    f.source.fit(0.3 * (smooth + smooth.roll(1, 2) + smooth.roll(1, 3)) - 0.5)


# --- The library ---


@pytest.mark.parametrize("how", [lerp, slerp])
def test_both_ways_meet_the_ends(how: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    a, b = torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(1)).unbind(0)
    torch.testing.assert_close(how(a, b, 0.0), a)
    torch.testing.assert_close(how(a, b, 1.0), b)


def test_an_arc_is_the_one_on_the_circle() -> None:
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    for t in (0.1, 0.5, 0.8):
        angle = t * math.pi / 2
        wanted = torch.tensor([2 * math.cos(angle), 2 * math.sin(angle)])
        torch.testing.assert_close(slerp(a, b, t), wanted)
    # Lengths go over linearly.
    torch.testing.assert_close(slerp(a, 2 * b, 0.5).norm(), torch.tensor(3.0))
    assert float(lerp(a, b, 0.5).norm()) == pytest.approx(2 * math.sqrt(0.5))


@pytest.mark.parametrize("b", [[4.0, 0.0], [-2.0, 0.0], [0.0, 0.0]])
def test_where_there_is_no_arc_the_way_is_straight(b: list[float]) -> None:
    a, end = torch.tensor([2.0, 0.0]), torch.tensor(b)
    torch.testing.assert_close(slerp(a, end, 0.25), lerp(a, end, 0.25))


def test_points_between_seeds_are_z_of_the_source(tiny_f: IGN) -> None:
    fit_source(tiny_f)
    a, b = seed_operand(tiny_f, 3), seed_operand(tiny_f, 8)
    torch.testing.assert_close(torch.stack([a.image, b.image]), tiny_f.source.from_seeds([3, 8]))
    points = interpolate(tiny_f, [a, b], 5)
    assert points.shape == (5, 1, 28, 28)
    torch.testing.assert_close(points[0], a.image)
    torch.testing.assert_close(points[4], b.image)
    assert a.white is not None
    assert b.white is not None
    middle = tiny_f.source.colour(slerp(a.white, b.white, 0.5)[None])[0]
    torch.testing.assert_close(points[2], middle)
    straight = interpolate(tiny_f, [a, b], 3, "linear")[1]
    torch.testing.assert_close(straight, (a.image + b.image) / 2, atol=1e-5, rtol=0)
    # The straight middle has lost half of its variance about the mean, the arc's has not.
    mean = tiny_f.source.colour(torch.zeros(1, 1, 28, 28))[0]
    ratio = (straight - mean).square().mean() / (points[2] - mean).square().mean()
    assert float(ratio) == pytest.approx(0.5, abs=0.08)


def of_two_kinds() -> IGN:
    """An f whose z are bright or dark, a number of the noise says which."""
    f = build(IGNConfig(8, 1, 8, (8, 8), 8, source="mixture")).eval()
    generator = torch.Generator().manual_seed(0)
    levels = torch.tensor([-0.8, 0.8])[torch.randint(2, (400,), generator=generator)]
    f.source.fit(levels[:, None, None, None] + 0.1 * torch.randn(400, 1, 8, 8, generator=generator))
    return f


def test_a_way_between_kinds_goes_from_one_to_the_other() -> None:
    f = of_two_kinds()
    levels = f.source.from_seeds(range(20)).mean((1, 2, 3))
    dark, bright = int((levels < -0.5).nonzero()[0]), int((levels > 0.5).nonzero()[0])
    a, b = seed_operand(f, dark), seed_operand(f, bright)
    for how in ("spherical", "linear"):
        points = interpolate(f, [a, b], 9, how)
        torch.testing.assert_close(points[0], a.image)
        torch.testing.assert_close(points[-1], b.image)
        steps = points.mean((1, 2, 3)).diff()
        # Even steps: no hop from kind to kind.
        torch.testing.assert_close(steps, steps.mean().expand(8), atol=0.08, rtol=0)
        assert float(steps.mean()) > 0.1


def test_a_sum_is_of_its_heaviest_seeds_kind() -> None:
    f = of_two_kinds()
    level = f.source.from_seeds(range(20)).mean((1, 2, 3))
    dark, bright = int((level < -0.5).nonzero()[0]), int((level > 0.5).nonzero()[0])
    a, b = seed_operand(f, dark), seed_operand(f, bright)
    assert float(mix(f, [(1.0, a), (0.5, b)]).mean()) < -0.5
    assert float(mix(f, [(0.5, a), (1.0, b)]).mean()) > 0.5
    assert float(mix(f, [(1.0, b), (-1.0, a), (1.0, a)]).mean()) > 0.5


def test_a_way_through_three_passes_the_middle_one(tiny_f: IGN) -> None:
    ends = [Operand(str(v), torch.full((1, 28, 28), v)) for v in (-1.0, 0.5, 0.0)]
    points = interpolate(tiny_f, ends, 5, "linear")
    values = [float(p[0, 0, 0]) for p in points]
    assert values == pytest.approx([-1.0, -0.25, 0.5, 0.25, 0.0])


@pytest.mark.parametrize(("count", "n"), [(1, 5), (2, 1)])
def test_too_little_to_go_between_is_refused(tiny_f: IGN, count: int, n: int) -> None:
    with pytest.raises(ValueError, match="two"):
        interpolate(tiny_f, [seed_operand(tiny_f, i) for i in range(count)], n)


def test_a_sum_of_seeds_is_a_z_of_the_source(tiny_f: IGN) -> None:
    fit_source(tiny_f)
    a, b, c = (seed_operand(tiny_f, i) for i in (3, 5, 8))
    assert a.white is not None
    assert b.white is not None
    assert c.white is not None
    total = a.white - b.white + c.white
    found = mix(tiny_f, [(1.0, a), (-1.0, b), (1.0, c)])
    torch.testing.assert_close(found, tiny_f.source.colour(total[None] / math.sqrt(3))[0])
    raw = mix(tiny_f, [(1.0, a), (-1.0, b), (1.0, c)], raw=True)
    torch.testing.assert_close(raw, tiny_f.source.colour(total[None])[0])
    torch.testing.assert_close(mix(tiny_f, [(0.5, a)]), a.image)


def test_with_images_pixels_are_added(tiny_f: IGN) -> None:
    one, seed = Operand("one", torch.full((1, 28, 28), 0.4)), seed_operand(tiny_f, 1)
    found = mix(tiny_f, [(1.0, one), (-0.5, seed)])
    torch.testing.assert_close(found, 0.4 - 0.5 * seed.image)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("3 - 5 + 8", [(1, "3"), (-1, "5"), (1, "8")]),
        ("3-5+8", [(1, "3"), (-1, "5"), (1, "8")]),
        ("3 -5", [(1, "3"), (-1, "5")]),
        ("- 3 + a-b.png", [(-1, "3"), (1, "a-b.png")]),
        (
            "0.5*3 - 2*photos/ + .25*'my photo.png'",
            [(0.5, "3"), (-2, "photos/"), (0.25, "my photo.png")],
        ),
        ("x.png", [(1, "x.png")]),
    ],
)
def test_expressions_are_read(text: str, wanted: list[tuple[float, str]]) -> None:
    assert parse(text) == [Term(float(w), name) for w, name in wanted]


@pytest.mark.parametrize("text", ["", "3 -", "3 5", "3 + - 5", "- - 3", "+", "'a"])
def test_what_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text)


# --- The commands ---


def test_mir_interpolate_writes_points_above_f_of_each(tiny_model: Path, here: Path) -> None:
    result = mir("interpolate", 3, 8, "-n", 5, "-m", tiny_model, "-d", "cpu", "--gallery", "g.html")
    assert result.exit_code == 0, result.output
    assert result.stdout == "interpolated.png\n"
    sheet = decode.read(Path("interpolated.png")).colour
    assert sheet.shape == (1, 2 * 30 - 2, 5 * 30 - 2)
    mir("generate", "--seeds", "3,8", "-m", tiny_model, "-o", "ends/")
    for seed, column in ((3, 0), (8, 4)):
        end = decode.read(Path(f"ends/{seed:06d}.png")).colour
        found = sheet[:, 30:, column * 30 : column * 30 + 28]
        assert (found - end).abs().max() <= 1 / 255 + 1e-6
    assert Path("g.html").read_text().count("<figure") == 5


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_mir_interpolate_moves(tiny_model: Path, here: Path, suffix: str) -> None:
    Image.new("L", (28, 28), 200).save("x.png")
    out = f"i.{suffix}"
    result = mir("interpolate", "x.png", 2, "-n", 6, "-m", tiny_model, "-o", out, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["output"] == out
    with Image.open(out) as moving:
        assert moving.n_frames == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize("line", [("interpolate", 3, 8, "-n", 4), ("mix", "3 + 8")], ids=str)
def test_strips_are_enlarged_without_smoothing(
    line: tuple[object, ...], tiny_model: Path, here: Path
) -> None:
    sheets = []
    for scale in (1, 4):
        out = f"{scale}.png"
        result = mir(*line, "-m", tiny_model, "-d", "cpu", "-o", out, "--scale", scale)
        assert result.exit_code == 0, result.output
        sheets.append(decode.read(Path(out)).colour)
    assert torch.equal(sheets[1], enlarged(sheets[0], 4))


def test_mir_mix_takes_seeds_files_and_folders(tiny_model: Path, here: Path) -> None:
    (here / "many").mkdir()
    for i, value in enumerate((0, 255)):
        Image.new("L", (28, 28), value).save(here / "many" / f"{i}.png")
    Image.new("L", (28, 28), 255).save("white.png")
    result = mir(
        "mix", "0.5*white.png - many + 7", "-m", tiny_model, "--no-invert", "--gallery", "g.html"
    )
    assert result.exit_code == 0, result.output
    sheet = decode.read(Path("mixed.png")).colour * 2 - 1
    # Three terms and their sum, above f of each.
    assert sheet.shape == (1, 2 * 30 - 2, 4 * 30 - 2)
    cells = [sheet[:, :28, i * 30 : i * 30 + 28] for i in range(4)]
    assert float(cells[0].mean()) == pytest.approx(1.0, abs=0.01)
    assert float(cells[1].mean()) == pytest.approx(0.0, abs=0.01)
    page = Path("g.html").read_text()
    assert "mean of 2 in many" in page
    assert page.count("<figure") == 4


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (["interpolate", "3"], 2), (["interpolate", "3", "none.png"], 3),
        (["interpolate", "3", "4", "-o", "x.jpg"], 2), (["mix", "3 +"], 2),
        (["mix", "3 - none.png"], 3), (["mix", "3", "-o", "x.gif"], 2),
        (["interpolate", "3", str(2**64)], 2), (["mix", "3", "-o", "there.png"], 1),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_usage_is_told(
    tiny_model: Path, here: Path, arguments: list[str], exit_code: int
) -> None:
    Path("there.png").write_bytes(b"kept")
    result = mir(*arguments, "-m", tiny_model)
    assert result.exit_code == exit_code, result.output
    assert Path("there.png").read_bytes() == b"kept"


def test_mir_generate_like_other_images(tiny_model: Path, here: Path) -> None:
    (here / "in").mkdir()
    for i, value in enumerate((0, 255, 90)):
        Image.linear_gradient("L").resize((28, 28)).point(lambda v, a=value: v ^ a).save(
            here / "in" / f"{i}.png"
        )
    results = {
        name: mir("generate", "-n", 2, "-m", tiny_model, *options, "-o", f"{name}.png")
        for name, options in {
            "plain": [], "folder": ["--like", "in", "--gallery", "g.html"],
            "single": ["--like", "in/0.png"],
        }.items()
    }  # fmt: skip
    assert all(result.exit_code == 0 for result in results.values())
    assert "spectrum of 3 image(s)" in results["folder"].stderr
    made = {name: decode.read(Path(f"{name}.png")).colour for name in results}
    assert not torch.equal(made["plain"], made["folder"])
    assert not torch.equal(made["folder"], made["single"])
    with Image.open("folder.png") as picture:
        assert picture.info["like"] == "in"
    assert Path("g.html").read_text().count('class="before"') == 2
    assert mir("generate", "--like", "none", "-m", tiny_model).exit_code == 3
