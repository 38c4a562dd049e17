"""Errors that a user can fix, each one line that says what to do.

MirError                    the base of all; exit code 1
├── ImageError              an image can't be read, used or written; exit code 1
│   ├── OutputExistsError   the file to write is there already; exit code 1
│   └── NoFaceError         a picture for a model of faces shows none; exit code 1
├── ShapeError              images that f can't take; a ValueError too; exit code 1
├── DataError               a data set can't be read; exit code 2
├── RunError                a run's folder can't be written to; exit code 1
├── ReportError             a file named for a report holds something else; exit code 2
├── SettingsError           settings that nothing can be trained with; exit code 2
├── ExportError             a model can't be exported; exit code 1
├── SourceError             a model that repairs makes no images; a ValueError too; exit code 2
├── RequestError            a request of the page that means nothing; exit code 1
├── BusyError               the page's server has too many requests; exit code 1
├── ServerError             the page can't be served; exit code 1
├── WeightsError            a weights file can't be found, read or trusted; exit code 4
└── DeviceError             the device asked for is not there; exit code 4
"""

import textwrap

NO_FACE = "no face was found"
NO_DETECTOR = (
    "faces can't be looked for without an extra: pip install -c .ci/constraints.txt '.[faces]'"
)


class MirError(Exception):
    """Base of all errors that ``make_it_real`` raises on purpose."""

    exit_code = 1


class ImageError(MirError):
    """An image can't be read, used or written."""


class OutputExistsError(ImageError):
    """The file to write is there already, and replacing it was not asked for."""


class NoFaceError(ImageError):
    """A picture for a model of faces shows none, or nothing is installed that could tell.

    others: how many things were seen that may be faces, but too small or turned away.
    """

    def __init__(self, reason: str, others: int = 0) -> None:
        super().__init__(reason)
        self.others = others


class ShapeError(MirError, ValueError):
    """Images are not of the shape that f takes."""


class RunError(MirError):
    """A training run's folder can't be written to; what was saved there before is kept."""


class ReportError(MirError):
    """A file that a report is to be appended to is no report, and is left as it is."""

    exit_code = 2


class DataError(MirError):
    """A data set can't be found or holds nothing usable."""

    exit_code = 2


class SettingsError(MirError):
    """Settings of a training run that do not exist, mean nothing or do not go together."""

    exit_code = 2


class ExportError(MirError):
    """A model can't be exported, or its export gives other results."""


class SourceError(MirError, ValueError):
    """A model that repairs images, and has no source of z, is asked for images of its own."""

    exit_code = 2


class RequestError(MirError):
    """A request of the page that lacks something, or asks for what there is not."""


class BusyError(MirError):
    """The page's server has too many requests waiting to take another."""


class ServerError(MirError):
    """The page can't be served: an extra is missing, or the port is taken."""


class WeightsError(MirError):
    """A weights file is missing, damaged, of another kind or of a newer format."""

    exit_code = 4


class DeviceError(MirError):
    """The device asked for by name is not available."""

    exit_code = 4


def one_line(error: BaseException) -> str:
    """Put another library's error on one line; torch's have lists and traces of many lines."""
    return textwrap.shorten(str(error), 160, placeholder=" …") or type(error).__name__
