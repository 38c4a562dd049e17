"""mir degrade: damage images, in the paper's ways and in others."""

import json
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from make_it_real.cli import console, options
from make_it_real.cli.help import OUTPUT
from make_it_real.cli.inputs import complain, fitting, stdin_of
from make_it_real.errors import ImageError
from make_it_real.files import make_folder, write_bytes
from make_it_real.weights import model_file

if TYPE_CHECKING:
    import torch


# The names in ``kinds.DEGRADATIONS``, which --help can't import because that imports torch. A
# test keeps them equal.
KINDS = (
    "noise", "coarse-noise", "low-resolution", "mask", "blur", "anisotropic-blur", "plateau-blur",
    "defocus", "crystals", "contrast", "light", "thin", "glass", "scan", "lines", "grayscale",
    "sketch", "scribbles", "salt-and-pepper", "jpeg", "pixelate", "cast", "saturation", "gamma",
    "motion-blur", "poisson", "phone-noise", "downscale", "webp", "jpeg-twice", "sharpen", "fading",
    "scratches", "dust", "creases", "holes", "banding", "dither", "half-tone",
)  # fmt: skip


def _kinds() -> list[str]:
    return list(KINDS)


@console.command
def degrade(
    inputs: options.Inputs,
    kind: Annotated[
        str,
        typer.Option("--kind", autocompletion=_kinds, help=f"Kind of damage: {', '.join(KINDS)}."),
    ] = "noise",
    level: Annotated[
        float | None,
        typer.Option(
            "--level", help="Amount, in the kind's unit, which -v prints [the kind's own]."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")] = 0,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            rich_help_panel=OUTPUT,
            help="File for one input, or a folder.",
        ),
    ] = None,
    strip: Annotated[
        Path | None,
        typer.Option(
            "--strip",
            metavar="X.png",
            rich_help_panel=OUTPUT,
            help="Write x, A(x), f(A(x)), f(f(A(x))) of each image to this file.",
        ),
    ] = None,
    gallery: options.Gallery = None,
    recursive: options.Recursive = False,
    model: options.Model = model_file.DEFAULT_MODEL,
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
    as_json: options.Json = False,
) -> None:
    """Damage images at their own size: A(x), for mir project to repair.

    x.png becomes x_degraded.png, photos/ becomes photos_degraded/. The paper's kinds are noise
    (σ 0.15), grayscale and sketch. The same file name, level and seed give the same damage.
    Only --strip uses the model.
    """
    if kind not in KINDS:
        raise typer.BadParameter(f"--kind {kind}: one of {', '.join(KINDS)}")
    options.check(strip, "--strip", (".png",), overwrite)
    options.check(gallery, "--gallery", (".html",), overwrite)
    target, into_folder = options.output_path(output)
    stdin = stdin_of(inputs)

    from make_it_real.cli import inputs as reading
    from make_it_real.degradations.kinds import DEGRADATIONS
    from make_it_real.images import encode, pixels
    from make_it_real.images.pixels import mean_abs
    from make_it_real.inference.gallery import Gallery
    from make_it_real.inference.jobs import plan as planned
    from make_it_real.inference.naming import OUTPUT_SUFFIXES

    damage = DEGRADATIONS[kind]
    value = damage.default if level is None else level
    low, high = damage.valid
    if not low <= value <= high:
        raise typer.BadParameter(
            f"--level {value:g}: {kind} takes {low:g} to {high:g} {damage.unit}"
        )
    console.detail(f"{kind}: level {value:g}, {damage.unit}")
    try:
        plan = planned(
            inputs, target, recursive=recursive, overwrite=overwrite, into_folder=into_folder,
            stdin=stdin, word="degraded",
        )  # fmt: skip
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    complain(plan.failed)
    if not plan.jobs:
        raise typer.Exit(console.NO_INPUT)

    failed, skipped = len(plan.failed), 0
    page = Gallery(f"mir degrade: {kind} {value:g}", score="changed")
    text = {"Software": encode.provenance("", "", 0)["Software"], "damage": f"{kind} {value:g}"}
    for job in plan.jobs:
        name = str(job.source)
        if job.within and not overwrite and job.output.exists():
            skipped += 1
            continue
        try:
            x = pixels.on_white(reading.read_job(job))[None]
            Ax = damaged(x, kind, value, seed, job.source.name)
            data = encode.encode(
                Ax[0], OUTPUT_SUFFIXES[job.output.suffix.lower()], {**text, "seed": str(seed)}
            )
            make_folder(job.output.parent)
            write_bytes(job.output, data, overwrite=overwrite)
        except ImageError as error:
            failed += 1
            console.complain(f"{name}: {error}")
            continue
        changed = float(mean_abs(Ax.clamp(-1, 1), x)[0])
        page.add(name, Ax[0], x[0], score=changed)
        report = {
            "input": name, "output": str(job.output), "kind": kind, "level": value, "seed": seed,
            "changed": round(changed, 6),
        }  # fmt: skip
        print(json.dumps(report) if as_json else job.output, flush=True)
    if skipped:
        console.say(f"{skipped} skipped: the files exist; --overwrite replaces them")
    if gallery:
        page.write(gallery, overwrite=overwrite)
    if strip:
        f, info, _ = options.load_model(model, device)
        from make_it_real.inference.projection import project

        rows = []
        for job, found in reading.fitted(plan.jobs, f.config, fitting(info)):
            for one in () if isinstance(found, str) else found:
                for warning in one.warnings:
                    console.complain(f"warning: {job.source}: {warning}")
                x = one.image[None]
                Ax = damaged(x, kind, value, seed, job.source.name)
                f_Ax = project(f, Ax).cpu()
                rows += [x, Ax, f_Ax, project(f, f_Ax).cpu()]
        if rows:
            _write_strip(rows, strip, overwrite)
    if failed:
        raise typer.Exit(1)


def damaged(x: "torch.Tensor", kind: str, level: float, seed: int, name: str) -> "torch.Tensor":
    """Compute A(x) of images (1, C, H, W), seeded by the file's name and the seed."""
    import torch

    from make_it_real.degradations.kinds import degraded

    mixed = (zlib.crc32(name.encode("utf-8", "surrogateescape")) << 31) + seed
    generator = torch.Generator().manual_seed(mixed % 2**63)
    return degraded(x, kind, level, generator=generator)


def _write_strip(rows: "list[torch.Tensor]", path: Path, overwrite: bool) -> None:
    """Write one row for each image: x, A(x), f(A(x)) and f(f(A(x)))."""
    import torch

    from make_it_real.images import encode, pixels

    sheet = pixels.grid(torch.cat(rows), columns=4)
    make_folder(path.parent)
    write_bytes(path, encode.encode(sheet), overwrite=overwrite)
    console.say(f"{path}: x, A(x), f(A(x)), f(f(A(x)))")
