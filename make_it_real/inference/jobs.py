"""What inputs and an output come to: which files to project, and the names of the results.

Folders are listed, not loaded: of each file only its name is kept, and a ``Job`` is made when
its turn comes, so that a folder of a hundred thousand images costs a few megabytes.
"""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import Any, Literal, overload
from zlib import crc32

import numpy as np

from make_it_real.images.decode import SUFFIXES
from make_it_real.inference.listing import _expanded, _walk

Status = Literal["done", "skipped", "failed"]
Format = Literal["png", "jpg", "webp", "same"]

STDIN = Path("-")
OUTPUT_SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@dataclass(frozen=True, slots=True)
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

    status: done, skipped (the output was there), or failed (``reason`` says why). warnings:
    what of the file was not used. inverted, done: what was done to bring it into the model's
    frame. drift_before, drift_after: |f(x) − x| and |f(y) − y| of the fitted input and of
    the result, in image units (0–2), where asked for; of several faces in one image their
    mean. seconds: reading, fitting and writing it, and its share of its batch's time in f.
    face: which one, where each face of the input has a result of its own. encoded: the image
    file's bytes where they go to stdout. before: a face as f was shown it, (C, S, S), where
    asked for.
    """

    input: str
    output: str
    status: Status
    reason: str = ""
    warnings: tuple[str, ...] = ()
    inverted: bool = False
    done: tuple[str, ...] = ()
    drift_before: float | None = None
    drift_after: float | None = None
    seconds: float = 0.0
    face: int = 1
    encoded: bytes | None = field(default=None, repr=False)
    before: Any = field(default=None, repr=False)


class _Names:
    """Names in one text, without the fifty bytes that each would take as a text of its own."""

    def __init__(self, names: Sequence[str]) -> None:
        self._text, self._count = "\0".join(names), len(names)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        start = 0
        for _ in range(self._count):
            end = self._text.find("\0", start)
            yield self._text[start : end if end >= 0 else None]
            start = end + 1


@dataclass(frozen=True)
class _Folder:
    """The images of one folder (subfolders are their own), and where their results go."""

    source: Path
    target: Path
    names: _Names
    suffix: Callable[[str], str]
    special: dict[str, str]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Job]:
        for name in self.names:
            output = self.special.get(name) or _renamed(name, self.suffix(name))
            yield Job(self.source / name, self.target / output, within=True)


class Jobs(Sequence[Job]):
    """Jobs in order, most of them made as they are asked for."""

    def __init__(self, parts: Sequence["_Folder | Sequence[Job]"]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Job]:
        for part in self._parts:
            yield from part

    @overload
    def __getitem__(self, index: int) -> Job: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Job]: ...
    def __getitem__(self, index: int | slice) -> Job | Sequence[Job]:
        return list(self)[index]

    def share(self, rank: int, world: int) -> "Jobs":
        """Those of the jobs that fall to one of ``world`` processes; each falls to one.

        A job's name decides, so that processes whose listings differ still agree.
        """

        def mine(path: Path) -> bool:
            return crc32(os.fsencode(path)) % world == rank

        parts: list[_Folder | Sequence[Job]] = []
        for part in self._parts:
            if isinstance(part, _Folder):
                names = [name for name in part.names if mine(part.source / name)]
                parts.append(replace(part, names=_Names(names)))
            else:
                parts.append([job for job in part if mine(job.source)])
        return Jobs(parts)


@dataclass(frozen=True)
class Plan:
    """The jobs that inputs and an output come to, and the inputs that come to none."""

    jobs: Jobs
    failed: tuple[Result, ...]


def plan(
    inputs: Sequence[str],
    output: Path | None = None,
    *,
    recursive: bool = False,
    overwrite: bool = False,
    into_folder: bool = False,
    format: Format | None = None,
    stdin: bytes | None = None,
    word: str = "real",
) -> Plan:
    """Turn files, folders, globs and "-" (whose bytes are ``stdin``) into jobs.

    sketch.jpg → sketch_real.png beside it (by ``word``); photos/ → photos_real/ with the tree
    kept; with ``output``, a file for a single image if it has the suffix of one (unless
    ``into_folder``), else a folder, in which each of several folders gets one of its own.
    format: what results are written as ("same": as their inputs, where those are PNG, JPEG or
    WEBP), PNG by default.
    Default names take the next free number. A folder is searched once and a file named twice
    is one job. Raises ValueError for several inputs to one file, and for an output of another
    kind.
    """
    expanded = [match for item in inputs for match in _expanded(item)]
    suffix = "" if output is None or into_folder or output.is_dir() else output.suffix.lower()
    to_file = suffix in OUTPUT_SUFFIXES
    if suffix in SUFFIXES and not to_file:
        raise ValueError(f"-o {output}: results are written as {', '.join(OUTPUT_SUFFIXES)}")
    if to_file and (len(expanded) > 1 or any(os.path.isdir(item) for item in expanded)):
        raise ValueError(f"-o {output} is one file, but there are several inputs: name a folder")
    if to_file and format not in (None, "same", {"jpeg": "jpg"}.get(suffix[1:], suffix[1:])):
        raise ValueError(f"-o {output} is no {format} file: leave --format out, or name another")

    suffix_of = _suffixes(format)
    parts: list[_Folder | list[Job]] = []
    failed: list[Result] = []
    named = {os.path.realpath(item) for item in expanded if not os.path.isdir(item)}
    sources: set[str] = set()
    taken: set[Path] = set()
    visited: set[tuple[int, int]] = set()

    def add(source: Path, target: Path, data: bytes | None = None) -> None:
        real = os.path.realpath(source)
        if source == STDIN or real not in sources:
            sources.add(real)
            taken.add(target)
            parts.append([Job(source, target, data=data)])

    for item in expanded:
        path = Path(item)
        if path != STDIN and os.path.isdir(path):
            if not (output or path.resolve().name):
                raise ValueError(f"{item} has no name to add _{word} to: name a folder with -o")
            target = output or path.resolve().with_name(f"{path.resolve().name}_{word}")
            if output and len(expanded) > 1:
                # Two folders may hold equal names: each keeps its own.
                target = _free(output / path.resolve().name, taken, overwrite=True)
                taken.add(target)
            if os.path.realpath(target) == os.path.realpath(path) and not overwrite:
                raise ValueError(f"-o {target} is the input folder; name another, or --overwrite")
            status = os.stat(path)
            found = (status.st_dev, status.st_ino) in visited
            for here, names in _walk(path, recursive, target, visited, failed):
                found = found or bool(names)
                names = [n for n in names if not named or os.path.realpath(here / n) not in named]
                there = target / here.relative_to(path)
                special = _told_apart(names, suffix_of)
                parts.append(_Folder(here, there, _Names(names), suffix_of, special))
            if not found:
                deeper = "" if recursive else "; -r searches its subfolders too"
                failed.append(Result(item, "", "failed", f"no images in this folder{deeper}"))
        elif path != STDIN and not os.path.exists(path):
            reason = "no file matches" if glob.has_magic(item) else "no such file or folder"
            failed.append(Result(item, "", "failed", reason))
        elif to_file and output is not None:
            add(path, output, stdin if path == STDIN else None)
        else:
            stem = "stdin" if path == STDIN else path.stem
            folder = output or (Path() if path == STDIN else path.parent)
            ending = suffix_of(path.name)
            name = folder / (f"{stem}{ending}" if output else f"{stem}_{word}{ending}")
            add(path, _free(name, taken, overwrite), stdin if path == STDIN else None)
    return Plan(Jobs(parts), tuple(failed))


def _suffixes(format: Format | None) -> Callable[[str], str]:
    """The suffix of the result of a file of a given name."""
    if format != "same":
        ending = f".{format or 'png'}"
        return lambda name: ending

    def same(name: str) -> str:
        own = os.path.splitext(name)[1]
        return own if own.lower() in OUTPUT_SUFFIXES else ".png"

    return same


def _renamed(name: str, suffix: str) -> str:
    return os.path.splitext(name)[0] + suffix


def _told_apart(names: list[str], suffix: Callable[[str], str]) -> dict[str, str]:
    """Result names for the images of a folder whose plain ones are equal: x.jpg → x.jpg.png.

    Names that differ in case alone count as equal, as many file systems have it.
    """

    def plain(name: str) -> str:
        return _renamed(name, suffix(name)).casefold()

    # By hashes, eight bytes each: the names of a large folder once more would be megabytes.
    hashes = np.sort(np.fromiter((hash(plain(name)) for name in names), np.int64, len(names)))
    twice = set(hashes[:-1][hashes[1:] == hashes[:-1]].tolist())
    if not twice:
        return {}
    counts = Counter(p for p in map(plain, names) if hash(p) in twice)
    equal = {p for p, n in counts.items() if n > 1}
    taken = {plain(name) for name in names} - equal
    special = {}
    for name in names:
        if plain(name) in equal:
            candidate, number = f"{name}{suffix(name)}", 1
            while candidate.casefold() in taken:
                number += 1
                candidate = f"{name}_{number}{suffix(name)}"
            taken.add(candidate.casefold())
            special[name] = candidate
    return special


def _free(path: Path, taken: set[Path], overwrite: bool) -> Path:
    """The path, or the first of path_2, path_3, … that is not taken and does not exist."""
    candidate, number = path, 1
    while candidate in taken or (not overwrite and os.path.lexists(candidate)):
        number += 1
        candidate = path.with_stem(f"{path.stem}_{number}")
    return candidate


def arrivals(plan: Callable[[], Plan], stop: Event, every: float = 1.0) -> Iterator[list[Job]]:
    """The jobs whose files are new or changed, some at a time, until ``stop`` is set.

    The plan is made again ``every`` so many seconds. A file that two plans in a row find with
    the same size and time of change has settled: nobody writes it any more.
    """
    handled: dict[str, tuple[int, int]] = {}
    before: dict[str, tuple[int, int]] = {}
    while not stop.is_set():
        now: dict[str, tuple[int, int]] = {}
        settled = []
        for job in plan().jobs:
            source = os.fspath(job.source)
            try:
                status = os.stat(source)
            except OSError:
                continue
            state = (status.st_size, status.st_mtime_ns)
            if handled.get(source) == state:
                continue
            if before.get(source) == state:
                handled[source] = state
                settled.append(job)
            else:
                now[source] = state
        before = now
        if settled:
            yield settled
        # Some files were done in no time; that others stayed the same meanwhile says nothing.
        stop.wait(every)
