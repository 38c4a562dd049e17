"""The adversarial projector: what f and its critics learn from, and what they learn."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from make_it_real.degradations.kinds import COLOUR_DAMAGE
from make_it_real.models.spectral_source import SpectralSource
from make_it_real.training import losses
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.trainer import begin, train
from tests.training.helpers import CONFIG, CPU, MODEL, bars, begun, copied, finite, run


def test_f_learns_to_leave_two_images_as_they_are() -> None:
    config = replace(CONFIG, steps=60, decay_steps=0, lr=2e-3)
    images = bars(2)
    trainer = begin(AdversarialObjective(MODEL, config, CPU), images)
    records = [{k: float(v) for k, v in terms.items()} for terms in train(trainer, images)]
    assert trainer.step == len(records) == 60
    first, last = records[0]["rec"], sum(record["rec"] for record in records[-5:]) / 5
    assert last < 0.5 * first
    assert all(finite(record) for record in records)


def test_training_trains_f_and_the_critic_and_no_statistics() -> None:
    trainer = begun()
    f, C = copied(trainer.objective.f), copied(trainer.objective.C)
    assert isinstance(trainer.objective.f.source, SpectralSource)
    std = trainer.objective.f.source.std.clone()
    run(trainer, 3)
    assert [
        name for name, p in copied(trainer.objective.f).items() if torch.equal(f[name], p)
    ] == []
    # Only differences of logits are judged: what is added to all of them learns nothing.
    still = {name for name, p in copied(trainer.objective.C).items() if torch.equal(C[name], p)}
    assert still <= {"head.bias"}
    assert torch.equal(trainer.objective.f.source.std, std)


def gradients(trainer: Any, loss: Tensor) -> dict[str, bool]:
    """Which networks a loss has a gradient for: all of a network's parameters or none."""
    found = {}
    for name, net in trainer.objective.named_children():
        of = [p for p in net.parameters() if p.requires_grad]
        grads = torch.autograd.grad(loss, of, retain_graph=True, allow_unused=True) if of else ()
        found[name] = any(g is not None for g in grads)
    return found


def test_each_loss_trains_its_own_network() -> None:
    objective = (trainer := begun()).objective
    (draw,) = trainer.draw(bars(4).pixels, 0)
    y = objective(draw)
    terms = objective.losses(draw, y)
    assert terms.keys() == objective.lambdas(0).keys() - {"hold", "perceptual", "rest"}
    for name, term in terms.items():
        assert gradients(trainer, term) == {"f": True, "f_ema": False, "C": False}, name
    critics = objective.losses_critics(draw, y)
    assert critics.keys() == {"critic", "penalty"}
    for name, term in critics.items():
        assert gradients(trainer, term) == {"f": False, "f_ema": False, "C": True}, name


def test_f_learns_by_the_weighted_sum_of_its_terms() -> None:
    trainer = begun(replace(CONFIG, bf16=False, ramp=4))
    objective = trainer.objective
    (draw,) = trainer.draw(bars(4).pixels, 1)
    terms = objective.losses(draw)
    lambdas = objective.config.lambdas
    weights = {**vars(lambdas), "idem": lambdas.idem / 4, "idem_inner": lambdas.idem_inner / 4}
    assert objective.lambdas(1) == weights
    wanted = sum(weights[name] * float(term.detach()) for name, term in terms.items())
    total = losses.weighted_sum(terms, weights)
    assert float(total.detach()) == pytest.approx(wanted)
    with pytest.raises(KeyError, match="rec"):
        losses.weighted_sum(terms, {"real": 1.0})
    grads = torch.autograd.grad(total, list(objective.f.parameters()))
    trainer.step = 1
    trainer.learn([draw])
    for parameter, grad in zip(objective.f.parameters(), grads, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, grad)


def test_the_critics_have_a_part_in_every_so_many_th_step_only() -> None:
    trainer = begun(replace(CONFIG, steps=7, critic_every=3, penalty_every=2))
    records, moved = [], []
    for _ in range(7):
        f, C, average = (
            copied(trainer.objective.f),
            copied(trainer.objective.C),
            copied(trainer.objective.f_ema),
        )
        records += run(trainer, 1)
        assert any(not torch.equal(v, f[k]) for k, v in copied(trainer.objective.f).items())
        assert any(
            not torch.equal(v, average[k]) for k, v in copied(trainer.objective.f_ema).items()
        )
        moved.append(any(not torch.equal(v, C[k]) for k, v in copied(trainer.objective.C).items()))
    assert moved == [False, False, True, False, False, True, False]
    assert ["critic" in r for r in records] == moved
    assert ["real" in r for r in records] == moved
    assert all(r["rec"] > 0 and r["restore"] > 0 for r in records)


def test_a_step_without_critics_repairs_a_whole_batch() -> None:
    trainer = begun(replace(CONFIG, critic_every=2, restored=1, kept=3))
    (draw,) = trainer.draw(bars(4).pixels, 0)
    assert len(draw.Ax) == len(draw.x) == 16
    seen: list[Tensor] = []
    trainer.objective.f.register_forward_hook(lambda net, args, out: seen.append(args[0]))
    trainer.learn([draw])
    assert [len(images) for images in seen] == [16 + 12]
    assert torch.equal(seen[0], torch.cat([draw.Ax, draw.x[:12]]))
    # Of which kind the next one is, its number says, before this one is done.
    assert len(trainer.draw(bars(4).pixels, 1)[0].Ax) == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"flip": True}, {"bf16": False}, {"ramp": 0}, {"rest_steps": 1}, {"blend": 1.0},
        {"twice": 1.0}, {"damage": {"glass": 1, "lines": 2}}, {"accumulate": 2},
    ],
    ids=str,
)  # fmt: skip
def test_other_settings_run(changes: dict[str, Any]) -> None:
    records = run(begun(replace(CONFIG, **changes)), 2)
    for record in records:
        assert finite(record)


def test_colour_images_train() -> None:
    trainer = begun(replace(CONFIG, damage=COLOUR_DAMAGE), replace(MODEL, channels=3))
    before = copied(trainer.objective.f)
    run(trainer, 2)
    assert not torch.equal(before["stem.weight"], trainer.objective.f.get_parameter("stem.weight"))


@pytest.mark.parametrize(("blend", "kinds"), [(0.0, False), (1.0, True)])
def test_blended_images_lie_between_x_and_z(blend: float, kinds: bool) -> None:
    trainer = begun(replace(CONFIG, blend=blend, twice=0.0, damage={"thin": 1}))
    x, z = -torch.ones(50, 1, 12, 12), torch.ones(50, 1, 12, 12)
    Ax = trainer.objective.degraded(x, z, torch.Generator().manual_seed(0))
    # Thinning leaves a black image black; blending moves it towards z by t ~ U(0, 1).
    assert bool((Ax > -1).all()) is kinds
    t = (Ax.flatten(1).mean(1) + 1) / 2
    assert float(t.mean()) == pytest.approx(0.5 if kinds else 0.0, abs=0.1)


def test_f_sees_as_many_images_as_the_quarters_say() -> None:
    seen: list[int] = []
    trainer = begun(replace(CONFIG, restored=2, kept=1))
    trainer.objective.f.register_forward_hook(lambda f, given, out: seen.append(len(given[0])))
    (draw,) = trainer.draw(bars(4).pixels, 0)
    assert len(draw.Ax) == 8
    trainer.objective.losses(draw)
    # z, Ax and x; then, after some steps without gradient, f(s + ε) and f(f(z)).
    assert (seen[0], seen[-1]) == (16 + 8 + 4, 8)
