"""f^k with the path there, for large k too: images at rest are not computed again."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from make_it_real.inference.projection import DEFAULT_BATCH, apply, check_shape
from make_it_real.models.ign import IGN

Rule = Literal["exact", "cycle", "last bits", "contraction", "until"]

# Steps over which contraction is measured: the changes of single steps are too noisy once they
# come near the last bits.
WINDOW = 16
# A tenth of the step between two 8-bit levels, in images of [−1, 1].
TENTH = 0.1 * 2 / 255
LAST_BITS = 2e-6
LAST_BITS_STEPS = 64


@dataclass(frozen=True)
class Rest:
    """An image came to rest at f^since, by a rule.

    exact: f changes no bit of the image.
    cycle: the image came back to a former state bit by bit, and was never further from it than a
        tenth of an 8-bit level.
    last bits: for 64 steps or more it stayed within 2e-6 of one state, and at most 1.5 times as far
        off as in the half as many steps before. So rounding errors circle, and nothing moves it.
    contraction: its changes shrink over 16 steps, since the last power of two in k at least as much
        as between the two powers before. If they go on shrinking so, which is assumed, all steps
        that follow add up to less than a tenth of an 8-bit level in every pixel.
    until: no pixel changed by more than the tolerance asked for. That is no rest, but the end.
    """

    since: int
    rule: Rule


@dataclass(frozen=True)
class Refined:
    """N images under f^0 … f^steps.

    images: f^steps, (N, C, S, S). frames: those of the k asked for, each (N, C, S, S).
    rest: when and by which rule each image came to rest; None for those that still move.
    computed: how many images f was applied to; in a plain loop it would be N · steps.
    k, mean, largest: the curve. For each step k → k + 1 that was computed, the change
        |f^(k+1) − f^k|: its mean over images and pixels, where images at rest count as 0, and its
        largest pixel. The curve ends once all images rest.
    """

    images: Tensor
    frames: dict[int, Tensor]
    rest: tuple[Rest | None, ...]
    steps: int
    computed: int
    k: list[int] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)

    def resting(self) -> dict[str, int]:
        """Count the images at rest by rule; "moving" counts the others."""
        names = [one.rule if one else "moving" for one in self.rest]
        return {name: names.count(name) for name in dict.fromkeys(names)}


class Walk:
    """Apply f to N images step by step, but no longer to those that were let go.

    index: indices of the images that still move, (M,). y: these images now, (M, C, S, S).
    """

    def __init__(self, f_of: Callable[[Tensor], Tensor], images: Tensor) -> None:
        """f_of: applies f to any number of images. images: where they start, (N, C, S, S)."""
        self.f_of, self.y, self._all = f_of, images, images.clone()
        self.index = torch.arange(len(images), device=images.device)

    def advance(self) -> Tensor:
        """Apply f once to the images that move: |change| of each pixel, (M, C, S, S)."""
        before, self.y = self.y, self.f_of(self.y)
        return (self.y - before).abs()

    def let_go(self, resting: Tensor) -> None:
        """Keep images as they are now. resting: which of those that move, bool (M,)."""
        self._all[self.index[resting]] = self.y[resting]
        self.index, self.y = self.index[~resting], self.y[~resting]

    def images(self) -> Tensor:
        """Copy all N images as they are now, (N, C, S, S)."""
        out = self._all.clone()
        out[self.index] = self.y
        return out


class _History:
    """What is known of the path of M moving images, to tell which of them have come to rest."""

    def __init__(self, y: Tensor, until: float | None) -> None:
        n, device, self.until = len(y), y.device, until
        # Brent's way of finding a cycle: compare with the state at the last power of two.
        self.saved, self.saved_at, self.epoch = y.clone(), 0, 1
        # The farthest that a pixel was from there, and from the state before in its time.
        self.away = torch.zeros(n, device=device)
        self.away_before = torch.full((n,), torch.inf, device=device)
        # The largest change of a pixel in each of the last steps, and by what it shrinks over them.
        self.recent = torch.full((WINDOW + 1, n), torch.nan, device=device)
        self.rate = torch.full((n,), torch.inf, device=device)
        self.rate_before = self.rate.clone()

    def see(self, k: int, y: Tensor, largest: Tensor) -> list[tuple[Rule, int, Tensor]]:
        """Add y = f^k, whose pixels changed by up to ``largest`` (M,).

        Returns (rule, the k from which it holds, for which images it holds as bool (M,)) of each.
        """
        self.away = torch.maximum(self.away, (y - self.saved).abs().flatten(1).amax(1))
        self.recent = torch.cat([self.recent[1:], largest[None]])
        # Not a number, and so never under any bound, until the window is full.
        self.rate = torch.maximum(self.rate, largest / self.recent[0].clamp_min(1e-30))

        same = (y == self.saved).flatten(1).all(1)
        shrinking = (self.rate <= self.rate_before) & (self.rate_before < 1)
        left = self.recent[1:].sum(0) * self.rate_before / (1 - self.rate_before)
        whole = k - self.saved_at >= WINDOW
        rules: list[tuple[Rule, int, Tensor]] = [
            ("exact", k - 1, largest == 0),
            ("cycle", self.saved_at, same & (self.away <= TENTH)),
            ("contraction", k, shrinking & (left <= TENTH) & whole),
        ]
        if k == self.epoch:
            if k - self.saved_at >= LAST_BITS_STEPS:
                still = (self.away <= LAST_BITS) & (self.away <= 1.5 * self.away_before)
                rules.append(("last bits", self.saved_at, still))
            self.saved, self.saved_at, self.epoch = y.clone(), k, 2 * k
            self.away_before, self.away = self.away, torch.zeros_like(self.away)
            self.rate_before, self.rate = self.rate, torch.zeros_like(self.rate)
        if self.until is not None:
            rules.append(("until", k, largest <= self.until))
        return rules

    def keep(self, moving: Tensor) -> None:
        """Forget all images but those in moving, bool (M,)."""
        self.saved, self.recent = self.saved[moving], self.recent[:, moving]
        self.away, self.away_before = self.away[moving], self.away_before[moving]
        self.rate, self.rate_before = self.rate[moving], self.rate_before[moving]


def refine(
    f: IGN,
    images: Tensor,
    steps: int,
    at: Collection[int] = (),
    *,
    until: float | None = None,
    batch: int = DEFAULT_BATCH,
    progress: Callable[[int, int], None] | None = None,
) -> Refined:
    """Compute f^steps of images (N, C, S, S), about [−1, 1], and the path there.

    at: values of k whose images to keep; 0 stands for the images given. until: stop with an image
    once no pixel of it changes by more than this in a step. progress: called with k and the number
    of images that still move. Raises ValueError for steps under 1, ShapeError for images that are
    not of f's shape.
    """
    check_shape(f, images)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    images = images.to(f.device, torch.float32)
    walk = Walk(lambda y: torch.cat([apply(f, part) for part in y.split(batch)]), images)
    history = _History(images, until)
    wanted = {k for k in at if 0 <= k <= steps}
    frames = {0: walk.images()} if 0 in wanted else {}
    rest: dict[int, Rest] = {}
    k_of, means, maxima, computed = list[int](), list[float](), list[float](), 0
    for k in range(1, steps + 1):
        if not len(walk.index):
            break
        computed += len(walk.index)
        change = walk.advance().flatten(1)
        largest = change.amax(1)
        k_of.append(k - 1)
        means.append(float(change.mean(1).sum()) / len(images))
        maxima.append(float(largest.max()))
        resting = torch.zeros_like(walk.index, dtype=torch.bool)
        for rule, since, holds in history.see(k, walk.y, largest):
            rest |= dict.fromkeys(walk.index[holds & ~resting].tolist(), Rest(since, rule))
            resting |= holds
        if k in wanted:
            frames[k] = walk.images()
        if bool(resting.any()):
            walk.let_go(resting)
            history.keep(~resting)
        if progress is not None:
            progress(k, len(walk.index))
    final = walk.images()
    frames |= {k: final.clone() for k in wanted - frames.keys()}
    return Refined(
        final, dict(sorted(frames.items())), tuple(rest.get(i) for i in range(len(images))),
        steps, computed, k_of, means, maxima,
    )  # fmt: skip
