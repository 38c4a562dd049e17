"""The figures are figures of what they say."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from make_it_real import data, evaluation
from make_it_real.data import ImageSet
from make_it_real.features import DigitClassifier
from make_it_real.model import IGN

MNIST = Path(__file__).parent.parent.parent / "shared" / "data" / "mnist"


class Still(IGN):
    """An f that leaves every image as it is."""

    def forward(self, images: Tensor) -> Tensor:
        return images


@pytest.fixture
def judge() -> DigitClassifier:
    torch.manual_seed(0)
    return DigitClassifier().eval()


@pytest.fixture
def still(tiny_f: IGN) -> Still:
    return Still(tiny_f.config)


def test_an_f_that_does_nothing_is_faithful_and_at_rest(still: Still) -> None:
    x = torch.rand(6, 1, 28, 28) * 2 - 1
    assert evaluation.fidelity(still, x) == {"fidelity": 0.0, "fidelity_psnr": 100.0}
    rest = evaluation.rest(still)
    assert rest["rest_share"] == 1
    assert rest["rest_way"] == 0


def test_generation_compares_f_with_the_test_images(still: Still, judge: DigitClassifier) -> None:
    x = torch.rand(300, 1, 28, 28) * 2 - 1
    figures = evaluation.generation(still, judge, x, x, 300)
    assert figures["fd_floor_train"] == pytest.approx(0, abs=1e-6)
    assert figures["fd_f"] > 10 * abs(figures["fd_floor_train"])
    assert figures["fd_ff"] == pytest.approx(figures["fd_f"])
    assert figures["idempotence"] == 0


def test_projection_judges_before_and_after(still: Still, judge: DigitClassifier) -> None:
    pixels = torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8)
    test = ImageSet(pixels, torch.randint(0, 10, (40,)), "noise")
    generator = torch.Generator().manual_seed(0)
    groups = list(evaluation.projection(still, judge, test, generator))
    figures = {name: value for group in groups for name, value in group.items()}
    kinds = {name.removeprefix("acc_").rsplit("_", 1)[0] for name in figures if "acc_" in name}
    assert kinds == {f"{kind}_{level:g}" for kind, level in evaluation.DAMAGE}
    for kind in kinds:
        assert figures[f"psnr_{kind}_before"] == figures[f"psnr_{kind}_after"]


def test_the_classifier_reads_mnist_as_well_as_its_card_says() -> None:
    if not MNIST.is_dir():
        pytest.skip(f"needs MNIST in {MNIST}")
    from make_it_real.images import to_images
    from make_it_real.weights import bundled_folder

    test = data.load(MNIST, "test")
    assert test.labels is not None
    judge = DigitClassifier.load(bundled_folder() / "digits-classifier.safetensors")
    assert evaluation.accuracy(judge, to_images(test.pixels), test.labels) >= 0.994
