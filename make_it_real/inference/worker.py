"""A worker of folder jobs: takes a batch of files all the way, read, fit, f^k, write.

One bad file costs one line of the report and nothing else.
"""

import os
import time
from collections import deque
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Lock
from typing import Any

import torch
from torch import Tensor

from make_it_real import files
from make_it_real.errors import ImageError, NoFaceError, OutputExistsError, one_line
from make_it_real.images import encode
from make_it_real.images.alignment import Similarity
from make_it_real.images.decode import MAX_PIXELS, Picture, read, read_bytes
from make_it_real.images.framing import Fit, Fitted, Framing, fit_all
from make_it_real.images.paste_back import outcome
from make_it_real.images.pixels import enlarged, mean_abs
from make_it_real.inference.jobs import Job
from make_it_real.inference.naming import OUTPUT_SUFFIXES, face_name
from make_it_real.inference.projection import project, project_with_change
from make_it_real.inference.report import Result, Status
from make_it_real.inference.scoring import percentile
from make_it_real.models.ign import IGN

# Decoded pictures that wait for f in one worker; at 12 bytes a pixel some 400 MB.
HELD_PIXELS = 32_000_000
# Pictures up to this size cost more Python than decoding.
SMALL_PIXELS = 65_536
_EXISTS = "the output exists; --overwrite replaces it"


@dataclass(frozen=True)
class Settings:
    """How to project: k, batch size, fitting, and what to do with files that exist.

    restore_size: write results at the size of their inputs. None does so for photographs: for
    pictures larger than the model's images, where these have no background. drift: measure it,
    which applies f once more. quantiles: of the model's calibration (``scoring.checked``), for each
    input's percentile, which costs nothing. quality: of JPEG and WEBP. text: written into each PNG
    as text chunks. keep_metadata: pass on EXIF and colour profile. to_stdout: return the encoded
    image in the result instead of writing it. keep_before: return each face as f was shown it, too.
    scale: enlarge results at the model's size so many times, without smoothing.
    """

    framing: Framing
    steps: int = 1
    batch: int = 64
    how: Fit = "auto"
    invert: bool | None = None
    restore_size: bool | None = None
    drift: bool = False
    quantiles: list[float] | None = None
    overwrite: bool = False
    max_pixels: int = MAX_PIXELS
    quality: int | None = None
    text: dict[str, str] = field(default_factory=dict)
    keep_metadata: bool = False
    to_stdout: bool = False
    keep_before: bool = False
    scale: int = 1


@dataclass
class _Item:
    """A job on its way, with its picture and the images that it was fitted to.

    data: the picture's file. fitted: none where a model of faces has nothing to do, and reason
    says why. restore: the result is the whole picture. warnings, notes: of reading and fitting.
    seconds: what that took.
    """

    job: Job
    data: bytes
    picture: Picture
    fitted: tuple[Fitted, ...]
    restore: bool
    reason: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float


