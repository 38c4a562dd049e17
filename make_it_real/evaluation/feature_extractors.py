"""Feature extractors by name: networks in whose features distances are taken.

digits, clothes: the small classifier of ``classifier.py``, trained on MNIST or on Fashion-MNIST,
which also gives classes. lite0: EfficientNet-Lite0, trained on ImageNet; an extra that has the
weights. inception: the network that FID is defined by; an extra, whose weights are downloaded once.
Only distances in its features are called FID.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real import installation, threads
from make_it_real.errors import DataError, MirError, one_line
from make_it_real.evaluation.classifier import DigitClassifier
from make_it_real.images.pixels import to_pixels
from make_it_real.models import efficientnet_lite
from make_it_real.weights import hub, model_file

CLASSIFIERS = {
    "digits": "digits-classifier.safetensors",
    "clothes": "clothes-classifier.safetensors",
}
NAMES = (*CLASSIFIERS, "lite0", "inception")
# Side in pixels that images get for EfficientNet-Lite0.
LITE0_SIDE = 128
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"


class Extractor(Protocol):
    """A feature extractor.

    name: label of the figures that are measured with it. version: the first twelve digits of the
    SHA-256 of its weights. classifies: whether ``read`` gives classes.
    """

    name: str
    version: str
    classifies: bool

    def read(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute features (N, D), and classes (N,) or None, of images (N, C, S, S).

        Images are in about [−1, 1]. Both results are on the CPU.
        """
        ...


class Classifier:
    """The small classifier: 128 features and a class for each grey image of 28×28 pixels.

    path: its weights. name: label of its figures. Raises WeightsError for other files.
    """

    classifies = True

    def __init__(self, path: Path, device: torch.device, name: str = "digits") -> None:
        self.name = name
        self.net = DigitClassifier.load(path).folded().to(device)
        # Channels last is twice as fast on a CPU: most of the time was spent in pooling.
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.version = device, model_file.fingerprint(path)[:12]

    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features, classes = threads.divided(self._read, images, self.device)
        return features, classes

    @torch.inference_mode()
    def _read(self, images: Tensor) -> tuple[Tensor, ...]:
        images = images.to(self.device, memory_format=torch.channels_last)
        features = self.net.features(images)
        return features.cpu(), self.net.head(features).argmax(1).cpu()


class Lite0:
    """EfficientNet-Lite0 (Tan & Le 2019), trained on ImageNet: 1,280 pooled features.

    Images are given to it in [−1, 1], resized to 128 pixels a side, and grey ones with three equal
    channels. Raises MirError without the extra ``lite0``.
    """

    name = "lite0"
    classifies = False

    def __init__(self, device: torch.device) -> None:
        try:
            net, path = efficientnet_lite.load(0, image_size=LITE0_SIDE)
        except ImportError as error:
            raise _missing("lite0", error) from error
        self.version = model_file.fingerprint(path)[:12]
        self.net, self.device = net.requires_grad_(False).to(device), device
        self.net.to(memory_format=torch.channels_last)

    def read(self, images: Tensor) -> tuple[Tensor, None]:
        return threads.divided(self._read, images, self.device)[0], None

    @torch.inference_mode()
    def _read(self, images: Tensor) -> tuple[Tensor]:
        images = images.to(self.device, torch.float32).clamp(-1, 1)
        images = images.expand(-1, 3, -1, -1)
        side = (LITE0_SIDE, LITE0_SIDE)
        if tuple(images.shape[2:]) != side:
            # Without antialiasing, pixels of larger images would be left out.
            large = max(images.shape[2:]) > LITE0_SIDE
            images = F.interpolate(images, side, mode="bilinear", antialias=large)
        features = self.net.extract_features(images.contiguous(memory_format=torch.channels_last))
        return (features.mean((2, 3)).cpu(),)


class Inception:
    """The Inception network that FID and KID are defined by, from torch-fidelity.

    Images become 8-bit colour, as the definition of these figures demands. The weights are read
    from torch's cache of downloads; where they are not there, they are downloaded and their hash
    is checked, unless ``mir --offline`` forbids it. Raises MirError without the extra
    ``inception`` or without the weights.
    """

    name = "inception"
    classifies = False

    def __init__(self, device: torch.device) -> None:
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import (
                URL_INCEPTION_V3,
                FeatureExtractorInceptionV3,
            )
        # torchvision, which it needs, raises RuntimeError where it does not match torch.
        except (ImportError, RuntimeError) as error:
            raise _missing("inception", error) from error
        path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
        try:
            if not path.is_file():
                if hub.offline():
                    raise OSError("not in the cache, and this is offline")
                path.parent.mkdir(parents=True, exist_ok=True)
                torch.hub.download_url_to_file(
                    URL_INCEPTION_V3, str(path), hash_prefix="6726825d", progress=False
                )
            # torch-fidelity unpickles whatever is there, so make sure that it is weights only.
            torch.load(path, map_location="cpu", weights_only=True)
            net = FeatureExtractorInceptionV3("inception", ["2048"], str(path))
            self.version = model_file.fingerprint(path)[:12]
        except Exception as error:
            raise MirError(
                f"inception's weights can't be had: {one_line(error)}; put them at {path}, or use "
                "--features lite0"
            ) from error
        self.net, self.device = net.eval().requires_grad_(False).to(device), device

    @torch.inference_mode()
    def read(self, images: Tensor) -> tuple[Tensor, None]:
        pixels = to_pixels(images.expand(-1, 3, -1, -1)).to(self.device)
        return self.net(pixels)[0].float().cpu(), None


def _missing(extra: str, error: Exception) -> MirError:
    """Build the error for an extra that is not installed."""
    return MirError(
        f"--features {extra}: pip install 'make-it-real[{extra}]' first ({one_line(error)})"
    )


def load(
    name: str, channels: int, size: int, device: torch.device | str = "cpu"
) -> Extractor | None:
    """Load the feature extractor ``name`` for images (N, channels, size, size).

    name: one of ``NAMES``, "auto" or a file that ``mir train-features`` wrote. "auto" takes digits
    for grey images of 28×28 pixels, else lite0, and returns None where that is not installed.
    Raises MirError where a package or weights are missing, DataError where the extractor does not
    take such images, WeightsError for other files.
    """
    device = torch.device(device)
    small = (channels, size) == (1, 28)
    if name == "auto":
        if small:
            return load("digits", channels, size, device)
        try:
            return Lite0(device)
        except MirError as error:
            if isinstance(error.__cause__, ImportError):
                return None
            raise
    if name == "lite0":
        return Lite0(device)
    if name == "inception":
        return Inception(device)
    if not small:
        raise DataError(f"--features {name}: for 28×28 grey images only; try lite0 or inception")
    if name in CLASSIFIERS:
        return Classifier(installation.bundled_folder() / CLASSIFIERS[name], device, name)
    return Classifier(Path(name), device)


def collect(
    extractor: Extractor,
    images: Tensor,
    batch: int,
    tick: Callable[[int], None] = lambda images: None,
) -> tuple[Tensor, Tensor | None]:
    """Compute features (N, D), and classes (N,) or None, of images (N, C, S, S), in batches.

    tick: called with the number of images of each batch.
    """
    parts = []
    for part in images.split(batch):
        parts.append(extractor.read(part))
        tick(len(part))
    labels = [classes for _, classes in parts if classes is not None]
    return torch.cat([features for features, _ in parts]), torch.cat(labels) if labels else None
