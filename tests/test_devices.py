"""A device asked for by name is there, or the error says what to do."""

from types import SimpleNamespace

import pytest
import torch

from make_it_real import devices
from make_it_real.errors import DeviceError


def test_the_cpu_is_always_there() -> None:
    assert devices.pick("cpu") == torch.device("cpu")


def test_auto_prefers_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert devices.pick("auto").type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert devices.pick("auto").type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.pick("auto").type == "cpu"


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:1", 1), ("cuda:0", 0)])
def test_a_cuda_device_that_is_absent_is_an_error(
    name: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    with pytest.raises(DeviceError, match="--device cpu or auto"):
        devices.pick(name)


def test_a_cuda_device_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.pick("cuda:1") == torch.device("cuda:1")


def test_a_device_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    for threads, text in ((1, "cpu, 1 thread"), (8, "cpu, 8 threads")):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        assert devices.describe(torch.device("cpu")) == text
    card = SimpleNamespace(name="Card", total_memory=80_000_000_000)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    assert devices.describe(torch.device("cuda", 1)) == "cuda:1, Card, 80 GB"


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("repairs", [True, False])
def test_bfloat16_is_chosen_where_it_is_fast_and_f_repairs(
    fast: bool, repairs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "fast_bf16", lambda device: fast)
    cpu = torch.device("cpu")
    wanted = torch.bfloat16 if fast and repairs else torch.float32
    assert devices.precision("auto", cpu, repairs=repairs) == wanted
    assert devices.precision("float32", cpu, repairs=repairs) == torch.float32
    assert devices.precision("bfloat16", cpu, repairs=repairs) == torch.bfloat16


@pytest.mark.parametrize(
    ("capability", "fast"),
    [("avx512_bf16", True), ("amx_bf16", True), ("bf16", True), ("avx512_f", False)],
)
def test_a_processor_is_fast_at_bfloat16_if_it_has_it(
    capability: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True})
    assert devices.fast_bf16(torch.device("cpu")) is fast


@pytest.mark.parametrize("name", ["gpu", "", "cuda:x", "xpu", "meta"])
def test_other_names_are_errors(name: str) -> None:
    with pytest.raises(DeviceError, match="auto, cpu"):
        devices.pick(name)


def test_mps_that_is_absent_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no Apple GPU"):
        devices.pick("mps")
