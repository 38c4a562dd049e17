"""Read a few inputs, from files or stdin, as images for f."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import typer

from make_it_real.cli import console
from make_it_real.cli.options import FitWord

if TYPE_CHECKING:
    from torch import Tensor

    from make_it_real.images.decode import Picture
    from make_it_real.images.framing import Fit, Fitted, Framing
    from make_it_real.inference.jobs import Job
    from make_it_real.inference.report import Result
    from make_it_real.models.ign import IGNConfig
    from make_it_real.weights.model_file import ModelInfo


def stdin_of(inputs: Sequence[str]) -> bytes | None:
    """Read stdin where "-" is among the inputs, where it may stand once."""
    if list(inputs).count("-") > 1:
        raise typer.BadParameter("- (stdin) can be named once")
    return sys.stdin.buffer.read() if "-" in inputs else None


def fitting(
    info: "ModelInfo",
    how: FitWord = "auto",
    invert: bool | None = None,
) -> "Fitting":
    """Choose how pictures are brought to the model's frame, as its header describes it."""
    from make_it_real.images.framing import described

    return Fitting(described(info.framing), how, invert)


def load(
    inputs: Sequence[str], config: "IGNConfig", how: "Fitting", *, recursive: bool = False
) -> "Loaded":
    """Read all images that inputs name, in the model's frame; print a line for each failure.

    A model of any size has no frame: its pictures are as they are, and must have one size. Exits
    with 3 where there is no image.
    """
    import torch

    parts = list(each(inputs, config, how, recursive=recursive))
    images = [part.images for part in parts if part.names]
    if len({one.shape[1:] for one in images}) > 1:
        raise typer.BadParameter(
            "the pictures differ in size, and this model takes each as it is: give some of one size"
        )
    names = tuple(name for part in parts for name in part.names)
    return Loaded(names, torch.cat(images), sum(part.failed for part in parts))


def each(
    inputs: Sequence[str], config: "IGNConfig", how: "Fitting", *, recursive: bool = False
) -> "Iterator[Loaded]":
    """Read images as ``load`` does, all at once; for a model of any size one by one.

    Such pictures may be large, and differ in size. A part may be without images.
    """
    from make_it_real.inference.planning import plan

    try:
        planned = plan(inputs, recursive=recursive, overwrite=True, stdin=stdin_of(inputs), word="")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    complain(planned.failed)
    failed, found = len(planned.failed), 0
    jobs = list(planned.jobs)
    framed = bool(config.image_size)
    parts = [_read(jobs, config, how)] if framed else (_whole(job, config) for job in jobs)
    for part in parts:
        found += len(part.names)
        yield replace(part, failed=part.failed + failed)
        failed = 0
    if not found:
        raise typer.Exit(console.NO_INPUT)


def _read(jobs: "Sequence[Job]", config: "IGNConfig", how: "Fitting") -> "Loaded":
    """Read the images of jobs; print a line for each failure and each warning."""
    import torch

    names: list[str] = []
    images: list[Tensor] = []
    warnings: dict[str, list[str]] = {}
    failed = 0
    for job, faces in fitted(jobs, config, how):
        name = str(job.source)
        if isinstance(faces, str):
            console.complain(f"{name}: {faces}")
            failed += 1
        else:
            names += [name, *(f"{name} (face {n})" for n in range(2, len(faces) + 1))]
            images += [one.image for one in faces]
            for warning in faces[0].warnings:
                warnings.setdefault(warning, []).append(name)
    for warning, whose in warnings.items():
        who = whose[0] if len(whose) == 1 else f"{len(whose)} of {len(jobs)} inputs"
        console.complain(f"warning: {who}: {warning}")
    return Loaded(tuple(names), torch.stack(images) if images else torch.empty(0), failed)


def _whole(job: "Job", config: "IGNConfig") -> "Loaded":
    """Read a picture at its own size, on white; print a line where it fails, or for a warning."""
    import torch

    from make_it_real.errors import ImageError
    from make_it_real.images.pixels import on_white, to_channels
    from make_it_real.inference.projection import LEAST_SIDE

    try:
        picture = read_job(job)
        image = to_channels(on_white(picture), config.channels)
        height, width = image.shape[1:]
        if min(height, width) < LEAST_SIDE:
            raise ImageError(f"{width}×{height} pixels: no side may be under {LEAST_SIDE}")
    except ImageError as error:
        console.complain(f"{job.source}: {error}")
        return Loaded((), torch.empty(0), 1)
    for warning in picture.warnings:
        console.complain(f"warning: {job.source}: {warning}")
    return Loaded((str(job.source),), image[None], 0)


def complain(failed: "Sequence[Result]") -> None:
    """Print a line on stderr for each input that failed."""
    for result in failed:
        console.complain(f"{result.input}: {result.reason}")


@dataclass(frozen=True)
class Fitting:
    """How pictures are brought to the model's frame: the arguments of ``framing.fit_all``."""

    framing: "Framing"
    how: "Fit" = "auto"
    invert: bool | None = None


@dataclass(frozen=True)
class Loaded:
    """names (N) as given on the command line, and their images (N, C, H, W) in [−1, 1].

    A photo of several faces has several images; the names of all but the first end with a number.
    failed: number of inputs that could not be read.
    """

    names: tuple[str, ...]
    images: "Tensor"
    failed: int


def read_job(job: "Job") -> "Picture":
    """Read the picture of a job. Raises ImageError."""
    from make_it_real.images import decode

    return decode.read(job.source if job.data is None else job.data)


def fitted(
    jobs: "Iterable[Job]", config: "IGNConfig", fitting: Fitting
) -> "Iterator[tuple[Job, tuple[Fitted, ...] | str]]":
    """Yield each job with its images in the model's frame, or with the reason why it has none."""
    from make_it_real.errors import ImageError, NoFaceError
    from make_it_real.images.framing import fit_all

    for job in jobs:
        try:
            picture = read_job(job)
            shape = config.image_size, config.channels, fitting.framing
            try:
                faces = fit_all(picture, *shape, how=fitting.how, invert=fitting.invert)
            except NoFaceError as error:
                if fitting.how == "faces":
                    raise
                # These commands change no picture, so the central square will do.
                (whole,) = fit_all(picture, *shape, how="crop", invert=fitting.invert)
                faces = (replace(whole, warnings=(f"{error}; the central square is taken",)),)
            yield job, faces
        except ImageError as error:
            yield job, str(error)
