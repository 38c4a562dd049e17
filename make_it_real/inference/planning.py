"""Plan a job: which files to project, and the names of the results."""

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from make_it_real.files import free_path
from make_it_real.images.decode import SUFFIXES
from make_it_real.images.listing import expand, fixed_part, is_within, list_images
from make_it_real.inference.jobs import STDIN, Folder, Job, Jobs
from make_it_real.inference.naming import (
    OUTPUT_SUFFIXES,
    Format,
    result_names,
    result_suffix,
    without_results,
)
from make_it_real.inference.report import Result


@dataclass(frozen=True)
class Plan:
    """The jobs, and the inputs that can't be a job."""

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

    Without ``output``, sketch.jpg becomes sketch_real.png beside it, and photos/ becomes
    photos_real/ with the same tree inside. word: the "real" of these names; where it is empty,
    inputs are listed only. output: a file for a single image, if it has the suffix of one and not
    ``into_folder``; else a folder, with a folder in it for each of several folders and globs.
    format: of the results; PNG by default, "same" keeps PNG, JPEG and WEBP. The result of a named
    file takes the next free number. Results of folders and globs have the same names in every
    call, and are never inputs themselves. A folder is searched once, and a file named twice is
    one job. Raises ValueError for several inputs to one file, and for an output of another kind.
    """
    matches = {item: expand(item) for item in inputs}
    expanded = [match for item in inputs for match in matches[item]]
    planner = _Planner(
        output=output,
        to_file=_is_one_file(output, expanded, into_folder, format),
        several=len(expanded) > 1,
        parted=len(inputs) > 1,
        recursive=recursive,
        overwrite=overwrite,
        format=format,
        stdin=stdin,
        word=word,
        named={os.path.realpath(item) for item in expanded if not os.path.isdir(item)},
    )
    for item in inputs:
        if matches[item] == [item] or planner.to_file:
            planner.add(matches[item][0])
        else:
            planner.add_glob(item, matches[item])
    return Plan(Jobs(planner.parts), tuple(planner.failed))


def _is_one_file(
    output: Path | None, expanded: list[str], into_folder: bool, format: Format | None
) -> bool:
    """Tell whether an output is one file. Raises ValueError where it can't be written as that."""
    suffix = "" if output is None or into_folder or output.is_dir() else output.suffix.lower()
    to_file = suffix in OUTPUT_SUFFIXES
    if suffix in SUFFIXES and not to_file:
        raise ValueError(f"-o {output}: results are written as {', '.join(OUTPUT_SUFFIXES)}")
    if to_file and (len(expanded) > 1 or any(os.path.isdir(item) for item in expanded)):
        raise ValueError(f"-o {output} is one file, but there are several inputs: name a folder")
    if to_file and format not in (None, "same", {"jpeg": "jpg"}.get(suffix[1:], suffix[1:])):
        raise ValueError(f"-o {output} is no {format} file: leave --format out, or name another")
    return to_file


