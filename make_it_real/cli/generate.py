"""mir generate: images out of noise."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from make_it_real import weights
from make_it_real.cli import common
from make_it_real.errors import ImageError


def parse_seeds(text: str) -> list[int]:
    """ "0-3,80" → [0, 1, 2, 3, 80]. Raises ValueError."""
    seeds: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low, high = int(first), int(last if dash else first)
        if high < low or high - low >= 10_000_000 or high >= 2**63:
            raise ValueError(f"not a range of seeds: {part.strip()}")
        seeds += range(low, high + 1)
    if len(set(seeds)) != len(seeds):
        raise ValueError("a seed is named twice")
    return seeds


@common.command
def generate(
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="How many images.")] = 64,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="The first seed; the others follow.")
    ] = 0,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Which seeds, such as 0-63,80; instead of --n.")
    ] = None,
    steps: common.Steps = 1,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="x.png: a grid; folder: one file a seed; -: stdout."),
    ] = None,
    model: common.Model = weights.DEFAULT_MODEL,
    device: common.Device = "auto",
    batch: common.Batch = 64,
    overwrite: common.Overwrite = False,
    as_json: common.Json = False,
    quiet: common.Quiet = False,
    verbose: common.Verbose = False,
    debug: common.Debug = False,
) -> None:
    """Make images out of noise: f(z), one image a seed.

    The same seed gives the same image whatever the batch and the device.
    """
    try:
        wanted = parse_seeds(seeds) if seeds is not None else list(range(seed, seed + n))
    except ValueError as error:
        raise typer.BadParameter(f"--seeds: {error}") from error
    if output == "-" and as_json:
        raise typer.BadParameter("-o - and --json both write to stdout")
    target = _target(output)
    to_grid = output == "-" or target.suffix.lower() == ".png"
    if to_grid and output != "-" and target.exists() and not overwrite:
        raise ImageError(f"{target} exists; --overwrite replaces it")

    f, info, fingerprint = common.load_model(model, device)

    import torch

    from make_it_real import images
    from make_it_real.projection import generate as make

    text = images.provenance(info.name, fingerprint, steps)
    made = []
    skipped = 0
    if not to_grid:
        images.make_folder(target)
    with common.progress_bar(len(wanted), "generating") as advance:
        for start in range(0, len(wanted), batch):
            chunk = wanted[start : start + batch]
            if not to_grid and not overwrite:
                kept = [s for s in chunk if not _file(target, s).exists()]
                skipped += len(chunk) - len(kept)
                chunk = kept
            for number, image in zip(chunk, make(f, chunk, steps, batch=batch).cpu(), strict=True):
                advance()
                if to_grid:
                    made.append(image)
                    continue
                path = _file(target, number)
                data = images.encode(image, text={**text, "seed": str(number)})
                images.write_bytes(path, data, overwrite=overwrite)
                print(json.dumps({"seed": number, "output": str(path)}) if as_json else path)
    if skipped:
        common.say(f"{skipped} skipped: the files exist; --overwrite replaces them")
    if not to_grid:
        return
    data = images.encode(images.grid(torch.stack(made)), text={**text, "seeds": _short(wanted)})
    if output == "-":
        sys.stdout.buffer.write(data)
        return
    images.make_folder(target.parent)
    images.write_bytes(target, data, overwrite=overwrite)
    report = {"seeds": wanted, "output": str(target), "steps": steps, "model": info.name}
    print(json.dumps(report) if as_json else target)


def _target(output: str | None) -> Path:
    """Where the images go: what -o says, or the first free generated.png, generated_2.png, …"""
    if output is not None:
        # A slash at the end says folder, even one called x.png/.
        return Path(output) / "." if output.endswith("/") else Path(output)
    path, number = Path("generated.png"), 1
    while path.exists():
        number += 1
        path = Path(f"generated_{number}.png")
    return path


def _file(folder: Path, seed: int) -> Path:
    return folder / f"{seed:06d}.png"


def _short(seeds: list[int]) -> str:
    """[0, 1, 2, 80] → "0-2,80", the way back from ``parse_seeds``."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
