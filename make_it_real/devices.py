"""Devices: choose the one that f runs on."""

import torch

from make_it_real.errors import DeviceError


def pick(name: str = "auto") -> torch.device:
    """Choose a device by name: auto (CUDA, else MPS, else CPU), cpu, cuda, cuda:n or mps.

    Raises DeviceError for any other name, and for a device that this machine does not have.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"no device is called {name!r}: auto, cpu, cuda[:n] or mps") from error
    if device.type == "cpu":
        return torch.device("cpu")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) < count:
            return device
        available = f"only {count} CUDA device(s)" if count else "no CUDA device"
        raise DeviceError(f"--device {name}: {available} here; use --device cpu or auto")
    if device.type == "mps":
        if torch.backends.mps.is_available():
            return device
        raise DeviceError(f"--device {name}: no Apple GPU here; use --device cpu or auto")
    raise DeviceError(f"no device is called {name!r}: auto, cpu, cuda[:n] or mps")


def describe(device: torch.device) -> str:
    """A device in words: "cpu, 8 threads" or "cuda, NVIDIA H100, 80 GB"."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{device}, {properties.name}, {properties.total_memory / 1e9:.0f} GB"
    if device.type == "mps":
        return "mps, Apple GPU"
    threads = torch.get_num_threads()
    return f"cpu, {threads} thread{'' if threads == 1 else 's'}"


def precision(name: str, device: torch.device, *, repairs: bool) -> torch.dtype:
    """Choose what f computes in by name: float32, bfloat16, or auto.

    auto is bfloat16 where the device is fast at it and f repairs photographs (repairs): of these
    it moves one pixel in a thousand by more than an 8-bit level, even if the damage is heavy. What
    f generates it would change more. Raises KeyError for other names.
    """
    if name == "auto":
        return torch.bfloat16 if repairs and fast_bf16(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]


def fast_bf16(device: torch.device) -> bool:
    """Tell whether a device computes bfloat16 in hardware, about twice as fast as float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        has = torch.cpu.get_capabilities()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16") or has.get("bf16"))
    return False
