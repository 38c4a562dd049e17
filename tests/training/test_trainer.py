"""Speed changes nothing: draws made ahead, compiled networks, measuring; and it is measured."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from make_it_real import throughput
from make_it_real.training import run
from make_it_real.training.adversarial import Trainer
from make_it_real.training.config import BaseRecord, PublishedConfig, Step, mean
from make_it_real.training.ign import begin, default_model
from make_it_real.training.trainer import _tensors, fetched, free_memory, placed, train
from tests.training.test_adversarial import CONFIG, CPU, bars, begun, folder, mir, same_state  # noqa: F401

# --- Draws made ahead ---


@pytest.mark.parametrize("stop", [3, 8])
def test_draws_made_ahead_change_nothing(tmp_path: Path, stop: int) -> None:
    plain, ahead = begun(), begun()
    one = [s.record() for s in islice(train(plain, bars(4)), stop)]
    steps = train(ahead, bars(4), ahead=True)
    other = [s.record() for s in islice(steps, stop)]
    assert one == other
    # While the next step is drawn, a checkpoint is of this one; and so is what is left behind.
    assert same_state(plain, ahead)
    ahead.save(tmp_path / "c.safetensors")
    steps.close()  # type: ignore[attr-defined]
    assert same_state(plain, ahead)
    resumed = Trainer.load(tmp_path / "c.safetensors", CPU)
    rest = [s.record() for s in train(resumed, bars(4), ahead=True)]
    assert rest == [s.record() for s in train(plain, bars(4))]
    assert same_state(plain, resumed)


def test_what_goes_wrong_ahead_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = begun()

    def broken(pixels: Tensor) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(trainer, "draw", broken)
    with pytest.raises(MemoryError, match="no more"):
        next(train(trainer, bars(4), ahead=True))


def test_all_tensors_of_a_draw_are_found() -> None:
    draw = begun(replace(CONFIG, augment=0.5)).draw(bars(4).pixels)
    assert draw.change is not None
    found = list(_tensors(draw))
    assert {id(t) for t in found} >= {id(draw.x), id(draw.white), id(draw.change.hole)}
    assert len(found) == 8


# --- Where the pixels lie ---


@pytest.mark.parametrize(("free", "moved"), [(3 * 400, True), (3 * 400 - 1, False)])
def test_pixels_are_moved_where_they_take_a_third_of_what_is_free(
    monkeypatch: pytest.MonkeyPatch, free: int, moved: bool
) -> None:
    monkeypatch.setattr(
        "make_it_real.training.adversarial.trainer.free_memory", lambda device: free
    )
    pixels = torch.zeros(4, 1, 10, 10, dtype=torch.uint8)
    there = placed(pixels, torch.device("meta"))
    assert (there.device.type == "meta") is moved
    assert (there is pixels) is not moved


def test_rows_are_fetched_from_wherever_the_pixels_lie() -> None:
    pixels, index = torch.arange(12).view(6, 2), torch.tensor([4, 1])
    assert fetched(pixels, index, CPU).tolist() == [[8, 9], [2, 3]]
    assert fetched(pixels, index, torch.device("meta")).device.type == "meta"
    assert free_memory(CPU) == float("inf")


def test_rows_on_the_only_gpu_are_not_taken_for_elsewhere() -> None:
    """What was sent to "cuda" is on "cuda:0", which is not equal to it; it can't be pinned."""

    class OnGPU:
        device = torch.device("cuda:0")

        def __getitem__(self, index: Tensor) -> str:
            return f"rows {index.tolist()}"

    pixels: Any = OnGPU()
    rows: Any = fetched(pixels, torch.tensor([4, 1]), torch.device("cuda"))
    assert rows == "rows [4, 1]"


# --- Records ---


def test_terms_stay_tensors_until_they_are_read() -> None:
    step = begun().train_step(bars(4).pixels)
    assert isinstance(step.terms, Tensor)
    assert not step.terms.requires_grad
    record = step.record()
    assert (record.step, record.lr) == (1, CONFIG.lr)
    assert isinstance(record.rec, float)


