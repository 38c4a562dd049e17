"""mir interpolate and mir mix: combine seeds or images in the source space, and apply f."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from make_it_real.cli import console, inputs, options
from make_it_real.cli.help import OUTPUT
from make_it_real.files import free_path, make_folder, write_bytes
from make_it_real.weights import model_file

if TYPE_CHECKING:
    from make_it_real.cli.inputs import Fitting
    from make_it_real.inference.interpolation import Operand
    from make_it_real.models.ign import IGN


@console.command
def interpolate(
    ends: Annotated[
        list[str], typer.Argument(help="Two or more seeds, images or folders (their mean).")
    ],
    n: Annotated[
        int,
        typer.Option("--n", "-n", min=2, metavar="N", help="Number of points, including the ends."),
    ] = 9,
    how: Annotated[
        Literal["spherical", "linear"],
        typer.Option("--how", help="Path between the ends: an arc or a straight line."),
    ] = "spherical",
    steps: options.Steps = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            rich_help_panel=OUTPUT,
            help="Strip as .png, or animation as .gif or .webp [interpolated.png].",
        ),
    ] = None,
    scale: options.Scale = 1,
    gallery: options.Gallery = None,
    invert: options.Invert = None,
    fit: options.Fit = "auto",
    model: options.Model = model_file.DEFAULT_MODEL,
    device: options.Device = "auto",
    batch: options.Batch = 64,
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Interpolate between seeds or images, and apply f.

    The strip shows the points, and f of each below it. A number is a seed; ./3 is a file named 3.
    """
    if len(ends) < 2:
        raise typer.BadParameter("give two or more ends")
    target = output or free_path(Path("interpolated.png"))
    options.check(target, "-o", (".png", ".gif", ".webp"), overwrite)
    options.check(gallery, "--gallery", (".html",), overwrite)
    f, info, fingerprint = options.load_model(model, device, makes=True)

    import torch

    from make_it_real.images import encode, pixels
    from make_it_real.inference import plots
    from make_it_real.inference.gallery import Gallery
    from make_it_real.inference.interpolation import interpolate as points
    from make_it_real.inference.projection import project

    given = [operand(end, f, inputs.fitting(info, fit, invert)) for end in ends]
    y = points(f, given, n, how)
    fy = project(f, y, steps, batch=batch).cpu()
    make_folder(target.parent)
    if target.suffix.lower() == ".png":
        text = encode.provenance(info.name, fingerprint, steps) | {"ends": " ".join(ends)}
        strip = pixels.enlarged(pixels.grid(torch.cat([y, fy]), columns=n), scale)
        data = encode.encode(strip, text=text)
    else:
        kind = "WEBP" if target.suffix.lower() == ".webp" else "GIF"
        labels = [f"t = {i / (n - 1):.2f}" for i in range(n)]
        data = plots.animation(list(fy), labels, kind, scale)
    write_bytes(target, data, overwrite=overwrite)
    if gallery:
        page = Gallery(" to ".join(one.name for one in given), score="t", about=f"{how}")
        for i in range(n):
            page.add(f"t = {i / (n - 1):.3g}", fy[i], y[i], score=i / (n - 1))
        page.write(gallery, overwrite=overwrite)
    report = {"ends": ends, "n": n, "how": how, "output": str(target), "model": info.name}
    print(json.dumps(report) if as_json else target)


@console.command
def mix(
    expression: Annotated[
        str,
        typer.Argument(help="Sum such as '3 - 5 + 8' of seeds, images or folders (their mean)."),
    ],
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="Keep a sum of seeds as it is; do not bring it back to the source distribution.",
        ),
    ] = False,
    steps: options.Steps = 1,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="X.png",
            rich_help_panel=OUTPUT,
            help="File to write [mixed.png].",
        ),
    ] = None,
    scale: options.Scale = 1,
    gallery: options.Gallery = None,
    invert: options.Invert = None,
    fit: options.Fit = "auto",
    model: options.Model = model_file.DEFAULT_MODEL,
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Add and subtract in the source space, and apply f.

    The image shows the terms and their sum, and f of each below it. A weight is written 0.5*3.
    Quote names with spaces. Begin an expression with +, since - would be read as an option.
    """
    from make_it_real.inference.interpolation import parse

    try:
        terms = parse(expression)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    target = output or free_path(Path("mixed.png"))
    options.check(target, "-o", (".png",), overwrite)
    options.check(gallery, "--gallery", (".html",), overwrite)
    f, info, fingerprint = options.load_model(model, device, makes=True)

    import torch

    from make_it_real.images import encode, pixels
    from make_it_real.inference.gallery import Gallery
    from make_it_real.inference.interpolation import mix as summed
    from make_it_real.inference.projection import project

    how = inputs.fitting(info, fit, invert)
    weighted = [(term.weight, operand(term.operand, f, how)) for term in terms]
    total = summed(f, weighted, raw=raw)
    y = torch.stack([*(one.image for _, one in weighted), total])
    fy = project(f, y, steps).cpu()
    text = encode.provenance(info.name, fingerprint, steps) | {"mix": expression}
    make_folder(target.parent)
    sheet = pixels.enlarged(pixels.grid(torch.cat([y, fy]), columns=len(y)), scale)
    data = encode.encode(sheet, text=text)
    write_bytes(target, data, overwrite=overwrite)
    if gallery:
        page = Gallery(expression, score="weight")
        for i, (weight, one) in enumerate(weighted):
            page.add(one.name, fy[i], y[i], score=weight)
        page.add(f"f({expression})", fy[-1], y[-1])
        page.write(gallery, overwrite=overwrite)
    report = {"mix": expression, "output": str(target), "steps": steps, "model": info.name}
    print(json.dumps(report) if as_json else target)


def operand(text: str, f: "IGN", how: "Fitting") -> "Operand":
    """Read a seed, an image, or the mean of a folder's images. Exits with 3 where there is none."""
    from make_it_real.inference.interpolation import Operand, seed_operand

    if text.isascii() and text.isdigit():
        seed = int(text)
        if seed >= 2**63:
            raise typer.BadParameter(f"{text}: seeds must be under 2^63")
        return seed_operand(f, seed)
    found = inputs.load([text], f.config, how)
    count = len(found.names)
    name = found.names[0] if count == 1 else f"mean of {count} in {text}"
    return Operand(name, found.images.mean(0))
