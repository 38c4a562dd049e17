"""Options of mir project that ask for variations on a picture: --noise, --n, --seed, --seeds."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from make_it_real.cli import options

if TYPE_CHECKING:
    from make_it_real.inference.variations import Variations

PANEL = "Variations"
WHY_NOT = "is not for {name}, which repairs pictures and makes nothing new out of noise"
Noise = Annotated[
    str | None,
    typer.Option(
        "--noise", metavar="S[,S…]", rich_help_panel=PANEL,
        help="Level of the noise that is added before f, from 0 (faithful) to about 2 (free); "
        "several levels, such as 0,0.5,1,2, are the columns of a grid. For faces, unless a model "
        "is named.",
    ),
]  # fmt: skip
Count = Annotated[
    int | None,
    typer.Option(
        "--n", "-n", min=1, metavar="N", rich_help_panel=PANEL,
        help="Number of variants, each with noise of its own [1].",
    ),
]  # fmt: skip
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed", min=0, metavar="N", rich_help_panel=PANEL,
        help="First seed of the noise; the others follow [0].",
    ),
]  # fmt: skip
Seeds = Annotated[
    str | None,
    typer.Option(
        "--seeds", metavar="SEEDS", rich_help_panel=PANEL,
        help="List of seeds, such as 0-8,80, instead of --n and --seed.",
    ),
]  # fmt: skip


def parse(
    noise: str | None, n: int | None, seed: int | None, seeds: str | None, *, files: bool
) -> "Variations":
    """Read the options. files: whether each variant goes to a file of its own."""
    from make_it_real.inference.variations import Variations

    if noise is None:
        options.refuse(
            ((n, "--n"), (seed is not None, "--seed"), (seeds is not None, "--seeds")),
            "is about the noise that --noise adds; give --noise, too",
        )
        return Variations()
    if seeds is not None:
        options.refuse(((n, "--n"), (seed is not None, "--seed")), "and --seeds both choose seeds")
    try:
        levels = tuple(float(part) for part in noise.split(","))
        if not all(0 <= level < math.inf for level in levels):
            raise ValueError
    except ValueError as error:
        raise typer.BadParameter(
            f"--noise {noise}: must be a level of 0 or more, or several, separated by commas"
        ) from error
    if len(set(levels)) < len(levels):
        raise typer.BadParameter(f"--noise {noise}: a level is named twice")
    first = seed or 0
    try:
        numbers = options.parse_seeds(seeds or f"{first}-{first + (n or 1) - 1}")
    except ValueError as error:
        raise typer.BadParameter(f"--seeds: {error}") from error
    return Variations(levels, tuple(numbers), files)


def into_files(target: Path | None, is_folder: bool) -> bool:
    """Whether -o names a folder, as ``options.output_path`` reads it, for a file each."""
    if target is None:
        return False
    from make_it_real.inference.naming import OUTPUT_SUFFIXES

    return is_folder or target.is_dir() or target.suffix.lower() not in OUTPUT_SUFFIXES
