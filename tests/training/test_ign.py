"""Training by the paper's objective: its network, its settings, its checkpoints, mir train."""

import copy
import json
import struct
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner, Result

import make_it_real
from make_it_real.cli import app
from make_it_real.data.dataset import ImageSet
from make_it_real.errors import WeightsError
from make_it_real.evaluation import measurements
from make_it_real.models import dcgan
from make_it_real.models.architectures import build
from make_it_real.models.ign import ARCHITECTURES, IGNConfig
from make_it_real.training import adversarial, checkpoint, ign, trainer
from make_it_real.training.config import PublishedConfig
from make_it_real.training.ign import PublishedRecord, PublishedTrainer
from make_it_real.training.losses import PublishedLambdas
from make_it_real.weights import model_file
from make_it_real.weights.pretrained import load

CPU = torch.device("cpu")
CONFIG = PublishedConfig(steps=6, batch=16)


def model(norm: str = "group", **changes: Any) -> IGNConfig:
    small: dict[str, Any] = {"widths": (8, 16), "bottleneck": 8, "norm": norm}
    return ign.default_model(12, 1, **small | changes)


def bars(n: int = 4) -> ImageSet:
    """n plain images of 12×12: bright bars on black, each at another place."""
    pixels = torch.zeros(n, 1, 12, 12, dtype=torch.uint8)
    for i in range(n):
        pixels[i, 0, 2:10, 2 + i : 5 + i] = 255
    return ImageSet(pixels, None, "bars")


def begun(config: PublishedConfig = CONFIG, norm: str = "group") -> PublishedTrainer:
    return ign.begin(bars(), model(norm), config, CPU)


def run(trained: PublishedTrainer, steps: int | None = None) -> list[PublishedRecord]:
    return [step.record() for step in islice(trainer.train(trained, bars()), steps)]


def same_state(a: PublishedTrainer, b: PublishedTrainer) -> bool:
    states = a.state(), b.state()
    assert states[0].keys() == states[1].keys()
    assert a.step == b.step
    return all(torch.equal(value, states[1][name]) for name, value in states[0].items())


# --- The network ---


@pytest.mark.parametrize(
    ("size", "channels", "widths"),
    [(28, 1, (64, 128, 256)), (64, 3, (64, 128, 256, 512)), (64, 1, (64, 128, 256, 512))],
)
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_paper_s_network_has_the_paper_s_shape(
    size: int, channels: int, widths: tuple[int, ...], norm: str
) -> None:
    config = ign.default_model(size, channels, norm=norm)
    assert config.widths == widths
    assert (config.dead_zone, config.rest, config.bottleneck) == (0, 0, 512)
    f = build(config).eval()
    y = f(torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0)))
    assert y.shape == (2, channels, size, size)
    assert y.abs().max() < 1
    kinds = [type(m) for m in f.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)]
    # None at the input's convolution and none at the output's.
    assert len(kinds) == 2 * len(widths) - 1
    assert set(kinds) == {nn.BatchNorm2d if norm == "batch" else nn.GroupNorm}
    assert dcgan.has_batch_norm(f) == (norm == "batch")


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_one_image_s_result_depends_on_the_batch_under_batch_statistics_alone(norm: str) -> None:
    f = build(model(norm)).eval()
    y = torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(f(y)[:1], f(y[:1]), atol=1e-6, rtol=0)
    dcgan.use_batch_statistics(f)
    same = torch.allclose(f(y)[:1], f(y[:1]), atol=1e-6)
    assert same == (norm == "group")


def test_batch_statistics_are_those_of_training() -> None:
    f = build(model("batch"))
    y = torch.randn(8, 1, 12, 12, generator=torch.Generator().manual_seed(2))
    wanted = f(y)
    f.eval()
    assert not torch.allclose(f(y), wanted, atol=1e-4)
    dcgan.use_batch_statistics(f)
    torch.testing.assert_close(f(y), wanted)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "unet"}, {"norm": "layer"}, {"source": "pink"}, {"dead_zone": 0.1},
        {"widths": (8,) * 5},
    ],
    ids=str,
)  # fmt: skip
def test_a_config_that_makes_no_network_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        build(replace(model(), **changes))


