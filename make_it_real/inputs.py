"""Files named on the command line → images in the model's frame.

``batch.py`` projects folders of any size; the commands here look closely at a few images, which
they hold in memory at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from make_it_real import images
from make_it_real.errors import ImageError
from make_it_real.framing import Fit, Fitted, Framing, fit_all
from make_it_real.jobs import Job, Result, plan
from make_it_real.model import IGNConfig


@dataclass(frozen=True)
class Fitting:
    """How pictures are brought to the model's frame: what ``framing.fit_all`` asks for."""

    framing: Framing
    how: Fit = "auto"
    invert: bool | None = None
    max_pixels: int = images.MAX_PIXELS


@dataclass(frozen=True)
class Loaded:
    """names (N) as given on the command line, and their images (N, C, S, S) in [−1, 1].

    A photo of several faces has several images, and each but the first its number in its name.
    failed: one Result for each input that could not be read, with its reason. warnings: what
    was looked for in vain, with the input's name.
    """

    names: tuple[str, ...]
    images: Tensor
    failed: tuple[Result, ...] = ()
    warnings: tuple[str, ...] = ()


def read_job(job: Job, max_pixels: int = images.MAX_PIXELS) -> images.Picture:
    """The picture of one job. Raises ImageError."""
    data = job.data if job.data is not None else job.source
    return images.read(data, max_pixels=max_pixels)


def fitted(
    jobs: Iterable[Job], config: IGNConfig, fitting: Fitting
) -> Iterator[tuple[Job, tuple[Fitted, ...] | str]]:
    """Each job with its images in the model's frame, or with why it has none."""
    for job in jobs:
        try:
            picture = read_job(job, fitting.max_pixels)
            yield job, fit_all(
                picture, config.image_size, config.channels, fitting.framing,
                how=fitting.how, invert=fitting.invert,
            )  # fmt: skip
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

    Raises ValueError for inputs that no job can be made of, as ``jobs.plan`` does.
    """
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
