"""Files named on the command line → images in the model's frame, and names for results.

``batch.py`` projects folders of any size; the commands here look closely at a few images, which
they hold in memory at once.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from make_it_real import batch, images
from make_it_real.batch import STDIN, Job, Plan, Result
from make_it_real.errors import ImageError
from make_it_real.framing import Fit, Framing, fit
from make_it_real.model import IGNConfig


@dataclass(frozen=True)
class Fitting:
    """How pictures are brought to the model's frame: what ``framing.fit`` asks for."""

    framing: Framing
    how: Fit = "auto"
    invert: bool | None = None
    max_pixels: int = images.MAX_PIXELS


@dataclass(frozen=True)
class Loaded:
    """names (N) as given on the command line, and their images (N, C, S, S) in [−1, 1].

    failed: one Result for each input that could not be read, with its reason.
    """

    names: tuple[str, ...]
    images: Tensor
    failed: tuple[Result, ...] = ()


def plan(
    inputs: Sequence[str],
    output: Path | None,
    word: str,
    *,
    recursive: bool = False,
    overwrite: bool = False,
    into_folder: bool = False,
    stdin: bytes | None = None,
) -> Plan:
    """As ``batch.plan``, with results called x_WORD.png and folder_WORD/ in place of _real.

    Raises ValueError as it does.
    """
    if output is not None:
        return batch.plan(
            inputs, output, recursive=recursive, overwrite=overwrite, into_folder=into_folder,
            stdin=stdin,
        )  # fmt: skip
    jobs: list[Job] = []
    failed: list[Result] = []
    taken: set[Path] = set()
    seen: set[str] = set()
    for item in inputs:
        target = None
        if item != "-" and os.path.isdir(item):
            folder = Path(item).resolve()
            target = folder.with_name(f"{folder.name}_{word}")
        part = batch.plan(
            [item], target, recursive=recursive, overwrite=True, into_folder=True, stdin=stdin
        )
        failed += part.failed
        for job in part.jobs:
            key = str(job.source) if job.source == STDIN else os.path.realpath(job.source)
            if key in seen:
                continue
            seen.add(key)
            if not job.within:
                stem = "stdin" if job.source == STDIN else job.source.stem
                name = job.output.with_name(f"{stem}_{word}.png")
                job = replace(job, output=_free(name, taken, overwrite))
            taken.add(job.output)
            jobs.append(job)
    return Plan(tuple(jobs), tuple(failed))


def _free(path: Path, taken: set[Path], overwrite: bool) -> Path:
    candidate, number = path, 1
    while candidate in taken or (not overwrite and os.path.lexists(candidate)):
        number += 1
        candidate = path.with_stem(f"{path.stem}_{number}")
    return candidate


def read_job(job: Job, max_pixels: int = images.MAX_PIXELS) -> images.Picture:
    """The picture of one job. Raises ImageError."""
    data = job.data if job.data is not None else job.source
    return images.read(data, max_pixels=max_pixels)


def on_white(picture: images.Picture) -> Tensor:
    """A picture at its own size as an image (C, H, W) in [−1, 1], laid on white."""
    colour = picture.colour
    if picture.alpha is not None:
        colour = colour * picture.alpha + (1 - picture.alpha)
    return colour * 2 - 1


def fitted(
    jobs: Iterable[Job], config: IGNConfig, fitting: Fitting
) -> Iterator[tuple[Job, Tensor | str]]:
    """Each job with its image (C, S, S) in the model's frame, or with why it has none."""
    for job in jobs:
        try:
            picture = read_job(job, fitting.max_pixels)
            done = fit(
                picture, config.image_size, config.channels, fitting.framing,
                how=fitting.how, invert=fitting.invert,
            )  # fmt: skip
            yield job, done.image
        except ImageError as error:
            yield job, str(error)


def load(
    inputs: Sequence[str],
    config: IGNConfig,
    fitting: Fitting,
    *,
    recursive: bool = False,
    stdin: bytes | None = None,
) -> Loaded:
    """All images that files, folders, globs and "-" name, in the model's frame.

    Raises ValueError for inputs that no job can be made of, as ``batch.plan`` does.
    """
    planned = plan(inputs, None, "read", recursive=recursive, overwrite=True, stdin=stdin)
    names, tensors, failed = [], [], list(planned.failed)
    for job, image in fitted(planned.jobs, config, fitting):
        if isinstance(image, str):
            failed.append(Result(str(job.source), "", "failed", image))
        else:
            names.append(str(job.source))
            tensors.append(image)
    shape = (0, config.channels, config.image_size, config.image_size)
    stacked = torch.stack(tensors) if tensors else torch.empty(shape)
    return Loaded(tuple(names), stacked, tuple(failed))
