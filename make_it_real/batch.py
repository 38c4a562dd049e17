"""Projecting many files: find, read, fit, f^k, write, and report each of them.

A few batches are in memory at a time, however many files there are. One bad file costs one
line of the report and nothing else.
"""

import glob
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import torch
from torch import Tensor

from make_it_real import images
from make_it_real.errors import ImageError
from make_it_real.framing import Fit, Fitted, Framing, fit
from make_it_real.metrics import mean_abs
from make_it_real.model import IGN
from make_it_real.projection import apply

Status = Literal["done", "skipped", "failed"]

STDIN = Path("-")
ACCELERATOR_WORKERS = 4
OUTPUT_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True)
class Job:
    """One image to project. source: a file, or STDIN; data: its bytes, where already read.

    output: the file to write. within: it belongs to a folder job, whose existing outputs
    are skipped.
    """

    source: Path
    output: Path
    within: bool = False
    data: bytes | None = None


@dataclass(frozen=True)
class Result:
    """What became of one input.

    status: done, skipped (the output was there), or failed (``reason`` says why). done: what
    was done to bring the input into the model's frame. moved: mean |f^k(x) − x| in image
    units (0–2), of the fitted x. encoded: the image file's bytes where they go to stdout.
    """

    input: str
    output: str
    status: Status
    reason: str = ""
    inverted: bool = False
    done: tuple[str, ...] = ()
    moved: float | None = None
    encoded: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Plan:
    """The jobs that inputs and an output come to, and the inputs that come to none."""

    jobs: tuple[Job, ...]
    failed: tuple[Result, ...]


@dataclass(frozen=True)
class Settings:
    """How to project: k, batch size, fitting, and what to do with files that exist.

    text: written into each PNG as text chunks. to_stdout: return the encoded image in the
    result instead of writing it.
    """

    framing: Framing
    steps: int = 1
    batch: int = 64
    how: Fit = "auto"
    invert: bool | None = None
    overwrite: bool = False
    max_pixels: int = images.MAX_PIXELS
    text: dict[str, str] = field(default_factory=dict)
    to_stdout: bool = False


def plan(
    inputs: Sequence[str],
    output: Path | None = None,
    *,
    recursive: bool = False,
    overwrite: bool = False,
    into_folder: bool = False,
    stdin: bytes | None = None,
) -> Plan:
    """Turn files, folders, globs and "-" (whose bytes are ``stdin``) into jobs, none twice.

    sketch.jpg → sketch_real.png beside it; photos/ → photos_real/ with the tree kept; with
    ``output``, a file for a single image if it has the suffix of one (unless ``into_folder``),
    else a folder. Default names take the next free number. Raises ValueError for several inputs
    to one file, and for an output of another kind.
    """
    expanded = [match for item in inputs for match in _expanded(item)]
    suffix = "" if output is None or into_folder or output.is_dir() else output.suffix.lower()
    to_file = suffix in OUTPUT_SUFFIXES
    if suffix in images.SUFFIXES and not to_file:
        raise ValueError(f"-o {output}: results are written as {', '.join(OUTPUT_SUFFIXES)}")
    if to_file and (len(expanded) > 1 or any(os.path.isdir(item) for item in expanded)):
        raise ValueError(f"-o {output} is one file, but there are several inputs: name a folder")

    jobs: list[Job] = []
    failed: list[Result] = []
    sources: set[str] = set()
    taken: set[Path] = set()

    def add(source: Path, target: Path, **job: Any) -> None:
        if source == STDIN or os.path.realpath(source) not in sources:
            sources.add(os.path.realpath(source))
            taken.add(target)
            jobs.append(Job(source, target, **job))

    for item in expanded:
        path = Path(item)
        if path != STDIN and os.path.isdir(path):
            if not (output or path.resolve().name):
                raise ValueError(f"{item} has no name to add _real to: name a folder with -o")
            target = output or path.resolve().with_name(f"{path.resolve().name}_real")
            files = _images_in(path, recursive, target)
            if not files:
                deeper = "" if recursive else "; -r searches its subfolders too"
                failed.append(Result(item, "", "failed", f"no images in this folder{deeper}"))
            for file, name in _mirrored(files, path):
                # Existing outputs do not count: a job that goes on must find its names again.
                add(file, _free(target / name, taken, overwrite=True), within=True)
        elif path != STDIN and not os.path.exists(path):
            reason = "no file matches" if glob.has_magic(item) else "no such file or folder"
            failed.append(Result(item, "", "failed", reason))
        elif to_file and output is not None:
            add(path, output, data=stdin if path == STDIN else None)
        else:
            stem = "stdin" if path == STDIN else path.stem
            folder = output or (Path() if path == STDIN else path.parent)
            name = folder / (f"{stem}.png" if output else f"{stem}_real.png")
            target = _free(name, taken, overwrite)
            add(path, target, data=stdin if path == STDIN else None)
    return Plan(tuple(jobs), tuple(failed))


def _expanded(item: str) -> list[str]:
    """A glob's matches, sorted; anything that exists, is "-" or matches nothing, itself."""
    if item == "-" or not glob.has_magic(item) or os.path.lexists(item):
        return [item]
    return sorted(glob.glob(item, recursive=True)) or [item]


