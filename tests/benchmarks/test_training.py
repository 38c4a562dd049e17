"""What the benchmark of training measures: whole cycles, and the parts of a step."""

import pytest
import torch

from make_it_real.data.dataset import ImageSet
from make_it_real.models.ign import IGNConfig
from make_it_real.training.adversarial import AdversarialObjective
from make_it_real.training.config import AdversarialConfig
from make_it_real.training.trainer import Trainer, begin
from tests.benchmarks import training


@pytest.fixture
def images() -> ImageSet:
    pixels = torch.zeros(4, 1, 12, 12, dtype=torch.uint8)
    pixels[:, :, 2:8, 2:5] = 255
    return ImageSet(pixels, None, "bars")


@pytest.fixture
def trainer(images: ImageSet) -> Trainer[AdversarialObjective]:
    model = IGNConfig(12, 1, 8, (8, 16), 8, 2)
    config = AdversarialConfig(
        steps=10**9, batch=16, critic_widths=(8, 16), rest_steps=1, penalty_every=2
    )
    return begin(AdversarialObjective(model, config, torch.device("cpu")), images)


def test_whole_cycles_are_timed(trainer: Trainer[AdversarialObjective], images: ImageSet) -> None:
    assert training.images_a_second(trainer, images, 0.0) > 0
    # One cycle to set up, and one that is timed.
    assert trainer.step == 4


def test_each_part_of_a_step_is_found(
    trainer: Trainer[AdversarialObjective], images: ImageSet
) -> None:
    found = training.parts(trainer, images.pixels)
    assert tuple(found) == training.PARTS
    assert trainer.step == 2
    assert all(host > 0 and gpu == 0 for host, gpu in found.values())
    # Nothing of what was put around them stays.
    assert torch.Tensor.backward.__module__ == "torch._tensor"
    assert trainer.draw == Trainer.draw.__get__(trainer)


def test_the_model_is_that_of_mir_train() -> None:
    trainer, images = training.begun(28, 8, torch.device("cpu"))
    assert (trainer.config.batch, trainer.objective.f.config.widths) == (8, (64, 128))
    assert images.pixels.shape == (training.IMAGES, 1, 28, 28)