@dataclass(kw_only=True)
class _Planner:
    """Turns inputs into parts of a plan, one after the other.

    several: whether there is more than one input. parted: the same, with a glob counted as one.
    named: real paths of inputs that are files, which folders leave out. sources, taken, visited:
    files, results and folders (device, inode) of the inputs so far.
    """

    output: Path | None
    to_file: bool
    several: bool
    parted: bool
    recursive: bool
    overwrite: bool
    format: Format | None
    stdin: bytes | None
    word: str
    named: set[str]
    parts: list[Folder | list[Job]] = field(default_factory=list)
    failed: list[Result] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    taken: set[Path] = field(default_factory=set)
    visited: set[tuple[int, int]] = field(default_factory=set)

    def add(self, item: str) -> None:
        """Add one input: a file, a folder or "-"."""
        path = Path(item)
        if path != STDIN and os.path.isdir(path):
            self.add_folder(item, path)
        elif path != STDIN and not os.path.exists(path):
            is_glob = glob.has_magic(item)
            self.fail(item, "no file matches" if is_glob else "no such file or folder")
        else:
            self.add_file(path)

    def add_glob(self, item: str, matches: list[str]) -> None:
        """Add what a glob matches; as with a folder, what has a result is skipped later."""
        root = fixed_part(item)
        folders: dict[Path, list[str]] = {}
        for match in matches:
            path = Path(match)
            if os.path.isdir(path):
                self.add_folder(match, path)
            elif not os.path.exists(path):
                self.fail(match, "no such file or folder")
            else:
                folders.setdefault(path.parent, []).append(path.name)
        target = self.glob_target(item, root)
        for folder, names in folders.items():
            word, here = self.word and f"_{self.word}", folder
            if target:
                if is_within(folder, target) and not is_within(root, target):
                    continue
                word, here = "", target / folder.relative_to(root)
            names = without_results(names, word)
            pairs = []
            for name, result in zip(names, result_names(names, self.format, word), strict=True):
                real = os.path.realpath(folder / name)
                if real not in self.sources:
                    self.sources.add(real)
                    free = free_path(here / result, self.taken, overwrite=True)
                    self.taken.add(free)
                    pairs.append((name, free.name))
            place = folder.relative_to(root)
            if self.parted:
                place = (target or root.resolve()).name / place
            self.parts.append(Folder(folder, here, place, pairs))

    def glob_target(self, item: str, root: Path) -> Path | None:
        """Choose the folder for results of a glob that searches in ``root``; None: beside each."""
        if self.output is None:
            return None
        target = self.output
        if self.parted:
            target = free_path(target / root.resolve().name, self.taken, overwrite=True)
            self.taken.add(target)
        if os.path.realpath(target) == os.path.realpath(root) and not self.overwrite:
            raise ValueError(f"-o {target} is the folder of {item}; name another, or --overwrite")
        return target

    def fail(self, item: str, reason: str) -> None:
        self.failed.append(Result(item, "", "failed", reason))

    def add_folder(self, item: str, path: Path) -> None:
        target = self.folder_target(item, path)
        listed, failed = list_images(path, target, self.visited, recursive=self.recursive)
        for here, names in listed:
            if self.named:
                names = [n for n in names if os.path.realpath(here / n) not in self.named]
            pairs = list(zip(names, result_names(names, self.format), strict=True))
            inside = here.relative_to(path)
            place = target.name / inside if self.several else inside
            self.parts.append(Folder(here, target / inside, place, pairs))
        for inner, reason in failed:
            self.fail(str(inner), reason)
        # Of a folder that an earlier input led to, nothing is listed again.
        if (listed or failed) and not any(names for _, names in listed):
            deeper = "" if self.recursive else "; -r searches its subfolders too"
            self.fail(item, f"no images in this folder{deeper}")

    def folder_target(self, item: str, path: Path) -> Path:
        """Choose the folder for the results of an input folder."""
        name = path.resolve().name
        if not (self.output or name):
            raise ValueError(f"{item} has no name to add _{self.word} to: name a folder with -o")
        target = self.output or path.resolve().with_name(f"{name}_{self.word}")
        if self.output and self.several:
            # Two folders may hold equal names: each keeps its own.
            target = free_path(self.output / name, self.taken, overwrite=True)
            self.taken.add(target)
        if os.path.realpath(target) == os.path.realpath(path) and not self.overwrite:
            raise ValueError(f"-o {target} is the input folder; name another, or --overwrite")
        return target

    def add_file(self, path: Path) -> None:
        real = os.path.realpath(path)
        if path == STDIN or real not in self.sources:
            self.sources.add(real)
            target = self.file_target(path)
            self.taken.add(target)
            data = self.stdin if path == STDIN else None
            self.parts.append([Job(path, target, data=data, place=Path(target.name))])

    def file_target(self, path: Path) -> Path:
        """Choose the file for the result of an input file."""
        if self.to_file and self.output is not None:
            return self.output
        stem = "stdin" if path == STDIN else path.stem
        folder = self.output or (Path() if path == STDIN else path.parent)
        ending = result_suffix(path.name, self.format)
        name = f"{stem}{ending}" if self.output else f"{stem}_{self.word}{ending}"
        return free_path(folder / name, self.taken, overwrite=self.overwrite)


def arrivals(plan: Callable[[], Plan], stop: Event, every: float = 1.0) -> Iterator[list[Job]]:
    """Yield jobs whose files are new or changed, some at a time, until ``stop`` is set.

    plan: makes a plan, which is done again after every ``every`` seconds. A file is taken once
    two plans in a row see the same size and time of change: then nobody writes it any more.
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