class Worker:
    """Does batches, from files to files. Several threads use it at once."""

    def __init__(
        self, f: IGN, settings: Settings, turn: AbstractContextManager[Any], stop: Event
    ) -> None:
        self.f, self.settings, self.turn, self.stop = f, settings, turn, stop
        self.closed = False
        self.files, self.small = Lock(), True
        self.swept: set[Path] = set()
        self.made: set[Path] = set()

    def stopping(self) -> bool:
        return self.closed or self.stop.is_set()

    def do(self, jobs: list[Job]) -> list[Result]:
        """Read, project and write one batch, in parts where its pictures are large."""
        results: list[Result] = []
        waiting = deque(jobs)
        while waiting and not self.stopping():
            results += self.flush(self.read_some(waiting))
        return results

    def read_some(self, jobs: deque[Job]) -> list["_Item | Result"]:
        """Take jobs off the front and read them, up to as many pixels as may wait for f."""
        held: list[_Item | Result] = []
        pixels = 0
        with self.files_turn():
            while jobs and pixels < HELD_PIXELS and not self.stopping():
                held.append(item := self.read(jobs.popleft()))
                pixels += item.picture.colour[0].numel() if isinstance(item, _Item) else 0
        self.small = pixels <= SMALL_PIXELS * len(held)
        return held

    def files_turn(self) -> AbstractContextManager[Any]:
        """Return the lock for reading and writing.

        With small files nearly all time is spent in Python, which runs one thread at a time: two
        workers would slow each other, and f in a third. Large files are decoded side by side.
        """
        return self.files if self.small else nullcontext()

    def flush(self, held: list[_Item | Result]) -> list[Result]:
        """Project and write what was read: results in order, none for what ``stop`` left out."""
        items = [item for item in held if isinstance(item, _Item)]
        written = iter(self.project(items) if items else ())
        results = ([item] if isinstance(item, Result) else next(written, []) for item in held)
        return [result for some in results for result in some]

    def read(self, job: Job) -> _Item | Result:
        """Read and fit the picture of a job; a Result where that is all, or fails."""
        start, settings = time.perf_counter(), self.settings
        source, target = str(job.source), str(job.output)
        if not settings.to_stdout:
            if job.output.parent not in self.swept:
                self.swept.add(job.output.parent)
                files.sweep(job.output.parent)
            if not settings.overwrite and os.path.lexists(job.output):
                status: Status = "skipped" if job.within else "failed"
                return Result(source, target, status, _EXISTS)
        try:
            data = read_bytes(job.source) if job.data is None else job.data
            picture = read(data, max_pixels=settings.max_pixels)
            fitted, reason, notes = self.fit(picture)
        except ImageError as error:
            return Result(source, target, "failed", str(error))
        except Exception as error:
            # Whatever else one file can bring about, memory it has too many pixels for included.
            return Result(source, target, "failed", f"{type(error).__name__}: {one_line(error)}")
        cautions = picture.warnings + (fitted[0].warnings if fitted else ())
        restore = settings.restore_size
        if restore is None:
            larger = max(picture.colour.shape[1:]) > self.f.config.image_size
            restore = larger and settings.framing.background is None
        if settings.to_stdout and not restore and len(fitted) > 1:
            cautions += (f"stdout takes one image, so of {len(fitted)} faces only the largest",)
            fitted = fitted[:1]
        seconds = time.perf_counter() - start
        return _Item(job, data, picture, fitted, restore, reason, cautions, notes, seconds)

    def fit(self, picture: Picture) -> tuple[tuple[Fitted, ...], str, tuple[str, ...]]:
        """Fit a picture: (the images for f, why there are none, other notes)."""
        settings, config = self.settings, self.f.config
        try:
            fitted = fit_all(
                picture,
                config.image_size,
                config.channels,
                settings.framing,
                how=settings.how,
                invert=settings.invert,
            )
        except NoFaceError as error:
            if settings.how == "faces":
                raise
            others = f"0 of {error.others} faces: too small, turned away or none"
            return (), str(error), (*picture.notes, others) if error.others else picture.notes
        return fitted, "", tuple(dict.fromkeys(note for one in fitted for note in one.done))

    def project(self, items: list[_Item]) -> list[list[Result]]:
        """Apply f^k to fitted pictures and write them: Results of each, until ``stop`` is set."""
        start = time.perf_counter()
        settings = self.settings
        channels, size = self.f.config.channels, self.f.config.image_size
        nothing = torch.empty(0, channels, size, size)
        x = torch.cat([nothing, *(one.image[None] for item in items for one in item.fitted)])
        figures: dict[str, list[float]] = {}
        with self.turn:
            # The first step tells how real the inputs are; the others follow from its results.
            if settings.quantiles:
                fx, r = project_with_change(self.f, x, batch=settings.batch)
                changes = r.abs().mean((1, 2, 3)).tolist()
                figures["percentile"] = [percentile(settings.quantiles, one) for one in changes]
            else:
                fx = self.f_of(x)
            y = fx if settings.steps == 1 else self.f_of(fx, settings.steps - 1)
            if settings.drift:
                figures["drift_before"] = mean_abs(fx.cpu(), x).tolist()
                figures["drift_after"] = mean_abs(self.f_of(y), y).tolist()
            y = y.cpu()
        share = (time.perf_counter() - start) / max(1, len(x))
        results: list[list[Result]] = []
        first = 0
        with self.files_turn():
            for item in items:
                if self.stopping() and results:
                    break
                mine = slice(first, first + len(item.fitted))
                some = {name: values[mine] for name, values in figures.items()}
                results.append(self.finish(item, y[mine], some, share))
                first = mine.stop
        return results

    def f_of(self, images: Tensor, steps: int = 1) -> Tensor:
        """Compute f^steps; a photo of many faces comes to more images than a batch takes."""
        return project(self.f, images, steps, batch=self.settings.batch)

    def finish(
        self,
        item: _Item,
        y: Tensor,
        figures: dict[str, list[float]],
        share: float,
    ) -> list[Result]:
        """Write what f made of a picture, y (N, C, S, S): one file, or one for each face.

        figures: fields of Result by name, a value for each image (N). share: seconds that each
        image took in f.
        """
        faces = list(zip(item.fitted, y, strict=True))
        together = item.restore or not faces
        # A folder job that goes on takes the first file for a sign that all are there.
        parts = [range(len(faces))] if together else [range(i, i + 1) for i in range(len(faces))]
        results = []
        for part in reversed(parts):
            start = time.perf_counter()
            some = faces[part.start : part.stop]
            output = item.job.output
            if part.start:
                output = face_name(item.job.source, output, part.start + 1)
            first = None if together else some[0][0]
            keep = first and self.settings.keep_before and isinstance(first.frame, Similarity)
            result = Result(
                str(item.job.source),
                str(output),
                "changed",
                item.reason,
                warnings=() if part.start else item.warnings,
                inverted=any(fitted.inverted for fitted, _ in some),
                done=first.done if first else item.notes,
                face=part.start + 1,
                before=first.image if first and keep else None,
            )
            result = self.write(item, output, some, _with_figures(result, figures, part))
            seconds = time.perf_counter() - start + share * len(part)
            seconds += item.seconds / len(parts)
            results.append(replace(result, seconds=round(seconds, 6)))
        return results[::-1]

    def write(
        self, item: _Item, output: Path, some: list[tuple[Fitted, Tensor]], result: Result
    ) -> Result:
        """Write f^k(x) in the size and format, and with the metadata, that were asked for."""
        settings, job, picture = self.settings, item.job, item.picture
        kind = OUTPUT_SUFFIXES[output.suffix.lower()]
        try:
            done = outcome(picture, some, restore=item.restore)
            result = replace(result, status="changed" if done.changed else "unchanged")
            keep = settings.keep_metadata
            scale = 1 if item.restore or not some else settings.scale
            if (
                scale == 1
                and done.as_given
                and encode.may_copy(
                    item.data, picture, kind, quality=settings.quality, keep_metadata=keep
                )
            ):
                data = item.data
            else:
                data = encode.encode(
                    enlarged(done.image, scale),
                    kind,
                    settings.text,
                    alpha=None if done.alpha is None else enlarged(done.alpha, scale),
                    quality=settings.quality,
                    exif=picture.metadata.exif if keep else None,
                    icc=picture.metadata.icc if keep else None,
                )
            if settings.to_stdout:
                return replace(result, output="-", encoded=data)
            if output.parent not in self.made:
                files.make_folder(output.parent)
                self.made.add(output.parent)
            files.write_bytes(output, data, overwrite=settings.overwrite)
        except OutputExistsError:
            # Another job on the same folder was quicker, and its file is as good.
            return replace(result, status="skipped" if job.within else "failed", reason=_EXISTS)
        except Exception as error:
            known = isinstance(error, ImageError)
            reason = str(error) if known else f"{type(error).__name__}: {one_line(error)}"
            return replace(result, status="failed", reason=reason)
        return result


def _with_figures(result: Result, figures: dict[str, list[float]], part: range) -> Result:
    """Add the figures of a part of the images: the highest percentile, of all else the mean."""
    values = {name: each[part.start : part.stop] for name, each in figures.items() if part}
    more: dict[str, Any] = {
        name: max(each) if name == "percentile" else sum(each) / len(each)
        for name, each in values.items()
    }
    return replace(result, **more)
