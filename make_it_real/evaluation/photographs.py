"""Photographs of any size, damaged in named ways: how f repairs them, and what it lets be.

Pictures are of 8 bits before and after f: what it makes is rounded before it is applied again.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from make_it_real.degradations.kinds import degraded
from make_it_real.evaluation.feature_extractors import Extractor
from make_it_real.evaluation.figures import Group
from make_it_real.evaluation.peers import PEERS, estimate_sigma
from make_it_real.evaluation.restoration import similarity
from make_it_real.images.pixels import grid, mean_abs, to_images, to_pixels
from make_it_real.inference.projection import project
from make_it_real.models.ign import IGN

# A picture's PSNR counts as this at most, in dB.
MOST_PSNR = 60.0
# Pictures in a sheet, and the side in pixels of what is shown of each, from its middle.
SHOWN, SIDE = 3, 128
# The time is estimated with a part of a picture of so many pixels a side.
PROBE = 256
# Seeds of a picture's damage lie so far apart for successive seeds of the evaluation.
SEEDS = 1_000_003
# A measure: metric, features, k, and the peer, or "" for f.
Measure = tuple[str, str, int, str]


@dataclass(frozen=True)
class Damage:
    """A way to damage a photograph.

    name, level: those of its figures. steps: kinds and levels of ``degradations/kinds.py``, in
    order. sigma: the standard deviation of white noise, in 8-bit levels, where that is the damage.
    """

    name: str
    level: float | None
    steps: tuple[tuple[str, float], ...] = ()
    sigma: float | None = None

    def __call__(self, pixels: Tensor, seed: int) -> Tensor:
        """Damage pixels, uint8 (1, 3, H, W); they are rounded after each step."""
        generator = torch.Generator().manual_seed(seed)
        for kind, level in self.steps:
            pixels = to_pixels(degraded(to_images(pixels), kind, level, generator=generator))
        return pixels


def _one(kind: str, level: float) -> Damage:
    return Damage(kind, level, ((kind, level),))


def _noise(sigma: float, kind: str = "noise") -> Damage:
    """Noise of so many 8-bit levels; a standard deviation of images is half as many of 255."""
    return Damage(kind, sigma, ((kind, sigma / 127.5),), sigma if kind == "noise" else None)


CLEAN = Damage("clean", None)
# The last four are of kinds that training never uses (``kinds.kept_out``).
DAMAGE = (
    _noise(15), _noise(25), _noise(50), _one("jpeg", 10), _one("jpeg", 20), _one("jpeg", 40),
    _one("jpeg", 90),
    Damage("noise-10-jpeg", 40, (("noise", 10 / 127.5), ("jpeg", 40))),
    Damage("phone-noise-15-jpeg", 50, (("phone-noise", 15 / 127.5), ("jpeg", 50))),
    Damage("noise-25-scratches", 3, (("noise", 25 / 127.5), ("scratches", 3))),
    Damage("downscale-2-jpeg", 75, (("downscale", 2), ("jpeg", 75))),
    _one("salt-and-pepper", 0.04), _one("scratches", 3), _one("poisson", 60), _one("blur", 1),
    _one("downscale", 2), _one("webp", 20), _noise(15, "phone-noise"), _one("dust", 20),
    _one("fading", 0.6),
    _one("banding", 12), _one("dither", 4), _one("motion-blur", 7), _one("half-tone", 4),
)  # fmt: skip


class Tally:
    """The values of one damage, a picture after the other."""

    def __init__(self, damage: Damage) -> None:
        self.damage = damage
        self.values: dict[Measure, list[float]] = {}
        self.frames: list[list[Tensor]] = []

    def add(
        self, metric: str, value: float, *, features: str = "", k: int = 1, by: str = ""
    ) -> None:
        """Add the value of a picture."""
        self.values.setdefault((metric, features, k, by), []).append(value)

    def show(self, *pixels: Tensor) -> None:
        """Keep the middle of pixels (1, 3, H, W), if they are large enough and more are wanted."""
        height, width = pixels[0].shape[2:]
        if len(self.frames) < SHOWN and min(height, width) >= SIDE:
            top, left = (height - SIDE) // 2, (width - SIDE) // 2
            frames = [p[..., top : top + SIDE, left : left + SIDE] for p in pixels]
            self.frames.append([to_images(frame) for frame in frames])

    def group(self, scale: float) -> Group:
        """Return the figures. scale: the distance between features that counts as 1."""
        group, damage = Group("projection"), self.damage
        of: dict[str, Any] = {"of": damage.name, "level": damage.level}
        for (metric, features, k, by), values in self.values.items():
            means = torch.tensor(values, dtype=torch.float64) / (scale if features else 1)
            group.mean(metric, means, features=features, k=k, by=by, **of)
        if self.frames:
            rows = [torch.cat(row) for row in zip(*self.frames, strict=True)]
            level = "" if damage.level is None else f" {damage.level:g}"
            title = f"{damage.name}{level}: x, A(x), f(A(x)), f²(A(x))"
            group.pictures[title] = grid(torch.cat(rows), len(self.frames))
        return group


class Bench:
    """Damages pictures, applies f and its peers, and adds up what comes of it.

    peers: keys of ``peers.PEERS``. seed: of the damage, which differs from picture to picture.
    """

    def __init__(
        self, f: IGN, extractor: Extractor | None, peers: Collection[str], seed: int
    ) -> None:
        self.f, self.extractor, self.peers, self.seed = f, extractor, peers, seed
        self.tallies = {damage: Tally(damage) for damage in (CLEAN, *DAMAGE)}
        self.fidelity: dict[str, list[float]] = {}
        # CPU seconds a megapixel of f ("") and of peers.
        self.seconds: dict[str, list[float]] = {}
        # Features of the pictures, each (1, D).
        self.real: list[Tensor] = []
        self.count = 0

    def measure(self, pixels: Tensor, tick: Callable[[int], None] = lambda images: None) -> None:
        """Measure a picture, uint8 (3, H, W), undamaged and by all of ``DAMAGE``.

        tick: called with 1 after each.
        """
        x = pixels[None]
        if self.extractor is not None:
            self.real.append(self.extractor.read(to_images(x))[0])
        for damage in self.tallies:
            self._measure(x, damage, damage(x, self.seed * SEEDS + self.count))
            tick(1)
        self.count += 1

    def _measure(self, x: Tensor, damage: Damage, before: Tensor) -> None:
        """Measure one damage, which made pixels ``before`` of x, both (1, 3, H, W)."""
        tally = self.tallies[damage]
        one = self._apply(before)
        # What f leaves as it is once, it leaves again.
        two = one if torch.equal(one, before) else self._apply(one)
        for k, y in enumerate((before, one, two)):
            self._compare(tally, y, x, k)
        tally.add("rest", _share(two == one), k=2)
        tally.show(x, before, one, two)
        if damage is CLEAN:
            self._keep(x, one)
        if self.peers:
            array = before[0].permute(1, 2, 0).contiguous().numpy()
            sigma = estimate_sigma(array) if damage.sigma is None else damage.sigma
        for name in self.peers:
            start = time.process_time()
            denoised = PEERS[name].denoise(array, sigma)
            self._clock(name, start, x)
            self._compare(tally, torch.tensor(denoised.copy()).permute(2, 0, 1)[None], x, 1, name)

    def _apply(self, pixels: Tensor) -> Tensor:
        """Compute f of pixels (1, 3, H, W), rounded to pixels."""
        start = time.process_time()
        y = to_pixels(project(self.f, to_images(pixels))).cpu()
        if self.f.device.type == "cpu":
            self._clock("", start, pixels)
        return y

    def _clock(self, by: str, start: float, pixels: Tensor) -> None:
        """Note the CPU time since ``start``, a megapixel."""
        taken = (time.process_time() - start) / pixels[0, 0].numel() * 1e6
        self.seconds.setdefault(by, []).append(taken)

    def _compare(self, tally: Tally, y: Tensor, x: Tensor, k: int, by: str = "") -> None:
        """Compare pixels y with x, both (1, 3, H, W)."""
        images = to_images(y)
        for (metric, features), value in similarity(images, to_images(x), MOST_PSNR).items():
            tally.add(metric, float(value), features=features, k=k, by=by)
        if self.extractor is not None:
            distance = (self.extractor.read(images)[0] - self.real[-1]).double().norm()
            tally.add("feature", float(distance), features=self.extractor.name, k=k, by=by)

    def _keep(self, x: Tensor, fx: Tensor) -> None:
        """Measure how f keeps an undamaged picture x: pixels (1, 3, H, W)."""
        away = (fx.int() - x.int()).abs()
        for metric, value in (
            ("fidelity", float(mean_abs(to_images(fx), to_images(x)))),
            ("fidelity_unchanged", _share(away == 0)),
            ("fidelity_within_1", _share(away <= 1)),
        ):
            self.fidelity.setdefault(metric, []).append(value)

    def groups(self) -> Iterator[Group]:
        """Yield the figures of all pictures."""
        scale = 1.0
        if self.real:
            real = torch.cat(self.real)
            # As in ``restoration.Comparison``: the mean distance between different pictures.
            scale = float((real - real.roll(1, 0)).double().norm(dim=1).mean()) or 1.0
        fidelity = Group("fidelity")
        for metric, values in self.fidelity.items():
            fidelity.mean(metric, torch.tensor(values, dtype=torch.float64))
        yield fidelity
        for tally in self.tallies.values():
            yield tally.group(scale)
        speed = Group("speed")
        for by, values in self.seconds.items():
            speed.mean("seconds", torch.tensor(values, dtype=torch.float64), k=1, by=by)
        if speed.entries:
            yield speed


def _share(same: Tensor) -> float:
    """Return the share of pixels all of whose channels are the same, of (1, 3, H, W)."""
    return float(same.all(1).double().mean())


def evaluate(
    f: IGN,
    pictures: Iterable[Tensor],
    *,
    extractor: Extractor | None = None,
    peers: Collection[str] = (),
    seed: int = 0,
    tick: Callable[[int], None] = lambda images: None,
) -> Iterator[Group]:
    """Measure an f of any size on photographs: yield groups of figures, at the end.

    pictures: undamaged, uint8 (3, H, W), of 8 pixels a side or more; one at a time is in memory.
    extractor: without one there are no distances. peers: keys of ``peers.PEERS``. seed: of the
    damage: one seed damages a picture alike, whatever else is measured. tick: called with 1 for
    each picture and damage, of which there are 1 + len(DAMAGE).
    """
    bench = Bench(f, extractor, peers, seed)
    for pixels in pictures:
        bench.measure(pixels, tick)
    if bench.count:
        yield from bench.groups()


def seconds(
    f: IGN, pixels: Tensor, count: int, extractor: Extractor | None, peers: Collection[str]
) -> float:
    """Estimate the time to measure ``count`` pictures like pixels, uint8 (3, H, W)."""
    part = pixels[:, :PROBE, :PROBE]
    bench = Bench(f, extractor, peers, 0)
    bench.tallies = {damage: bench.tallies[damage] for damage in DAMAGE[:1]}
    # The first time costs more than others.
    bench.measure(part)
    start = time.perf_counter()
    bench.measure(part)
    each = (time.perf_counter() - start) * pixels[0].numel() / part[0].numel()
    return each * count * (1 + len(DAMAGE))
