"""The objective: each term against its formula, and which parameters each term may train."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from make_it_real.training import losses
from make_it_real.training.lambdas import IGNLambdas


def images(seed: int, n: int = 3, channels: int = 2, size: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, size, size, generator=generator)


def numbers(tensor: Tensor) -> list[float]:
    return tensor.detach().double().flatten().tolist()


class Scale(nn.Module):
    """f(y) = a·y, counting how often it is applied."""

    def __init__(self, a: float) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))
        self.calls = 0

    def forward(self, y: Tensor) -> Tensor:
        self.calls += 1
        return self.a * y


def test_distance_is_the_mean_absolute_difference() -> None:
    a, b = images(0), images(1)
    pairs = list(zip(numbers(a), numbers(b), strict=True))
    wanted = sum(abs(p - q) for p, q in pairs) / len(pairs)
    assert float(losses.distance(a, b)) == pytest.approx(wanted, rel=1e-6)
    assert float(losses.distance(a, a)) == 0


def test_the_smooth_distance_equals_a_float64_reference() -> None:
    a, b = images(0), images(1)
    each = [
        math.sqrt(sum((p - q) ** 2 for p, q in zip(numbers(x), numbers(y), strict=True)) / 32
                  + losses.SMOOTH**2) - losses.SMOOTH
        for x, y in zip(a, b, strict=True)
    ]  # fmt: skip
    assert losses.distance_charbonnier(a, b).item() == pytest.approx(sum(each) / 3, rel=1e-6)
    root = (a - b).square().mean((1, 2, 3)).sqrt().mean().item()
    assert losses.distance_charbonnier(a, b, 1e-9).item() == pytest.approx(root, rel=1e-5)


def test_the_slope_of_the_smooth_distance_shrinks_with_the_error_to_0() -> None:
    """L1's slope stays the same until 0."""
    slopes = []
    for error in (0.0, 1e-4, 2e-4):
        size = torch.tensor(error, requires_grad=True)
        losses.distance_charbonnier(size.expand(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)).backward()
        assert size.grad is not None
        slopes.append(size.grad.item())
    assert slopes == pytest.approx([0, 1e-4 / losses.SMOOTH, 2e-4 / losses.SMOOTH], rel=1e-3)


@pytest.mark.parametrize(
    ("before", "after", "opens"),
    [(0.04, 0.01, True), (0.04, 0.09, False), (0.0, 0.01, False), (1e-5, 1e-6, False)],
)
def test_the_gate_learns_to_open_where_f_repairs_what_can_be_seen(
    before: float, after: float, opens: bool
) -> None:
    logits = torch.zeros(1, 1, 2, 2, requires_grad=True)
    like = torch.ones(1, 1, 2, 2)
    loss = losses.loss_gate(logits, before * like, after * like)
    counts = min(1.0, abs(before - after) / (before + 1e-5))
    counts *= losses.HARM if after > before else 1
    assert loss.item() == pytest.approx(counts * math.log(2))
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad < 0).all() == opens


@pytest.mark.parametrize(("harm", "weight"), [(1e-3, 1 + 7 / 4), (4e-3, 8), (0.1, 8)])
def test_harm_counts_more_the_better_it_can_be_seen(harm: float, weight: float) -> None:
    ones = torch.ones(1, 1, 2, 2)
    loss = losses.loss_gate(0 * ones, 0 * ones, harm * ones)
    assert loss.item() == pytest.approx(weight * math.log(2), rel=1e-6)


def test_where_f_changes_nothing_its_gate_costs_nothing() -> None:
    power = torch.full((1, 1, 2, 2), 0.04)
    assert losses.loss_gate(torch.full_like(power, 3.0), power, power) == 0


@pytest.mark.parametrize(
    ("loss", "sign"), [(losses.loss_real, 1.0), (losses.loss_critic, -1.0)], ids=["f", "critic"]
)
def test_the_relativistic_losses_are_softplus_of_the_difference(
    loss: Callable[[Tensor, Tensor], Tensor], sign: float
) -> None:
    C_x, C_fake = torch.tensor([0.3, -2.0, 5.0, 80.0]), torch.tensor([1.1, 0.5, -3.0, -80.0])
    differences = [sign * (p - q) for p, q in zip(numbers(C_x), numbers(C_fake), strict=True)]
    wanted = sum(max(d, 0) + math.log1p(math.exp(-abs(d))) for d in differences) / 4
    assert float(loss(C_x, C_fake)) == pytest.approx(wanted, rel=1e-6)