def _images_in(folder: Path, recursive: bool, output: Path) -> list[Path]:
    """Image files of a folder, sorted; hidden ones and those under the output left out."""
    found = []
    own = os.path.realpath(output)
    for root, folders, names in os.walk(folder):
        here = Path(root)
        skip = {n for n in folders if n.startswith(".") or os.path.realpath(here / n) == own}
        folders[:] = sorted(set(folders) - skip) if recursive else []
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in images.SUFFIXES:
                found.append(here / name)
    return sorted(found)


def _mirrored(files: list[Path], folder: Path) -> Iterator[tuple[Path, Path]]:
    """Each file with its name in the output tree: x.jpg → x.png, or x.jpg.png beside an x.png."""
    names = [file.relative_to(folder) for file in files]
    counts = Counter(name.with_suffix("") for name in names)
    for file, name in zip(files, names, strict=True):
        alone = counts[name.with_suffix("")] == 1
        yield file, name.with_suffix(".png") if alone else name.with_name(f"{name.name}.png")


def _free(path: Path, taken: set[Path], overwrite: bool) -> Path:
    """The path, or the first of path_2, path_3, … that is not taken and does not exist."""
    candidate, number = path, 1
    while candidate in taken or (not overwrite and os.path.lexists(candidate)):
        number += 1
        candidate = path.with_stem(f"{path.stem}_{number}")
    return candidate


def run(f: IGN, jobs: Sequence[Job], settings: Settings) -> Iterator[Result]:
    """Do the jobs, in order: one Result each. Close the generator to stop early.

    Each worker takes a batch all the way. On the CPU there is a worker a core, each with f on
    one thread: whole batches side by side leave no core waiting for another, or for a disk.
    An accelerator is used by one worker at a time while the others read and write.
    """
    batches = [jobs[i : i + settings.batch] for i in range(0, len(jobs), settings.batch)]
    threads = torch.get_num_threads()
    on_cpu = f.device.type == "cpu"
    workers = min(threads if on_cpu else ACCELERATOR_WORKERS, len(batches)) or 1
    turn = nullcontext() if on_cpu else Lock()
    alone = on_cpu and workers > 1
    # OpenMP counts threads for each of its callers: every worker must ask for one itself.
    pool = ThreadPoolExecutor(
        workers, initializer=torch.set_num_threads, initargs=(1 if alone else threads,)
    )
    if alone:
        torch.set_num_threads(1)
    try:
        waiting = iter(batches)
        running = deque(pool.submit(_do, f, turn, settings, b) for b in islice(waiting, workers))
        while running:
            results = running.popleft().result()
            running.extend(pool.submit(_do, f, turn, settings, b) for b in islice(waiting, 1))
            yield from results
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)


def _do(
    f: IGN, turn: AbstractContextManager[Any], settings: Settings, jobs: Sequence[Job]
) -> list[Result]:
    """Read, project and write one batch; f runs within ``turn``."""
    items = _read(settings, f.config.image_size, f.config.channels, jobs)
    fitted = [item.fitted.image for item in items if item.fitted is not None]
    if not fitted:
        return _write(settings, items, None, [])
    x = torch.stack(fitted)
    with turn:
        y = apply(f, x, settings.steps).cpu()
    return _write(settings, items, y, mean_abs(y, x).tolist())


@dataclass(frozen=True)
class Read:
    """A job with its fitted image, or with the Result that it already came to."""

    job: Job
    fitted: Fitted | None = None
    result: Result | None = None


def _read(settings: Settings, size: int, channels: int, jobs: Sequence[Job]) -> list[Read]:
    """Read and fit the images of some jobs; what can't be read becomes a failed Result."""
    out = []
    for job in jobs:
        source, target = str(job.source), str(job.output)
        if not settings.overwrite and not settings.to_stdout and os.path.lexists(job.output):
            status: Status = "skipped" if job.within else "failed"
            reason = "the output exists; --overwrite replaces it"
            out.append(Read(job, result=Result(source, target, status, reason)))
            continue
        try:
            data = job.data if job.data is not None else job.source
            picture = images.read(data, max_pixels=settings.max_pixels)
            fitted = fit(
                picture, size, channels, settings.framing, how=settings.how, invert=settings.invert
            )
            out.append(Read(job, fitted))
        except ImageError as error:
            out.append(Read(job, result=Result(source, target, "failed", str(error))))
    return out


def _write(
    settings: Settings, batch: list[Read], y: Tensor | None, moved: list[float]
) -> list[Result]:
    """Write the images y of those jobs that have one, in order; one Result a job."""
    results = []
    made = zip(y if y is not None else (), moved, strict=True)
    for item in batch:
        if item.result is not None or item.fitted is None:
            results += [item.result] if item.result else []
            continue
        image, distance = next(made)
        job, fitted = item.job, item.fitted
        result = Result(
            str(job.source), str(job.output), "done", "", fitted.inverted, fitted.done, distance
        )
        try:
            data = images.encode(image, OUTPUT_SUFFIXES[job.output.suffix.lower()], settings.text)
            if settings.to_stdout:
                result = replace(result, output="-", encoded=data)
            else:
                images.make_folder(job.output.parent)
                images.write_bytes(job.output, data, overwrite=settings.overwrite)
        except ImageError as error:
            result = replace(result, status="failed", reason=str(error), moved=None)
        results.append(result)
    return results
