"""The figures are figures of what they say."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner, Result

from make_it_real.cli import app
from make_it_real.cli.sections import about, show
from make_it_real.data import dataset
from make_it_real.data.dataset import ImageSet
from make_it_real.degradations.kinds import kept_out
from make_it_real.errors import DataError
from make_it_real.evaluation import evaluate, feature_extractors, measurements, restoration
from make_it_real.evaluation.classifier import DigitClassifier
from make_it_real.evaluation.feature_extractors import Classifier
from make_it_real.evaluation.figures import Figure, Group
from make_it_real.evaluation.measurements import Subject
from make_it_real.evaluation.report import Report, html, markdown
from make_it_real.evaluation.workload import Workload
from make_it_real.inference.projection import apply, generate
from make_it_real.models.ign import IGN
from make_it_real.weights import model_file

MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"


class Still(IGN):
    """An f that leaves every image as it is."""

    def forward(self, images: Tensor) -> Tensor:
        return images


class Half(IGN):
    """An f that goes halfway to grey, and stays once it is near; it counts its images."""

    counted = 0

    def forward(self, images: Tensor) -> Tensor:
        self.counted += len(images)
        near = images.abs().flatten(1).amax(1) < 0.1
        return torch.where(near[:, None, None, None], images, images.clamp(-1, 1) / 2)

    def with_change(self, images: Tensor) -> tuple[Tensor, Tensor]:
        out = self(images)
        return out, out - images


@pytest.fixture
def judge(tmp_path: Path) -> Classifier:
    torch.manual_seed(0)
    DigitClassifier().save(tmp_path / "judge.safetensors", {})
    return Classifier(tmp_path / "judge.safetensors", torch.device("cpu"))


@pytest.fixture
def still(tiny_f: IGN) -> Still:
    return Still(tiny_f.config)


@pytest.fixture
def half(tiny_f: IGN) -> Half:
    return Half(tiny_f.config)


def noise(n: int, seed: int = 0, channels: int = 1, size: int = 28) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    shape = (n, channels, size, size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    return ImageSet(pixels, torch.arange(n) % 10, "noise")


def subject(f: IGN, judge: Classifier | None = None, n: int = 40) -> Subject:
    x = noise(n).pixels.float() / 127.5 - 1
    return Subject(f, judge, x, torch.arange(n) % 10, x, n)


def figures(groups: list[Group]) -> dict[str, float]:
    return {name: value for group in groups for name, value in group.figures.items()}


def test_an_f_that_does_nothing_is_faithful_and_at_rest(still: Still) -> None:
    s = subject(still, n=6)
    fidelity = measurements.fidelity(s.x, s.project(s.x)).figures
    assert fidelity["fidelity"] == 0
    assert fidelity["fidelity_psnr"] == 100
    assert fidelity["fidelity_ssim"] == pytest.approx(1)
    rest = measurements.idempotence(s).figures
    assert rest["rest_share"] == 1
    assert rest["rest_way"] == rest["step_1000_mean"] == rest["way_100"] == 0


def test_generation_compares_f_with_the_test_images(still: Still, judge: Classifier) -> None:
    s = subject(still, judge, 60)
    real, _ = judge.read(s.x)
    (group,) = measurements.generation(s, real)
    found = group.figures
    assert found["fd_floor_train"] == pytest.approx(0, abs=1e-6)
    assert found["fd_f"] > 10 * abs(found["fd_floor_train"])
    assert found["fd_fff"] == found["fd_ff"] == pytest.approx(found["fd_f"])
    assert found["kd_f"] > found["kd_floor_train"]
    assert found["recall_floor_train"] == found["coverage_floor_train"] == 1
    assert found["coverage_f"] < 0.5
    assert found["idempotence"] == 0
    low, high = group.intervals["precision_f"]
    assert low <= found["precision_f"] <= high


def test_what_is_at_rest_is_compared_once(
    still: Still, half: Half, judge: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an f that rests at once, f² and f³ have the figures of f, and nothing is computed."""
    compared = []
    compare = measurements.compare

    def counted(group: Group, *rest: Any) -> None:
        compared.append(rest[-1])
        compare(group, *rest)

    monkeypatch.setattr(measurements, "compare", counted)
    for f, wanted in ((still, [0, 1]), (half, [0, 1, 2, 3])):
        compared.clear()
        s = subject(f, judge)
        real = feature_extractors.collect(judge, s.x, 10, lambda images: None)[0]
        found = figures(list(measurements.generation(s, real)))
        assert compared == wanted
        for metric in ("fd", "kd", "precision", "recall", "density", "coverage"):
            assert {f"{metric}_{name}" for name in ("f", "ff", "fff")} <= found.keys()
        if f is still:
            assert found["fd_f"] == found["fd_ff"] == found["fd_fff"]


