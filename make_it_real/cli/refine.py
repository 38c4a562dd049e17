"""mir refine: apply f many times, and show how the images change and come to rest."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from make_it_real.cli import console, options
from make_it_real.cli.help import OUTPUT
from make_it_real.cli.inputs import fitting, load
from make_it_real.files import free_path, make_folder, write_bytes
from make_it_real.weights import model_file

if TYPE_CHECKING:
    from make_it_real.inference.refinement import Refined


# As in the authors' talk.
AT = "0,1,10,20,100,1000,10000,100000,300000"
FRAMES = 32


@console.command
def refine(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Files, folders, globs, or - for stdin; or use --seeds."),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="Seeds of the noise to start from, such as 0-63.")
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            "--steps", "-k", min=1, metavar="K", help="Largest number of times f is applied."
        ),
    ] = 1_000,
    until: Annotated[
        float | None,
        typer.Option(
            "--until", min=0, help="Stop at an image once no pixel changes by more than this."
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="K,K,…", help="Values of k to show [0,1,10,20,100,1000,…]."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="X.png",
            rich_help_panel=OUTPUT,
            help="File of the strip [refined.png].",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="X.png",
            rich_help_panel=OUTPUT,
            help="Plot of the first images at each k, and of the change over k.",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--csv", metavar="X.csv", rich_help_panel=OUTPUT, help="Table of the change at each k."
        ),
    ] = None,
    animation: Annotated[
        Path | None,
        typer.Option(
            "--animation",
            metavar="PATH",
            rich_help_panel=OUTPUT,
            help="Animation over k, a .gif or .webp.",
        ),
    ] = None,
    gallery: options.Gallery = None,
    recursive: options.Recursive = False,
    invert: options.Invert = None,
    fit: options.Fit = "auto",
    model: options.Model = model_file.DEFAULT_MODEL,
    device: options.Device = "auto",
    batch: options.Batch = 64,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Apply f up to --steps times, and show f^k of each image in a row of a strip.

    A model that takes pictures of any size is given pictures of one size, as they are.

    An image at rest is not computed again. It is at rest if f leaves it exactly as it is, if it
    goes round within its last bits or within a tenth of an 8-bit level, or if its steps shrink so
    fast that less than that is left. The command prints how many images rest, by which rule and
    since which k.
    """
    if bool(inputs) == (seeds is not None):
        raise typer.BadParameter("give either images or --seeds")
    shown = _shown(at, steps)
    options.check(output, "-o", (".png",), overwrite)
    options.check(plot, "--plot", (".png",), overwrite)
    options.check(table, "--csv", (".csv",), overwrite)
    options.check(animation, "--animation", (".gif", ".webp"), overwrite)
    options.check(gallery, "--gallery", (".html",), overwrite)
    try:
        numbers = options.parse_seeds(seeds) if seeds is not None else []
    except ValueError as error:
        raise typer.BadParameter(f"--seeds: {error}") from error

    f, info, fingerprint = options.load_model(model, device, makes=seeds is not None)
    options.check_frame(info, fit, invert)

    import torch

    from make_it_real.images import encode, pixels
    from make_it_real.images.pixels import mean_abs
    from make_it_real.inference import plots
    from make_it_real.inference.gallery import Gallery
    from make_it_real.inference.refinement import refine as run

    failed = 0
    if inputs:
        loaded = load(inputs, f.config, fitting(info, fit, invert), recursive=recursive)
        names, start, failed = loaded.names, loaded.images, loaded.failed
    else:
        names, start = tuple(f"seed {s}" for s in numbers), f.source.from_seeds(numbers)
    wanted = set(shown) | (set(_spread(steps)) if animation else set())
    with console.progress_bar(steps, "refining") as advance:
        done = run(
            f, start, steps, wanted, until=until, batch=batch, progress=lambda k, moving: advance()
        )
    _say(done, len(names))

    target = output or free_path(Path("refined.png"))
    frames = {k: image.cpu() for k, image in done.frames.items()}
    strip = torch.stack([frames[k] for k in shown], 1).flatten(0, 1)
    text = encode.provenance(info.name, fingerprint, steps) | {"k": ",".join(map(str, shown))}
    make_folder(target.parent)
    data = encode.encode(pixels.grid(strip, columns=len(shown)), text=text)
    write_bytes(target, data, overwrite=overwrite)
    lines = {"mean": done.mean, "largest": done.largest}
    extra: dict[Path | None, bytes] = {}
    if plot:
        since = max((one.since for one in done.rest if one), default=0)
        extra[plot] = plots.refinement(
            {k: frames[k] for k in shown}, done.k, lines, f"|f^(k+1) - f^k|, {len(names)} images",
            since if all(done.rest) else None,
        )  # fmt: skip
    if table:
        extra[table] = plots.table({"k": done.k, **lines})
    if animation:
        sheets = [pixels.grid(frame) for frame in frames.values()]
        kind = "WEBP" if animation.suffix.lower() == ".webp" else "GIF"
        extra[animation] = plots.animation(sheets, [f"k = {k:,}" for k in frames], kind)
    for path, content in extra.items():
        if path is not None:
            make_folder(path.parent)
            write_bytes(path, content, overwrite=overwrite)
    if gallery:
        page = Gallery(f"f^{steps:,} of {len(names)} images", score="moved")
        before, after = start.cpu(), done.images.cpu()
        moved = mean_abs(after, before).tolist()
        for i, (name, rest) in enumerate(zip(names, done.rest, strict=True)):
            figures = {"rest": rest.rule, "since k": rest.since} if rest else {"rest": "moving"}
            page.add(name, after[i], before[i], score=moved[i], figures=figures)
        page.write(gallery, overwrite=overwrite)
    if as_json:
        for name, one in zip(names, done.rest, strict=True):
            found = {"rest": one.rule, "since": one.since} if one else {"rest": None, "since": None}
            print(json.dumps({"input": name, "steps": steps, **found, "output": str(target)}))
    else:
        print(target)
    if failed:
        raise typer.Exit(1)


