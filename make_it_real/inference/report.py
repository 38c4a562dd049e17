"""The result of each file, and the report: one JSON line a file, appended as a whole."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from make_it_real.errors import MirError, ReportError

Status = Literal["changed", "unchanged", "skipped", "failed"]
# Of inputs that have a result now, in the order of a summary.
WRITTEN: tuple[Status, ...] = ("changed", "unchanged")
# A line of a report is shorter by far.
LONGEST_LINE = 2**20


@dataclass(frozen=True)
class Result:
    """The result of one input.

    status: changed; unchanged (f changed no 8-bit level of what was written; ``reason`` says why
    where f was not applied); skipped (the output existed); or failed (``reason`` says why).
    warnings: what of the file was not used. inverted, done: how the image was brought into the
    model's frame. drift_before, drift_after: |f(x) − x| and |f(y) − y| of the fitted input and of
    the result, in image units (0–2), where asked for; of several faces in one image their
    mean; a model of any size has no drift_after, and drift_before is |f^k(x) − x|. percentile: of
    the fitted input among the images that the model was trained on (``scoring.Scores``), of
    several faces the highest; None where the model has no calibration. changed_share: of the
    pixels of what was written, those in which f changed a level.
    model, why: the model that the picture went to, and why it was chosen, where mir chose.
    seconds: reading, fitting and writing it, and its share of its batch's time in f.
    face: number of the face, where each face of the input has its own result. noise, seeds: levels
    and seeds of the variants in the result, if any. part: number of the result among those of its
    input. encoded: bytes of the image file, where they go to stdout. before: the face that f was
    applied to, (C, S, S), where asked for.
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
    percentile: float | None = None
    changed_share: float | None = None
    model: str = ""
    why: str = ""
    seconds: float = 0.0
    face: int = 1
    noise: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    part: int = field(default=1, repr=False)
    encoded: bytes | None = field(default=None, repr=False)
    before: Any = field(default=None, repr=False)


def line(result: Result, **more: Any) -> dict[str, Any]:
    """Return a result as a JSON object: its fields without images, and ``more``."""
    bare = asdict(replace(result, encoded=None, before=None))
    hidden = ("encoded", "before", "part")
    fields = {key: value for key, value in bare.items() if key not in hidden}
    return fields | more


def part(path: Path, rank: int) -> Path:
    """Return the path of a process's own report, until it is merged with that of rank 0."""
    return path.with_name(f"{path.name}.rank{rank}") if rank else path


def check(path: Path) -> None:
    """Raise ReportError for a file that holds anything but a report. The file is only read.

    It must have one whole line. A last line that a killed process left unfinished does not count.
    """
    try:
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                _whole(file.fileno(), path)
    except OSError:
        # Whoever writes it will say what is wrong.
        return


def _whole(file: int, path: Path) -> int:
    """Count the bytes of a report's whole lines. Raises ReportError for what is no report."""
    size = os.fstat(file).st_size
    start = max(0, size - LONGEST_LINE)
    os.lseek(file, start, os.SEEK_SET)
    tail = os.read(file, size - start)
    *_, last, _ = b"", *tail.split(b"\n")
    try:
        fields = json.loads(last)
    except (ValueError, RecursionError):
        fields = None
    if not (isinstance(fields, dict) and fields.keys() >= {"input", "output", "status"}):
        raise ReportError(f"{path} is no report of mir's: give --report a new file, or a report")
    return start + tail.rindex(b"\n") + 1


class Report:
    """Appends to a file of JSON lines. An unfinished last line of a killed process is cut off.

    Raises ReportError for a file that holds anything else, MirError where it can't be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Appending is atomic: two jobs with one report don't write into each other's lines.
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            size = os.fstat(self._file).st_size
            if size and (end := _whole(self._file, path)) < size:
                os.ftruncate(self._file, end)
        except ReportError:
            os.close(self._file)
            raise
        except OSError as error:
            raise self._failed(error) from error

    def add(self, fields: Mapping[str, Any]) -> None:
        data = json.dumps(fields).encode() + b"\n"
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(f"no room for all of a line of {len(data)} bytes")
        except OSError as error:
            raise self._failed(error) from error

    def merge(self, part: Path) -> None:
        """Append the lines of another report and remove it. What is no report stays."""
        try:
            check(part)
            lines = part.read_bytes().splitlines(keepends=True)
            os.write(self._file, b"".join(x for x in lines if x.endswith(b"\n")))
            part.unlink()
        except ReportError:
            return
        except OSError as error:
            raise self._failed(error) from error

    def merge_parts(self) -> None:
        """Append the reports of the other processes of this job, and remove them."""
        pattern = re.compile(re.escape(self.path.name) + r"\.rank[0-9]+")
        for part in sorted(self.path.parent.iterdir()):
            if pattern.fullmatch(part.name):
                self.merge(part)

    def close(self) -> None:
        os.close(self._file)

    def _failed(self, error: OSError) -> MirError:
        return MirError(f"can't write {self.path}: {error.strerror or error}")
