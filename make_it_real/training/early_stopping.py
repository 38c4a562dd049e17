"""Early stopping: distance of f's images from held-out ones, and copies of training images.

The features are those of a random convolutional network, whitened on the training images. That
needs no pretrained network and suffices to compare two states of f; it is not FID.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from make_it_real.data.dataset import ImageSet
from make_it_real.errors import DataError
from make_it_real.evaluation.metrics import frechet_distance
from make_it_real.images.pixels import to_images
from make_it_real.inference.projection import generate
from make_it_real.models.ign import IGN
from make_it_real.training import augment
from make_it_real.training.events import Notice, Tell

LEAST = 20
MOST = 2_000
FIRST_SEED = 2_000_000
TRAIN_SAMPLE = 10_000
# A generated image is called a copy if its distance to the nearest training image, divided by that
# to the second nearest, is below this quantile of held-out images' ratios.
COPY_SHARE = 0.05
COPY_ALARM = 0.2
CHECK_EVERY = 200
PATIENCE = 10


def share_out(n: int) -> int:
    """Count the images to hold out of n: a tenth up to 2,000, a fifth of few, none under 20."""
    return 0 if n < LEAST else min(MOST, max(n // 10, min(n // 5, 20)))


def split(images: ImageSet, held: int, seed: int) -> tuple[ImageSet, Tensor]:
    """Split off held-out images at random: (images to train on, pixels (held, C, S, S)).

    Raises ValueError where too few are left to train on, DataError where those are all alike.
    """
    if held > len(images) - 2:
        raise ValueError(f"hold_out is {held:,} of {len(images):,} images; two must be left")
    rest, held_out = _divide(images, held, seed)
    first = rest.pixels[:1]
    # A chunk at a time: as a rule the first of them ends this.
    if all(torch.equal(chunk, first.expand_as(chunk)) for chunk in rest.pixels.split(1_000)):
        raise DataError(f"{images.name}: all {len(images):,} images are alike: nothing to learn")
    return rest, held_out


def _divide(images: ImageSet, held: int, seed: int) -> tuple[ImageSet, Tensor]:
    if not held:
        # Nothing is copied: the pixels may be mapped from a file larger than memory.
        return images, images.pixels[:0]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    kept = order[held:].sort().values
    labels = None if images.labels is None else images.labels[kept]
    return replace(images, pixels=images.pixels[kept], labels=labels), images.pixels[order[:held]]


def against_memorising(
    n: int, settings: Mapping[str, Any], fine_tuned: bool, tell: Tell
) -> dict[str, Any]:
    """The settings, with those that keep f from learning n images by heart where they are open."""
    out = {"augment": augment.share_for(n), "hold_out": 0, **settings}
    if fine_tuned and "hold_out" not in settings:
        out["hold_out"] = share_out(n)
        if not out["hold_out"]:
            tell(Notice(f"under {LEAST} images none is held out: training runs to its last step"))
    if out["augment"]:
        tell(Notice(
            f"{n:,} images: {out['augment']:.0%} of what the critic sees, real and made alike, "
            "is moved, masked or lit at random (augment)"
        ))  # fmt: skip
    return out


class RandomFeatures:
    """Features (N, D) of images (N, C, S, S) by a random network, whitened on given images."""

    def __init__(self, images: Tensor, dimensions: int) -> None:
        """images: those to whiten on, (N, C, S, S) with N > ``dimensions``."""
        generator = torch.Generator().manual_seed(0)
        widths = (images.shape[1], 32, 64, 64)
        self.kernels = [
            torch.randn(b, a, 3, 3, generator=generator) * (2 / (9 * a)) ** 0.5
            for a, b in pairwise(widths)
        ]
        raw = self._raw(images).double()
        self.mean = raw.mean(0)
        values, vectors = torch.linalg.eigh(torch.cov(raw.T))
        self.basis = vectors[:, -dimensions:] / values[-dimensions:].clamp_min(1e-9).sqrt()

    @torch.inference_mode()
    def _raw(self, images: Tensor) -> Tensor:
        out = []
        for h in images.split(500):
            for kernel in self.kernels:
                h = F.leaky_relu(F.conv2d(h, kernel, stride=2, padding=1), 0.2)
            out.append(F.adaptive_avg_pool2d(h, 2).flatten(1))
        return torch.cat(out)

    def __call__(self, images: Tensor) -> Tensor:
        features: Tensor = (self._raw(images).double() - self.mean) @ self.basis
        return features


def _small(images: Tensor) -> Tensor:
    """Shrink images (N, C, S, S) to 16 pixels a side, if they are larger."""
    return F.adaptive_avg_pool2d(images, min(16, images.shape[-1]))


def neighbour_ratios(images: Tensor, train: Tensor) -> Tensor:
    """Compute distance to the nearest training image ÷ to the second nearest, (N,): 0 is a copy.

    images: (N, C, S, S). train: (M, C, S, S) with M ≥ 2. They are compared at 16 pixels a side or
    fewer. A blurred image is near to many, so the distance alone would call it a copy. Copies of
    an image that is in the training set twice are not recognised.
    """
    a, b = _small(images).flatten(1), _small(train).flatten(1)
    found = []
    for part in a.split(64):
        # cdist uses a matrix product, which gives equal images a distance above 0.
        nearest = torch.cdist(part, b).topk(2, largest=False).indices
        found.append((part[:, None] - b[nearest]).norm(dim=2).sort().values)
    ways = torch.cat(found)
    return ways[:, 0] / ways[:, 1].clamp_min(1e-9)


@dataclass(frozen=True)
class Check:
    """The results of one check of f's images.

    distance: Fréchet distance to the held-out images. copies: share of images that are nearly a
    training image. best: whether the distance is the lowest so far.
    """

    distance: float
    copies: float
    best: bool


class EarlyStopping:
    """Compares f's images with held-out ones every ``CHECK_EVERY`` steps.

    best: lowest distance so far. stale: number of checks since then. floor: distance of as many
    training images, about what a perfect f would reach.
    """

    def __init__(self, train: Tensor, held: Tensor, best: float = float("inf")) -> None:
        """train, held: pixels, uint8 (N, C, S, S) and (M, C, S, S)."""
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))
        self.train, held_images = to_images(train[order[:TRAIN_SAMPLE]]), to_images(held)
        dimensions = max(2, min(64, len(held) // 8))
        self.features = RandomFeatures(self.train, dimensions)
        self.held = self.features(held_images)
        self.made = max(200, min(1_000, len(held)))
        self.floor = frechet_distance(self.features(self.train[: len(held)]), self.held)
        # Shrink a chunk at a time: all images as floats would need much memory.
        everything = torch.cat([_small(to_images(chunk)) for chunk in train.split(2_000)])
        ratios = neighbour_ratios(held_images[:500], everything)
        self.copy_ratio = float(ratios.quantile(COPY_SHARE))
        self.everything = everything
        self.best, self.stale = best, 0

    def images(self, f: IGN) -> Tensor:
        """Generate images from fixed seeds, in evaluation mode, on the CPU."""
        training = f.training
        made = generate(f.eval(), range(FIRST_SEED, FIRST_SEED + self.made))
        f.train(training)
        return made.cpu()

    def distance(self, images: Tensor) -> float:
        """Compute the Fréchet distance between features of images and of held-out images."""
        return frechet_distance(self.features(images), self.held)

    def copied(self, images: Tensor) -> float:
        """Compute the share of images that are nearly a training image; held-out ones have 0.05."""
        ratios = neighbour_ratios(images[:200], self.everything)
        return float((ratios < self.copy_ratio).float().mean())

    @property
    def over(self) -> bool:
        """Whether ``PATIENCE`` checks in a row brought no lower distance."""
        return self.stale >= PATIENCE

    def check(self, f: IGN) -> Check:
        """Generate images, compare them, and remember the distance if it is the lowest."""
        images = self.images(f)
        distance = self.distance(images)
        return Check(distance, self.copied(images), self.improved(distance))

    def improved(self, distance: float) -> bool:
        """Remember a check's distance; tell whether it is the lowest so far."""
        if distance < self.best:
            self.best, self.stale = distance, 0
            return True
        self.stale += 1
        return False
