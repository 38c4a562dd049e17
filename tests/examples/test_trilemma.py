"""The comparison in examples/trilemma: fair in size, true to its sources, able to be resumed."""

import json
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("diffusers")
sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "trilemma"))

import common
import compare
import consistency
import ddpm
import diffusion_gan
import page

from make_it_real.data.dataset import ImageSet
from make_it_real.models.architectures import build
from make_it_real.training.networks import default_model


@pytest.fixture
def few() -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (200, 1, 28, 28), generator=generator, dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(200) % 10, "few")


@pytest.mark.parametrize("key", list(compare.SYSTEMS))
def test_each_has_as_many_parameters_as_f_within_a_fifth(key: str, few: ImageSet) -> None:
    of_f = sum(p.numel() for p in build(default_model(28, 1)).parameters())
    assert 0.8 < compare.SYSTEMS[key](few, common.CPU).parameters / of_f < 1.2


@pytest.mark.parametrize("key", ["gan", "vae", "diffusion-gan", "consistency", "guided-ddpm"])
def test_each_learns_draws_and_is_kept(key: str, few: ImageSet, tmp_path: Path) -> None:
    assert few.labels is not None
    torch.manual_seed(0)
    system, path = compare.SYSTEMS[key](few, common.CPU), tmp_path / "kept.safetensors"
    common.train(system, few.pixels, few.labels, 0.5 / 60, path)
    assert system.steps >= 1
    again = compare.SYSTEMS[key](few, common.CPU)
    common.restore(again, path, 0.5 / 60)
    assert again.steps == system.steps
    for a, b in zip(system.ways(), again.ways(), strict=True):
        made = a.draw(2, torch.Generator().manual_seed(3))
        assert made.shape == (2, 1, 28, 28)
        assert float(made.abs().max()) <= 1
        assert torch.equal(made, b.draw(2, torch.Generator().manual_seed(3)))
        if a.repair is not None:
            assert a.repair(made, torch.Generator().manual_seed(4)).shape == made.shape


def test_the_learning_rate_falls_over_the_last_quarter() -> None:
    shares = [common.falling(over) for over in (0, 0.5, 0.75, 0.875, 1)]
    assert shares == [1, 1, 1, 0.5, 0]


def test_at_the_lowest_level_a_consistency_model_is_the_identity() -> None:
    y = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    low = torch.full((2,), consistency.SIGMA_LOW)
    torch.testing.assert_close(consistency.applied(ddpm.UNet(), y, low), y)
    levels = consistency.levels(11)
    assert [round(float(levels[i]), 4) for i in (0, -1)] == [0.002, 80.0]
    assert bool((levels.diff() > 0).all())


def test_diffused_images_keep_and_lose_what_the_schedule_says() -> None:
    diffusion = diffusion_gan.Diffusion(common.CPU)
    x = torch.ones(3000, 1, 4, 4)
    steps = torch.tensor([0, 100, 500]).repeat_interleave(1000)
    shown = diffusion.shown(x, steps)
    assert torch.equal(shown[:1000, :1], x[:1000])
    for i, t in enumerate((0, 100, 500)):
        part = shown[1000 * i : 1000 * (i + 1)]
        signal = float(torch.prod(1 - torch.linspace(1e-4, 2e-2, 1000)[:t]))
        assert float(part[:, 0].mean()) == pytest.approx(signal**0.5, abs=2e-3)
        assert float(part[:, 0].std()) == pytest.approx(0.05 * (1 - signal) ** 0.5, abs=2e-3)
        assert bool((part[:, 1] == t / 500).all())


def test_the_diffusion_grows_longer_when_the_critic_is_too_sure() -> None:
    diffusion = diffusion_gan.Diffusion(common.CPU)
    diffusion.adjust(torch.ones(10))
    assert diffusion.longest == 9
    diffusion.adjust(torch.tensor([1.0, -1.0]))
    assert diffusion.longest == 5
    diffusion.adjust(torch.tensor([1.0, -1.0]))
    assert diffusion.longest == 5
    assert int(diffusion.draw(1000).max()) <= 5


