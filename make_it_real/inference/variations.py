"""Variations on a picture: f^k(x + S·n) for levels S of noise and seeds, as a grid or as files.

The more noise, the freer f is: at S = 0 it keeps to the picture, at S = 2 little of it is left. n
is the same at every level, so that a row of a grid shows the way of one seed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from make_it_real.errors import ImageError
from make_it_real.images import pixels
from make_it_real.images.paste_back import Outcome
from make_it_real.inference.naming import part_name
from make_it_real.inference.projection import project
from make_it_real.models.ign import IGN

# Largest grid, in pixels; in memory it takes 1.2 GB.
GRID_PIXELS = 50_000_000


@dataclass(frozen=True)
class Sheet:
    """Variants that are written as one image.

    variants: their numbers. noise, seeds: of its columns and rows. word: part of its file's name.
    """

    variants: range
    noise: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    word: str = ""

    @property
    def single(self) -> bool:
        return len(self.variants) == 1

    def text(self) -> dict[str, str]:
        """Text chunks of a PNG that say which variants it shows."""
        if not self.noise:
            return {}
        seeds = {"seed" if len(self.seeds) == 1 else "seeds": shorten(self.seeds)}
        return {"noise": ",".join(f"{level:g}" for level in self.noise)} | seeds

    def outcome(self, outcomes: Iterable[Outcome]) -> Outcome:
        """Lay the outcomes of its variants out as a grid: levels of noise are its columns.

        Those of one level fill a grid that is about square. Raises ImageError for a grid of more
        than GRID_PIXELS.
        """
        outcomes = iter(outcomes)
        first = next(outcomes)
        if self.single:
            return first
        height, width = first.image.shape[1:]
        count = len(self.variants)
        if count * height * width > GRID_PIXELS:
            raise ImageError(
                f"a grid of {count} pictures of {width}×{height} pixels is too large: name a "
                "folder by -o, for a file each"
            )
        everything = [first, *outcomes]
        columns = len(self.noise) if len(self.noise) > 1 else None
        image = pixels.grid(torch.stack([one.image for one in everything]), columns)
        alpha = None
        if first.alpha is not None:
            alphas = torch.stack([one.alpha[None] for one in everything if one.alpha is not None])
            alpha = pixels.grid(alphas * 2 - 1, columns)[0] / 2 + 0.5
        share = sum(one.share for one in everything) / count
        return Outcome(image, alpha, share, as_given=False, bits=first.bits)


@dataclass(frozen=True)
class Variations:
    """Which variants are made of each picture, and into how many files they go.

    noise: levels S ≥ 0; without any the only variant is f^k(x). seeds: one n each. files: whether
    each variant has a file, not all of them one grid.
    """

    noise: tuple[float, ...] = ()
    seeds: tuple[int, ...] = (0,)
    files: bool = False

    def __len__(self) -> int:
        """Number of variants of a picture."""
        return max(1, len(self.noise) * len(self.seeds))

    def sheets(self) -> list[Sheet]:
        """What is written of each picture: one grid, or each variant by itself."""
        if not self.noise:
            return [Sheet(range(1))]
        if not self.files or len(self) == 1:
            return [Sheet(range(len(self)), self.noise, self.seeds)]
        several = len(self.noise) > 1
        return [
            Sheet(
                range(i, i + 1), (level,), (seed,),
                f"noise{level:g}-" * several + f"seed{seed:06d}",
            )
            for i, (seed, level) in enumerate(product(self.seeds, self.noise))
        ]  # fmt: skip

    def outputs(self, source: Path, output: Path) -> list[Path]:
        """Name the files of ``sheets`` for a source whose result would be ``output``."""
        words = (sheet.word for sheet in self.sheets())
        return [part_name(source, output, word) if word else output for word in words]

    def project(self, f: IGN, images: Tensor, steps: int, *, batch: int, strength: float) -> Tensor:
        """Compute the variants of images (N, C, S, S): (N, V, C, S, S), seed by seed.

        Arguments are those of ``projection.project``.
        """
        columns = []
        for level in self.noise:
            # Without noise all seeds are one.
            seeds = self.seeds if level else self.seeds[:1]
            y = project(f, images, steps, batch=batch, strength=strength, noise=level, seeds=seeds)
            y = y.reshape(len(images), len(seeds), *images.shape[1:])
            columns.append(y.expand(-1, len(self.seeds), -1, -1, -1))
        return torch.stack(columns, 2).flatten(1, 2)


def shorten(seeds: Sequence[int]) -> str:
    """Write [0, 1, 2, 80] as "0-2,80"."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