def test_steps_are_those_of_a_plain_loop(half: Half, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "REST_STEPS", 10)
    s = subject(half)
    seeds = range(measurements.FIRST_SEED, measurements.FIRST_SEED + measurements.REST_SEEDS)
    found = measurements.idempotence(s).figures
    first = y = generate(half, seeds)
    for k in range(1, 11):
        new = apply(half, y)
        if k in (1, 2, 10):
            step = (new - y).abs().flatten(1).mean(1)
            assert found[f"step_{k}_mean"] == pytest.approx(float(step.mean()))
            assert found[f"step_{k}_p99"] == pytest.approx(float(step.double().quantile(0.99)))
            if k > 1:
                way = (y - first).abs().mean()
                assert found[f"way_{k}"] == pytest.approx(float(way))
        y = new
    assert found["rest_share"] == 1


def test_what_rests_is_not_computed_again(half: Half) -> None:
    x = torch.cat([torch.full((3, 1, 28, 28), 0.05), torch.ones(2, 1, 28, 28)])
    s = subject(half)
    y = s.project(x)
    before = half.counted
    new, moved = s.onward(x, y)
    assert moved.tolist() == [False] * 3 + [True] * 2
    assert half.counted - before == 2
    assert torch.equal(new, apply(half, y))
    all_of_them = Subject(half, None, x, None, x, 5, rests=False)
    assert all_of_them.onward(x, y)[1].all()


def test_projection_judges_before_and_after(
    half: Half, judge: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "DAMAGE", (("noise", 0.5), ("jpeg", 5)))
    monkeypatch.setattr(restoration, "REPEATED_IMAGES", 15)
    s = subject(half, judge)
    real, _ = judge.read(s.x)
    generator = torch.Generator().manual_seed(0)
    found = figures(list(restoration.projection(s, real, generator)))
    metrics = {name.split("_")[0] for name in found}
    assert metrics == {"acc", "psnr", "ssim", "feature", "unchanged"}
    assert found["psnr_noise_0.5_before"] == pytest.approx(10.8, abs=1.5)
    # Half of noise is nearer to its mean: so is a quarter of it.
    assert found["psnr_noise_0.5_after2"] != found["psnr_noise_0.5_after"]
    assert found["psnr_jpeg_5_after3"] < found["psnr_jpeg_5_after"]


def test_f_again_of_a_part_is_added_to_the_figure_over_all(
    half: Half, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "DAMAGE", (("contrast", 0.8),))
    s = subject(half)

    def measured(more: int) -> dict[str, float]:
        monkeypatch.setattr(restoration, "REPEATED_IMAGES", more)
        return figures(list(restoration.projection(s, None, torch.Generator().manual_seed(0))))

    whole, part = measured(40), measured(30)
    assert part["psnr_contrast_0.8_after"] == whole["psnr_contrast_0.8_after"]
    assert part["psnr_contrast_0.8_after2"] == pytest.approx(
        whole["psnr_contrast_0.8_after2"], abs=0.05
    )


def test_an_f_that_does_nothing_repairs_nothing(still: Still, judge: Classifier) -> None:
    s = subject(still, judge, 20)
    real, _ = judge.read(s.x)
    found = figures(list(restoration.projection(s, real, torch.Generator().manual_seed(0))))
    kinds = {name.removeprefix("acc_").rsplit("_", 1)[0] for name in found if "acc_" in name}
    assert kinds == {f"{kind}_{level:g}" for kind, level in measurements.DAMAGE}
    for kind in kinds:
        for after in ("after", "after2", "after3"):
            assert found[f"psnr_{kind}_before"] == pytest.approx(found[f"psnr_{kind}_{after}"])


def test_colour_has_kinds_of_its_own() -> None:
    colour = dict(measurements.damage_for(3))
    assert {"grayscale", "sketch"} <= set(colour)
    assert "thin" not in colour
    assert measurements.damage_for(1) == measurements.DAMAGE
    assert set(kept_out(3)) < set(colour)


