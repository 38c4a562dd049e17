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
    """Read all images that inputs name into the model's frame; print a line for each failure.

    Exits with 3 where there is none.
    """
    import torch

    from make_it_real.inference.jobs import plan

    try:
        planned = plan(inputs, recursive=recursive, overwrite=True, stdin=stdin_of(inputs), word="")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    complain(planned.failed)
    names: list[str] = []
    images: list[Tensor] = []
    warnings: dict[str, list[str]] = {}
    failed = len(planned.failed)
    for job, faces in fitted(planned.jobs, config, how):
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
        who = whose[0] if len(whose) == 1 else f"{len(whose)} of {len(planned.jobs)} inputs"
        console.complain(f"warning: {who}: {warning}")
    if not names:
        raise typer.Exit(console.NO_INPUT)
    return Loaded(tuple(names), torch.stack(images), failed)


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
    """names (N) as given on the command line, and their images (N, C, S, S) in [−1, 1].

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
