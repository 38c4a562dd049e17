"""Settings: what they are by default, for which network, and what they can't be."""

from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from make_it_real.models.architectures import build
from make_it_real.models.critic import Critic
from make_it_real.models.ign import IGNConfig
from make_it_real.training import config, networks
from make_it_real.training.config import (
    AdversarialConfig,
    IGNTrainingConfig,
    PhotographConfig,
)
from make_it_real.training.networks import paper_model
from tests.training.helpers import CONFIG


def test_momentum_is_for_repair_alone() -> None:
    model = IGNConfig(12, 1, 8, (8, 16), 8, 2)
    assert config.default_config(model).beta1 == 0
    assert config.default_config(model, critic_every=2).beta1 == 0
    assert config.default_config(model, critic_every=0).beta1 == 0.9


@pytest.mark.parametrize("name", ["restored", "kept"])
@pytest.mark.parametrize("quarters", [0, 5])
def test_there_are_four_quarters(name: str, quarters: int) -> None:
    changes: dict[str, Any] = {name: quarters}
    with pytest.raises(ValueError, match="quarters"):
        replace(CONFIG, **changes)


@pytest.mark.parametrize(
    ("size", "widths"),
    [
        (8, (64, 128)), (12, (64, 128)), (20, (64, 128)), (28, (64, 128)), (32, (64, 128)),
        (36, (64, 128)), (64, (64, 128, 256)), (96, (64, 128, 256, 256)),
        (128, (64, 128, 256, 256)),
    ],
)  # fmt: skip
def test_the_default_model_halves_to_about_eight_pixels(size: int, widths: tuple[int, ...]) -> None:
    model = networks.default_model(size, 3)
    assert model.image_size == size
    assert model.channels == 3
    assert model.widths == widths
    deep = len(widths) > 2
    assert (model.bottleneck, model.attention) == ((512, True) if deep else (128, False))
    assert model.source == ("mixture" if size <= 64 else "spectral")
    # The weights of a model that is shipped, in float16, stay under 32 MB.
    assert sum(p.numel() for p in build(model).state_dict().values()) * 2 < 32e6


def test_the_default_model_of_digits_is_the_default_but_for_its_z() -> None:
    assert networks.default_model(28, 1) == IGNConfig(source="mixture")


@pytest.mark.parametrize("size", [0, 2, 30, 33])
def test_sizes_that_cannot_be_halved_twice_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        networks.default_model(size, 1)


def test_the_default_recipe_fits_the_model() -> None:
    grey = config.default_config(networks.default_model(28, 1), steps=5)
    colour = config.default_config(networks.default_model(64, 3))
    assert grey == AdversarialConfig(steps=5)
    assert "grayscale" in colour.damage
    assert "grayscale" not in grey.damage
    Critic(64, 3, colour.critic_widths)(torch.zeros(2, 3, 64, 64))


def test_the_settings_are_the_paper_s() -> None:
    paper = IGNTrainingConfig()
    assert (paper.batch, paper.lr, paper.beta1, paper.beta2) == (256, 1e-4, 0.5, 0.999)
    assert (paper.clamp, paper.tight_rec, paper.decay_steps) == (1.5, "z", 0)
    assert paper_model(28, 1).norm == "batch"
    assert paper_model(28, 1).source == "published"


@pytest.mark.parametrize("changes", [{"tight_rec": "y"}, {"clamp": 0.0}], ids=str)
def test_settings_that_mean_nothing_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tight_rec|clamp"):
        IGNTrainingConfig(**changes)


@pytest.mark.parametrize("weight", [-1.0, float("inf"), float("nan")])
def test_weights_that_are_none_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="projected must be"):
        AdversarialConfig(projected=weight)


def test_a_run_that_knew_no_drawn_pictures_goes_on_without_them() -> None:
    settings = asdict(PhotographConfig())
    assert config.read_config("photographs", settings) == PhotographConfig()
    del settings["graphics"]
    assert config.read_config("photographs", settings) == PhotographConfig(graphics=0.0)
    assert config.read_config("ign", asdict(IGNTrainingConfig())) == IGNTrainingConfig()
