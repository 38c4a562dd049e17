"""The small classifier of 28×28 images, which gives labels and features for the evaluation.

f is never trained with it. Its 128 penultimate activations are the features that distances such as
the Fréchet distance are taken in. These distances are not FID and can't be compared with FID.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from make_it_real.data.dataset import ImageSet
from make_it_real.devices import fast_bf16
from make_it_real.errors import WeightsError, one_line
from make_it_real.images.pixels import to_images
from make_it_real.weights.safetensors_file import save_tensors


class DigitClassifier(nn.Module):
    """Images (N, 1, 28, 28) in [−1, 1] → logits (N, 10)."""

    def __init__(self) -> None:
        super().__init__()

        def stage(a: int, b: int, size: int = 3) -> list[nn.Module]:
            conv = nn.Conv2d(a, b, size, padding=size // 2, bias=False)
            return [conv, nn.BatchNorm2d(b), nn.ReLU(inplace=True)]

        self.body = nn.Sequential(
            *stage(1, 32, 5), nn.MaxPool2d(2), *stage(32, 64), *stage(64, 64), nn.MaxPool2d(2),
            *stage(64, 128), nn.Flatten(), nn.Dropout(0.3), nn.Linear(128 * 49, 128), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(128, 10)

    def features(self, images: Tensor) -> Tensor:
        """Compute the features of images, (N, 128), none negative."""
        features: Tensor = self.body(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits

    def save(self, path: Path, info: dict[str, object]) -> None:
        """Write the weights, and ``info`` as metadata. Raises WeightsError."""
        save_tensors(self.state_dict(), {"mir_features": json.dumps(info)}, path)

    @classmethod
    def load(cls, path: Path) -> "DigitClassifier":
        """Load a classifier in float32, in evaluation mode. Raises WeightsError for other files."""
        self = cls()
        try:
            with safe_open(path, "pt") as file:
                self.load_state_dict({k: file.get_tensor(k) for k in file.keys()})  # noqa: SIM118
        except (OSError, SafetensorError, RuntimeError) as error:
            raise WeightsError(f"{path}: not a digit classifier ({one_line(error)})") from error
        return self.eval()

    def folded(self) -> "DigitClassifier":
        """Fold batch norm into the convolutions before it, for evaluation only, in less time.

        Features are those of before but for the last bits of float32. Returns itself.
        """
        layers: list[nn.Module] = []
        for layer in self.body.eval():
            if isinstance(layer, nn.BatchNorm2d):
                layers[-1] = fuse_conv_bn_eval(layers[-1], layer)  # type: ignore[type-var]
            elif not isinstance(layer, nn.Dropout):
                layers.append(layer)
        self.body = nn.Sequential(*layers)
        return self


def _jitter(x: Tensor, generator: torch.Generator, amount: float = 1.0) -> Tensor:
    """Turn, scale, shear and shift each image (N, 1, S, S) a little, as data augmentation."""
    theta = torch.eye(2, 3).repeat(len(x), 1, 1)
    theta[:, :, :2] += amount * 0.12 * torch.randn(len(x), 2, 2, generator=generator)
    theta[:, :, 2] = amount * 0.08 * torch.randn(len(x), 2, generator=generator)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x + 1, grid, align_corners=False) - 1


def train_digits(
    net: DigitClassifier,
    images: ImageSet,
    *,
    epochs: int = 10,
    batch: int = 128,
    seed: int = 0,
    jitter: float = 1.0,
) -> Iterator[tuple[int, float]]:
    """Train on labelled 28×28 images, on the CPU; yield (epoch, mean loss) after each epoch.

    seed: seed of every random choice, except the initial weights. jitter: strength of the data
    augmentation; 1 suits digits, and clothes need less.
    """
    assert images.labels is not None
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    total = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=total)
    for epoch in range(1, epochs + 1):
        net.train()
        losses = []
        order = torch.randperm(len(images), generator=generator)
        for index in order[: len(images) // batch * batch].view(-1, batch):
            x = _jitter(to_images(images.pixels[index]), generator, jitter)
            with torch.autocast("cpu", torch.bfloat16, enabled=fast_bf16(torch.device("cpu"))):
                logits = net(x)
            loss = F.cross_entropy(logits.float(), images.labels[index], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        net.eval()
        yield epoch, float(torch.stack(losses).mean())
