"""Jobs: the images to project, each with the file that its result is written to.

Folders are listed, not loaded. Of each file only two names are kept, and a ``Job`` is built when
its turn comes, so that a folder of 100,000 images takes about 20 MB of memory.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload
from zlib import crc32

STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class Job:
    """One image to project.

    source: a file, or STDIN. output: the file to write. within: whether it is of a folder or glob,
    whose existing outputs are skipped. data: the file's bytes, where they were read already.
    place: of the output below the folder that the results of all inputs are put into.
    """

    source: Path
    output: Path
    within: bool = False
    data: bytes | None = None
    place: Path = field(default=Path(), compare=False)


@dataclass(frozen=True)
class Folder:
    """The images of one folder, without its subfolders: names of files and of their results.

    place: of the target, as a job's.
    """

    source: Path
    target: Path
    place: Path
    names: list[tuple[str, str]]

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Job]:
        for name, result in self.names:
            yield Job(
                self.source / name, self.target / result, within=True, place=self.place / result
            )


class Jobs(Sequence[Job]):
    """Jobs in order, most of which are built only when they are asked for."""

    def __init__(self, parts: Sequence["Folder | Sequence[Job]"]) -> None:
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
        """Return the jobs of one of ``world`` processes, which share them out among each other.

        The name of a job decides, so that processes agree though their listings may differ.
        """

        def mine(path: Path) -> bool:
            return crc32(os.fsencode(path)) % world == rank

        parts: list[Folder | Sequence[Job]] = []
        for part in self._parts:
            if isinstance(part, Folder):
                names = [pair for pair in part.names if mine(part.source / pair[0])]
                parts.append(replace(part, names=names))
            else:
                parts.append([job for job in part if mine(job.source)])
        return Jobs(parts)
