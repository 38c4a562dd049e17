"""How real repairs look: distances of what is known, shares of what is counted by hand."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from make_it_real.cli import app
from make_it_real.data.dataset import ImageSet
from make_it_real.evaluation import evaluate, feature_extractors, measurements, realism, restoration
from make_it_real.evaluation.figures import Group
from make_it_real.evaluation.report import Report, html, markdown
from make_it_real.evaluation.workload import Workload
from make_it_real.images.pixels import to_pixels
from make_it_real.models.ign import IGN
from make_it_real.weights import model_file


class Means:
    """An extractor of the mean and deviation of each channel, in quarters of the image."""

    name, version, classifies = "lite0", "0" * 12, False

    def read(self, images: Tensor) -> tuple[Tensor, None]:
        parts = images.clamp(-1, 1).unfold(2, 16, 16).unfold(3, 16, 16).flatten(4)
        return torch.cat([parts.mean(4).flatten(1), parts.std(4).flatten(1)], 1), None


class Grey(IGN):
    """An f that turns what is bright into mid-grey, and leaves alone what is dark."""

    def forward(self, images: Tensor) -> Tensor:
        dark = images.mean((1, 2, 3), keepdim=True) < 0
        return torch.where(dark, images, 0.2 * images - 0.3)


class Restored(IGN):
    """An f that makes of any image the real one that it knows, in order."""

    known: Tensor

    def forward(self, images: Tensor) -> Tensor:
        return self.known[: len(images)]


def faces(n: int, seed: int) -> Tensor:
    """Images with smooth colours, half of them bright, (n, 3, 32, 32), of 8-bit values."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 3, 3, generator=generator) * 1.6 - 0.8
    x = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    return to_pixels(x).float() / 127.5 - 1


def images_of(x: Tensor) -> ImageSet:
    return ImageSet(to_pixels(x), None, "faces")


@pytest.fixture(autouse=True)
def few_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "DAMAGE", (("noise", 0.5), ("mask", 0.25)))
    monkeypatch.setattr(measurements, "COLOUR_ONLY", (("central-block", 0.4375),))


def repairs(f: IGN, *, n: int = 60, drawings: Tensor | None = None) -> dict[str, float]:
    groups = evaluate.evaluate(
        f, Means(), images_of(faces(n, 1)), images_of(faces(80, 2)), n=20,
        wanted=("projection",), drawings=drawings,
    )  # fmt: skip
    return {name: value for group in groups for name, value in group.figures.items()}


def test_what_is_restored_is_as_real_as_what_was_damaged(tiny_colour_f: IGN) -> None:
    f = Restored(tiny_colour_f.config)
    f.known = faces(60, 1)
    found = repairs(f)
    assert abs(found["kd_lite0_real"]) < 0.01
    for kind in ("noise_0.5", "mask_0.25", "central-block_0.4375"):
        assert found[f"kd_lite0_{kind}_before"] > found["kd_lite0_real"] + 1e-4
        assert found[f"kd_lite0_{kind}_after"] == pytest.approx(found["kd_lite0_real"])
        assert found[f"kd_lite0_{kind}_after2"] == pytest.approx(found["kd_lite0_real"])
        assert found[f"psnr_{kind}_after"] == 100


def test_other_images_are_compared_with_and_not_the_originals(tiny_colour_f: IGN) -> None:
    f = Restored(tiny_colour_f.config)
    # One real image, again and again: near each original's neighbours, and no distribution.
    f.known = faces(1, 1).expand(60, -1, -1, -1)
    collapsed = repairs(f)
    assert collapsed["kd_lite0_noise_0.5_after"] > 10 * abs(collapsed["kd_lite0_real"])


def test_the_share_at_rest_is_of_damaged_images_and_of_repairs(tiny_colour_f: IGN) -> None:
    found = repairs(Grey(tiny_colour_f.config))
    x = faces(60, 1)
    x[..., 9:23, 11:21] = 0
    dark = float((x.mean((1, 2, 3)) < 0).float().mean())
    assert found["unchanged_central-block_0.4375_before"] == pytest.approx(dark)
    assert 0 < dark < 1
    # What was bright is dark afterwards.
    assert found["unchanged_central-block_0.4375_after"] == 1


def test_f_again_is_measured_where_it_differs(
    tiny_colour_f: IGN, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "DAMAGE", (("contrast", 0.9),))
    monkeypatch.setattr(measurements, "COLOUR_ONLY", ())

    class Darker(IGN):
        """An f that takes 0.1 off, as often as it is applied."""

        def forward(self, images: Tensor) -> Tensor:
            return images - 0.1

    found = repairs(Darker(tiny_colour_f.config))
    once, twice = (found[f"kd_lite0_contrast_0.9_{k}"] for k in ("after", "after2"))
    monkeypatch.setattr(restoration, "REPEATED_IMAGES", 40)
    assert repairs(Darker(tiny_colour_f.config))["kd_lite0_contrast_0.9_after"] != once
    assert twice > once
    assert found["unchanged_contrast_0.9_before"] == found["unchanged_contrast_0.9_after"] == 0


def test_the_same_figures_come_with_other_sections_and_numbers(
    tiny_colour_f: IGN, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "REST_STEPS", 2)
    test, other, f = images_of(faces(40, 1)), images_of(faces(80, 2)), tiny_colour_f

    def measured(n: int, *wanted: str) -> dict[str, float]:
        groups = evaluate.evaluate(f, Means(), test, other, n=n, wanted=wanted)
        figures = {k: v for one in groups for k, v in one.figures.items()}
        return {k: v for k, v in figures.items() if k.startswith(("kd_lite0_mask", "unchanged"))}

    alone = measured(20, "projection")
    assert len(alone) == 3 + 2 * 3
    assert measured(30, *evaluate.SECTIONS) == alone