def test_the_projector_takes_no_batch_norm() -> None:
    with pytest.raises(ValueError, match="batch norm is for"):
        IGNConfig(norm="batch")


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("source", ["published", "spectral", "white"])
def test_the_weights_file_keeps_architecture_norm_and_law(
    tmp_path: Path, norm: str, source: str
) -> None:
    trained = ign.begin(bars(), model(norm, source=source), CONFIG, CPU)
    run(trained, 2)
    path = tmp_path / "f.safetensors"
    model_file.save(trained.f, model_file.ModelInfo("f", asdict(trained.f.config)), path)
    f = load(path)
    assert f.config == trained.f.config
    z = f.source.from_seeds([0, 1])
    torch.testing.assert_close(z, trained.f.source.from_seeds([0, 1]))
    torch.testing.assert_close(f(z), trained.f.eval()(z))
    # Loaded, it is what the hub's users know.
    f.save_pretrained(tmp_path / "folder")
    again = make_it_real.IGN.from_pretrained(tmp_path / "folder")
    assert isinstance(f, make_it_real.IGN)
    assert type(again) is type(f)
    assert all(torch.equal(v, again.state_dict()[name]) for name, v in f.state_dict().items())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_architecture_has_one_network_with_and_without_the_hub(architecture: str) -> None:
    config = model() if architecture == "dcgan" else IGNConfig()
    f, pretrained = build(config), make_it_real.IGN(config)
    assert isinstance(pretrained, type(f))
    assert isinstance(pretrained, make_it_real.IGN)
    again = copy.deepcopy(pretrained)
    assert type(again) is type(pretrained)
    assert again.info == pretrained.info
    names = list(f.state_dict())
    assert names == list(pretrained.state_dict()) == list(again.state_dict())
    # The names that files have.
    inner = {name.split(".")[0] for name, _ in f.named_parameters()}
    assert ("dcgan" in inner) is (architecture == "dcgan")
    assert len(inner) == 1 or "stem" in inner


def test_headers_from_before_there_were_architectures_still_load() -> None:
    old = {"image_size": 28, "channels": 1, "stem": 16, "widths": [64, 128], "bottleneck": 128}
    config = IGNConfig(**old)  # type: ignore[arg-type]
    assert (config.architecture, config.norm, config.source) == ("projector", "group", "spectral")


# --- Training ---


def test_the_settings_are_the_paper_s() -> None:
    config = PublishedConfig()
    assert (config.batch, config.lr, config.beta1, config.beta2) == (256, 1e-4, 0.5, 0.999)
    assert (config.clamp, config.tight_rec, config.decay_steps) == (1.5, "z", 0)
    assert ign.default_model(28, 1).norm == "batch"
    assert ign.default_model(28, 1).source == "published"


@pytest.mark.parametrize("changes", [{"tight_rec": "y"}, {"clamp": 0.0}], ids=str)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tight_rec|clamp"):
        PublishedConfig(**changes)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_f_learns_to_leave_images_as_they_are(norm: str) -> None:
    # In full precision: what bfloat16 rounds to differs among processors.
    records = run(begun(replace(CONFIG, steps=60, lr=2e-3, bf16=False), norm))
    assert [record.step for record in records] == list(range(1, 61))
    assert sum(record.rec for record in records[-5:]) / 5 < 0.5 * records[0].rec
    for record in records:
        assert torch.tensor(list(asdict(record).values())).isfinite().all()
        assert record.tight <= 0


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_copy_is_f_of_before_the_step_in_f_s_own_mode(norm: str) -> None:
    trained = begun(norm=norm)
    before = {k: v.clone() for k, v in trained.f.named_parameters()}
    run(trained, 1)
    for name, value in trained.f_copy.named_parameters():
        assert torch.equal(value, before[name])
        assert value.grad is None
    assert trained.f_copy.training
    trained.f.eval()
    run(trained, 1)
    assert not trained.f_copy.training


