"""Folders and models that the tests of training share."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from make_it_real.models.architectures import build
from make_it_real.models.critic import Critic
from make_it_real.training.checkpoint import save_critic
from make_it_real.weights import model_file
from tests.training.helpers import MODEL, Compiled, bars, pictures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of five images of bars."""
    path = tmp_path / "bars"
    path.mkdir()
    for i, pixels in enumerate(bars(5).pixels):
        Image.fromarray(pixels[0].numpy()).save(path / f"{i}.png")
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of 24 colour images of noise."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, pixels in enumerate(pictures(24, 16, 3).pixels):
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A model of 12×12 grey images, without a critic; no parameter is as a new one's."""
    torch.manual_seed(7)
    f = build(MODEL)
    with torch.no_grad():
        for parameter in f.parameters():
            parameter.add_(0.01)
    path = tmp_path / "old.safetensors"
    model_file.save(f, model_file.ModelInfo("old", asdict(MODEL)), path)
    return path


@pytest.fixture
def critic(old: Path) -> Critic:
    """A critic beside the old model, of other widths than the default's."""
    torch.manual_seed(8)
    C = Critic(12, 1, (8, 16))
    save_critic(C, model_file.critic_path(old))
    return C


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> list[Compiled]:
    """Stand-ins for what was compiled, as it is made."""
    made: list[Compiled] = []

    def stand_in(net: nn.Module, dynamic: bool) -> Compiled:
        assert dynamic is False
        made.append(Compiled(net))
        return made[-1]

    monkeypatch.setattr(torch, "compile", stand_in)
    return made