def test_equal_logits_cost_both_sides_log_two() -> None:
    C = torch.tensor([3.0, -1.0])
    assert float(losses.loss_real(C, C)) == pytest.approx(math.log(2))
    assert float(losses.loss_critic(C, C)) == pytest.approx(math.log(2))


def test_loss_real_trains_the_fake_only_and_upward() -> None:
    C_x = torch.tensor([0.3, -2.0], requires_grad=True)
    C_fake = torch.tensor([1.1, 0.5], requires_grad=True)
    losses.loss_real(C_x, C_fake).backward()
    assert C_x.grad is None
    assert C_fake.grad is not None
    wanted = [-0.5 / (1 + math.exp(f - x)) for x, f in [(0.3, 1.1), (-2.0, 0.5)]]
    assert C_fake.grad.tolist() == pytest.approx(wanted)


def test_loss_critic_trains_both_sides_against_each_other() -> None:
    C_x = torch.tensor([0.3, -2.0], requires_grad=True)
    C_fake = torch.tensor([1.1, 0.5], requires_grad=True)
    losses.loss_critic(C_x, C_fake).backward()
    assert C_x.grad is not None
    assert C_fake.grad is not None
    assert (C_fake.grad > 0).all()
    assert torch.equal(C_x.grad, -C_fake.grad)


@pytest.mark.parametrize("n", [1, 5])
def test_the_gradient_penalty_of_a_linear_critic_is_its_weight_squared(n: int) -> None:
    w = images(2, 1)[0].requires_grad_()
    penalty = losses.gradient_penalty(lambda x: (w * x).sum((1, 2, 3)), images(3, n))
    square = (w.detach() ** 2).sum()
    torch.testing.assert_close(penalty.detach(), square)
    penalty.backward()
    assert w.grad is not None
    torch.testing.assert_close(w.grad, 2 * w.detach())


def test_the_gradient_penalty_is_taken_per_image() -> None:
    x = images(4)
    penalty = losses.gradient_penalty(lambda x: 0.5 * x.square().sum((1, 2, 3)), x)
    wanted = sum(sum(v * v for v in numbers(image)) for image in x) / len(x)
    assert float(penalty.detach()) == pytest.approx(wanted, rel=1e-6)


def test_the_gradient_penalty_trains_the_critic_and_not_the_images() -> None:
    first, second = nn.Linear(32, 4), nn.Linear(4, 1)
    C, origin = nn.Sequential(nn.Flatten(), first, nn.SiLU(), second), images(5).requires_grad_()
    losses.gradient_penalty(lambda x: C(x).squeeze(1), origin * 1).backward()
    assert origin.grad is None
    for weight in (first.weight, second.weight):
        assert weight.grad is not None
        assert weight.grad.abs().max() > 0


def test_loss_idem_inner_is_the_distance_that_f_ema_moves() -> None:
    f_ema, fz = Scale(0.25), images(6)
    wanted = 0.75 * sum(map(abs, numbers(fz))) / fz.numel()
    assert float(losses.loss_idem_inner(f_ema, fz).detach()) == pytest.approx(wanted, rel=1e-6)


def test_loss_idem_inner_trains_the_inner_f_only() -> None:
    f, f_ema, z = Scale(0.5), Scale(0.25), images(7)
    f_ema.requires_grad_(False)
    losses.loss_idem_inner(f_ema, f(z)).backward()
    assert f_ema.a.grad is None
    assert f.a.grad is not None
    # D(b·a·z, a·z) = |b − 1|·|a|·mean|z|, whose derivative by a (a > 0) is |b − 1|·mean|z|.
    assert float(f.a.grad) == pytest.approx(0.75 * float(z.abs().mean()), rel=1e-5)


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_resting_points_apply_f_once_and_steps_times_more(steps: int) -> None:
    f, z = Scale(0.5), images(8)
    s, _ = losses.resting_points(f, f(z), steps, torch.zeros(3), z)
    assert f.calls == 1 + steps
    torch.testing.assert_close(s, z * 0.5 ** (1 + steps))


@pytest.mark.parametrize("steps", [0, 2])
def test_resting_points_carry_no_gradient(steps: int) -> None:
    f, z = Scale(0.5), images(8).requires_grad_()
    for points in losses.resting_points(f, f(z), steps, torch.ones(3), z):
        assert not points.requires_grad
        assert points.grad_fn is None


