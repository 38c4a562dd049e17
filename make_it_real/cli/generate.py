"""mir generate: make images from noise."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from make_it_real.cli import console, inputs, options
from make_it_real.cli.help import OUTPUT
from make_it_real.errors import ImageError, OutputExistsError, WeightsError
from make_it_real.files import free_path, make_folder, write_bytes
from make_it_real.weights import model_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch


@console.command
def generate(
    n: Annotated[int, typer.Option("--n", "-n", min=1, metavar="N", help="Number of images.")] = 64,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="First seed; the others follow.")
    ] = 0,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds",
            metavar="SEEDS",
            help="List of seeds, such as 0-63,80, instead of --n and --seed.",
        ),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like", metavar="PATH", help="Image or folder whose spectrum z is drawn with."
        ),
    ] = None,
    distribution: Annotated[
        Literal["white", "spectral", "blend"] | None,
        typer.Option(
            "--source",
            help="Source distribution; blend mixes spectral and white [the model's own].",
        ),
    ] = None,
    steps: options.Steps = 1,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            rich_help_panel=OUTPUT,
            help="File for a grid (x.png), folder for one file a seed, or - for stdout.",
        ),
    ] = None,
    scale: options.Scale = 1,
    gallery: options.Gallery = None,
    model: options.Model = model_file.DEFAULT_MODEL,
    device: options.Device = "auto",
    dtype: options.Dtype = "float32",
    batch: options.Batch = 64,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Make images from noise: f(z), one image for each seed.

    The same seed gives the same image whatever the batch and the device.
    """
    try:
        wanted = options.parse_seeds(seeds if seeds is not None else f"{seed}-{seed + n - 1}")
    except ValueError as error:
        raise typer.BadParameter(f"--seeds: {error}") from error
    if output == "-" and as_json:
        raise typer.BadParameter("-o - and --json both write to stdout; give one")
    if like is not None and distribution is not None:
        raise typer.BadParameter(
            "--like and --source both choose the source distribution; give one"
        )
    path, is_folder = options.output_path(output)
    target = path or free_path(Path("generated.png"))
    suffix = "" if is_folder or target.is_dir() else target.suffix.lower()
    if suffix in (".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"):
        raise typer.BadParameter(f"-o {output}: grids are written as .png")
    to_grid = output == "-" or suffix == ".png"
    if to_grid and output != "-" and target.exists() and not overwrite:
        raise ImageError(f"{target} exists; --overwrite replaces it")

    options.check(gallery, "--gallery", (".html",), overwrite)

    f, info, fingerprint = options.load_model(model, device, makes=True, dtype=dtype)

    import torch

    from make_it_real.images import encode, pixels
    from make_it_real.inference.gallery import Gallery
    from make_it_real.inference.projection import generate as make
    from make_it_real.inference.variations import shorten
    from make_it_real.models import source, spectral_source

    text = encode.provenance(info.name, fingerprint, steps, f.precision)
    if like is not None:
        loaded = inputs.load([like], f.config, inputs.fitting(info))
        f.source = spectral_source.like(loaded.images).to(f.device)
        text["like"] = like
        console.say(f"z is drawn with the spectrum of {len(loaded.names)} image(s)")
    if distribution is not None:
        try:
            f.source = source.convert(f.source, distribution)
        except ValueError as error:
            raise WeightsError(str(error)) from error
        text["source"] = distribution
    page = Gallery(f"mir generate: {info.name}", score="seed", about=f"f^{steps}(z), z before")

    def is_there(number: int) -> bool:
        return not (to_grid or overwrite) and os.path.lexists(_file(target, number))

    def made(numbers: list[int]) -> "Iterator[tuple[int, torch.Tensor]]":
        with console.progress_bar(len(numbers), "generating") as advance:
            for start in range(0, len(numbers), batch):
                # Another job on the same folder may have been here meanwhile.
                chunk = [s for s in numbers[start : start + batch] if not is_there(s)]
                for item in zip(chunk, make(f, chunk, steps, batch=batch).cpu(), strict=True):
                    if gallery:
                        z = f.source.from_seeds([item[0]])[0]
                        page.add(f"seed {item[0]}", item[1], z, score=float(item[0]))
                    yield item
                    advance()

    if to_grid:
        sheet = pixels.grid(torch.stack([image for _, image in made(wanted)]))
        sheet = pixels.enlarged(sheet, scale)
        data = encode.encode(sheet, text={**text, "seeds": shorten(wanted)})
        if gallery:
            page.write(gallery, overwrite=overwrite)
        if output == "-":
            sys.stdout.buffer.write(data)
            return
        make_folder(target.parent)
        write_bytes(target, data, overwrite=overwrite)
        report = {"seeds": wanted, "output": str(target), "steps": steps, "model": info.name}
        print(json.dumps(report) if as_json else target)
        return
    make_folder(target)
    written = 0
    for number, image in made([s for s in wanted if not is_there(s)]):
        file = _file(target, number)
        image = pixels.enlarged(image, scale)
        data = encode.encode(image, text={**text, "seed": str(number)})
        try:
            write_bytes(file, data, overwrite=overwrite)
        except OutputExistsError:
            # The other job was quicker, and its image of this seed is the same.
            continue
        written += 1
        report = {"seed": number, "output": str(file), "steps": steps, "model": info.name}
        print(json.dumps(report) if as_json else file)
    if gallery:
        page.write(gallery, overwrite=overwrite)
    if skipped := len(wanted) - written:
        console.say(f"{skipped} skipped: the files exist; --overwrite replaces them")


def _file(folder: Path, seed: int) -> Path:
    return folder / f"{seed:06d}.png"
