"""Applying a trained f: z → f^k(z), damaged x → f^k(x), and how far f moves an image."""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor

from make_it_real import threads
from make_it_real.errors import ShapeError
from make_it_real.images.pixels import mean_abs
from make_it_real.inference import tiles
from make_it_real.models.ign import IGN
from make_it_real.models.spectral_source import white_noise
from make_it_real.models.unet import Seen, UNet

DEFAULT_BATCH = 64
# Sides of the smallest images that an f of any size is given, in pixels.
LEAST_SIDE = 8
Work = Callable[[Tensor], tuple[Tensor, ...]]


def generate(f: IGN, seeds: Iterable[int], steps: int = 1, *, batch: int = DEFAULT_BATCH) -> Tensor:
    """Make new images f^steps(z), one a seed: (len(seeds), C, S, S) in [−1, 1], on f's device.

    A seed's image does not depend on the other seeds, nor (but for the last bits of float
    arithmetic) on ``batch``. steps: how often f is applied, at least 1.
    """
    seeds = list(seeds)
    chunks = (seeds[i : i + batch] for i in range(0, len(seeds), batch))
    shape = f.config.channels, f.config.image_size, f.config.image_size
    return _joined(f, shape, (apply(f, f.source.from_seeds(chunk), steps) for chunk in chunks))


def project(
    f: IGN,
    images: Tensor,
    steps: int = 1,
    *,
    batch: int = DEFAULT_BATCH,
    strength: float = 1.0,
    tile: int | None = None,
    noise: float = 0.0,
    seeds: Iterable[int] | None = None,
) -> Tensor:
    """Compute f^steps of images (N, C, S, S), about [−1, 1]; the result is on f's device.

    For an f of any size they are (N, 3, H, W). Large ones are worked off in tiles, with the same
    result. steps: how often f is applied, at least 1. strength: share of its change that is made,
    in [0, 1]: x + strength · (f^steps(x) − x). tile: side of the tiles in pixels, for less memory;
    chosen by default. Returns images of the same shape in [−1, 1].

    noise, seeds: make one variant a seed (seed 0 by default), f^steps(x + noise · n), with n
    standard normal, the same for every image and every noise. The result is then
    (N · len(seeds), C, S, S), all variants of the first image first; strength counts from x.

    Raises ShapeError where the images' shape is not f's, ValueError for a strength, tile or noise
    out of range, and where there is no seed.
    """
    check_shape(f, images)
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie in [0, 1], not {strength}")
    x = images
    if noise or seeds is not None:
        images, x = _with_noise(images, noise, [0] if seeds is None else list(seeds))

    def work(chunk: Tensor) -> Tensor:
        if isinstance(f, UNet):
            return in_tiles(f, chunk.to(f.device), steps, tile=tile)
        return apply(f, chunk, steps)

    y = _joined(f, x.shape[1:], map(work, _chunks(f, x, batch)))
    return y if strength == 1 else weaken(y, images, strength)


def _with_noise(images: Tensor, noise: float, seeds: list[int]) -> tuple[Tensor, Tensor]:
    """Repeat images (N, C, H, W) for each seed, (N · len(seeds), C, H, W): bare, and with noise."""
    if not 0 <= noise < math.inf:
        raise ValueError(f"noise must be at least 0, and finite, not {noise}")
    if not seeds:
        raise ValueError("seeds must name one or more")
    n = white_noise(seeds, images.shape[1:]).to(images.device)
    return images.repeat_interleave(len(n), 0), (images[:, None] + noise * n).flatten(0, 1)


def weaken(y: Tensor, images: Tensor, strength: float) -> Tensor:
    """Make a share of the change from images to y: x + strength · (y − x), in y itself.

    Where y is the image it stays so, bit for bit.
    """
    x = images.to(y.device)
    return y.sub_(x).mul_(strength).add_(x)


def project_with_change(
    f: IGN, images: Tensor, *, batch: int = DEFAULT_BATCH
) -> tuple[Tensor, Tensor]:
    """Compute f(x) as ``project`` does, and r(x), the change before dead zone and gate.

    Both are of the images' shape, on f's device; r is ``IGN.with_change``'s. Raises ShapeError
    where the images' shape is not f's.
    """
    check_shape(f, images)

    def work(chunk: Tensor) -> tuple[Tensor, ...]:
        if not isinstance(f, UNet):
            return _in_memory(f, f.with_change, chunk)
        within = partial(f.within_with_change, seen=_seen(f, chunk))
        return tiles.over(partial(_in_memory, f, within), chunk.to(f.device), stride=f.stride)

    pairs = [work(chunk) for chunk in _chunks(f, images, batch)]
    fx, change = (_joined(f, images.shape[1:], (pair[i] for pair in pairs)) for i in (0, 1))
    return fx, change