def test_one_command_trains_measures_and_goes_on_where_it_was(
    few: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("make_it_real.data.dataset.load", lambda *_: few)
    monkeypatch.setattr(compare, "CHUNK", 20)
    words = ["compare.py", "few", "-o", str(tmp_path), "--minutes", "0.005", "--n", "40"]
    monkeypatch.setattr(sys, "argv", [*words, "--only", "gan", "vae"])
    compare.main()
    first = json.loads((tmp_path / "trilemma.json").read_text())
    assert [row["name"] for row in first["rows"]] == ["real train images", "GAN", "VAE"]
    assert first["rows"][2]["repair"]["evaluations"] == 1
    assert all(row["fd_few"] == row["fd"] for row in first["rows"])
    assert len(list((tmp_path / "made").iterdir())) == 4
    text = (tmp_path / "README.md").read_text()
    assert sum(line.startswith("| VAE |") for line in text.splitlines()) == 2
    assert "--minutes 0.005 --n 40 --only gan vae\n" in text
    assert (tmp_path / "trilemma.webp").stat().st_size > 1000

    monkeypatch.setattr(common, "train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(compare, "train", lambda *_: pytest.fail("trained again"))
    (tmp_path / "made" / "GAN-001.safetensors").unlink()
    compare.main()
    again = json.loads((tmp_path / "trilemma.json").read_text())
    for a, b in zip(first["rows"], again["rows"], strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {
            k: v for k, v in b.items() if k != "seconds"
        }


def test_several_are_trained_at_a_time_each_in_a_process(
    few: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split, images in (("train", few.pixels), ("t10k", few.pixels[:100])):
        head = b"\0\0\x08\x03" + b"".join(n.to_bytes(4) for n in (len(images), 28, 28))
        (tmp_path / f"{split}-images-idx3-ubyte").write_bytes(head + images.numpy().tobytes())
        head, labels = b"\0\0\x08\x01" + len(images).to_bytes(4), bytes(range(10))
        labels *= len(images) // 10
        (tmp_path / f"{split}-labels-idx1-ubyte").write_bytes(head + labels)
    words = ["compare.py", str(tmp_path), "-o", str(tmp_path / "out"), "--minutes", "0.005"]
    monkeypatch.setattr(compare, "CHUNK", 20)
    monkeypatch.setattr(sys, "argv", [*words, "--n=20", "--workers=2", "--only", "gan", "vae"])
    compare.main()
    found = json.loads((tmp_path / "out" / "trilemma.json").read_text())
    assert found["about"]["workers"] == 2
    assert all(row["steps"] >= 1 for row in found["rows"][1:])
    assert "--n 20 --workers 2 --only" in found["about"]["options"]


def test_what_was_trained_for_another_time_is_refused(few: ImageSet, tmp_path: Path) -> None:
    assert few.labels is not None
    system, path = compare.SYSTEMS["vae"](few, common.CPU), tmp_path / "vae.safetensors"
    common.train(system, few.pixels, few.labels, 0.005, path)
    with pytest.raises(ValueError, match=r"0\.005 minutes, not 0\.01"):
        common.restore(system, path, 0.01)


def row(name: str, evaluations: int, fd: float, recall: float, **more: object) -> page.Row:
    return {
        "name": name, "parameters": 9, "steps": 7, "evaluations": evaluations, "fd": fd,
        "recall": recall, "precision": 0.5, "density": 0.5, "coverage": 0.5, "rarest": 0.09,
        "commonest": 0.11, "seconds": 1.0, "n": 10_000, **more,
    }  # fmt: skip


def repair(psnr: float, share: float) -> page.Row:
    found: page.Row = {"evaluations": 1}
    for kind, _ in page.DAMAGE:
        found |= {f"{kind}_before": (10.0, 0.5), f"{kind}_after": (psnr, share)}
    return found


def test_the_page_says_what_was_expected_and_what_was_found() -> None:
    rows = [
        row("mir", 1, 4.0, 0.6, repair=repair(20, 0.8), fd_few=4.8),
        row("GAN", 1, 5.0, 0.7),
        row("VAE", 1, 90.0, 0.2, repair=repair(19, 0.9)),
        row("DDPM, 1,000 steps", 1000, 1.6, 0.8, n=1000),
    ]
    found = page.expectations(rows).splitlines()[2:]
    assert "| yes, 4; the best other, GAN, 5 |" in found[0]
    assert "| **no**, 0.6; the best other, GAN, 0.7 |" in found[1]
    # Of as many images each, because fewer make a distance larger.
    assert "| **no**, 4.80 is 3 times 1.60, each of 1,000 images |" in found[2]
    near = [rows[0], row("DDPM, 1,000 steps", 1000, 3.2, 0.8, n=10_000)]
    assert "| yes, 4.00 is 1.2 times 3.20 |" in page.expectations(near)
    assert "so can VAE; f has the best PSNR in 4 of 4 kinds" in found[3]
    assert "the best digits read right in 0 of 4 kinds" in found[3]
    assert page.expectations(rows[1:]) == ""
    assert len(page.expectations(rows[:2]).splitlines()) == 4
    about = {"minutes": 2.0, "options": "", "judge": "j", "threads": 1, "repaired": 1, "tested": 1}
    about |= {"gpu": None, "workers": 1}
    assert "Those of DDPM, 1,000 steps are fewer" in page.text(rows, about)
    assert "are fewer" not in page.text(rows[:3], about)
    assert "OMP_NUM_THREADS=1 python" in page.text(rows, about)
    assert "2 minutes of processor time" in page.text(rows, about)
    about["gpu"] = "NVIDIA H100"
    assert "OMP_NUM_THREADS" not in page.text(rows, about)
    assert "2 minutes of one NVIDIA H100, on MNIST" in page.text(rows, about)
    about["workers"] = 8
    assert "2 minutes of one NVIDIA H100 shared by 8 at a time, on" in page.text(rows, about)


def test_labels_lie_apart_and_in_order() -> None:
    assert page.apart([5, 0, 6, 100], 10) == [10, 0, 20, 100]
