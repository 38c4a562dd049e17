"""Applying a trained f: z → f^k(z), damaged x → f^k(x), and how far f moves an image."""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor

from make_it_real.errors import ShapeError
from make_it_real.images.pixels import mean_abs
from make_it_real.models.ign import IGN

DEFAULT_BATCH = 64


def generate(f: IGN, seeds: Iterable[int], steps: int = 1, *, batch: int = DEFAULT_BATCH) -> Tensor:
    """Make new images f^steps(z), one a seed: (len(seeds), C, S, S) in [−1, 1], on f's device.

    A seed's image does not depend on the other seeds, nor (but for the last bits of float
    arithmetic) on ``batch``. steps: how often f is applied, at least 1.
    """
    seeds = list(seeds)
    chunks = (seeds[i : i + batch] for i in range(0, len(seeds), batch))
    return _joined(f, (apply(f, f.source.from_seeds(chunk), steps) for chunk in chunks))


def project(f: IGN, images: Tensor, steps: int = 1, *, batch: int = DEFAULT_BATCH) -> Tensor:
    """Compute f^steps of images (N, C, S, S), about [−1, 1]; the result is on f's device.

    steps: how often f is applied, at least 1. Returns (N, C, S, S) in [−1, 1]. Raises ShapeError
    where the images' shape is not f's.
    """
    check_shape(f, images)
    return _joined(f, (apply(f, chunk, steps) for chunk in images.split(batch)))


def project_with_change(
    f: IGN, images: Tensor, *, batch: int = DEFAULT_BATCH
) -> tuple[Tensor, Tensor]:
    """Compute f(x) as ``project`` does, and r(x), the change before dead zone and gate.

    Both are (N, C, S, S), on f's device; r is ``IGN.with_change``'s. Raises ShapeError where the
    images' shape is not f's.
    """
    check_shape(f, images)
    pairs = [_in_memory(f, f.with_change, chunk) for chunk in images.split(batch)]
    return _joined(f, (fx for fx, _ in pairs)), _joined(f, (change for _, change in pairs))


def check_shape(f: IGN, images: Tensor) -> None:
    """Raise ShapeError for images that are not (N, C, S, S) as f takes them."""
    config = f.config
    shape = (config.channels, config.image_size, config.image_size)
    if tuple(images.shape[1:]) != shape or images.ndim != 4:
        wanted, given = (", ".join(map(str, part)) for part in (shape, images.shape))
        raise ShapeError(f"f takes images of shape (N, {wanted}), not ({given})")


def _joined(f: IGN, results: Iterator[Tensor]) -> Tensor:
    """Join the results (n, C, S, S) of several batches, of which there may be none."""
    size, channels = f.config.image_size, f.config.channels
    return torch.cat([torch.empty(0, channels, size, size, device=f.device), *results])


def apply(f: IGN, images: Tensor, steps: int = 1) -> Tensor:
    """Compute f^steps of one batch; where memory runs out, of its halves.

    Raises ValueError for steps under 1.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")

    def work(y: Tensor) -> tuple[Tensor, ...]:
        for _ in range(steps):
            y = f(y)
        return (y,)

    return _in_memory(f, work, images)[0]


@torch.inference_mode()
def _in_memory(
    f: IGN, work: Callable[[Tensor], tuple[Tensor, ...]], images: Tensor
) -> tuple[Tensor, ...]:
    """Compute work(images), or the work of halves, joined, where memory runs out."""
    try:
        batch = images.to(f.device, torch.float32, memory_format=torch.channels_last)
        return tuple(result.contiguous() for result in work(batch))
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _out_of_memory(error) or len(images) < 2:
            raise
    # Outside the except block, so that the failed attempt's tensors are already let go.
    if f.device.type == "cuda":
        torch.cuda.empty_cache()
    halves = [_in_memory(f, work, half) for half in images.chunk(2)]
    return tuple(torch.cat(parts) for parts in zip(*halves, strict=True))


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "not enough memory" in str(error) or "out of memory" in str(error)


def drift(f: IGN, images: Tensor, *, batch: int = DEFAULT_BATCH) -> Tensor:
    """Measure |f(y) − y| of images (N, C, S, S), mean absolute per image (N,): 0 is at rest.

    This is after the gate: of all images that f leaves alone it is 0. ``scoring.score`` tells
    these apart by the change that f would make of them.
    """
    parts = [mean_abs(project(f, y, batch=batch), y.to(f.device)) for y in images.split(batch)]
    return torch.cat(parts) if parts else torch.empty(0)
