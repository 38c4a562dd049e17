"""mir degrade: damage images, in the paper's ways and in others."""

import json
from contextlib import suppress
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
    from collections.abc import Iterator, Sequence

    import torch

    from make_it_real.cli.inputs import Fitting
    from make_it_real.inference.jobs import Job
    from make_it_real.models.ign import IGNConfig


# The names in ``kinds.DEGRADATIONS``, which --help can't import because that imports torch. A
# test keeps them equal.
KINDS = (
    "noise", "coarse-noise", "low-resolution", "mask", "block", "central-block", "blur",
    "anisotropic-blur", "plateau-blur", "defocus", "crystals", "contrast", "light", "thin", "glass",
    "scan", "lines", "grayscale", "sketch", "pencil", "dodge-and-burn", "edges", "colour-blocks",
    "noisy-drawing", "scribbles", "salt-and-pepper", "jpeg", "pixelate", "cast", "saturation",
    "gamma", "motion-blur", "poisson", "phone-noise", "downscale", "webp", "jpeg-twice", "sharpen",
    "fading", "scratches", "dust", "creases", "holes", "banding", "dither", "half-tone",
)  # fmt: skip


# Pixels between the rows of a strip.
GAP = 2


def _kinds() -> list[str]:
    return list(KINDS)


@console.command
def degrade(
    inputs: options.Inputs,
    kinds: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND[=LEVEL]",
            autocompletion=_kinds,
            help=f"Kind of damage [noise]; several are done in turn: {', '.join(KINDS)}.",
        ),
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(
            "--level", help="Level, in the kind's unit, which -v prints [the kind's own]."
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
    (σ 0.15), grayscale and sketch; --kind blur=1 --kind jpeg=40 blurs, then compresses. The same
    file name, levels and seed give the same damage. Only --strip uses the model.
    """
    named = _named(kinds or ["noise"], level)
    options.check(strip, "--strip", (".png",), overwrite)
    options.check(gallery, "--gallery", (".html",), overwrite)
    target, into_folder = options.output_path(output)
    stdin = stdin_of(inputs)

    from make_it_real.cli import inputs as reading
    from make_it_real.images import encode, pixels
    from make_it_real.images.pixels import mean_abs
    from make_it_real.inference.gallery import Gallery
    from make_it_real.inference.naming import OUTPUT_SUFFIXES
    from make_it_real.inference.planning import plan as planned

    damages = _with_levels(named)
    what = ", ".join(f"{kind} {value:g}" for kind, value in damages)
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
    page = Gallery(f"mir degrade: {what}", score="changed")
    text = {"Software": encode.provenance("", "", 0)["Software"], "damage": what}
    for job in plan.jobs:
        name = str(job.source)
        if job.within and not overwrite and job.output.exists():
            skipped += 1
            continue
        try:
            x = pixels.on_white(reading.read_job(job))[None]
            Ax = damaged(x, damages, seed, job.source.name)
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
            "input": name, "output": str(job.output),
            "damage": [{"kind": kind, "level": value} for kind, value in damages],
            "seed": seed, "changed": round(changed, 6),
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
        for name, x in _framed(plan.jobs, f.config, fitting(info)):
            Ax = damaged(x, damages, seed, name)
            f_Ax = project(f, Ax).cpu()
            rows.append([x, Ax, f_Ax, project(f, f_Ax).cpu()])
        if rows:
            _write_strip(rows, strip, overwrite)
    if failed:
        raise typer.Exit(1)


def _named(texts: list[str], level: float | None) -> list[tuple[str, float | None]]:
    """Parse KIND or KIND=LEVEL. Raises typer.BadParameter."""
    named: list[tuple[str, float | None]] = []
    for text in texts:
        kind, equals, number = text.partition("=")
        if kind not in KINDS:
            raise typer.BadParameter(f"--kind {kind}: one of {', '.join(KINDS)}")
        try:
            named.append((kind, float(number) if equals else None))
        except ValueError as error:
            raise typer.BadParameter(f"--kind {text}: {number!r} is no level") from error
    if level is not None:
        if len(named) > 1 or named[0][1] is not None:
            raise typer.BadParameter("--level is of one kind without a level of its own")
        named = [(named[0][0], level)]
    return named


def _with_levels(named: list[tuple[str, float | None]]) -> list[tuple[str, float]]:
    """Give kinds their default where they have no level. Raises typer.BadParameter."""
    from make_it_real.degradations.kinds import DEGRADATIONS

    damages = []
    for kind, level in named:
        damage = DEGRADATIONS[kind]
        value = damage.default if level is None else level
        low, high = damage.valid
        if not low <= value <= high:
            raise typer.BadParameter(
                f"level {value:g}: {kind} takes {low:g} to {high:g} {damage.unit}"
            )
        console.detail(f"{kind}: level {value:g}, {damage.unit}")
        damages.append((kind, value))
    return damages


def damaged(
    x: "torch.Tensor", damages: list[tuple[str, float]], seed: int, name: str
) -> "torch.Tensor":
    """Compute A(x) of images (1, C, H, W), seeded by the file's name and the seed.

    damages: kinds and their levels, done in turn.
    """
    from make_it_real.degradations.kinds import degraded, generator_of

    generator = generator_of(seed, name)
    for kind, level in damages:
        x = degraded(x, kind, level, generator=generator)
    return x


def _framed(
    jobs: "Sequence[Job]", config: "IGNConfig", how: "Fitting"
) -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield the names of files and their images (1, C, H, W) as the model takes them."""
    from make_it_real.cli import inputs as reading
    from make_it_real.errors import ImageError
    from make_it_real.images import pixels

    if not config.image_size:
        for job in jobs:
            # What can't be read has been told.
            with suppress(ImageError):
                image = pixels.on_white(reading.read_job(job))
                yield job.source.name, pixels.to_channels(image, config.channels)[None]
        return
    for job, found in reading.fitted(jobs, config, how):
        for one in () if isinstance(found, str) else found:
            for warning in one.warnings:
                console.complain(f"warning: {job.source}: {warning}")
            yield job.source.name, one.image[None]


def _write_strip(rows: "list[list[torch.Tensor]]", path: Path, overwrite: bool) -> None:
    """Write one row for each image: x, A(x), f(A(x)) and f(f(A(x)))."""
    import torch
    from torch.nn import functional as F

    from make_it_real.images import encode, pixels

    strips = [pixels.grid(torch.cat(row), columns=4) for row in rows]
    width = max(strip.shape[2] for strip in strips)
    below = [F.pad(strip, (0, width - strip.shape[2], 0, GAP), value=-1) for strip in strips]
    make_folder(path.parent)
    write_bytes(path, encode.encode(torch.cat(below, 1)[:, :-GAP]), overwrite=overwrite)
    console.say(f"{path}: x, A(x), f(A(x)), f(f(A(x)))")
