"""Options and checks of the commands that write a few files of their own choosing."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from make_it_real.cli import console
from make_it_real.cli.options import FitWord
from make_it_real.errors import ImageError

if TYPE_CHECKING:
    from torch import Tensor

    from make_it_real.images.decode import Picture
    from make_it_real.images.framing import Fit, Fitted, Framing
    from make_it_real.inference.jobs import Job, Result
    from make_it_real.models.ign import IGNConfig
    from make_it_real.weights.model_file import ModelInfo


# As ``decode.MAX_PIXELS``, whose module imports torch.
MAX_PIXELS = 200_000_000


def stdin_of(inputs: Sequence[str]) -> bytes | None:
    """The bytes on stdin where "-" is among the inputs, which it may be once."""
    if list(inputs).count("-") > 1:
        raise typer.BadParameter("- (stdin) can be named once")
    return sys.stdin.buffer.read() if "-" in inputs else None


def fitting(
    info: "ModelInfo",
    how: FitWord = "auto",
    invert: bool | None = None,
) -> "Fitting":
    """How pictures are brought to the frame of a model, as its header describes it."""
    from make_it_real.images.framing import described

    return Fitting(described(info.framing), how, invert)


def load(
    inputs: Sequence[str], config: "IGNConfig", how: "Fitting", *, recursive: bool = False
) -> "Loaded":
    """Read all inputs into the model's frame; complain of those that can't be.

    Exits with 3 where none matched.
    """
    try:
        loaded = _loaded(inputs, config, how, recursive=recursive, stdin=stdin_of(inputs))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    complain(loaded.failed)
    for warning in loaded.warnings:
        console.complain(f"warning: {warning}")
    if not loaded.names:
        raise typer.Exit(console.NO_INPUT)
    return loaded


def complain(failed: "Sequence[Result]") -> None:
    """One line on stderr for each input that failed."""
    for result in failed:
        console.complain(f"{result.input}: {result.reason}")


@dataclass(frozen=True)
class Fitting:
    """How pictures are brought to the model's frame: what ``framing.fit_all`` asks for."""

    framing: "Framing"
    how: "Fit" = "auto"
    invert: bool | None = None
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class Loaded:
    """names (N) as given on the command line, and their images (N, C, S, S) in [−1, 1].

    A photo of several faces has several images, and each but the first its number in its name.
    failed: one Result for each input that could not be read, with its reason. warnings: what
    was looked for in vain, with the input's name.
    """

    names: tuple[str, ...]
    images: "Tensor"
    failed: "tuple[Result, ...]" = ()
    warnings: tuple[str, ...] = ()


def read_job(job: "Job", max_pixels: int = MAX_PIXELS) -> "Picture":
    """The picture of one job. Raises ImageError."""
    from make_it_real.images import decode

    data = job.data if job.data is not None else job.source
    return decode.read(data, max_pixels=max_pixels)


def fitted(
    jobs: "Iterable[Job]", config: "IGNConfig", fitting: Fitting
) -> "Iterator[tuple[Job, tuple[Fitted, ...] | str]]":
    """Each job with its images in the model's frame, or with why it has none."""
    from make_it_real.images.framing import fit_all

    for job in jobs:
        try:
            picture = read_job(job, fitting.max_pixels)
            yield job, fit_all(
                picture, config.image_size, config.channels, fitting.framing,
                how=fitting.how, invert=fitting.invert,
            )  # fmt: skip
        except ImageError as error:
            yield job, str(error)


def _loaded(
    inputs: Sequence[str],
    config: "IGNConfig",
    fitting: Fitting,
    *,
    recursive: bool = False,
    stdin: bytes | None = None,
) -> Loaded:
    """All images that files, folders, globs and "-" name, in the model's frame.

    Raises ValueError for inputs that no job can be made of, as ``jobs.plan`` does.
    """
    import torch

    from make_it_real.inference.jobs import Result, plan

    planned = plan(inputs, recursive=recursive, overwrite=True, stdin=stdin)
    names: list[str] = []
    tensors: list[Tensor] = []
    warnings: list[str] = []
    failed = list(planned.failed)
    for job, found in fitted(planned.jobs, config, fitting):
        name = str(job.source)
        if isinstance(found, str):
            failed.append(Result(name, "", "failed", found))
        else:
            names += [name, *(f"{name} (face {n})" for n in range(2, len(found) + 1))]
            tensors += [one.image for one in found]
            warnings += [f"{name}: {warning}" for warning in found[0].warnings]
    shape = (0, config.channels, config.image_size, config.image_size)
    stacked = torch.stack(tensors) if tensors else torch.empty(shape)
    return Loaded(tuple(names), stacked, tuple(failed), tuple(warnings))
