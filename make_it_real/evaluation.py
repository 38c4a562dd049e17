"""How good f is on labelled digits, in figures: generation, rest, fidelity, projection.

Fréchet distances and classes are those of the digit classifier in ``features.py``.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from make_it_real.data import ImageSet
from make_it_real.degradations import degraded
from make_it_real.features import DigitClassifier
from make_it_real.images import to_images
from make_it_real.metrics import auroc, frechet_distance, mean_abs, psnr
from make_it_real.model import IGN
from make_it_real.projection import apply, generate, project

Figures = dict[str, float]

BATCH = 250
REST_SEEDS = 64
REST_STEPS = 1000
REST_TOLERANCE = 1e-4
FIRST_SEED = 1_000_000
DAMAGE: tuple[tuple[str, float], ...] = (
    ("noise", 0.15), ("noise", 0.5), ("noise", 1.0), ("noise", 1.5),
    ("low-resolution", 4), ("mask", 0.25), ("blur", 1.5), ("contrast", 0.3), ("light", 0.5),
    ("thin", 1.0), ("salt-and-pepper", 0.2), ("jpeg", 5), ("pixelate", 4),
)  # fmt: skip


@torch.inference_mode()
def _features(net: DigitClassifier, images: Tensor) -> Tensor:
    return torch.cat([net.features(part) for part in images.split(BATCH)])


@torch.inference_mode()
def classes(net: DigitClassifier, images: Tensor) -> Tensor:
    """The digit that the classifier reads in each image, (N,)."""
    return torch.cat([net(part).argmax(1) for part in images.split(BATCH)])


def mean_psnr(a: Tensor, b: Tensor) -> float:
    """Mean PSNR in dB, an image that is exactly right counted as 100 dB."""
    return float(psnr(a, b).clamp_max(100).mean())


def accuracy(net: DigitClassifier, images: Tensor, labels: Tensor) -> float:
    """The share of images (N, 1, 28, 28) that the classifier reads as their label (N,)."""
    return float(classes(net, images).eq(labels).float().mean())


def generation(f: IGN, net: DigitClassifier, test: Tensor, train: Tensor, n: int) -> Figures:
    """Fréchet distance to the test images of f(z), f(f(z)) and, as the floor, train images.

    n images, of seeds from 1,000,000 on; the shares of the rarest and commonest class; and
    the mean |f(f(z)) − f(z)|.
    """
    fz = generate(f, range(FIRST_SEED, FIRST_SEED + n), batch=BATCH)
    ff_z = project(f, fz, batch=BATCH)
    real = _features(net, test)
    shares = torch.bincount(classes(net, fz), minlength=10) / n
    return {
        "fd_floor_train": frechet_distance(_features(net, train[:n]), real),
        "fd_f": frechet_distance(_features(net, fz), real),
        "fd_ff": frechet_distance(_features(net, ff_z), real),
        "class_share_min": float(shares.min()),
        "class_share_max": float(shares.max()),
        "idempotence": float(mean_abs(ff_z, fz).mean()),
    }


def rest(f: IGN) -> Figures:
    """f^k on 64 seeds: the share at rest by k = 1,000, the last step, the way from f(z).

    At rest is an image of which no pixel changes by more than 1e-4 in a step.
    """
    first = y = generate(f, range(FIRST_SEED, FIRST_SEED + REST_SEEDS))
    for _ in range(REST_STEPS - 1):
        y = apply(f, y)
    change = (apply(f, y) - y).abs().flatten(1).amax(1)
    return {
        "rest_share": float((change <= REST_TOLERANCE).float().mean()),
        "rest_change_max": float(change.max()),
        "rest_way": float(mean_abs(y, first).mean()),
        "rest_way_max": float(mean_abs(y, first).max()),
    }


def fidelity(f: IGN, test: Tensor) -> Figures:
    """How far f moves real images: mean |f(x) − x| and mean PSNR in dB."""
    fx = project(f, test, batch=BATCH)
    return {
        "fidelity": float(mean_abs(fx, test).mean()),
        "fidelity_psnr": mean_psnr(fx, test),
    }


def realness(f: IGN, test: Tensor, generator: torch.Generator) -> Figures:
    """AUROC with which the drift |f(x) − x| tells real images from damaged ones."""

    def drift(images: Tensor) -> Tensor:
        return mean_abs(project(f, images, batch=BATCH), images)

    real = drift(test)
    kinds = {
        "noise": degraded(test, "noise", 0.5, generator=generator),
        "inverted": -test,
        "shuffled": test.flatten(1)[:, torch.randperm(test[0].numel(), generator=generator)]
        .view_as(test),
    }  # fmt: skip
    return {f"auroc_{kind}": auroc(real, drift(images)) for kind, images in kinds.items()}


def projection(
    f: IGN, net: DigitClassifier, test: ImageSet, generator: torch.Generator
) -> Iterator[Figures]:
    """For each kind of damage: accuracy and PSNR of A(x) and of f(A(x)) against x."""
    assert test.labels is not None
    labels, x = test.labels, to_images(test.pixels)

    def judge(images: Tensor, suffix: str) -> Figures:
        right = accuracy(net, images, labels)
        return {f"acc_{suffix}": right, f"psnr_{suffix}": mean_psnr(images, x)}

    for kind, level in DAMAGE:
        damaged = degraded(x, kind, level, generator=generator)
        name = f"{kind}_{level:g}"
        yield judge(damaged, f"{name}_before")
        yield judge(project(f, damaged, batch=BATCH), f"{name}_after")


def evaluate(
    f: IGN, net: DigitClassifier, test: ImageSet, train: ImageSet, *, n: int = 10_000, seed: int = 0
) -> Iterator[Figures]:
    """All figures of f on labelled 28×28 digits, in groups as they are ready. On the CPU.

    n: generated images, and train images for the floor; all of ``test`` is used. The same
    seed gives the same damage.
    """
    assert test.labels is not None
    generator = torch.Generator().manual_seed(seed)
    x = to_images(test.pixels)
    order = torch.randperm(len(train), generator=generator)[:n]
    yield {"classifier_accuracy": accuracy(net, x, test.labels)}
    yield generation(f, net, x, to_images(train.pixels[order]), n)
    yield rest(f)
    yield fidelity(f, x)
    yield realness(f, x, generator)
    yield from projection(f, net, test, generator)
