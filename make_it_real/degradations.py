"""Named corruptions A: images → damaged images, with a level in a stated unit.

Images are float (N, C, H, W) in [−1, 1]; a level is one number an image. Noise leaves
[−1, 1]: nothing is clipped, as in the paper. Randomness comes from the generator given.
"""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

Corruption = Callable[[Tensor, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class Degradation:
    """One kind of damage: ``apply(images, levels, generator)`` and what its level means.

    levels: the range (low, high) drawn from in training; ``log`` draws it log-uniformly.
    default: the level used where none is named. ``trained`` is False for the kinds that
    training must never see, so that figures on them speak of damage f was not taught.
    valid: the range of levels that mean anything.
    """

    apply: Corruption
    unit: str
    default: float
    levels: tuple[float, float]
    log: bool = False
    trained: bool = True
    valid: tuple[float, float] = (0.0, math.inf)


def _per_image(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    drawn = torch.rand(n, generator=generator, device=generator.device)
    return low + (high - low) * drawn


def _randn_like(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(images.shape, generator=generator, device=generator.device)


def noise(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """x + σ·n, n standard normal (the paper's noise; its σ is 0.15)."""
    return images + _per_image(levels) * _randn_like(images, generator)


def coarse_noise(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """x + σ·n where n is constant over squares of 2 to 5 pixels, as of poor video."""
    out, device = images.clone(), generator.device
    sides = torch.randint(2, 6, (len(images),), generator=generator, device=device)
    for side in range(2, 6):
        x = images[sides == side]
        if not len(x):
            continue
        n, c, h, w = x.shape
        shape = (n, c, h // side + 2, w // side + 2)
        squares = torch.randn(shape, generator=generator, device=device)
        squares = squares.repeat_interleave(side, 2).repeat_interleave(side, 3)
        top, left = torch.randint(side, (2,), generator=generator, device=device).tolist()
        noise = squares[..., top : top + h, left : left + w]
        out[sides == side] = x + _per_image(levels[sides == side]) * noise
    return out


def low_resolution(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Averaged down by a factor of level and enlarged again, bilinearly or bicubically."""
    out = images.clone()
    cubic = torch.rand(len(images), generator=generator, device=generator.device) < 0.5
    sides = (max(images.shape[2:]) / levels).round().int()
    for side in sides.unique().tolist():
        ratio = side / max(images.shape[2:])
        small = (max(1, round(images.shape[2] * ratio)), max(1, round(images.shape[3] * ratio)))
        for chosen, mode in (
            ((sides == side) & cubic, "bicubic"),
            ((sides == side) & ~cubic, "bilinear"),
        ):
            if chosen.any():
                reduced = F.adaptive_avg_pool2d(images[chosen], small)
                out[chosen] = F.interpolate(reduced, size=images.shape[2:], mode=mode)
    return out


def pixelate(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Squares of level × level pixels, each of its mean."""
    out = images.clone()
    for factor in levels.round().int().unique().tolist():
        chosen = levels.round().int() == factor
        reduced = F.avg_pool2d(images[chosen], factor, ceil_mode=True, count_include_pad=False)
        large = reduced.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        out[chosen] = large[..., : images.shape[2], : images.shape[3]]
    return out


def mask(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Cells of an 8×8 grid, a share of level of them, painted black, grey or white."""
    n, device = len(images), generator.device
    hidden = torch.rand(n, 1, 8, 8, generator=generator, device=device) < _per_image(levels)
    hidden = F.interpolate(hidden.float(), size=images.shape[2:], mode="nearest").bool()
    paint = torch.randint(-1, 2, (n,), generator=generator, device=device).to(images.dtype)
    return torch.where(hidden, _per_image(paint), images)


def blur(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Convolved with a Gaussian of standard deviation level, in pixels."""
    return _gaussian(images, levels, max(1, int(3 * float(levels.max()) + 0.5)))


def _gaussian(images: Tensor, levels: Tensor, reach: int) -> Tensor:
    """Convolved with Gaussians of deviation levels (N,), cut at ``reach`` pixels, reflected."""
    n, c, h, w = images.shape
    reach = min(reach, min(h, w) - 1)
    steps = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (steps / levels.clamp_min(1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    flat = F.pad(images, (reach,) * 4, mode="reflect").reshape(1, n * c, h + 2 * reach, -1)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=n * c)
    return F.conv2d(flat, kernel[:, None, None, :], groups=n * c).reshape(images.shape)


def contrast(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast reduced to a share of level, at a brightness drawn where that leaves room."""
    offset = _uniform(len(images), -1, 1, generator) * (1 - levels)
    return _per_image(offset) + _per_image(levels) * images


def light(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Uneven light: a ramp of brightness in a random direction, of −level to level."""
    n, _, h, w = images.shape
    angle = _per_image(_uniform(n, 0, 2 * torch.pi, generator))
    ys = torch.linspace(-1, 1, h, device=images.device)[:, None]
    xs = torch.linspace(-1, 1, w, device=images.device)[None, :]
    ramp = (angle.sin() * ys + angle.cos() * xs) / 2**0.5
    return images + _per_image(levels) * ramp


def thin(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Bright strokes thinned by one pixel (a 2×2 minimum), blended in to a share of level."""
    eroded = -F.max_pool2d(-F.pad(images, (0, 1, 0, 1), mode="replicate"), 2, stride=1)
    return torch.lerp(images, eroded, _per_image(levels))


def glass(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Frosted glass: each pixel shows one at random within level pixels of it."""
    n, _, h, w = images.shape
    moved = torch.rand(n, h, w, 2, generator=generator, device=generator.device) * 2 - 1
    moved = moved * levels[:, None, None, None] * 2 / torch.tensor([w, h], device=images.device)
    upright = torch.eye(2, 3, device=images.device).expand(n, 2, 3)
    grid = F.affine_grid(upright, list(images.shape), align_corners=False) + moved.to(images)
    return F.grid_sample(images, grid, mode="nearest", padding_mode="border", align_corners=False)


def scan(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """A poor black-and-white scan: blurred by level pixels, then nearly all black or white."""
    threshold = _per_image(_uniform(len(images), -0.2, 0.2, generator))
    return ((blur(images, levels, generator) - threshold) * 6).clamp(-1, 1)


def lines(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Lost scan lines: of each level rows one is kept and shown in place of the others."""
    n, _, h, _ = images.shape
    period = levels.round().long()[:, None]
    phase = (torch.rand(n, 1, generator=generator, device=generator.device) * period).long()
    rows = torch.arange(h, device=images.device)[None] + phase
    kept = (rows // period * period - phase + period // 2).clamp(0, h - 1)
    return images.gather(2, kept[:, None, :, None].expand_as(images))


def grayscale(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Each pixel moved by a share of level to the mean of its channels (the paper's)."""
    return torch.lerp(images, images.mean(1, keepdim=True).expand_as(images), _per_image(levels))


def sketch(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """The paper's pencil drawing: (g + 1) / (blurred g + 1) − 1 of the channel mean g.

    A dodge: g divided by itself blurred, by a Gaussian over level × level pixels (the paper's
    are 21) whose deviation is 0.3·((level − 1)/2 − 1) + 0.8, as torchvision has it for a size.
    Clipped to [−1, 1]: beside black the quotient is large, and a drawing has a whitest white.
    """
    g = images.mean(1, keepdim=True) + 1
    out = torch.empty_like(images)
    for size in levels.round().int().unique().tolist():
        chosen = levels.round().int() == size
        sigma = torch.full((int(chosen.sum()),), 0.3 * ((size - 1) / 2 - 1) + 0.8)
        blurred = _gaussian(g[chosen], sigma.to(images), int(size) // 2)
        quotient = g[chosen] / (blurred + 1e-6) - 1
        out[chosen] = quotient.clamp(-1, 1).expand(-1, images.shape[1], -1, -1)
    return out


def scribbles(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """level strokes of a pen over the image, each curved, in black, grey or white."""
    h, w = images.shape[2:]
    out = images.clone()
    for i, count in enumerate(levels.round().int().tolist()):
        ends = torch.rand(count, 3, 2, generator=generator, device=generator.device).cpu()
        paint = torch.randint(-1, 2, (count,), generator=generator, device=generator.device)
        for (a, b, c), colour in zip(ends, paint.tolist(), strict=True):
            t = torch.linspace(0, 1, 24)[:, None]
            curve = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
            points = [(float(x) * (w - 1), float(y) * (h - 1)) for x, y in curve]
            pen = Image.new("1", (w, h))
            ImageDraw.Draw(pen).line(points, 1, max(1, round(min(h, w) / 20)), "curve")
            drawn = torch.from_numpy(np.array(pen)).to(images.device)
            out[i] = torch.where(drawn, float(colour), out[i])
    return out


def salt_and_pepper(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """A share of level of the pixels turned black or white, by a coin each."""
    n, _, h, w = images.shape
    drawn = torch.rand(n, 1, h, w, generator=generator, device=generator.device)
    hit = drawn < _per_image(levels)
    return torch.where(hit, (drawn * 2 < _per_image(levels)) * 2.0 - 1.0, images)


def jpeg(images: Tensor, levels: Tensor, generator: torch.Generator) -> Tensor:
    """Compressed as JPEG of quality level (1–95) and decoded again."""
    out = torch.empty_like(images)
    for i, (image, quality) in enumerate(zip(images, levels.tolist(), strict=True)):
        pixels = ((image.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()
        picture = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
        with io.BytesIO() as file:
            picture.save(file, "JPEG", quality=round(quality))
            decoded = torch.frombuffer(
                bytearray(Image.open(file).tobytes()), dtype=torch.uint8
            ).view(pixels.shape)
        out[i] = decoded.permute(2, 0, 1).to(out) / 127.5 - 1
    return out


DEGRADATIONS: Mapping[str, Degradation] = {
    "noise": Degradation(noise, "standard deviation", 0.15, (0.1, 2.5), log=True),
    "coarse-noise": Degradation(coarse_noise, "standard deviation", 0.4, (0.1, 1.0), log=True),
    "low-resolution": Degradation(low_resolution, "factor", 4, (2, 5), valid=(1, math.inf)),
    "mask": Degradation(mask, "share of the image", 0.25, (0.05, 0.5), valid=(0, 1)),
    "blur": Degradation(blur, "standard deviation in pixels", 1.5, (0.4, 2.0)),
    "contrast": Degradation(contrast, "share kept", 0.3, (0.15, 0.9), valid=(0, 1)),
    "light": Degradation(light, "brightness at the edge", 0.5, (0.1, 0.9)),
    "thin": Degradation(thin, "share", 1.0, (0.3, 1.0), valid=(0, 1)),
    "glass": Degradation(glass, "pixels", 1.5, (0.5, 2.5)),
    "scan": Degradation(scan, "standard deviation in pixels", 0.8, (0.3, 1.4)),
    "lines": Degradation(lines, "rows", 3, (2, 4), valid=(1, math.inf)),
    "grayscale": Degradation(grayscale, "share", 1.0, (1.0, 1.0), valid=(0, 1)),
    "sketch": Degradation(sketch, "pixels of the Gaussian's side", 21, (21, 21), valid=(3, 255)),
    "scribbles": Degradation(scribbles, "strokes", 3, (1, 5), trained=False, valid=(0, 1000)),
    "salt-and-pepper": Degradation(
        salt_and_pepper, "share of pixels", 0.2, (0.05, 0.4), trained=False, valid=(0, 1)
    ),
    "jpeg": Degradation(jpeg, "quality", 5, (5, 50), trained=False, valid=(1, 95)),
    "pixelate": Degradation(
        pixelate, "pixels a side", 4, (2, 4), trained=False, valid=(1, math.inf)
    ),
}


def degraded(
    images: Tensor, kind: str, level: float | None = None, *, generator: torch.Generator
) -> Tensor:
    """A(images) for one kind at one level (its default when None), shape kept.

    Raises KeyError for a kind that is not in ``DEGRADATIONS``.
    """
    damage = DEGRADATIONS[kind]
    value = damage.default if level is None else level
    levels = torch.full((len(images),), value, device=images.device, dtype=images.dtype)
    return damage.apply(images, levels, generator)


def randomly_degraded(
    images: Tensor, kinds: Sequence[str], *, generator: torch.Generator
) -> Tensor:
    """A(images), each image with a kind drawn from ``kinds`` and a level from its range.

    A kind named twice is drawn twice as often.
    """
    out = images.clone()
    drawn = torch.randint(len(kinds), (len(images),), generator=generator, device=generator.device)
    for index, kind in enumerate(kinds):
        chosen = (drawn == index).nonzero().squeeze(1)
        if not len(chosen):
            continue
        damage = DEGRADATIONS[kind]
        low, high = damage.levels
        if damage.log:
            levels = (low * (high / low) ** _uniform(len(chosen), 0, 1, generator)).to(images)
        else:
            levels = _uniform(len(chosen), low, high, generator).to(images)
        out[chosen] = damage.apply(images[chosen], levels, generator)
    return out