def test_no_step_reads_what_is_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = begun()
    draw = trainer.draw(bars(4).pixels)

    def read(*arguments: Any) -> Any:
        raise AssertionError("this waits for a GPU")

    for name in ("tolist", "item", "__float__", "__bool__", "__int__", "cpu", "numpy", "nonzero"):
        monkeypatch.setattr(Tensor, name, read)
    trainer.learn(draw)


def test_the_mean_of_steps_is_that_of_their_terms() -> None:
    steps = [Step(i, 0.1 * i, torch.tensor([i, 10.0 * i]), Pair) for i in (1, 2, 3)]
    assert mean(steps) == Pair(3, pytest.approx(0.3), 2.0, 20.0)  # type: ignore[arg-type]


class Pair(BaseRecord):
    def __init__(self, step: int, lr: float, a: float, b: float) -> None:
        super().__init__(step, lr)
        self.__dict__ |= {"a": a, "b": b}

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other)


# --- Compiled networks ---


class Compiled(nn.Module):
    """A stand-in for what torch.compile makes: no second derivative goes through it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return Once.apply(self.net(x))  # type: ignore[no-any-return, no-untyped-call]


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> list[Compiled]:
    made: list[Compiled] = []

    def stand_in(net: nn.Module, dynamic: bool) -> Compiled:
        assert dynamic is False
        made.append(Compiled(net))
        return made[-1]

    monkeypatch.setattr(torch, "compile", stand_in)
    return made


def test_compiled_networks_learn_the_same_and_leave_checkpoints_as_they_are(
    compiler: list[Compiled],
) -> None:
    plain, fast = begun(), begun()
    assert fast.compile(bars(4).pixels) is None
    assert same_state(plain, fast)
    records = [[s.record() for s in train(trainer, bars(4))] for trainer in (plain, fast)]
    assert records[0] == records[1]
    assert same_state(plain, fast)
    assert {id(c.net) for c in compiler if c.calls} == {id(net) for net in fast.nets.values()}


def test_what_cannot_be_compiled_is_trained_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(net: nn.Module, dynamic: bool) -> Callable[[Tensor], Tensor]:
        def fail(x: Tensor) -> Tensor:
            raise RuntimeError("no compiler\nfound here")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    plain, trainer = begun(), begun()
    assert trainer.compile(bars(4).pixels) == "no compiler found here"
    assert trainer.compiled == {}
    assert same_state(plain, trainer)
    one, other = (t.train_step(bars(4).pixels).record() for t in (plain, trainer))
    assert one == other


def test_rehearsing_changes_nothing_not_even_batch_norm() -> None:
    model = default_model(8, 1, widths=(8,), bottleneck=8)
    images = replace(bars(4), pixels=bars(4).pixels[..., 2:10, 2:10])
    trainer = begin(images, model, PublishedConfig(steps=2, batch=16), CPU)
    before = {k: v.clone() for k, v in trainer.state().items()}
    trainer.rehearse(images.pixels)
    assert trainer.step == 0
    assert all(torch.equal(v, before[k]) for k, v in trainer.state().items())
    assert all(p.grad is None for p in trainer.f.parameters())


# --- Measuring ---


def test_operations_are_counted() -> None:
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert throughput.flops(lambda: a @ b) == 2 * 3 * 5 * 7


def test_a_step_s_operations_are_those_of_a_cycle_on_average() -> None:
    trainer = begun(replace(CONFIG, rest_steps=1, penalty_every=4))
    penalty, plain = (
        throughput.flops(partial(trainer.rehearse, bars(4).pixels, step)) for step in (0, 1)
    )
    assert penalty > plain > 0
    assert trainer.step_flops(bars(4).pixels) == (penalty + 3 * plain) / 4


@pytest.mark.parametrize(("every", "penalty"), [(1, 1), (1, 4), (3, 1), (3, 2)])
def test_the_kinds_of_steps_are_all_there_are_with_their_shares(every: int, penalty: int) -> None:
    trainer = begun(replace(CONFIG, rest_steps=1, critic_every=every, penalty_every=penalty))
    cycle = range(every * penalty)
    costs = [throughput.flops(partial(trainer.rehearse, bars(4).pixels, i)) for i in cycle]
    assert sum(trainer.kinds.values()) == pytest.approx(1)
    assert trainer.step_flops(bars(4).pixels) == pytest.approx(sum(costs) / len(costs))


def test_the_peak_is_the_fastest_product_seen() -> None:
    assert throughput.matmul_peak(CPU, torch.float32, 0.01) > 1e8


def test_mir_train_says_how_well_the_device_is_used(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(throughput, "matmul_peak", lambda device, dtype: 1e12)
    monkeypatch.setattr(run, "LOG_EVERY", 2)
    words = ["--size", 12, "--channels", 1, "--batch", 16, "--device", "cpu", "--steps", 2]
    result = mir("train", folder, "-o", tmp_path / "run", *words, "-v")
    assert result.exit_code == 0, result.output
    assert "GFLOP; matrix products reach 1000 GFLOP/s in" in result.stderr
    assert "images/s, " in result.stderr
    (line,) = (json.loads(t) for t in (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    assert 0 < line["mfu"] < 1
    quiet = mir("train", folder, "-o", tmp_path / "other", *words)
    assert quiet.exit_code == 0
    assert "GFLOP" not in quiet.stderr
    assert "mfu" not in (tmp_path / "other" / "log.jsonl").read_text()


def test_mir_train_compiles_where_it_is_asked_to(
    folder: Path,  # noqa: F811
    tmp_path: Path,
    compiler: list[Compiled],
) -> None:
    words = ["--size", 12, "--channels", 1, "--batch", 16, "--device", "cpu", "--steps", 1]
    assert mir("train", folder, "-o", tmp_path / "plain", *words).exit_code == 0
    assert compiler == []
    result = mir("train", folder, "-o", tmp_path / "run", *words, "--compile")
    assert result.exit_code == 0, result.output
    assert "f and its critic are compiled" in result.stderr
    assert all(c.calls for c in compiler)
    assert Trainer.load(tmp_path / "run" / "checkpoint.safetensors", CPU).step == 1


def test_compiling_pays_for_large_images_on_gpus() -> None:
    sizes = (28, 64, 128)
    assert [run.compiling_pays(torch.device("cuda"), s) for s in sizes] == [False, True, True]
    assert not any(run.compiling_pays(CPU, size) for size in sizes)


def test_mir_train_takes_several_sets_and_laws_and_refuses_what_it_must(
    folder: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = ["--size", 12, "--channels", 1, "--batch", 16, "--device", "cpu"]
    out = tmp_path / "run"
    laws = ["--laws", "white,blend", "--law-share", 0.5, "--critic-every", 2]
    result = mir("train", folder, folder, "-o", out, *words, *laws, "--steps", 1, "--no-cache")
    assert result.exit_code == 0, result.output
    assert "10 images of 1×12×12" in result.stderr
    config = Trainer.load(out / "checkpoint.safetensors", CPU).config
    assert (config.laws, config.law_share) == (("white", "blend"), 0.5)
    assert config.critic_every == 2
    for options, said in (
        (["--damage", "jpeg"], "--damage: kept out of training on purpose: jpeg"),
        (["--damage", "rain"], "--damage: no such damage: rain"),
        (["--laws", "pink"], "--laws: no such law of z: pink"),
    ):
        refused = mir("train", folder, "-o", out, "--resume", "--device", "cpu", *options)
        assert refused.exit_code == 2, refused.output
        assert said in " ".join(refused.stderr.replace("│", "").split())
    more = ["--resume", "--device", "cpu", "--steps", 2, "--laws", "", "--damage", "glass"]
    result = mir("train", folder, "-o", out, *more)
    assert result.exit_code == 0, result.output
    config = Trainer.load(out / "checkpoint.safetensors", CPU).config
    assert (config.laws, config.damage) == ((), ("glass",))
    ign = mir("train", folder, "-o", tmp_path / "ign", *words, "--objective", "ign", *laws)
    assert ign.exit_code == 2
