"""How real repairs look: their kernel distance from real images other than those damaged.

A repair has many right answers where much is lost, and then PSNR prefers a blur to a face. The
kernel distance asks for none of them, only for what other real images are like.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from make_it_real.evaluation.bootstrap import NORMAL
from make_it_real.evaluation.feature_extractors import Extractor, collect
from make_it_real.evaluation.figures import Group
from make_it_real.evaluation.metrics import KernelReference

# Repairs are compared with so many other real images at most.
OTHERS = 2000
# An image has colour where the mean over its pixels of the largest less the smallest channel, of
# a range of 1, is over this, as it is in 99 of 100 photographs of faces (CelebA).
COLOURED = 0.06


def applies(extractor: Extractor | None) -> bool:
    """Tell whether repairs are compared with other real images in an extractor's features.

    Of classifiers, accuracy says whether a repair is what it was.
    """
    return extractor is not None and not extractor.classifies


class Realism:
    """Other real images (N, C, S, S), N ≥ 2, by whose features repairs are judged.

    tick: called with the number of images whose features were read.
    """

    def __init__(
        self, extractor: Extractor, others: Tensor, batch: int, tick: Callable[[int], None]
    ) -> None:
        self.name = extractor.name
        self.reference = KernelReference(collect(extractor, others, batch, tick)[0])

    def add(self, group: Group, features: Tensor, **of: Any) -> None:
        """Add the kernel distance of features (M, D), M ≥ 2, with its interval. of: its fields."""
        distance, error = self.reference.distance(features)
        between = distance - NORMAL * error, distance + NORMAL * error
        group.add("kd", distance, between, features=self.name, **of)


def coloured(images: Tensor) -> Tensor:
    """Tell which images (N, 3, H, W) in [−1, 1] have colour, as ``COLOURED`` says: 0 or 1, (N,)."""
    images = images.clamp(-1, 1)
    chroma: Tensor = (images.amax(1) - images.amin(1)).mean((1, 2)) / 2
    return (chroma > COLOURED).float()


def same(a: Tensor, b: Tensor) -> Tensor:
    """Tell which images (N, C, H, W) are equal, value by value: 0 or 1, (N,)."""
    return (a == b).flatten(1).all(1).float()