def test_a_section_has_the_same_figures_alone(
    tiny_f: IGN, judge: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "DAMAGE", measurements.DAMAGE[:1])
    monkeypatch.setattr(measurements, "REST_STEPS", 2)

    def measured(wanted: tuple[str, ...]) -> dict[str, float]:
        test, other = noise(24), noise(30, 1)
        groups = evaluate.evaluate(tiny_f, judge, test, other, n=20, wanted=wanted)
        return figures(list(groups))

    everything = measured(evaluate.SECTIONS)
    assert measured(evaluate.SECTIONS) == everything
    for section in ("generation", "realness", "projection"):
        alone = measured((section,))
        assert len(alone) > 2
        assert alone.items() <= everything.items(), section


def test_some_images_of_all_are_damaged_and_all_are_left_alone(
    half: Half, judge: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "DAMAGE", measurements.DAMAGE[:1])
    test = noise(30)

    def measured(images: ImageSet, *wanted: str) -> dict[str, float]:
        found = figures(list(evaluate.evaluate(half, judge, images, test, wanted=wanted)))
        # That is of all images.
        found.pop("classifier_accuracy", None)
        return found

    of_damage = ("realness", "projection")
    other = measured(test.take(slice(None, None, 2)), *of_damage)
    assert measured(test, *of_damage) != other
    of_all = measured(test, "fidelity")
    monkeypatch.setattr(evaluate, "DAMAGED", 20)
    # On some processors a sum's rounding differs with where its numbers lie in memory.
    assert measured(test, *of_damage) == pytest.approx(other, rel=1e-6)
    assert measured(test, "fidelity", *of_damage) == pytest.approx(other | of_all, rel=1e-6)


@pytest.mark.parametrize(
    "wanted", [evaluate.SECTIONS, ("generation", "realness"), ("projection",), ("idempotence",)]
)
@pytest.mark.parametrize("features", [True, False])
def test_a_display_is_told_of_as_many_images_as_were_announced(
    wanted: tuple[str, ...],
    features: bool,
    half: Half,
    judge: Classifier,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measurements, "DAMAGE", measurements.DAMAGE[:2])
    monkeypatch.setattr(measurements, "REST_STEPS", 12)
    monkeypatch.setattr(measurements, "REST_SEEDS", 4)
    monkeypatch.setattr(measurements, "EARLY_SEEDS", 8)
    monkeypatch.setattr(restoration, "REPEATED_IMAGES", 10)
    monkeypatch.setattr(evaluate, "DAMAGED", 20)
    test, other = noise(40), noise(25, 1)
    load = Workload(40, 25, 30, 2, features, wanted)
    counts: dict[str, int] = {}

    def tick(stage: str, images: int) -> None:
        counts[stage] = counts.get(stage, 0) + images

    extractor = judge if features else None
    groups = evaluate.evaluate(half, extractor, test, other, n=30, wanted=wanted, tick=tick)
    assert len(list(groups)) >= 1
    assert counts == load.totals()
    assert list(counts) == list(load.totals())


def test_without_data_the_display_is_of_idempotence_alone(
    half: Half, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "REST_STEPS", 2)
    counts: dict[str, int] = {}

    def tick(stage: str, images: int) -> None:
        counts[stage] = counts.get(stage, 0) + images

    wanted = ("idempotence",)
    list(evaluate.evaluate(half, None, None, None, n=70, wanted=wanted, tick=tick))
    assert (
        counts == Workload(0, 0, 70, 0, False, wanted).totals() == {"idempotence": 64 * 3 + 6 * 3}
    )


def test_the_time_of_an_evaluation_grows_with_it(half: Half, judge: Classifier) -> None:
    small = Workload(100, 100, 200, 1, True).seconds(half, judge)
    large = Workload(10_000, 10_000, 10_000, 13, True).seconds(half, judge)
    assert 0 < 5 * small < large


def test_realness_alone_applies_f_to_the_images_that_are_damaged(
    half: Half, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "DAMAGED", 20)
    list(evaluate.evaluate(half, None, noise(40), noise(20), wanted=("realness",)))
    assert half.counted == 4 * 20


def test_without_features_or_labels_the_rest_is_measured(
    tiny_colour_f: IGN, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "COLOUR_ONLY", ())
    monkeypatch.setattr(measurements, "DAMAGE", measurements.DAMAGE[:1])
    test = noise(40, channels=3, size=32).take(slice(30))
    wanted = ("generation", "projection")
    found = figures(list(evaluate.evaluate(tiny_colour_f, None, test, test, n=20, wanted=wanted)))
    assert {name.split("_")[0] for name in found} == {"idempotence", "psnr", "ssim", "unchanged"}


def test_too_few_images_are_refused(tiny_f: IGN) -> None:
    few = noise(19)
    with pytest.raises(DataError, match="at least 20"):
        list(evaluate.evaluate(tiny_f, None, few, noise(30)))


