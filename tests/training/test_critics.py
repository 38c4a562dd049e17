"""Critics of repairs: what they see, what they lead, and what each kind of damage asks for."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from make_it_real.models.efficientnet_lite import Backbone
from make_it_real.models.projected_critic import SIDES
from make_it_real.training import augment, critics, losses
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.config import AdversarialConfig, default_config
from make_it_real.training.lambdas import AdversarialLambdas
from make_it_real.training.restoration import RestorationObjective
from make_it_real.training.trainer import Trainer, begin
from tests.training.helpers import CONFIG, CPU, MODEL, bars, begun, begun_restoration, copied, run

ALL = AdversarialLambdas(perceptual=0.4, rest=20.0)


def judged(**changes: Any) -> Trainer[RestorationObjective]:
    """A restoration whose repairs critics judge, in the beginning of f."""
    settings: dict[str, Any] = {"bf16": False, "held": True, "critic_every": 1, "lambdas": ALL}
    return begun_restoration(**settings | changes)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_no_restored_image_is_compared_with_its_own_original() -> None:
    logits = torch.arange(12.0)
    moved = critics.others(logits)
    assert (moved != logits).all()
    assert torch.equal(moved.view(-1, 4).sort(1).values.flatten(), logits)
    assert torch.equal(critics.others(logits[4:8]), moved[4:8])


# --- What is trained by what ---


def test_critics_of_repairs_are_trained_and_lead_f() -> None:
    trainer = judged(projected=1.5, penalty_every=1)
    objective = trainer.objective
    assert objective.P is not None
    before = {name: copied(net) for name, net in objective.named_children()}
    record = run(trainer, 1)[0]
    judged_terms = {"real_restored", "perceptual", "critic", "penalty", "projected"}
    assert record.keys() == {"step", "lr", "rec", "hold", "idem", "restore", "rest"} | judged_terms
    moved = {
        name
        for name, net in objective.named_children()
        if any(not torch.equal(v, before[name][k]) for k, v in copied(net).items())
    }
    assert moved == {"f", "f_ema", "C", "P"}


def test_f_learns_by_the_weighted_sum_of_its_terms() -> None:
    trainer = judged(projected=1.5)
    objective = trainer.objective
    (draw,) = trainer.draw(bars(4).pixels, 0)
    terms = objective.losses(draw)
    total = losses.weighted_sum(terms, vars(objective.config.lambdas))
    grads = torch.autograd.grad(total, list(objective.f.parameters()))
    trainer.learn([draw])
    for parameter, grad in zip(objective.f.parameters(), grads, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-4, atol=1e-4)


def test_the_perceptual_gradient_is_that_of_the_features() -> None:
    objective = (trainer := judged()).objective
    (draw,) = trainer.draw(bars(4).pixels, 0)
    assert objective.P is not None
    f_Ax = objective.f(draw.Ax)
    parameters = list(objective.f.parameters())
    side = SIDES[0]
    wanted = losses.loss_perceptual(
        objective.P.backbone(f_Ax, side), objective.P.backbone(draw.x, side)
    )
    found = objective.losses(draw)["perceptual"]
    torch.testing.assert_close(found, wanted)
    pairs = zip(
        torch.autograd.grad(wanted, parameters, retain_graph=True),
        torch.autograd.grad(found, parameters),
        strict=True,
    )
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_critics_judge_in_every_so_many_th_step() -> None:
    records = run(judged(critic_every=2, lambdas=AdversarialLambdas()), 4)
    assert ["real_restored" in r for r in records] == [False, True, False, True]
    assert ["critic" in r for r in records] == [False, True, False, True]


def test_fs_gradient_is_clipped_and_the_critics_are_not() -> None:
    plain, clipped = (
        judged(lambdas=AdversarialLambdas()),
        judged(lambdas=AdversarialLambdas(), clip=1e-3),
    )
    for trainer in (plain, clipped):
        trainer.learn(trainer.draw(bars(4).pixels, 0))

    def norm(trainer: Trainer[RestorationObjective], name: str) -> float:
        net = trainer.objective.get_submodule(name)
        grads = [p.grad.flatten() for p in net.parameters() if p.grad is not None]
        return float(torch.cat(grads).norm())

    assert norm(plain, "f") > 1e-2
    assert norm(clipped, "f") == pytest.approx(1e-3, rel=1e-3)
    assert norm(clipped, "C") == pytest.approx(norm(plain, "C"))


def test_repairs_are_judged_where_f_generates_too() -> None:
    trainer = begun(replace(CONFIG, bf16=False, projected=2.0, lambdas=ALL))
    assert isinstance(trainer.objective, AdversarialObjective)
    (draw,) = trainer.draw(bars(4).pixels, 0)
    y = trainer.objective(draw)
    terms = trainer.objective.losses(draw, y)
    assert {"perceptual", "rest", "real_restored"} < terms.keys()
    parameters = list(trainer.objective.f.parameters())
    for name in ("perceptual", "real_restored"):
        gradients = torch.autograd.grad(terms[name], parameters, retain_graph=True)
        assert any(bool(g.abs().sum() > 0) for g in gradients)


def test_what_f_generates_is_judged_with_its_repairs() -> None:
    objective = (trainer := judged(projected=1.5)).objective
    (draw,) = trainer.draw(bars(4).pixels, 0)
    y = objective(draw)
    assert y.seen is not None
    made = y.seen[1].images
    given = torch.cat([draw.Ax, draw.x[:4], draw.z, objective.f_ema(draw.z)])
    f_Ax, _, fz, _ = objective.f(given).split([16, 4, 4, 4])
    torch.testing.assert_close(made, torch.cat([f_Ax, fz]))
    (gradient,) = torch.autograd.grad(objective.losses(draw, y)["real_restored"], made)
    assert (gradient.flatten(1).norm(dim=1) > 0).all()


def test_the_energy_distance_leads_f_once_enough_was_made_of_a_kind() -> None:
    # No f so far: what is made in the first steps has nothing to be compared with.
    led = []
    for weight in (0.0, 2.0):
        trainer = judged(projected=1.5, energy=weight, lr=0.0)
        draws = [trainer.draw(bars(4).pixels, step) for step in range(9)]
        for draw in draws:
            trainer.learn(draw)
        grads = [p.grad.flatten() for p in trainer.objective.f.parameters() if p.grad is not None]
        led.append(torch.cat(grads))
        trainer.learn(draws[0])
    bank = trainer.objective.bank
    assert bank is not None
    assert int(bank.count) == 10 * 16
    assert int(bank.counts.sum()) == 10 * 20
    assert int(bank.counts[-1]) == 10 * 4
    assert not torch.allclose(led[0], led[1], rtol=1e-3)


def test_the_energy_distance_is_of_what_f_is_held_to() -> None:
    with pytest.raises(ValueError, match="energy is of what f is held to make"):
        replace(CONFIG, energy=1.0)
    with pytest.raises(ValueError, match="energy must be at least 0"):
        replace(CONFIG, held=True, energy=-1.0)


# --- The terms ---


def test_features_are_alike_whatever_their_contrast() -> None:
    features = [torch.randn(2, 8, s, s, generator=generator()) for s in (8, 4, 2, 1)]
    louder = [3 * h for h in features]
    assert float(losses.loss_perceptual(features, features)) == 0
    assert float(losses.loss_perceptual(louder, features)) < 0.01
    turned = [h.roll(1, 1) for h in features]
    assert float(losses.loss_perceptual(turned, features)) > 1
    coarsest = [*features[:3], features[3] + 1]
    assert float(losses.loss_perceptual(coarsest, features)) == 0


def test_only_changes_over_the_margin_cost() -> None:
    change = torch.zeros(2, 3, 4, 4)
    change[1] = 0.05
    assert float(losses.loss_rest(change, 0.06)) == 0
    assert float(losses.loss_rest(change, 0.01)) == pytest.approx(0.02, abs=1e-4)


def test_each_image_is_restored_as_faithfully_as_it_is_asked_to() -> None:
    x, f_Ax = torch.zeros(2, 1, 4, 4), torch.tensor([0.1, 0.2]).view(2, 1, 1, 1).expand(2, 1, 4, 4)
    loss = losses.loss_restore(f_Ax, x, torch.tensor([4.0, 0.5]))
    assert float(loss) == pytest.approx((4 * 0.1 + 0.5 * 0.2) / 2)


def test_the_fidelity_is_that_of_the_kind_and_the_lesser_of_two() -> None:
    config = AdversarialConfig(
        damage={"blur": 1, "noise": 1}, fidelity={"noise": 0.25}, blend=0.0, twice=0.0
    )
    x = torch.zeros(64, 1, 12, 12)
    Ax, fidelity, kinds = augment.degraded(x, x, config, generator())
    noisy = Ax.flatten(1).std(1) > 0
    assert 0 < int(noisy.sum()) < 64
    assert torch.equal(kinds, noisy.long())
    assert torch.equal(fidelity, torch.where(noisy, 0.25, 1.0))
    Ax, fidelity, _ = augment.degraded(x, x, replace(config, twice=1.0), generator())
    assert torch.equal(fidelity, torch.where(Ax.flatten(1).std(1) > 0, 0.25, 1.0))


def test_a_blend_with_noise_is_asked_as_usual() -> None:
    config = AdversarialConfig(damage={"noise": 1}, fidelity={"noise": 0.25}, blend=1.0, twice=0.0)
    x = torch.zeros(8, 1, 12, 12)
    assert augment.degraded(x, x, config, generator()).fidelity.tolist() == [1.0] * 8


@pytest.mark.parametrize(
    ("fidelity", "message"),
    [({"fog": 1.0}, "not among the damage: fog"), ({"blur": -1.0}, "of blur must be at least 0")],
)
def test_a_fidelity_that_means_nothing(fidelity: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        default_config(MODEL, fidelity=fidelity)


# --- Without features ---


def test_critics_of_pixels_alone_need_no_features(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Tensor:
        raise AssertionError("no features are needed")

    monkeypatch.setattr(Backbone, "__init__", missing)
    config = replace(CONFIG, held=True, projected=0.0)
    objective = begin(RestorationObjective(MODEL, config, CPU), bars()).objective
    assert objective.P is None
