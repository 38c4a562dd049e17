"""The loop: it repeats, it draws ahead, it falls back, and its learning rate falls."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from make_it_real.training import checkpoint, losses
from make_it_real.training import trainer as trainers
from make_it_real.training.trainer import train
from tests.training.helpers import (
    CONFIG,
    CPU,
    Compiled,
    bars,
    begun,
    copied,
    follow,
    run,
    same_state,
)


def test_attention_is_not_left_to_cudnn_while_training() -> None:
    torch.backends.cuda.enable_cudnn_sdp(True)
    begun(CONFIG)
    assert not torch.backends.cuda.cudnn_sdp_enabled()


def test_the_source_takes_the_statistics_of_the_images() -> None:
    trainer = begun()
    for f in (trainer.objective.f, trainer.objective.f_ema):
        mean = f.source.sample(4000, torch.Generator().manual_seed(0)).mean(0)
        wanted = bars(4).pixels.float().mean(0) / 127.5 - 1
        torch.testing.assert_close(mean, wanted, atol=0.08, rtol=0)


def test_flip_mirrors_about_half_of_the_images() -> None:
    trainer = begun(replace(CONFIG, flip=True, batch=400))
    one = bars(1).pixels
    x = trainer.batch(one, 400)
    plain = one.float() / 127.5 - 1
    mirrored = (x == plain.flip(3)).flatten(1).all(1)
    assert torch.equal(~mirrored, (x == plain).flatten(1).all(1))
    assert 140 < int(mirrored.sum()) < 260


def test_the_learning_rate_falls_to_zero_in_the_decay_steps() -> None:
    config = replace(CONFIG, steps=7, decay_steps=4, lr=1e-3)
    trainer = begun(config)
    rates = [record["lr"] for record in run(trainer)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-3, 1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
    assert trainer.learning_rate() == 0
    assert trainer.step == 7
    assert run(trainer) == []


def test_no_decay_steps_keep_the_learning_rate() -> None:
    rates = [record["lr"] for record in run(begun(replace(CONFIG, steps=3, decay_steps=0)))]
    assert rates == [CONFIG.lr] * 3


@pytest.mark.parametrize("ema", [0.999, 0.25])
def test_f_ema_is_the_average_by_the_formula(ema: float) -> None:
    trainer = begun(replace(CONFIG, ema=ema, lr=1e-2))
    wanted = {name: value.double() for name, value in copied(trainer.objective.f).items()}
    for step in range(1, 6):
        run(trainer, 1)
        decay = min(ema, (1 + step) / (10 + step))
        now = copied(trainer.objective.f)
        wanted = {n: decay * w + (1 - decay) * now[n].double() for n, w in wanted.items()}
    for name, value in copied(trainer.objective.f_ema).items():
        torch.testing.assert_close(value.double(), wanted[name], atol=1e-6, rtol=0)
        # It lags behind: the average is not f itself.
    assert not torch.equal(
        trainer.objective.f_ema.get_parameter("last.weight"),
        trainer.objective.f.get_parameter("last.weight"),
    )


def test_averaging_builds_no_graph() -> None:
    trainer = begun()
    for _ in range(3):
        run(trainer, 1)
        for parameter in trainer.objective.f_ema.parameters():
            assert not parameter.requires_grad
            assert parameter.grad_fn is None
            assert parameter.grad is None
            assert parameter.is_leaf


def test_two_runs_with_one_seed_are_equal_bit_by_bit() -> None:
    trainers = [begun(), begun()]
    records = [run(trainer, 5) for trainer in trainers]
    assert records[0] == records[1]
    assert same_state(*trainers)


def test_training_leaves_the_global_generator_out() -> None:
    trainers = [begun(), begun()]
    records: list[list[dict[str, float]]] = []
    for seed, trainer in enumerate(trainers):
        torch.manual_seed(seed)
        records.append(run(trainer, 3))
    assert records[0] == records[1]


def test_another_seed_is_another_run() -> None:
    first, other = (run(begun(replace(CONFIG, seed=seed)), 1) for seed in (0, 1))
    assert first != other


def test_terms_are_averaged_over_the_steps_that_have_them() -> None:
    trainer = begun(replace(CONFIG, critic_every=4))
    steps = list(islice(train(trainer, bars(4)), 8))
    mean = losses.mean(steps)
    for name, over in (("critic", [3, 7]), ("real", [3, 7]), ("restore", list(range(8)))):
        wanted = [float(steps[i][name]) for i in over]
        assert float(mean[name]) == pytest.approx(sum(wanted) / len(wanted))
    assert "critic" not in losses.mean(steps[:3])


@pytest.mark.parametrize("stop", [3, 8])
def test_draws_made_ahead_change_nothing(tmp_path: Path, stop: int) -> None:
    config = replace(CONFIG, critic_every=2)
    plain, ahead = begun(config), begun(config)
    steps = follow(ahead, ahead=True)
    assert run(plain, stop) == list(islice(steps, stop))
    # While the next step is drawn, a checkpoint is of this one; and so is what is left behind.
    assert same_state(plain, ahead)
    checkpoint.save(ahead, tmp_path / "c.safetensors")
    steps.close()  # type: ignore[attr-defined]
    assert same_state(plain, ahead)
    resumed = checkpoint.load(tmp_path / "c.safetensors", CPU)
    assert run(resumed, ahead=True) == run(plain)
    assert same_state(plain, resumed)


def test_what_goes_wrong_ahead_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = begun()

    def broken(pixels: Tensor, step: int) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(trainer, "draw", broken)
    with pytest.raises(MemoryError, match="no more"):
        next(train(trainer, bars(4), ahead=True))


@pytest.mark.parametrize(("free", "moved"), [(3 * 400, True), (3 * 400 - 1, False)])
def test_pixels_are_moved_where_they_take_a_third_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch, free: int, moved: bool
) -> None:
    monkeypatch.setattr(trainers, "free_memory", lambda device: free)
    pixels = torch.zeros(4, 1, 10, 10, dtype=torch.uint8)
    there = trainers.placed(pixels, torch.device("meta"))
    assert (there.device.type == "meta") is moved
    assert (there is pixels) is not moved


def test_rows_are_fetched_from_wherever_the_pixels_lie() -> None:
    pixels, index = torch.arange(12).view(6, 2), torch.tensor([4, 1])
    assert trainers.fetched(pixels, index, CPU).tolist() == [[8, 9], [2, 3]]
    assert trainers.fetched(pixels, index, torch.device("meta")).device.type == "meta"
    assert trainers.free_memory(CPU) == float("inf")


def test_rows_on_the_only_gpu_are_not_taken_for_elsewhere() -> None:
    """What was sent to "cuda" is on "cuda:0", which is not equal to it; it can't be pinned."""

    class OnGPU:
        device = torch.device("cuda:0")

        def __getitem__(self, index: Tensor) -> str:
            return f"rows {index.tolist()}"

    pixels: Any = OnGPU()
    rows: Any = trainers.fetched(pixels, torch.tensor([4, 1]), torch.device("cuda"))
    assert rows == "rows [4, 1]"