def test_halves_share_no_image() -> None:
    images = ImageSet(torch.arange(21, dtype=torch.uint8).view(21, 1, 1, 1), None, "numbers")
    a, b = evaluate.halves(images, 0)
    assert sorted([*a.pixels.flatten().tolist(), *b.pixels.flatten().tolist()]) == list(range(21))
    assert abs(len(a) - len(b)) == 1


def group() -> Group:
    made = Group("projection")
    made.add("psnr", 10.0, (9.5, 10.5), of="salt-and-pepper", level=0.2, k=0)
    made.add("psnr", 20.0, of="salt-and-pepper", level=0.2, k=1)
    made.add("feature", 0.5, features="lite0", of="mask", level=0.25, k=2)
    made.pictures["a <picture>"] = torch.zeros(1, 4, 4)
    return made


@pytest.mark.parametrize(
    ("figure", "name"),
    [
        (Figure("generation", "fd", 0, k=0, features="digits"), "fd_floor_train"),
        (Figure("generation", "fd", 0, k=1, features="inception"), "fid_f"),
        (Figure("generation", "kd", 0, k=2, features="lite0"), "kd_lite0_ff"),
        (Figure("generation", "recall", 0, k=3, features="inception"), "recall_inception_fff"),
        (Figure("generation", "class_share_min", 0), "class_share_min"),
        (Figure("idempotence", "step", 0, of="p99", k=1000), "step_1000_p99"),
        (Figure("idempotence", "way", 0, k=10), "way_10"),
        (Figure("idempotence", "rest_share", 0), "rest_share"),
        (Figure("fidelity", "fidelity_psnr", 0), "fidelity_psnr"),
        (Figure("realness", "auroc", 0, of="shuffled"), "auroc_shuffled"),
        (Figure("projection", "acc", 0, of="jpeg", level=5, k=0), "acc_jpeg_5_before"),
        (
            Figure("projection", "feature", 0, of="blur", level=1.5, k=3, features="lite0"),
            "feature_lite0_blur_1.5_after3",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_figure_has_the_name_that_headers_keep(figure: Figure, name: str) -> None:
    assert figure.name == name


def test_tables_find_each_figures_place() -> None:
    generation, steps = Group("generation"), Group("idempotence")
    generation.add("fd", 3.0, features="inception", k=1)
    generation.add("fd", 2.0, features="lite0", k=2)
    generation.add("recall", 1.0, features="digits", k=0)
    generation.add("idempotence", 0.25)
    steps.add("step", 0.5, of="p99", k=1000)
    steps.add("way", 0.125, k=10)
    steps.add("rest_share", 1.0)
    report = Report("all", {}, [generation, steps, group()])
    tables = [table for _, some in report.tables() for table in some]
    rows = {row[0]: row[1:] for table in tables for row in table.rows}
    assert rows["FID"] == ("3", "", "")
    assert rows["Fréchet distance (lite0)"] == ("", "2", "")
    assert rows["recall (digits)"] == ("", "", "1")
    assert rows["mean |f(f(z)) − f(z)|"] == ("0.25",)
    assert rows["k = 1,000"] == ("0.5", "")
    assert rows["salt-and-pepper 0.2 (kept out)"] == ("10 [9.5, 10.5]", "20")
    assert rows["mask 0.25"] == ("0.5",)
    assert "feature distance (lite0)" in {table.title for table in tables}


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_figure_wraps_in_a_table_on_a_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    generation = Group("generation")
    for k in range(4):
        generation.add("kd", 0.0586, (0.05712, 0.06008), features="digits", k=k)
        generation.add("fd", 1234.5, (1212.5, 1256.5), features="digits", k=k)
    generation.add("idempotence", 1.2345e-05, (1.1e-05, 1.3e-05))
    show(Report("all", {"model": "tiny", "damaged": "none"}, [generation, group()]))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    whole, short = "0.0586 [0.05712, 0.06008]", "0.0586 ±0.0015"
    counts = [sum(line.count(text) for line in lines) for text in (whole, short, "0.0586")]
    assert counts == {60: [0, 0, 4], 120: [4, 0, 4], 200: [4, 0, 4]}.get(width, [0, 4, 4])
    assert sum("salt-and-pepper" in line for line in lines) == 1
    assert [line.split() for line in lines[-2:]] == [["model", "tiny"], ["damaged", "none"]]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"), (7.4, "7 s"), (38, "40 s"), (57, "1 min"), (130, "2 min"), (3400, "57 min"),
        (4700, "1 h 20 min"), (7300, "2 h"),
    ],
)  # fmt: skip
def test_a_duration_is_written_roughly(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_reports_are_whole_files_with_their_pictures() -> None:
    report = Report("mir evaluate: <x>", {"data": "a & b"}, [group()])
    page, text = html(report), markdown(report)
    for written in (page, text):
        assert written.count("data:image/png;base64,") == 1
        assert "10 [9.5, 10.5]" in written
        assert "http" not in written.replace("http-equiv", "")
    assert "<x>" not in page
    assert "a &amp; b" in page


# --- mir evaluate ---


def mir(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "REST_STEPS", 2)
    monkeypatch.setattr(measurements, "REST_SEEDS", 4)
    monkeypatch.setattr(measurements, "EARLY_SEEDS", 8)


def folder_of(images: ImageSet, folder: Path) -> Path:
    from make_it_real.images.encode import encode

    folder.mkdir()
    for i, pixels in enumerate(images.pixels):
        (folder / f"{i}.png").write_bytes(encode(pixels.float() / 127.5 - 1))
    return folder


@pytest.mark.usefixtures("quickly")
def test_a_folder_is_measured_by_halves_and_reported(tmp_path: Path, tiny_model: Path) -> None:
    photos = folder_of(noise(44), tmp_path / "photos")
    report = tmp_path / "out" / "report.md"
    words = ("-m", tiny_model, "-n", 200, "--sections", "fidelity,generation", "--report", report)
    done = mir("evaluate", photos, *words)
    assert done.exit_code == 0, done.output
    lines = dict(line.split() for line in done.stdout.splitlines())
    assert {"fd_f", "kd_fff", "recall_floor_train", "fidelity_ssim"} <= set(lines)
    assert not any(name.startswith(("acc", "class", "psnr", "auroc")) for name in lines)
    assert "22 held-out images" in report.read_text("utf-8")
    assert "damaged: 22 of them" in report.read_text("utf-8")
    assert "one half" in done.stderr
    stages = [line.split(":")[0] for line in done.stderr.splitlines() if ": done in " in line]
    assert stages == ["features (1 of 3)", "generation (2 of 3)", "fidelity (3 of 3)"]
    said = done.stderr.index("this takes about ")
    assert said < done.stderr.index("features (1 of 3)")
    assert mir("evaluate", photos, *words).exit_code == 1
    again = mir("evaluate", photos, *words[:-2], "--json", "--train", photos)
    found = json.loads(again.stdout)
    assert found["about"]["features"].startswith("digits (sha256 ")
    assert (
        found["intervals"]["fidelity"][0] <= found["fidelity"] <= found["intervals"]["fidelity"][1]
    )


@pytest.mark.usefixtures("quickly")
def test_without_data_only_idempotence_is_measured(tiny_model: Path) -> None:
    done = mir("evaluate", "-m", tiny_model, "-n", 200)
    assert done.exit_code == 0, done.output
    assert {line.split("_")[0] for line in done.stdout.splitlines()} == {"rest", "step", "way"}
    facts = json.loads(mir("evaluate", "-m", tiny_model, "-n", 200, "--json").stdout)["about"]
    assert facts["data"] == facts["damaged"] == facts["real images of the floor"] == "none"
    assert mir("evaluate", "-m", tiny_model, "--sections", "fidelity").exit_code == 2


def test_wrong_options_are_usage_errors(tmp_path: Path, tiny_model: Path) -> None:
    for words in (("--sections", "taste"), ("--report", "x.pdf"), ("--record", "--quick")):
        assert mir("evaluate", tmp_path, "-m", tiny_model, *words).exit_code == 2


def test_the_classifier_reads_mnist_as_well_as_its_card_says() -> None:
    if not MNIST.is_dir():
        pytest.skip(f"needs MNIST in {MNIST}")
    from make_it_real.images.pixels import to_images
    from make_it_real.installation import bundled_folder

    test = dataset.load(MNIST, "test")
    assert test.labels is not None
    judge = DigitClassifier.load(bundled_folder() / "digits-classifier.safetensors")
    assert evaluate.accuracy(judge, to_images(test.pixels), test.labels) >= 0.994


def test_the_bundled_models_figures_have_the_names_that_the_command_prints() -> None:
    recorded = set(model_file.inspect(model_file.resolve("mnist")).figures)
    kinds = {f"{kind}_{level:g}" for kind, level in measurements.DAMAGE}
    wanted = {f"{m}_{k}_{w}" for m in ("acc", "psnr") for k in kinds for w in ("before", "after")}
    assert wanted <= recorded