def _shown(at: str | None, steps: int) -> list[int]:
    """Choose the k of the strip: those given, or those of AT up to ``steps``, and ``steps``."""
    if at is None:
        return sorted({k for k in map(int, AT.split(",")) if k <= steps} | {steps})
    try:
        named = sorted({int(part.replace("_", "")) for part in at.split(",")})
    except ValueError as error:
        raise typer.BadParameter(
            f"--at {at}: must be whole numbers, separated by commas"
        ) from error
    if named[0] < 0 or named[-1] > steps:
        raise typer.BadParameter(f"--at {at}: must lie between 0 and --steps {steps}")
    return named


def _spread(steps: int) -> list[int]:
    """Choose at most FRAMES values of k from 0 to ``steps``, evenly over their logarithm."""
    return sorted({round((steps + 1) ** (i / (FRAMES - 1))) - 1 for i in range(FRAMES)})


def _say(done: "Refined", n: int) -> None:
    """Print how many images rest, by which rule and since when, and the curve in one line."""
    from make_it_real.inference import plots

    rules = Counter(str(one.rule) for one in done.rest if one)
    last = {r: max(o.since for o in done.rest if o and o.rule == r) for r in rules}
    parts = [f"{rules[r]} {SAID[r]} (the last since k = {last[r]:,})" for r in SAID if r in rules]
    moving = n - sum(rules.values())
    parts += [f"{moving} still moving at k = {done.steps:,}"] if moving else []
    console.say(f"of {n} images {', '.join(parts)}")
    console.say(f"f was applied to {done.computed:,} images, of {n * done.steps:,} in a plain loop")
    console.say(f"|f^(k+1) − f^k| {plots.sparkline(done.mean)} to k = {len(done.k):,}")


SAID = {
    "exact": "rest exactly",
    "cycle": "circle within 0.1 of an 8-bit level",
    "last bits": "change in their last bits alone",
    "contraction": "contract with under 0.1 of an 8-bit level left",
    "until": "changed by no more than --until",
}
