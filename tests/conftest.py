"""Fixtures that all tests share: small networks, a weights file, and files that are broken."""

import io
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image

from make_it_real.models.architectures import build
from make_it_real.models.ign import IGN, IGNConfig
from make_it_real.models.unet import UNet
from make_it_real.weights import model_file, verify

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers, and the processes that tests start, would take each other's cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a model or a device of their own set; none is fetched."""
    for name in ("MIR_MODEL", "MIR_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded data sets of tests stay among the tests' files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def _network(config: IGNConfig) -> IGN:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(config).eval().requires_grad_(False)


@pytest.fixture
def tiny_f() -> IGN:
    """An f of 28×28 grey images, of MNIST's shape, with the weights that it starts from."""
    return _network(
        IGNConfig(image_size=28, channels=1, stem=8, widths=(8, 16), bottleneck=8, blocks=2)
    )


@pytest.fixture
def tiny_colour_f() -> IGN:
    """An f of 32×32 colour images, with the weights that it starts from."""
    return _network(
        IGNConfig(image_size=32, channels=3, stem=8, widths=(8, 16), bottleneck=8, blocks=2)
    )


@pytest.fixture
def tiny_model(tiny_f: IGN, tmp_path: Path) -> Path:
    """``tiny_f`` as a weights file that frames its images as MNIST does."""
    path = tmp_path / "tiny.safetensors"
    framing = {"background": -1.0, "extent": 0.714, "stroke": 0.084}
    info = model_file.ModelInfo(name="tiny", config=asdict(tiny_f.config), framing=framing)
    model_file.save(tiny_f, info, path)
    return path


def _saved(f: IGN, name: str, folder: Path) -> Path:
    path = folder / f"{name}.safetensors"
    model_file.save(f, model_file.ModelInfo(name=name, config=asdict(f.config)), path)
    return path


@pytest.fixture
def tiny_colour_model(tiny_colour_f: IGN, tmp_path: Path) -> Path:
    """``tiny_colour_f`` as a weights file; its images are full pictures."""
    return _saved(tiny_colour_f, "colour", tmp_path)


@pytest.fixture
def tiny_unet() -> IGN:
    """An f of colour images of any size, whose change is that of random weights."""
    f = _network(
        IGNConfig(
            0, 3, widths=(8, 16), blocks=2, dead_zone=0.0, rest=0.1, rest_ramp=1.25,
            rest_radius=2, architecture="unet", source="none", mixed=True,
        )
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for parameter in f.parameters():
        parameter.normal_(std=0.08, generator=generator)
    return f


@pytest.fixture
def any_size_f() -> UNet:
    """An f of colour images of any size: f(x) = x / 2, but x where it is near 0 all around."""
    f = _network(
        IGNConfig(
            image_size=0, channels=3, widths=(16, 16), blocks=2, dead_zone=0.0, rest=0.01,
            rest_ramp=1.25, rest_radius=2, architecture="unet", source="none",
        )
    )  # fmt: skip
    assert isinstance(f, UNet)
    for parameter in f.parameters():
        torch.nn.init.zeros_(parameter)
    # 12 channels hold the pixels of 2×2 in colour: these pass, and half of them is taken away.
    for i in range(12):
        f.first.weight[i, i, 1, 1], f.last.weight[i, i, 1, 1] = 1.0, -0.5
    return f


@pytest.fixture
def tiny_restorer(tiny_unet: IGN, tmp_path: Path) -> Path:
    """``tiny_unet`` as a weights file, with its probe."""
    path = tmp_path / "restorer.safetensors"
    info = model_file.ModelInfo(
        "restorer", {}, data="photographs, 9 images", objective="photographs unet", steps=1_200,
        version="0.1.0", licence="non-commercial research only",
        training={"steps": 1_200, "damage": {"noise": 7, "jpeg": 2}},
    )  # fmt: skip
    verify.save(tiny_unet, info, path)
    return path


@pytest.fixture
def any_size_model(any_size_f: UNet, tmp_path: Path) -> Path:
    """``any_size_f`` as a weights file."""
    return _saved(any_size_f, "halves", tmp_path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def huge_png() -> bytes:
    """A small file whose header promises 80,000 × 80,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 80_000, 80_000, 8, 0, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@pytest.fixture
def truncated_png() -> bytes:
    """The first half of a PNG of 64 × 64 pixels of noise."""
    with io.BytesIO() as file:
        Image.effect_noise((64, 64), 80).save(file, "PNG")
        return file.getvalue()[: file.tell() // 2]