def test_resting_points_are_disturbed_by_each_image_s_sigma() -> None:
    sigma = torch.tensor([0.0, 0.1, 2.0])
    fz = images(9, 3, 3, 64)
    white = torch.randn(fz.shape, generator=torch.Generator().manual_seed(0))
    s, noisy = losses.resting_points(Scale(1.0), fz, 1, sigma, white)
    assert torch.equal(noisy[0], s[0])
    deviations = (noisy - s).flatten(1).std(1)
    assert deviations[1:].tolist() == pytest.approx([0.1, 2.0], rel=0.03)
    torch.testing.assert_close(noisy - s, sigma[:, None, None, None] * white)


def test_asking_for_rest_trains_the_outer_f_alone() -> None:
    f, outer, z = Scale(0.5), Scale(0.5), images(10)
    s, noisy = losses.resting_points(f, f(z), 2, torch.full((3,), 0.1), z)
    losses.distance(outer(noisy), s).backward()
    assert f.a.grad is None
    assert outer.a.grad is not None


def test_a_frozen_network_lets_gradients_through() -> None:
    head = nn.Linear(32, 1)
    C, fz = nn.Sequential(nn.Flatten(), head), images(11).requires_grad_()
    with losses.frozen(C):
        total = C(fz).sum()
    total.backward()
    assert all(p.grad is None for p in C.parameters())
    assert fz.grad is not None
    torch.testing.assert_close(fz.grad.flatten(1)[0], head.weight[0])

    C(fz).sum().backward()
    assert all(p.grad is not None for p in C.parameters())


def test_the_mean_of_steps_is_over_those_that_have_a_term() -> None:
    steps = [{"a": torch.tensor(1.0)}, {"a": torch.tensor(2.0), "b": torch.tensor(5.0)}]
    assert losses.mean(steps) == {"a": torch.tensor(1.5), "b": torch.tensor(5.0)}


# --- The paper's objective ---


class Affine(nn.Module):
    """f(y) = a·y + b: two parameters."""

    def __init__(self, a: float = 0.7, b: float = 0.2) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def forward(self, y: Tensor) -> Tensor:
        return self.a * y + self.b


def gradients(term: Tensor, f: Affine) -> tuple[float, float] | None:
    """(∂/∂a, ∂/∂b), or None where the term does not depend on f's parameters."""
    found = torch.autograd.grad(term, (f.a, f.b), retain_graph=True, allow_unused=True)
    return None if found[0] is None or found[1] is None else (float(found[0]), float(found[1]))


def reference(
    a: float, b: float, x: Tensor, z: Tensor, clamp: float, tight_rec: str
) -> tuple[list[float], list[float], list[float]]:
    """L_rec, L_idem and L_tight of each image from their formulas, in float64 and no torch."""

    def f(values: list[float]) -> list[float]:
        return [a * v + b for v in values]

    def distance(p: list[float], q: list[float]) -> float:
        return sum(abs(u - v) for u, v in zip(p, q, strict=True)) / len(p)

    rec, idem, tight = [], [], []
    for one_x, one_z in zip(x, z, strict=True):
        x_i, z_i = numbers(one_x), numbers(one_z)
        fz = f(z_i)
        rec.append(distance(f(x_i), x_i))
        idem.append(distance(f(fz), fz))
        bound = clamp * (distance(fz, z_i) if tight_rec == "z" else rec[-1])
        tight.append(math.tanh(-distance(f(fz), fz) / bound) * bound)
    return rec, idem, tight


@pytest.mark.parametrize("tight_rec", ["z", "x"])
@pytest.mark.parametrize("clamp", [1.5, 0.1, 30.0])
def test_losses_ign_equal_a_float64_reference(tight_rec: str, clamp: float) -> None:
    f, x, z = Affine(), images(20, 5), images(21, 5)
    found = losses.losses_ign(f, copy.deepcopy(f), x, z, clamp=clamp, tight_rec=tight_rec)
    wanted = reference(float(f.a.detach()), float(f.b.detach()), x, z, clamp, tight_rec)
    for term, values in zip(found.values(), wanted, strict=True):
        assert float(term.detach()) == pytest.approx(sum(values) / 5, rel=1e-5)