def test_every_parameter_is_trained_and_no_statistics() -> None:
    trained = begun()
    before = {k: v.clone() for k, v in trained.f.state_dict().items()}
    run(trained, 2)
    still = {k for k, v in trained.f.state_dict().items() if torch.equal(v, before[k])}
    assert still == {"source.mean", "source.std"}


def test_two_runs_with_one_seed_are_equal_and_another_seed_is_another_run() -> None:
    first, second = begun(), begun()
    assert run(first, 3) == run(second, 3)
    assert same_state(first, second)
    assert run(begun(replace(CONFIG, seed=1)), 1) != run(begun(), 1)


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("stop", [0, 1, 4])
def test_stopping_and_going_on_equals_never_stopping(tmp_path: Path, norm: str, stop: int) -> None:
    whole = begun(norm=norm)
    records = run(whole)
    part = begun(norm=norm)
    before = run(part, stop)
    part.save(tmp_path / "c.safetensors")
    resumed = PublishedTrainer.load(tmp_path / "c.safetensors", CPU)
    assert before + run(resumed) == records
    assert same_state(resumed, whole)


def test_a_checkpoint_keeps_config_and_objective(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    config = replace(CONFIG, lambdas=PublishedLambdas(1, 2, 3), tight_rec="x", clamp=2.0)
    begun(config).save(path)
    assert checkpoint.objective_of(path) == "ign"
    assert PublishedTrainer.load(path, CPU).config == config
    with pytest.raises(WeightsError, match="of the objective ign, not adversarial"):
        adversarial.Trainer.load(path, CPU)


# --- mir train ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "bars"
    path.mkdir()
    for i, pixels in enumerate(bars(5).pixels):
        Image.fromarray(pixels[0].numpy()).save(path / f"{i}.png")
    return path


def mir(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


OPTIONS = ["--size", "12", "--channels", "1", "--batch", "16", "--device", "cpu"]


def test_mir_train_by_the_paper_s_objective(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = mir(
        "train", folder, "-o", out, *OPTIONS, "--objective", "ign", "--steps", 25, "--norm",
        "group", "--source", "white", "--tight-rec", "x", "--clamp", 2, "--lambdas", "10,11,1.5",
    )  # fmt: skip
    assert first.exit_code == 0, first.output
    info = model_file.inspect(out / "model.safetensors")
    assert info.objective == "idempotent generative network, as published"
    assert (info.config["architecture"], info.config["source"]) == ("dcgan", "white")
    assert info.training["lambdas"] == {"rec": 10.0, "idem": 11.0, "tight": 1.5}
    assert (info.training["tight_rec"], info.training["clamp"]) == ("x", 2.0)
    (line,) = (json.loads(text) for text in (out / "log.jsonl").read_text().splitlines())
    assert {"rec", "idem", "tight", "images_per_second"} <= line.keys()
    assert (out / "samples" / "000025.png").exists()

    more = mir("train", folder, "-o", out, "--resume", "--steps", 27, "--device", "cpu", "-q")
    assert more.exit_code == 0, more.output
    assert model_file.inspect(out / "model.safetensors").steps == 27
    made = mir("generate", "-m", out, "-n", 2, "-o", tmp_path / "g.png", "-d", "cpu")
    assert made.exit_code == 0, made.output


@pytest.mark.parametrize("objective", ["ign", "adversarial"])
def test_minutes_end_a_run_as_its_last_step_does(
    folder: Path, tmp_path: Path, objective: str
) -> None:
    out = tmp_path / "run"
    result = mir("train", folder, "-o", out, *OPTIONS, "--objective", objective, "--minutes", 0)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{out / 'model.safetensors'}\n"
    assert checkpoint.objective_of(out / "checkpoint.safetensors") == objective
    assert model_file.inspect(out / "model.safetensors").steps == 1


@pytest.mark.parametrize(
    "options",
    [
        ["--norm", "batch"], ["--clamp", "2"], ["--tight-rec", "z"], ["--lambdas", "1,2,3"],
        ["--objective", "ign", "--damage", "noise"], ["--objective", "ign", "--lambdas", "1,2,3,4"],
        ["--objective", "ign", "--lambdas", "many"], ["--objective", "ign", "--clamp", "0"],
        ["--objective", "gan"],
    ],
    ids=str,
)  # fmt: skip
def test_options_of_the_other_objective_are_refused(
    folder: Path, tmp_path: Path, options: list[str]
) -> None:
    result = mir("train", folder, "-o", tmp_path / "run", *OPTIONS, *options)
    assert result.exit_code == 2, result.output
    assert not (tmp_path / "run").exists()


def test_the_adversarial_projector_takes_another_law_too(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = mir("train", folder, "-o", out, *OPTIONS, "--steps", 1, "--source", "white")
    assert result.exit_code == 0, result.output
    assert model_file.inspect(out / "model.safetensors").config["source"] == "white"


def test_samples_leave_a_network_in_training_as_it_is(folder: Path, tmp_path: Path) -> None:
    from make_it_real.training.run import Run

    trained = begun(norm="batch")
    run(trained, 2)

    def running() -> list[Tensor]:
        return [v.clone() for k, v in trained.f.state_dict().items() if "running" in k]

    before = running()
    Run(tmp_path, trained, bars(), "f", "").save()
    assert trained.f.training
    assert all(torch.equal(a, b) for a, b in zip(before, running(), strict=True))


# --- mir evaluate of what has batch norm ---


def test_mir_evaluate_measures_batch_norm_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "REST_STEPS", 3)
    monkeypatch.setattr(measurements, "DAMAGE", measurements.DAMAGE[:1])
    random = torch.Generator().manual_seed(0)
    for split, count in (("train", 220), ("t10k", 260)):
        pixels = torch.randint(0, 256, (count, 784), dtype=torch.uint8, generator=random)
        header = struct.pack(">HBBIII", 0, 8, 3, count, 28, 28)
        images = header + pixels.numpy().tobytes()
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(images)
        labels = struct.pack(">HBBI", 0, 8, 1, count) + bytes(i % 10 for i in range(count))
        (tmp_path / f"{split}-labels-idx1-ubyte").write_bytes(labels)
    small: dict[str, Any] = {"widths": (8, 16), "bottleneck": 8}
    paths = {}
    for norm in ("batch", "group"):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            f = build(ign.default_model(28, 1, norm=norm, **small))
        paths[norm] = tmp_path / f"{norm}.safetensors"
        model_file.save(f, model_file.ModelInfo(norm, asdict(f.config)), paths[norm])
    options = ["-n", 200, "--test-images", 200, "--json"]
    running = mir("evaluate", tmp_path, "-m", paths["batch"], *options)
    own = mir("evaluate", tmp_path, "-m", paths["batch"], *options, "--batch-statistics")
    assert running.exit_code == 0, running.output
    assert own.exit_code == 0, own.output
    assert json.loads(running.stdout)["fidelity"] != json.loads(own.stdout)["fidelity"]
    before = paths["batch"].read_bytes()
    for model_, extra in (("group", []), ("batch", ["--record"])):
        refused = mir(
            "evaluate", tmp_path, "-m", paths[model_], *options, "--batch-statistics", *extra
        )
        assert refused.exit_code == 2, refused.output
    assert mir("evaluate", tmp_path, "-m", paths["group"], *options, "--record").exit_code == 2
    assert paths["batch"].read_bytes() == before
