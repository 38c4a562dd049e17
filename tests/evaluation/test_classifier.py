"""The digit classifier: it learns, comes back from its file, and refuses other files."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from make_it_real.data.dataset import ImageSet
from make_it_real.errors import WeightsError
from make_it_real.evaluation import classifier
from make_it_real.evaluation.classifier import DigitClassifier, train_digits
from make_it_real.images.pixels import to_images
from make_it_real.weights.safetensors_file import halved


def two_classes(n: int, seed: int) -> ImageSet:
    """Upright strokes (class 1) and level ones (class 7) on black, with some noise."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 60, (n, 1, 28, 28), generator=generator)
    labels = torch.randint(0, 2, (n,), generator=generator)
    for image, upright in zip(pixels[:, 0], labels, strict=True):
        place = int(torch.randint(9, 18, (), generator=generator))
        stroke = image[5:23, place : place + 3] if upright else image[place : place + 3, 5:23]
        stroke += 180
    return ImageSet(pixels.byte(), torch.where(labels == 1, 1, 7), "strokes")


@pytest.fixture(scope="module")
def trained() -> tuple[DigitClassifier, list[float]]:
    torch.manual_seed(0)
    net = DigitClassifier()
    epochs = train_digits(net, two_classes(160, 0), epochs=3, batch=16)
    return net, [loss for _, loss in epochs]


def test_it_learns_to_tell_two_classes(trained: tuple[DigitClassifier, list[float]]) -> None:
    net, losses = trained
    assert len(losses) == 3
    assert losses[-1] < 0.6 * losses[0]
    assert not net.training
    test = two_classes(60, 1)
    assert test.labels is not None
    with torch.no_grad():
        found = net(to_images(test.pixels)).argmax(1)
    assert float((found == test.labels).float().mean()) > 0.9


def test_the_same_seed_learns_the_same() -> None:
    weights: list[dict[str, Tensor]] = []
    for seed in (0, 0, 1):
        torch.manual_seed(5)
        net = DigitClassifier()
        list(train_digits(net, two_classes(32, 0), epochs=1, batch=16, seed=seed))
        weights.append(net.state_dict())
    first, again, other = weights
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_features_are_of_one_image_each(trained: tuple[DigitClassifier, list[float]]) -> None:
    net, x = trained[0], to_images(two_classes(4, 2).pixels)
    with torch.no_grad():
        together = net.features(x)
        alone = torch.cat([net.features(image[None]) for image in x])
        logits = net(x)
    assert together.shape == (4, 128)
    assert together.min() >= 0
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(net.head(together).detach(), logits)


def test_folding_batch_norm_changes_last_bits_only(
    trained: tuple[DigitClassifier, list[float]], tmp_path: Path
) -> None:
    trained[0].save(tmp_path / "judge.safetensors", {})
    x = to_images(two_classes(8, 2).pixels)
    plain, folded = (DigitClassifier.load(tmp_path / "judge.safetensors") for _ in range(2))
    with torch.no_grad():
        before, after = plain.features(x), folded.folded().features(x)
    assert not [layer for layer in folded.body if isinstance(layer, nn.BatchNorm2d)]
    assert before.std() > 0.01
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


def test_jitter_moves_images_and_keeps_their_background() -> None:
    x = to_images(two_classes(6, 3).pixels)
    x[..., :5, :], x[..., :, :5], x[..., 23:, :], x[..., :, 23:] = -1, -1, -1, -1
    y = classifier._jitter(x, torch.Generator().manual_seed(0))
    assert y.shape == x.shape
    assert (y - x).abs().flatten(1).mean(1).min() > 0.01
    assert y.min() >= -1 - 1e-6
    torch.testing.assert_close(y[..., 0, 0], -torch.ones(6, 1))


def test_a_classifier_comes_back_bit_by_bit(
    trained: tuple[DigitClassifier, list[float]], tmp_path: Path
) -> None:
    path = tmp_path / "judge.safetensors"
    trained[0].save(path, {"test_accuracy": 0.5})
    loaded = DigitClassifier.load(path)
    assert not loaded.training
    state = loaded.state_dict()
    for name, value in trained[0].state_dict().items():
        assert torch.equal(state[name], value)


def test_a_classifier_in_half_precision_loads_as_float32(
    trained: tuple[DigitClassifier, list[float]], tmp_path: Path
) -> None:
    path = tmp_path / "judge.safetensors"
    safetensors.torch.save_file(halved(trained[0].state_dict()), path)
    state = DigitClassifier.load(path).state_dict()
    for name, value in trained[0].state_dict().items():
        assert state[name].dtype == value.dtype
        wanted = value.half().float() if value.is_floating_point() else value
        assert torch.equal(state[name], wanted)


@pytest.mark.parametrize("damage", ["missing", "text", "empty", "cut", "other", "model"])
def test_another_file_is_a_weights_error(
    trained: tuple[DigitClassifier, list[float]], tmp_path: Path, tiny_model: Path, damage: str
) -> None:
    path = tmp_path / "judge.safetensors"
    trained[0].save(path, {})
    raw = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "other":
        safetensors.torch.save_file({"a": torch.zeros(3)}, path)
    else:
        contents = {"text": b"hello" * 9, "empty": b"", "cut": raw[: len(raw) // 2]}
        path.write_bytes(contents.get(damage, tiny_model.read_bytes()))
    with pytest.raises(WeightsError, match="not a digit classifier") as caught:
        DigitClassifier.load(path)
    assert "\n" not in str(caught.value)
