"""f^k over a long way: what rests, by which rule, and that the path is the plain loop's."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner, Result

import make_it_real
from make_it_real.cli import app
from make_it_real.inference import refinement
from make_it_real.inference.refinement import TENTH, Rest, refine
from make_it_real.models.ign import IGN, IGNConfig

Map = Callable[[Tensor], Tensor]


class Toy(IGN):
    """An f of 4×4 grey images that does what it is told, and counts the images it is given."""

    def __init__(self, map: Map) -> None:
        super().__init__(IGNConfig(4, 1, 8, (8, 8), 8, 2))
        self.map, self.count = map, 0

    def forward(self, images: Tensor) -> Tensor:
        self.count += len(images)
        return self.map(images)


def image(*values: float) -> Tensor:
    """Plain images of these values, (N, 1, 4, 4)."""
    return torch.tensor(values)[:, None, None, None].expand(-1, 1, 4, 4).contiguous()


def shrinking(factor: float) -> Map:
    return lambda y: (y.double() * factor).float()


def plain(map: Map, y: Tensor, steps: int) -> Tensor:
    for _ in range(steps):
        y = map(y)
    return y


def rotation(y: Tensor) -> Tensor:
    """A cycle of three: 0.1 → 0.2 → 0.3 → 0.1; whatever else is left alone."""
    out = y.clone()
    for a, b in ((0.1, 0.2), (0.2, 0.3), (0.3, 0.1)):
        out[y == torch.tensor(a)] = b
    return out


def small_rotation(y: Tensor) -> Tensor:
    """The same by a hundred-thousandth, around 0.5."""
    return torch.where(y < 0.5, 0.500005, torch.where(y > 0.5, 0.5, 0.499995)).to(y)


def test_an_idempotent_f_rests_at_once_and_is_not_asked_again() -> None:
    f = Toy(lambda y: y.clamp(-0.5, 0.5))
    done = refine(f, image(0.2, 0.9, -3.0), 1000, [0, 1, 1000])
    assert done.rest == (Rest(0, "exact"), Rest(1, "exact"), Rest(1, "exact"))
    # All three once; then the two that had moved.
    assert (f.count, done.computed) == (5, 5)
    torch.testing.assert_close(done.images, image(0.2, 0.5, -0.5))
    assert torch.equal(done.frames[0], image(0.2, 0.9, -3.0))
    assert torch.equal(done.frames[1000], done.images)
    assert done.k == [0, 1]
    assert done.mean == pytest.approx([(0 + 0.4 + 2.5) / 3, 0.0])
    assert done.largest == pytest.approx([2.5, 0.0])
    assert done.resting() == {"exact": 3}


def test_every_frame_is_the_plain_loop_s_while_images_move() -> None:
    step = shrinking(0.999)
    done = refine(Toy(step), image(0.5, 0.9), 50, range(51))
    assert done.rest == (None, None)
    assert done.resting() == {"moving": 2}
    assert list(done.frames) == list(range(51))
    for k, frame in done.frames.items():
        assert torch.equal(frame, plain(step, image(0.5, 0.9), k))


def test_only_what_moves_is_computed_again() -> None:
    def step(y: Tensor) -> Tensor:
        return torch.where(y > 0, y - 0.125, y)

    f = Toy(step)
    done = refine(f, image(0.25, 1.0, 0.0), 100, range(20))
    assert [one.since for one in done.rest if one] == [2, 8, 0]
    assert f.count == 3 + 9 + 1
    for k, frame in done.frames.items():
        assert torch.equal(frame, plain(step, image(0.25, 1.0, 0.0), k))


@pytest.mark.parametrize("factor", [0.5, 0.9, 0.97])
def test_a_contraction_rests_within_a_tenth_of_a_level_of_its_limit(factor: float) -> None:
    f = Toy(shrinking(factor))
    done = refine(f, image(1.0, -0.3), 100_000)
    for one in done.rest:
        assert one is not None
        assert one.rule == "contraction"
        # It has indeed arrived, and was not followed to the last bit.
        assert one.since < 1000
    assert done.images.abs().max() <= TENTH
    assert done.images.abs().max() > 0


def test_a_way_that_slows_down_without_end_is_no_contraction() -> None:
    # y → y / (1 + y): f^k(1) = 1/(1 + k), whose steps shrink, but ever more slowly.
    done = refine(Toy(lambda y: (y.double() / (1 + y.double())).float()), image(1.0), 3000)
    assert done.rest == (None,)
    torch.testing.assert_close(done.images, image(1 / 3001), rtol=1e-3, atol=0)


def test_an_even_drift_never_rests() -> None:
    done = refine(Toy(lambda y: y - 2.0**-20), image(0.5), 2000, [2000])
    assert done.rest == (None,)
    assert torch.equal(done.frames[2000], image(0.5 - 2000 * 2.0**-20))


def test_a_short_cycle_of_small_changes_rests_and_a_large_one_does_not() -> None:
    small = refine(Toy(small_rotation), image(0.5), 5000)
    (one,) = small.rest
    assert one is not None
    assert one.rule == "cycle"
    assert (small.images - 0.5).abs().max() <= TENTH
    large = refine(Toy(rotation), image(0.1), 100, [99, 100])
    assert large.rest == (None,)
    assert torch.equal(large.frames[99], image(0.1))
    assert torch.equal(large.frames[100], image(0.2))


def test_rounding_errors_that_go_round_are_told_from_a_drift() -> None:
    generator = torch.Generator().manual_seed(0)

    def step(y: Tensor) -> Tensor:
        return 0.5 + 2e-7 * (torch.rand(y.shape, generator=generator) - 0.5)

    done = refine(Toy(step), image(0.5), 4000)
    (one,) = done.rest
    assert one is not None
    assert one.rule in ("last bits", "contraction")
    assert len(done.k) < 4000


def test_until_stops_an_image_once_it_changes_by_no_more() -> None:
    done = refine(Toy(shrinking(0.5)), image(1.0, 0.01), 100, until=0.1)
    assert done.rest == (Rest(4, "until"), Rest(1, "until"))
    torch.testing.assert_close(done.images, image(0.0625, 0.005))


def test_the_batch_changes_nothing_and_neither_do_the_neighbours() -> None:
    y = torch.linspace(-1, 1, 7)
    step = shrinking(0.8)
    together = refine(Toy(step), image(*y.tolist()), 200, batch=3)
    for i, value in enumerate(y.tolist()):
        alone = refine(Toy(step), image(value), 200)
        assert torch.equal(alone.images[0], together.images[i])
        assert alone.rest[0] == together.rest[i]


def test_progress_is_told_of_each_step_and_who_still_moves() -> None:
    seen: list[tuple[int, int]] = []
    f = Toy(lambda y: torch.where(y > 0, y - 0.5, y))
    refine(f, image(0.5, 1.0), 10, progress=lambda k, n: seen.append((k, n)))
    assert seen == [(1, 2), (2, 1), (3, 0)]


@pytest.mark.parametrize("steps", [0, -1])
def test_wrong_arguments_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match="steps"):
        refine(Toy(lambda y: y), image(0.0), steps)
    with pytest.raises(ValueError, match="shape"):
        refine(Toy(lambda y: y), torch.zeros(1, 1, 5, 5), 1)


def test_no_images_are_no_work(tiny_f: IGN) -> None:
    done = make_it_real.refine(tiny_f, torch.empty(0, 1, 28, 28), 10, [10])
    assert done.images.shape == (0, 1, 28, 28)
    assert done.rest == ()
    assert make_it_real.refine is refinement.refine


# --- mir refine ---


def mir(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_mir_refine_writes_strip_curve_table_animation_and_gallery(
    tiny_model: Path, here: Path
) -> None:
    result = mir(
        "refine", "--seeds", "0-2", "-k", 30, "-m", tiny_model, "-d", "cpu", "-o", "s.png",
        "--plot", "p.png", "--csv", "c.csv", "--animation", "a.gif", "--gallery", "g.html",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert result.stdout == "s.png\n"
    with Image.open("s.png") as strip:
        # Rows are images, columns k = 0, 1, 10, 20 and 30.
        assert strip.size == (5 * 30 - 2, 3 * 30 - 2)
        assert strip.info["k"] == "0,1,10,20,30"
    with Image.open("p.png") as plot:
        assert len(plot.convert("RGB").getcolors(100_000) or []) > 5
    lines = Path("c.csv").read_text().splitlines()
    assert lines[0] == "k,mean,largest"
    assert [line.split(",")[0] for line in lines[1:]] == [str(k) for k in range(len(lines) - 1)]
    with Image.open("a.gif") as animation:
        assert animation.n_frames > 5  # type: ignore[attr-defined]
    assert Path("g.html").read_text().count("<figure") == 3
    assert "|f^(k+1) − f^k|" in result.stderr
    assert "of 3 images" in result.stderr


def test_mir_refine_says_in_json_who_rests(tiny_model: Path, here: Path) -> None:
    Image.new("L", (28, 28), 0).save("x.png")
    result = mir("refine", "x.png", "-k", 5, "-m", tiny_model, "-d", "cpu", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["input"] == "x.png"
    assert report["output"] == "refined.png"
    assert report["rest"] in (None, "exact", "cycle", "contraction")
    again = mir("refine", "x.png", "-k", 5, "-m", tiny_model, "-d", "cpu")
    assert again.stdout == "refined_2.png\n"


def test_mir_refine_s_last_frame_is_project_s(tiny_model: Path, here: Path) -> None:
    mir("refine", "--seeds", "3", "-k", 4, "--at", "4", "-m", tiny_model, "-o", "r.png")
    mir("generate", "--seeds", "3", "-k", 4, "-m", tiny_model, "-o", "g.png")
    with Image.open("r.png") as refined, Image.open("g.png") as generated:
        assert refined.tobytes() == generated.tobytes()


@pytest.mark.parametrize(
    ("options", "exit_code"),
    [
        ([], 2), (["x.png", "--seeds", "1"], 2), (["--seeds", "3-1"], 2),
        (["--seeds", "1", "--at", "0,9", "-k", "5"], 2), (["--seeds", "1", "--at", "a"], 2),
        (["--seeds", "1", "-o", "x.jpg"], 2), (["--seeds", "1", "--animation", "x.png"], 2),
        (["none.png"], 3), (["--seeds", "1", "-o", "there.png"], 1),
    ],
    ids=str,
)  # fmt: skip
def test_mir_refine_refuses_what_makes_no_sense(
    tiny_model: Path, here: Path, options: list[str], exit_code: int
) -> None:
    Path("there.png").write_bytes(b"kept")
    result = mir("refine", *options, "-m", tiny_model)
    assert result.exit_code == exit_code, result.output
    assert len(result.stderr.splitlines()) <= 6
    assert Path("there.png").read_bytes() == b"kept"
