"""mir score: how real images are to f; and mir calibrate: what its scores mean."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from make_it_real.cli import console, options
from make_it_real.cli import inputs as cli_inputs
from make_it_real.cli.help import OUTPUT
from make_it_real.errors import DataError
from make_it_real.files import make_folder, write_bytes
from make_it_real.weights import model_file

# Pixels between the rows of a heat map.
GAP = 2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from make_it_real.inference.scoring import Scores
    from make_it_real.models.ign import IGNConfig


@console.command
def score(
    inputs: options.Inputs,
    threshold: Annotated[
        str | None,
        typer.Option("--threshold", help="Exit with 1 if a score is above: 0.02, or 99%."),
    ] = None,
    heat: Annotated[
        Path | None,
        typer.Option(
            "--heat",
            metavar="X.png",
            rich_help_panel=OUTPUT,
            help="Write a row an image: x, f(x), and where f would change x.",
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
    """Print how much f would change each image, the least real first: 0 is as real as can be.

    The score is the mean change of a pixel before the gate of f, which drops small changes; 2 is
    black against white. Beside it stand the share of the model's own training images that f would
    change less, and "at rest" where f leaves the image as it is. --threshold 99% is above 99 % of
    them. --json also has the drift, the change that f makes in fact. A model of photographs looks
    at each picture at its own size.
    """
    limit, in_percent = _limit(threshold)
    options.check(heat, "--heat", (".png",), overwrite)
    options.check(gallery, "--gallery", (".html",), overwrite)
    f, info, _ = options.load_model(model, device)
    options.check_frame(info, fit, invert)

    from make_it_real.inference import scoring

    calibration = info.calibration
    missing = ""
    if not calibration:
        missing = f"{info.name} has no calibration; mir calibrate DATA adds one"
    elif scoring.is_old(calibration):
        missing = f"{info.name} has the calibration of an earlier mir; {scoring.HINT}"
        calibration = {}
    if missing and in_percent:
        raise typer.BadParameter(f"--threshold {threshold}: {missing}")
    if missing:
        console.say(f"scores have no percentile: {missing}")

    scored: list[_Scored] = []
    failed = 0
    how = cli_inputs.fitting(info, fit, invert)
    for part in cli_inputs.each(inputs, f.config, how, recursive=recursive):
        failed += part.failed
        if part.names:
            scores = scoring.score(f, part.images, calibration, batch=batch)
            scored += _each(part, scores, shown=bool(heat or gallery))
    scored.sort(key=lambda one: one.change, reverse=True)
    for one in scored:
        _print(one, as_json)
    if heat:
        _write_heat(heat, [one.shown for one in scored], overwrite)
    if gallery:
        _write_gallery(gallery, f"mir score: {info.name}", scored, overwrite)
    if limit is not None:
        values = [one.fields["percentile"] if in_percent else one.change for one in scored]
        above = sum(value > limit for value in values)
        console.say(f"{above} of {len(scored)} above {threshold}")
        if above:
            raise typer.Exit(1)
    if failed:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Scored:
    """An image with its score.

    fields: what --json says of it, but for its name. shown: x, f(x), and where f would change x,
    (1 or 3, H, W) each; nothing where that is not asked for.
    """

    name: str
    change: float
    fields: dict[str, Any]
    shown: "tuple[Tensor, ...]" = ()


def _each(part: "cli_inputs.Loaded", scores: "Scores", *, shown: bool) -> "Iterator[_Scored]":
    """Yield the images of a part with their scores."""
    from make_it_real.inference import plots

    ranks = scores.percentile
    for i, name in enumerate(part.names):
        fields = {
            "change": round(float(scores.change[i]), 6),
            "drift": round(float(scores.drift[i]), 6),
            "at_rest": bool(scores.at_rest[i]),
            "percentile": None if ranks is None else round(float(ranks[i]), 2),
        }
        images: tuple[Tensor, ...] = ()
        if shown:
            x = part.images[i]
            images = x, scores.fx[i], plots.heat(x, scores.r[i], peak=1.0)
        yield _Scored(name, float(scores.change[i]), fields, images)


def _print(one: _Scored, as_json: bool) -> None:
    """Print the line of an image."""
    fields = one.fields
    if as_json:
        print(json.dumps({"input": one.name, **fields}))
        return
    rank = fields["percentile"]
    parts = [f"{fields['change']:.6f}", *([] if rank is None else [f"{rank:6.2f} %"])]
    print(*parts, f"{'at rest' if fields['at_rest'] else '':7}", one.name, sep="  ")


def _write_heat(path: Path, rows: "list[tuple[Tensor, ...]]", overwrite: bool) -> None:
    """Write a sheet with rows of three images, (1 or 3, H, W) each; rows may differ in size."""
    import torch
    from torch.nn import functional as F

    from make_it_real.images import encode, pixels

    strips = [
        pixels.grid(torch.stack([image.expand(3, -1, -1) for image in row]), columns=3)
        for row in rows
    ]
    width = max(strip.shape[2] for strip in strips)
    # Between rows there is a gap as between the images of a row; narrow rows end in black.
    padded = [
        F.pad(strip, (0, width - strip.shape[2], 0, GAP * (strip is not strips[-1])), value=-1)
        for strip in strips
    ]
    make_folder(path.parent)
    write_bytes(path, encode.encode(torch.cat(padded, 1)), overwrite=overwrite)


def _write_gallery(path: Path, title: str, scored: list[_Scored], overwrite: bool) -> None:
    """Write a page with each image, and where f would change it."""
    from make_it_real.inference.gallery import Gallery

    page = Gallery(title, score="change", about="right: where f would change it")
    for one in scored:
        x, _, tinted = one.shown
        fields = one.fields
        figures = {"drift": "0 (at rest)" if fields["at_rest"] else f"{fields['drift']:g}"}
        if fields["percentile"] is not None:
            figures["percentile"] = f"{fields['percentile']:g} %"
        page.add(one.name, tinted, x, score=one.change, figures=figures)
    page.write(path, overwrite=overwrite)


def _limit(threshold: str | None) -> tuple[float | None, bool]:
    """Parse a threshold: its number, and whether it is in per cent, as in 99%."""
    if threshold is None:
        return None, False
    in_percent = threshold.endswith("%")
    try:
        value = float(threshold.removesuffix("%"))
    except ValueError as error:
        raise typer.BadParameter(
            f"--threshold {threshold}: a score such as 0.02, or per cent such as 99%"
        ) from error
    if not 0 <= value <= (100 if in_percent else 2):
        raise typer.BadParameter(
            f"--threshold {threshold}: from 0 to {'100%' if in_percent else 2}"
        )
    return value, in_percent


@console.command
def calibrate(
    data: Annotated[Path, typer.Argument(help="The images that the model was trained on.")],
    model: options.Model,
    device: options.Device = "auto",
    batch: options.Batch = 64,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", rich_help_panel=OUTPUT, help="Write into a bundled model's file too."
        ),
    ] = False,
) -> None:
    """Measure a model's training images, so that its scores have percentiles.

    What f would change of them, of photographs of their middles, is written into the model's file,
    for mir score and mir project. mir train does so at its end, and mir evaluate --record; this is
    for a file without, or with an older one.
    """
    path = options.check_own(model, overwrite)
    f, info, _ = options.load_model(model, device)

    from make_it_real.inference.scoring import calibrate as measure

    if not f.config.image_size:
        from make_it_real.data import photographs

        found = photographs.load([data])
        pixels, note = found.pixels, found.note
    else:
        pixels, note = _framed(data, f.config, info)
    if note:
        console.say(note)
    calibration = measure(f, pixels, batch=batch)
    model_file.describe(replace(info, calibration=calibration), path)
    print(path)


def _framed(data: Path, config: "IGNConfig", info: model_file.ModelInfo) -> "tuple[Tensor, str]":
    """Load the images (N, C, S, S) that a model of one size was trained on, and a note on them."""
    from make_it_real.data.dataset import load
    from make_it_real.images.framing import described

    found = load(
        data, "train", size=config.image_size, channels=config.channels,
        faces=described(info.framing).faces,
    )  # fmt: skip
    if found.pixels.shape[1:] != (config.channels, config.image_size, config.image_size):
        raise DataError(f"{data}: not images of the size and channels of {info.name}")
    return found.pixels, found.note
