"""The paper's network: its shape, its norms and its weights file."""

from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from make_it_real.data.dataset import ImageSet
from make_it_real.models import dcgan
from make_it_real.models.architectures import build
from make_it_real.models.ign import IGNConfig
from make_it_real.training.config import IGNTrainingConfig
from make_it_real.training.ign import IGNObjective
from make_it_real.training.networks import paper_model
from make_it_real.training.trainer import begin, train
from make_it_real.weights import model_file, pretrained

CPU = torch.device("cpu")
CONFIG = IGNTrainingConfig(steps=6, batch=16)


def model(norm: str = "group", **changes: Any) -> IGNConfig:
    small: dict[str, Any] = {"widths": (8, 16), "bottleneck": 8, "norm": norm}
    return paper_model(12, 1, **small | changes)


def bars(n: int = 4) -> ImageSet:
    """n plain images of 12×12: bright bars on black, each at another place."""
    pixels = torch.zeros(n, 1, 12, 12, dtype=torch.uint8)
    for i in range(n):
        pixels[i, 0, 2:10, 2 + i : 5 + i] = 255
    return ImageSet(pixels, None, "bars")


@pytest.mark.parametrize(
    ("size", "channels", "widths"),
    [(28, 1, (64, 128, 256)), (64, 3, (64, 128, 256, 512)), (64, 1, (64, 128, 256, 512))],
)
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_the_paper_s_network_has_the_paper_s_shape(
    size: int, channels: int, widths: tuple[int, ...], norm: str
) -> None:
    config = paper_model(size, channels, norm=norm)
    assert config.widths == widths
    assert (config.dead_zone, config.rest, config.bottleneck) == (0, 0, 512)
    f = build(config).eval()
    y = f(torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(0)))
    assert y.shape == (2, channels, size, size)
    assert y.abs().max() < 1
    kinds = [type(m) for m in f.modules() if isinstance(m, nn.BatchNorm2d | nn.GroupNorm)]
    # None at the input's convolution and none at the output's.
    assert len(kinds) == 2 * len(widths) - 1
    assert set(kinds) == {nn.BatchNorm2d if norm == "batch" else nn.GroupNorm}
    assert dcgan.has_batch_norm(f) == (norm == "batch")


@pytest.mark.parametrize("norm", ["group", "batch"])
def test_one_image_s_result_depends_on_the_batch_under_batch_statistics_alone(norm: str) -> None:
    f = build(model(norm)).eval()
    y = torch.randn(4, 1, 12, 12, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(f(y)[:1], f(y[:1]), atol=1e-6, rtol=0)
    dcgan.use_batch_statistics(f)
    same = torch.allclose(f(y)[:1], f(y[:1]), atol=1e-6)
    assert same == (norm == "group")


def test_batch_statistics_are_those_of_training() -> None:
    f = build(model("batch"))
    y = torch.randn(8, 1, 12, 12, generator=torch.Generator().manual_seed(2))
    wanted = f(y)
    f.eval()
    assert not torch.allclose(f(y), wanted, atol=1e-4)
    dcgan.use_batch_statistics(f)
    torch.testing.assert_close(f(y), wanted)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "unet"}, {"norm": "layer"}, {"source": "pink"}, {"dead_zone": 0.1},
        {"widths": (8,) * 5},
    ],
    ids=str,
)  # fmt: skip
def test_a_config_that_makes_no_network_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        build(replace(model(), **changes))


def test_the_projector_takes_no_batch_norm() -> None:
    with pytest.raises(ValueError, match="batch norm is for"):
        IGNConfig(norm="batch")


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("source", ["published", "spectral", "white"])
def test_the_weights_file_keeps_architecture_norm_and_source(
    tmp_path: Path, norm: str, source: str
) -> None:
    trained = begin(IGNObjective(model(norm, source=source), CONFIG, CPU), bars())
    list(islice(train(trained, bars()), 2))
    path = tmp_path / "f.safetensors"
    model_file.save(
        trained.objective.f, model_file.ModelInfo("f", asdict(trained.objective.f.config)), path
    )
    f = pretrained.load(path)
    assert f.config == trained.objective.f.config
    z = f.source.from_seeds([0, 1])
    torch.testing.assert_close(z, trained.objective.f.source.from_seeds([0, 1]))
    torch.testing.assert_close(f(z), trained.objective.f.eval()(z))


def test_headers_from_before_there_were_architectures_still_load() -> None:
    old = {"image_size": 28, "channels": 1, "stem": 16, "widths": [64, 128], "bottleneck": 128}
    config = IGNConfig(**old)  # type: ignore[arg-type]
    assert (config.architecture, config.norm, config.source) == ("projector", "group", "spectral")