def test_losses_ign_are_means_over_images_of_a_bound_per_image() -> None:
    # A bound per batch instead of per image would give another L_tight for unlike images.
    f, x = Affine(), images(22, 2)
    z = torch.stack([images(23, 1)[0], 100 * images(24, 1)[0]])
    both = losses.losses_ign(f, f, x, z)
    single = [losses.losses_ign(f, f, x[i : i + 1], z[i : i + 1]) for i in range(2)]
    for name in both:
        mean = sum(float(one[name].detach()) for one in single) / 2
        assert float(both[name].detach()) == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize("tight_rec", ["z", "x"])
def test_each_term_trains_the_application_of_f_that_it_may(tight_rec: str) -> None:
    f, f_copy, x, z = Affine(), Affine(), images(25).abs() + 1, images(26).abs() + 1
    f_copy.requires_grad_(False)
    terms = losses.losses_ign(f, f_copy, x, z, tight_rec=tight_rec)
    rec, idem, tight = terms["rec"], terms["idem"], terms["tight"]
    a, b = 0.7, 0.2

    # All of x is above 1, so that f(x) < x and D(f(x), x) = (1 − a)·x − b.
    assert gradients(rec, f) == pytest.approx((-float(x.mean()), -1.0), rel=1e-5)

    # L_idem = mean |(A − 1)·y + B| of y = a·z + b, A and B the copy's: y moves, A and B don't.
    y = a * z + b
    sign = torch.sign((a - 1) * y + b)
    slope = (sign * (a - 1)).mean((1, 2, 3))
    inner = (float((sign * (a - 1) * z).mean()), float(slope.mean()))
    assert gradients(idem, f) == pytest.approx(inner, rel=1e-5)

    # L_tight: A and B move, y does not, nor does the bound. d tanh(L/c)·c = (1 − tanh²)·dL.
    distance = ((a - 1) * y + b).abs().mean((1, 2, 3))
    of = z if tight_rec == "z" else x
    bound = 1.5 * (a * of + b - of).abs().mean((1, 2, 3))
    damp = 1 - torch.tanh(-distance / bound) ** 2
    outer = (
        float((-damp * (sign * y).mean((1, 2, 3))).mean()),
        float((-damp * sign.mean((1, 2, 3))).mean()),
    )
    assert gradients(tight, f) == pytest.approx(outer, rel=1e-5)


def test_the_inner_term_does_not_train_the_copy() -> None:
    f, f_copy = Affine(), Affine()
    f_copy.requires_grad_(False)
    terms = losses.losses_ign(f, f_copy, images(27), images(28))
    losses.weighted_sum(terms, dict.fromkeys(terms, 1.0)).backward()
    assert f_copy.a.grad is None
    assert f.a.grad is not None


@pytest.mark.parametrize("clamp", [0.5, 1.5, 4.0])
def test_the_clamp_bounds_tightness_by_its_share_of_l_rec(clamp: float) -> None:
    # f(z) = 3z: |f(f(z)) − f(z)| = 6|z| and |f(z) − z| = 2|z|, so L_tight = −tanh(3/a)·a·2|z|.
    f, z = Affine(3.0, 0.0), images(29, 1)
    tight = losses.losses_ign(f, f, z, z, clamp=clamp)["tight"]
    size = float(z.abs().mean())
    wanted = -math.tanh(3 / clamp) * clamp * 2 * size
    assert float(tight.detach()) == pytest.approx(wanted, rel=1e-5)
    assert -clamp * 2 * size <= float(tight.detach()) <= 0


def test_a_small_drift_is_hardly_clamped() -> None:
    f, z = Affine(0.001, 0.0), images(30, 1)
    tight = losses.losses_ign(f, f, z, z, clamp=1.5)["tight"]
    plain = -0.001 * 0.999 * float(z.abs().mean())
    assert float(tight.detach()) == pytest.approx(plain, rel=1e-3)


def test_an_exact_reconstruction_gives_no_nan() -> None:
    f, z = Affine(1.0, 0.0), images(31)
    terms = losses.losses_ign(f, f, z, z, tight_rec="x")
    assert {name: float(term.detach()) for name, term in terms.items()} == {
        "rec": 0.0, "idem": 0.0, "tight": 0.0,
    }  # fmt: skip
    losses.weighted_sum(terms, dict.fromkeys(terms, 1.0)).backward()
    assert f.a.grad is not None
    assert f.a.grad.isfinite()


def test_the_published_weights_and_clamp() -> None:
    assert IGNLambdas() == IGNLambdas(20.0, 20.0, 2.5)