def test_terms_stay_tensors_until_they_are_read() -> None:
    trainer = begun()
    terms = trainer.train_step(bars(4).pixels)
    assert {"rec", "critic"} <= terms.keys()
    assert all(isinstance(t, Tensor) and not t.requires_grad for t in terms.values())
    assert (trainer.step, trainer.lr) == (1, CONFIG.lr)


def test_no_step_reads_what_is_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = begun()
    draws = trainer.draw(bars(4).pixels, 0)

    def read(*arguments: Any) -> Any:
        raise AssertionError("this waits for a GPU")

    for name in ("tolist", "item", "__float__", "__bool__", "__int__", "cpu", "numpy", "nonzero"):
        monkeypatch.setattr(Tensor, name, read)
    trainer.learn(draws)


def test_compiled_networks_learn_the_same_and_leave_checkpoints_as_they_are(
    compiler: list[Compiled],
) -> None:
    plain, fast = begun(), begun()
    fast.objective.compile_networks()
    assert same_state(plain, fast)
    assert run(plain) == run(fast)
    assert same_state(plain, fast)
    assert {id(c.net) for c in compiler if c.calls} == set(map(id, fast.objective.children()))
    assert not fast.compile_error


@pytest.mark.parametrize("good", [0, 5])
def test_what_cannot_be_compiled_is_trained_as_it_is(
    monkeypatch: pytest.MonkeyPatch, good: int
) -> None:
    def broken(net: nn.Module, dynamic: bool) -> Callable[[Tensor], Tensor]:
        calls = iter(range(good))

        def fail(x: Tensor) -> Tensor:
            if next(calls, None) is None:
                raise RuntimeError("no compiler\nfound here")
            return net(x)  # type: ignore[no-any-return]

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    plain, trainer = begun(), begun()
    trainer.objective.compile_networks()
    # The step that fails is done again on the same draw, as if nothing had been.
    assert run(plain) == run(trainer)
    assert same_state(plain, trainer)
    assert trainer.compile_error == "no compiler found here"
    assert trainer.objective.compiled == {}


def test_a_step_that_fails_without_compiling_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = begun()
    monkeypatch.setattr(trainer.objective, "losses", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.train_step(bars(4).pixels)


def test_accumulated_gradients_are_the_mean_of_those_of_the_draws() -> None:
    config = replace(CONFIG, bf16=False, accumulate=2, batch=32, lr=0.0)
    trainer = begun(config)
    draws = trainer.draw(bars(4).pixels, 0)
    assert [len(draw.x) for draw in draws] == [16, 16]

    def gradients(of: list[Any]) -> dict[str, Tensor]:
        one = begun(config)
        terms = one.learn(of)
        found = {n: p.grad for n, p in one.objective.named_parameters() if p.grad is not None}
        return {"term": terms["rec"], **found}

    both, single = gradients(draws), [gradients([draw]) for draw in draws]
    assert len(both) > 10
    for name, value in both.items():
        mean = (single[0][name] + single[1][name]) / 2
        torch.testing.assert_close(value, mean, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("batch", "accumulate"), [(64, 3), (64, 32), (20, 2)])
def test_a_batch_that_has_no_such_parts_is_refused(batch: int, accumulate: int) -> None:
    with pytest.raises(ValueError, match="a multiple of"):
        begun(replace(CONFIG, batch=batch, accumulate=accumulate))
