"""Results of folder jobs → files: in the size and format, and with the metadata, asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor

from make_it_real import files
from make_it_real.errors import ImageError, OutputExistsError, one_line
from make_it_real.images import encode
from make_it_real.images.decode import Picture
from make_it_real.images.framing import Fitted
from make_it_real.images.paste_back import Outcome, finished
from make_it_real.images.pixels import enlarged, interpolated
from make_it_real.inference import plots
from make_it_real.inference.jobs import Job
from make_it_real.inference.naming import OUTPUT_SUFFIXES, heat_name
from make_it_real.inference.report import Result, Status
from make_it_real.inference.settings import Model, Settings

EXISTS = "the output exists; --overwrite replaces it"


@dataclass
class Item:
    """A job on its way, with its picture, the model for it, and the images that it was fitted to.

    data: the picture's file. why: why that model was chosen, where mir chose. fitted: none where a
    model of faces has nothing to do, and reason says why; and none for a model of any size.
    restore: the result is the whole picture. warnings, notes: of reading and fitting. seconds: what
    that took.
    """

    job: Job
    data: bytes
    picture: Picture
    model: Model
    why: str
    fitted: tuple[Fitted, ...]
    restore: bool
    reason: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float


def failure(error: Exception) -> str:
    """Say in one line why a file failed. It may be anything that one file can bring about."""
    known = isinstance(error, ImageError)
    return str(error) if known else f"{type(error).__name__}: {one_line(error)}"


class Writer:
    """Writes outcomes. Several threads use it at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.made: set[Path] = set()

    def write(
        self,
        item: Item,
        output: Path,
        make: Callable[[], Outcome],
        result: Result,
        faces: Sequence[Fitted] = (),
        text: Mapping[str, str] | None = None,
    ) -> Result:
        """Write the outcome that ``make`` computes, and return the result with its status.

        faces: what the outcome is of, where it is not of the whole picture. text: for a PNG, beside
        the model's.
        """
        try:
            done = make()
            changed: Status = "changed" if done.changed else "unchanged"
            result = replace(result, status=changed, changed_share=done.share)
            if self.settings.heat:
                path = heat_name(self.settings.heat, item.job.place.with_name(output.name))
                self.write_bytes(path, self.heat(item, faces, done.image))
            if item.restore and not result.noise:
                # Nothing more is made of the picture: large ones need the room that it took.
                item.picture = replace(item.picture, colour=done.image)
            own = item.model.text
            said = {**own, **(text or {})} if own else own
            data = self.encoded(item, output, done, self.settings.scale if faces else 1, said)
            if self.settings.to_stdout:
                return replace(result, output="-", encoded=data)
            self.write_bytes(output, data)
        except OutputExistsError:
            # Another job on the same folder was quicker, and its file is as good.
            again = item.job.within or len(self.settings.variations.sheets()) > 1
            status: Status = "skipped" if again else "failed"
            return replace(result, status=status, reason=EXISTS)
        except Exception as error:
            return replace(result, status="failed", reason=failure(error))
        return result

    def encoded(
        self, item: Item, output: Path, done: Outcome, scale: int, text: Mapping[str, str]
    ) -> bytes:
        """Encode an outcome, or take the picture's own file where that is the same."""
        settings, picture = self.settings, item.picture
        kind, keep = OUTPUT_SUFFIXES[output.suffix.lower()], settings.keep_metadata
        if (
            scale == 1
            and done.as_given
            and encode.may_copy(
                item.data,
                picture,
                kind,
                quality=settings.quality,
                keep_metadata=keep,
                level=settings.png_level,
            )
        ):
            return item.data
        return encode.encode(
            enlarged(done.image, scale),
            kind,
            text,
            alpha=None if done.alpha is None else enlarged(done.alpha, scale),
            quality=settings.quality,
            level=settings.png_level,
            exif=picture.metadata.exif if keep else None,
            icc=picture.metadata.icc if keep else None,
            bits=done.bits,
        )

    def heat(self, item: Item, faces: Sequence[Fitted], image: Tensor) -> bytes:
        """Draw where an image (C, H, W) in [−1, 1] was changed, as a PNG."""
        given = item.picture.colour
        if faces:
            given = finished(item.picture, faces[0], faces[0].image)[0] / 2 + 0.5
        given = interpolated(given, image.shape[1] // given.shape[1], 0)
        return encode.encode(plots.heat_map(given, image))

    def write_bytes(self, path: Path, data: bytes) -> None:
        """Write a file in a folder that is made where it does not exist."""
        if path.parent not in self.made:
            files.make_folder(path.parent)
            self.made.add(path.parent)
        files.write_bytes(path, data, overwrite=self.settings.overwrite)