def check_shape(f: IGN, images: Tensor) -> None:
    """Raise ShapeError for images that are not (N, C, S, S), or (N, 3, H, W), as f takes them."""
    channels, size = f.config.channels, f.config.image_size
    sides = tuple(images.shape[2:])
    known = sides == (size, size) if size else min(sides, default=0) >= LEAST_SIDE
    if images.ndim != 4 or images.shape[1] != channels or not known:
        wanted = f"{size}, {size})" if size else f"H, W) with H and W of at least {LEAST_SIDE}"
        given = ", ".join(map(str, images.shape))
        raise ShapeError(f"f takes images of shape (N, {channels}, {wanted}, not ({given})")


def check_steps(steps: int) -> None:
    """Raise ValueError for steps under 1."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")


def _chunks(f: IGN, images: Tensor, batch: int) -> Sequence[Tensor]:
    """Split images (N, C, H, W) into batches; those of any size, into single images."""
    chunks: Sequence[Tensor] = images.split(batch if f.config.image_size else 1)
    return chunks if len(images) else ()


def _joined(f: IGN, shape: Sequence[int], results: Iterable[Tensor]) -> Tensor:
    """Join the results (n, C, H, W) of several batches, of which there may be none."""
    parts = list(results)
    if len(parts) == 1 and not parts[0].is_inference():
        # Large images are not copied.
        return parts[0]
    return torch.cat([torch.empty(0, *shape, device=f.device), *parts])


def in_tiles(
    f: UNet, images: Tensor, steps: int = 1, *, tile: int | None = None, unit: bool = False
) -> Tensor:
    """Compute f^steps of images (N, 1 or 3, H, W) in tiles; the result is where the images are.

    Each step reads the whole result of the one before. Grey images are shown to f in three equal
    channels and take the mean of their changes. unit: the images are in [0, 1], the result in
    [−1, 1] as ever. Raises ValueError for steps under 1.
    """
    check_steps(steps)
    for number in range(steps):
        images = _step(f, images, tile, unit and not number)
    return images


def _step(f: UNet, images: Tensor, tile: int | None, unit: bool) -> Tensor:
    """Compute f of whole images once, as ``in_tiles`` does."""
    seen = _seen(f, images, unit)

    def within(part: Tensor) -> tuple[Tensor]:
        return (f.within(part, seen),)

    def work(part: Tensor) -> tuple[Tensor]:
        part = part.to(f.device)
        part = part * 2 - 1 if unit else part
        if part.shape[1] == f.config.channels:
            return (_in_memory(f, within, part)[0],)
        made = _in_memory(f, within, part.expand(-1, f.config.channels, -1, -1))[0]
        return (part + (made - part).mean(1, keepdim=True),)

    return tiles.over(work, images, stride=f.stride, side=tile)[0]


@torch.inference_mode()
def _seen(f: UNet, images: Tensor, unit: bool = False) -> Seen:
    """See what is to be done to whole images, so that their parts are all changed alike.

    f looks at some places only, which are taken here without a copy of the images.
    """
    grid, squares = ((each * 2 - 1 if unit else each).to(f.device) for each in f.samples(images))
    return f.see(grid, squares)


def apply(f: IGN, images: Tensor, steps: int = 1) -> Tensor:
    """Compute f^steps of one batch; where memory runs out, of its halves.

    Raises ValueError for steps under 1.
    """
    check_steps(steps)

    def work(y: Tensor) -> tuple[Tensor, ...]:
        for _ in range(steps):
            y = f(y)
        return (y,)

    return _in_memory(f, work, images)[0]


def _in_memory(f: IGN, work: Work, images: Tensor) -> tuple[Tensor, ...]:
    """Compute work(images), or the work of halves, joined, where memory runs out."""

    @torch.inference_mode()
    def part(images: Tensor) -> tuple[Tensor, ...]:
        batch = images.to(f.device, torch.float32, memory_format=torch.channels_last)
        with _precision(f):
            results = work(batch)
        return tuple(result.contiguous() for result in results)

    try:
        # What batch norm makes of an image may depend on the whole batch.
        if f.config.norm == "batch":
            return part(images)
        return threads.divided(part, images, f.device)
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _out_of_memory(error) or len(images) < 2:
            raise
    # Outside the except block, so that the failed attempt's tensors are already let go.
    if f.device.type == "cuda":
        torch.cuda.empty_cache()
    halves = [_in_memory(f, work, half) for half in images.chunk(2)]
    return tuple(torch.cat(parts) for parts in zip(*halves, strict=True))


def _precision(f: IGN) -> AbstractContextManager[object]:
    """Let f's layers compute in what ``f.precision`` says."""
    if f.precision == torch.float32:
        return nullcontext()
    return torch.autocast(f.device.type, f.precision)


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
