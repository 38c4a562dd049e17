"""mir score: how real f thinks images are; and mir calibrate: what its scores mean."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from make_it_real.cli import console, options
from make_it_real.cli import inputs as cli_inputs
from make_it_real.cli.help import OUTPUT
from make_it_real.cli.inputs import fitting
from make_it_real.errors import DataError
from make_it_real.files import make_folder, write_bytes
from make_it_real.weights import model_file

if TYPE_CHECKING:
    import torch


@console.command
def score(
    inputs: options.Inputs,
    threshold: Annotated[
        str | None,
        typer.Option("--threshold", help="Exit with 1 if a drift is above: 0.02, or 99%."),
    ] = None,
    heat: Annotated[
        Path | None,
        typer.Option(
            "--heat",
            metavar="X.png",
            rich_help_panel=OUTPUT,
            help="Write a row an image: x, f(x), and where f changes x.",
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
    """Print the drift |f(x) − x| of images, the least real first: 0 is as real as can be.

    Drift is a mean over pixels; 2 is black against white. Beside it stands the share of the
    model's own training images that f moves less. --threshold 99% is above 99 % of them.
    """
    limit, in_percent = _limit(threshold)
    options.check(heat, "--heat", (".png",), overwrite)
    options.check(gallery, "--gallery", (".html",), overwrite)
    f, info, _ = options.load_model(model, device)
    if not info.calibration:
        hint = "mir calibrate DATA adds one"
        if in_percent:
            raise typer.BadParameter(
                f"--threshold {threshold}: {info.name} has no calibration; {hint}"
            )
        console.say(f"{info.name} has no calibration, so a drift has no percentile; {hint}")

    import torch

    from make_it_real.images import encode, pixels
    from make_it_real.inference import plots
    from make_it_real.inference.gallery import Gallery
    from make_it_real.inference.scoring import score as measure

    loaded = cli_inputs.load(inputs, f.config, fitting(info, fit, invert), recursive=recursive)
    x = loaded.images
    found = measure(f, x, info.calibration, batch=batch)
    order = found.drift.argsort(descending=True, stable=True).tolist()
    ranks = found.percentile
    for i in order:
        drift = round(float(found.drift[i]), 6)
        rank = None if ranks is None else round(float(ranks[i]), 2)
        name = loaded.names[i]
        if as_json:
            print(json.dumps({"input": name, "drift": drift, "percentile": rank}))
        else:
            print(f"{drift:.6f}  {'' if rank is None else f'{rank:6.2f} %  '}{name}")

    def tinted(i: int) -> "torch.Tensor":
        return plots.heat(x[i], found.change[i], peak=1.0)

    if heat:
        cells = [
            image.expand(3, -1, -1)
            for i in order
            for image in (x[i], x[i] + found.change[i], tinted(i))
        ]
        make_folder(heat.parent)
        sheet = pixels.grid(torch.stack(cells), columns=3)
        write_bytes(heat, encode.encode(sheet), overwrite=overwrite)
    if gallery:
        page = Gallery(f"mir score: {info.name}", score="drift", about="right: where f changes it")
        for i in order:
            figures = {} if ranks is None else {"percentile": f"{float(ranks[i]):g} %"}
            page.add(loaded.names[i], tinted(i), x[i], score=float(found.drift[i]), figures=figures)
        page.write(gallery, overwrite=overwrite)
    if limit is not None:
        values = ranks if in_percent and ranks is not None else found.drift
        above = int((values > limit).sum())
        console.say(f"{above} of {len(order)} above {threshold}")
        if above:
            raise typer.Exit(1)
    if loaded.failed:
        raise typer.Exit(1)


def _limit(threshold: str | None) -> tuple[float | None, bool]:
    """ "0.02" → (0.02, False), "99%" → (99.0, True)."""
    if threshold is None:
        return None, False
    in_percent = threshold.endswith("%")
    try:
        value = float(threshold.removesuffix("%"))
    except ValueError as error:
        raise typer.BadParameter(f"--threshold {threshold}: a drift, or per cent") from error
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
    """Write the drift of a model's training images into its file, for mir score to refer to.

    mir train does so at its end, and mir evaluate --record; this is for a file without.
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