def test_classifiers_judge_by_accuracy_alone(tiny_colour_f: IGN) -> None:
    judge = Means()
    assert realism.applies(judge)
    judge.classifies = True
    assert not realism.applies(judge)
    assert not realism.applies(None)


def test_coloured_is_what_differs_between_channels_on_average() -> None:
    grey = faces(3, 0)[:, :1].expand(-1, 3, -1, -1).clone()
    assert realism.coloured(grey).tolist() == [0, 0, 0]
    blush, patch, tinted = grey.clone(), grey.clone(), grey.clone().clamp(-0.7, 0.7)
    blush[:, 0] += 0.1
    patch[:, 0, :4, :4] = 1
    tinted[:, 0] += 0.2
    assert realism.coloured(blush).tolist() == [0, 0, 0]
    assert realism.coloured(patch).tolist() == [0, 0, 0]
    assert realism.coloured(tinted).tolist() == [1, 1, 1]
    assert realism.coloured(faces(20, 0)).mean() == 1


def test_drawings_have_no_original_and_are_measured_all_the_same(tiny_colour_f: IGN) -> None:
    drawings = faces(12, 5)[:, :1].expand(-1, 3, -1, -1).clone()
    f = Restored(tiny_colour_f.config)
    f.known = faces(60, 1)
    found = repairs(f, drawings=drawings)
    of_drawings = {name for name in found if "drawings" in name}
    assert of_drawings == {
        f"{metric}_drawings_{k}"
        for metric, last in (("kd_lite0", 3), ("coloured", 3), ("unchanged", 2))
        for k in ("before", "after", "after2")[:last]
    }
    assert found["coloured_drawings_before"] == 0
    assert found["coloured_drawings_after"] == 1
    assert found["unchanged_drawings_before"] == 0
    assert found["unchanged_drawings_after"] == 1
    assert found["kd_lite0_drawings_after"] < found["kd_lite0_drawings_before"]
    # Other figures are the same without them.
    without = repairs(f)
    assert without.items() <= found.items()


def test_a_display_is_told_of_others_and_drawings_too(tiny_colour_f: IGN) -> None:
    counts: dict[str, int] = {}

    def tick(stage: str, images: int) -> None:
        counts[stage] = counts.get(stage, 0) + images

    test, other = images_of(faces(30, 1)), images_of(faces(25, 2))
    load = Workload(30, 25, 20, 3, True, ("projection",), others=25, drawings=7)
    groups = evaluate.evaluate(
        tiny_colour_f, Means(), test, other, n=20, wanted=("projection",), tick=tick,
        drawings=faces(7, 3),
    )  # fmt: skip
    assert len(list(groups)) == 1 + 3 + 1
    assert counts == load.totals()
    fewer = Workload(30, 25, 20, 3, True, ("projection",))
    assert load.seconds(tiny_colour_f, Means()) > 0
    assert load.totals()["projection"] == fewer.totals()["projection"] + 25 + 2 * 7


def test_reports_have_a_table_of_kernel_distances() -> None:
    group = Group("projection")
    group.add("kd", -0.0014, features="lite0", of="real")
    for k, value in enumerate((1.267, 0.261, 0.26)):
        group.add(
            "kd", value, (value - 0.01, value + 0.01), features="lite0", of="edges", level=0.3, k=k
        )
    group.add("unchanged", 0.25, of="edges", level=0.3, k=0)
    group.add("coloured", 0.125, of="drawings", k=1)
    report = Report("a report", {}, [group], kept_out=("edges",))
    written = markdown(report)
    assert "| kernel distance (lite0) | A(x) | f | f² |" in written
    assert "| edges 0.3 (kept out) | 1.267 [1.257, 1.277] | 0.261 [0.251, 0.271] |" in written
    assert "| kernel distance (lite0) of x | -0.0014 |" in written
    assert "| share unchanged by f | A(x) |" in written
    assert "| drawings | 0.125 |" in written
    assert "share coloured" in html(report)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Folders of held-out images, of others, and of grey drawings of another size."""
    for name, n, seed in (("held", 24, 1), ("other", 30, 2), ("drawn", 3, 3)):
        (tmp_path / name).mkdir()
        for i, pixels in enumerate(to_pixels(faces(n, seed)).permute(0, 2, 3, 1).numpy()):
            image = Image.fromarray(pixels)
            if name == "drawn":
                image = image.convert("L").resize((80, 100))
            image.save(tmp_path / name / f"{i}.png")
    return tmp_path / "held", tmp_path / "other", tmp_path / "drawn"


def test_the_command_measures_drawings(
    folders: tuple[Path, Path, Path],
    tmp_path: Path,
    tiny_colour_f: IGN,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feature_extractors, "load", lambda *args: Means())
    path = tmp_path / "tiny.safetensors"
    info = model_file.ModelInfo(name="tiny", config=asdict(tiny_colour_f.config))
    model_file.save(tiny_colour_f, info, path)
    held, other, drawn = folders
    words = [
        "evaluate", held, "--train", other, "-m", path, "--sections", "projection", "--json",
        "--drawings", drawn,
    ]  # fmt: skip
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["about"]["drawings"] == "3"
    assert found["about"]["other real images for repairs"] == "30"
    low, high = found["intervals"]["kd_lite0_noise_0.5_after"]
    assert low < found["kd_lite0_noise_0.5_after"] < high
    assert found["coloured_drawings_before"] == 0
    assert "kd_lite0_drawings_after" in found
    # There is nothing to compare them with, or they are for other models.
    alone = CliRunner().invoke(app, ["evaluate", "-m", str(path), "--drawings", str(drawn)])
    assert alone.exit_code == 2
    assert "--drawings" in alone.output
