"""The counter of operations: it counts, and a step's are those of a cycle on average."""

import pytest
import torch

from make_it_real.data.dataset import ImageSet
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGNConfig
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.config import AdversarialConfig
from make_it_real.training.trainer import begin
from tests.benchmarks import flops

MODEL = IGNConfig(12, 1, 8, (8, 16), 8, 2)


def test_operations_are_counted() -> None:
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert flops.flops(lambda: a @ b) == 2 * 3 * 5 * 7


def test_the_modules_operations_are_those_of_the_whole() -> None:
    f, y = build(MODEL).eval(), torch.zeros(2, 1, 12, 12)
    parts = flops.by_module(f, y)
    assert list(parts.values()) == sorted(parts.values(), reverse=True)
    with torch.no_grad():
        assert sum(parts.values()) == flops.flops(lambda: f(y))
    # 3×3 kernels from 1 to 8 channels on 12×12 pixels; and lists of modules count as one.
    assert parts["stem"] == 2 * (2 * 9 * 8 * 12 * 12)
    assert {"down", "up", "merge", "encode"} <= parts.keys()
    deeper = flops.by_module(f, y, 2)
    assert deeper["down.0"] + deeper["down.1"] == parts["down"]
    assert sum(deeper.values()) == sum(parts.values())


def test_the_table_has_shares_and_operations_a_pixel() -> None:
    head, one, other, whole = flops.table({"a": 3_000_000, "b": 1_000_000}, 100).splitlines()
    assert head.split() == ["module", "MFLOP", "an", "image", "share", "a", "pixel"]
    assert one.split() == ["a", "3.0", "75.0%", "30,000"]
    assert other.split() == ["b", "1.0", "25.0%", "10,000"]
    assert whole.split() == ["all", "4.0", "100.0%", "40,000"]


def test_a_step_s_operations_are_those_of_a_cycle_on_average() -> None:
    config = AdversarialConfig(
        batch=16, critic_widths=(8, 16), rest_steps=1, critic_every=2, penalty_every=2
    )
    pixels = torch.zeros(4, 1, 12, 12, dtype=torch.uint8)
    pixels[:, :, 2:8, 2:5] = 255
    images = ImageSet(pixels, None, "bars")
    trainers = [
        begin(AdversarialObjective(MODEL, config, torch.device("cpu")), images) for _ in "ab"
    ]
    each = [flops.flops(lambda: trainers[0].train_step(pixels)) for _ in range(4)]
    # Repair alone, critics with their penalty, repair, critics; damage differs a little.
    assert each[0] == pytest.approx(each[2], rel=1e-3)
    assert each[2] < each[3] < each[1]
    assert flops.step_flops(trainers[1], pixels) == sum(each) / 4


def test_the_peak_is_the_fastest_product_seen() -> None:
    assert flops.matmul_peak(torch.device("cpu"), torch.float32, 0.01) > 1e8
