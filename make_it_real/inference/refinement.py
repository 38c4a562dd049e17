"""f^k with its whole path, for k as large as one likes: what rests is not computed again."""

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

    exact: f changes no bit of it. cycle: it came back, bit by bit, to where it had been, and
    never left that by more than a tenth of an 8-bit level. last bits: for 64 steps or more it
    has stayed within 2e-6 of one place, no further off than 1.5 times as in the half as many
    steps before: rounding errors go round, and nothing moves it on. contraction: over 16 steps its
    changes have shrunk at least as much since the last power of two in k as between the two
    before, and the way that is left, if every further 16 steps shrink them so, is under a tenth
    of an 8-bit level in every pixel; that it goes on contracting is what the proof assumes.
    until: no pixel changed by more than the tolerance asked for: no rest, but where to stop.
    """

    since: int
    rule: Rule


@dataclass(frozen=True)
class Refined:
    """What became of N images under f^0 … f^steps.

    images: f^steps, (N, C, S, S). frames: those of the k asked for, each (N, C, S, S).
    rest: for each image when and by which rule it came to rest, None while it moves.
    k, mean, largest: the curve. For each step k → k + 1 that was computed, the change
        |f^(k+1) − f^k|, its mean over images and pixels (of images at rest it is 0) and its
        largest pixel. Once all rest the curve ends.
    computed: images that f was applied to, of the N · steps of a plain loop.
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
        """How many images rest, by rule; those that move on are counted as "moving"."""
        names = [one.rule if one else "moving" for one in self.rest]
        return {name: names.count(name) for name in dict.fromkeys(names)}


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
    """f^steps of images (N, C, S, S), about [−1, 1], and the path there.

    at: k of which to keep the images, 0 being those given. until: leave an image be once no
    pixel of it changes by more than this in a step. progress: called with k and the number of
    images still moving. Raises ValueError for steps under 1, ShapeError for images that are not
    f's.
    """
    check_shape(f, images)
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    n, wanted = len(images), {k for k in at if 0 <= k <= steps}
    final = images.to(f.device, torch.float32).clone()
    out = Refined(final, {}, (), steps, 0)
    rest: list[Rest | None] = [None] * n
    if 0 in wanted:
        out.frames[0] = final.clone()
    moving = torch.arange(n, device=f.device)
    y = final.clone()
    # Brent's way of finding a cycle: compare with the state at the last power of two.
    saved, saved_at, epoch = y.clone(), 0, 1
    away = torch.zeros(n, device=f.device)
    away_before = torch.full((n,), torch.inf, device=f.device)
    recent = torch.full((WINDOW + 1, n), torch.nan, device=f.device)
    rate = torch.full((n,), torch.inf, device=f.device)
    rate_before = rate.clone()
    computed = 0
    for k in range(1, steps + 1):
        if not len(moving):
            break
        new = torch.cat([apply(f, part) for part in y.split(batch)])
        computed += len(new)
        change = (new - y).abs().flatten(1)
        largest = change.amax(1)
        out.k.append(k - 1)
        out.mean.append(float(change.mean(1).sum()) / n)
        out.largest.append(float(largest.max()))
        away = torch.maximum(away, (new - saved).abs().flatten(1).amax(1))
        recent = torch.cat([recent[1:], largest[None]])
        # Not a number, and so never under any bound, until the window is full.
        rate = torch.maximum(rate, largest / recent[0].clamp_min(1e-30))
        y = new

        same = (new == saved).flatten(1).all(1)
        shrinking = (rate <= rate_before) & (rate_before < 1) & (k - saved_at >= WINDOW)
        left = recent[1:].sum(0) * rate_before / (1 - rate_before)
        rules: list[tuple[Rule, int, Tensor]] = [
            ("exact", k - 1, largest == 0),
            ("cycle", saved_at, same & (away <= TENTH)),
            ("contraction", k, shrinking & (left <= TENTH)),
        ]
        if k == epoch and k - saved_at >= LAST_BITS_STEPS:
            still = (away <= LAST_BITS) & (away <= 1.5 * away_before)
            rules.append(("last bits", saved_at, still))
        if until is not None:
            rules.append(("until", k, largest <= until))
        settled = torch.zeros(len(moving), dtype=torch.bool, device=f.device)
        for rule, since, holds in rules:
            for i in moving[holds & ~settled].tolist():
                rest[i] = Rest(since, rule)
            settled |= holds
        if k == epoch:
            saved, saved_at, epoch = y.clone(), k, 2 * k
            away_before, away = away, torch.zeros_like(away)
            rate_before, rate = rate, torch.zeros_like(rate)
        if k in wanted or bool(settled.any()):
            final[moving] = y
        if k in wanted:
            out.frames[k] = final.clone()
        if bool(settled.any()):
            go_on = ~settled
            moving, y, saved = moving[go_on], y[go_on], saved[go_on]
            away, away_before, recent = away[go_on], away_before[go_on], recent[:, go_on]
            rate, rate_before = rate[go_on], rate_before[go_on]
        if progress is not None:
            progress(k, len(moving))
    final[moving] = y
    for k in sorted(wanted - out.frames.keys()):
        out.frames[k] = final.clone()
    return Refined(
        final, dict(sorted(out.frames.items())), tuple(rest), steps, computed,
        out.k, out.mean, out.largest,
    )  # fmt: skip
