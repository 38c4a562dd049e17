"""mir score: how real images are to f; and mir calibrate: what its scores mean."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from make_it_real.cli import console, options
from make_it_real.cli import inputs as cli_inputs
from make_it_real.cli.help import OUTPUT
from make_it_real.cli.inputs import fitting
from make_it_real.errors import DataError
from make_it_real.files import make_folder, write_bytes
from make_it_real.weights import model_file

if TYPE_CHECKING:
    from torch import Tensor

    from make_it_real.inference.scoring import Scores


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
    them. --json also has the drift, the change that f makes in fact.
    """
    limit, in_percent = _limit(threshold)
    options.check(heat, "--heat", (".png",), overwrite)
    options.check(gallery, "--gallery", (".html",), overwrite)
    f, info, _ = options.load_model(model, device)

    from make_it_real.inference import plots, scoring

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

    loaded = cli_inputs.load(inputs, f.config, fitting(info, fit, invert), recursive=recursive)
    x = loaded.images
    scores = scoring.score(f, x, calibration, batch=batch)
    order = scores.change.argsort(descending=True, stable=True).tolist()
    for i in order:
        _print(loaded.names[i], scores, i, as_json)

    if heat or gallery:
        tinted = [plots.heat(image, r, peak=1.0) for image, r in zip(x, scores.r, strict=True)]
    if heat:
        _write_heat(heat, [(x[i], scores.fx[i], tinted[i]) for i in order], overwrite)
    if gallery:
        from make_it_real.inference.gallery import Gallery

        about = "right: where f would change it"
        page = Gallery(f"mir score: {info.name}", score="change", about=about)
        for i in order:
            fields = _fields(scores, i)
            figures = {"drift": "0 (at rest)" if fields["at_rest"] else f"{fields['drift']:g}"}
            if fields["percentile"] is not None:
                figures["percentile"] = f"{fields['percentile']:g} %"
            change = float(scores.change[i])
            page.add(loaded.names[i], tinted[i], x[i], score=change, figures=figures)
        page.write(gallery, overwrite=overwrite)
    if limit is not None:
        percentiles = scores.percentile
        values = percentiles if in_percent and percentiles is not None else scores.change
        above = int((values > limit).sum())
        console.say(f"{above} of {len(order)} above {threshold}")
        if above:
            raise typer.Exit(1)
    if loaded.failed:
        raise typer.Exit(1)


def _fields(scores: "Scores", i: int) -> dict[str, Any]:
    """Return what --json says of image i, but for its name."""
    ranks = scores.percentile
    return {
        "change": round(float(scores.change[i]), 6),
        "drift": round(float(scores.drift[i]), 6),
        "at_rest": bool(scores.at_rest[i]),
        "percentile": None if ranks is None else round(float(ranks[i]), 2),
    }


def _print(name: str, scores: "Scores", i: int, as_json: bool) -> None:
    """Print the line of image i."""
    fields = _fields(scores, i)
    if as_json:
        print(json.dumps({"input": name, **fields}))
        return
    rank = fields["percentile"]
    parts = [f"{fields['change']:.6f}", *([] if rank is None else [f"{rank:6.2f} %"])]
    print(*parts, f"{'at rest' if fields['at_rest'] else '':7}", name, sep="  ")


def _write_heat(path: Path, rows: "list[tuple[Tensor, ...]]", overwrite: bool) -> None:
    """Write a sheet with rows of three images, (1 or 3, S, S) each."""
    import torch

    from make_it_real.images import encode, pixels

    cells = [image.expand(3, -1, -1) for row in rows for image in row]
    make_folder(path.parent)
    sheet = pixels.grid(torch.stack(cells), columns=3)
    write_bytes(path, encode.encode(sheet), overwrite=overwrite)


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

    What f would change of them is written into the model's file, for mir score and mir project.
    mir train does so at its end, and mir evaluate --record; this is for a file without, or with
    an older one.
    """
    path = options.check_own(model, overwrite)
    f, info, _ = options.load_model(model, device)

    from make_it_real.data.dataset import load
    from make_it_real.images.framing import described
    from make_it_real.inference.scoring import calibrate as measure

    config = f.config
    found = load(
        data, "train", size=config.image_size, channels=config.channels,
        faces=described(info.framing).faces,
    )  # fmt: skip
    if found.pixels.shape[1:] != (config.channels, config.image_size, config.image_size):
        raise DataError(f"{data}: not images of the size and channels of {info.name}")
    if found.note:
        console.say(found.note)
    calibration = measure(f, found.pixels, batch=batch)
    model_file.describe(replace(info, calibration=calibration), path)
    print(path)
