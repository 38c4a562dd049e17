"""What commands say and how they end: messages, progress, signals, exit codes."""

import codecs
import inspect
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from threading import Event
from typing import TYPE_CHECKING, Annotated, Any

import typer

from make_it_real.errors import MirError

if TYPE_CHECKING:
    from collections import Counter

    from rich.progress import Progress


INTERRUPTED = 130
NO_INPUT = 3
# What becomes of a file, in the order of a summary; a test keeps it the library's.
STATUSES = ("changed", "unchanged", "skipped", "failed")
_flag = partial(typer.Option, rich_help_panel="Messages")
# What ``command`` adds to the options of each.
FLAGS = {
    "quiet": Annotated[bool, _flag("--quiet", "-q", help="Print errors only.")],
    "verbose": Annotated[bool, _flag("--verbose", "-v", help="Say more.")],
    "debug": Annotated[bool, _flag("--debug", help="Show the traceback of an error.")],
}

_quiet = False
_verbose = False


def prepare_streams() -> None:
    """Make the standard streams take whatever a command reads or says.

    One that was closed (``>&-``) is opened on nothing, so that no file gets its number. What
    stdout's encoding can't express is escaped by ``_escape``.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nothing = open(os.devnull, mode, encoding="utf-8", errors="replace")  # noqa: SIM115
            setattr(sys, name, nothing)
    codecs.register_error("mir", _escape)
    # Python escapes on stderr whatever its encoding can't express.
    sys.stdout.reconfigure(errors="mir")  # type: ignore[union-attr]


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write one character that an encoding can't express, and go on behind it.

    A byte of a file name that is no valid text is written as it is; anything else as \\u2013.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    code, after = ord(error.object[error.start]), error.start + 1
    if 0xDC80 <= code <= 0xDCFF:
        return bytes([code - 0xDC00]), after
    error.end = after
    return codecs.backslashreplace_errors(error)[0], after


def say(message: str) -> None:
    """A message for people, on stderr, unless --quiet."""
    if not _quiet:
        _to_stderr(message)


def be_quiet() -> None:
    """From here on as with --quiet: another process speaks."""
    global _quiet
    _quiet = True


def is_quiet() -> bool:
    """Whether only errors are printed."""
    return _quiet


def detail(message: str) -> None:
    """A message on stderr for those who asked for more by --verbose."""
    if is_verbose():
        _to_stderr(_on_one_line(message))


def is_verbose() -> bool:
    """Whether anyone reads what ``detail`` says."""
    return _verbose and not _quiet


def complain(message: str) -> None:
    """An error or a warning, one line on stderr."""
    _to_stderr(f"mir: {_on_one_line(message)}")


def _to_stderr(message: str) -> None:
    """Write a line in one piece, which print does not: other processes may write there too."""
    sys.stderr.write(f"{message}\n")
    sys.stderr.flush()


def _on_one_line(message: str) -> str:
    """A message whose control characters are spelt out: file names may have them."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda match: repr(match[0])[1:-1], message)


def command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command FLAGS; turn exceptions into a line on stderr and errors.py's exit code."""

    @wraps(function)
    def wrapped(
        *args: Any, quiet: bool = False, verbose: bool = False, debug: bool = False, **kwargs: Any
    ) -> None:
        global _quiet, _verbose
        _quiet, _verbose = quiet, verbose
        try:
            function(*args, **kwargs)
        except MirError as error:
            if debug:
                traceback.print_exc()
            complain(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            complain("interrupted; what was finished is kept")
            raise typer.Exit(INTERRUPTED) from error
        except BrokenPipeError as error:
            # The reader of stdout has gone; point it elsewhere so that exit stays silent.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from error
        except Exception as error:
            if isinstance(error, typer.Exit | typer.BadParameter):
                raise
            if debug:
                traceback.print_exc()
            text = next(iter(str(error).splitlines()), "")
            complain(f"{type(error).__name__}: {text} (--debug shows where)")
            raise typer.Exit(1) from error

    # Typer reads a command's options off its signature.
    wrapped.__signature__ = _with_flags(inspect.signature(function))  # type: ignore[attr-defined]
    return wrapped


def _with_flags(signature: inspect.Signature) -> inspect.Signature:
    """A signature with FLAGS at its end."""
    flags = (
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in FLAGS.items()
    )
    return signature.replace(parameters=[*signature.parameters.values(), *flags])


@contextmanager
def progress_bar(total: int, what: str) -> "Iterator[Callable[[], None]]":
    """A bar on stderr where that is a terminal; yields what to call for each finished item."""
    if _quiet or not sys.stderr.isatty() or total < 2:
        yield lambda: None
        return
    bar = rich_progress()
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def rich_progress(*columns: Any) -> "Progress":
    """A rich progress display on stderr: bar, count, rate and time left."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(), *columns,
        console=Console(stderr=True), disable=_quiet or not sys.stderr.isatty(),
        # Else what is printed on a stdout that goes to a file would end up on the terminal.
        redirect_stdout=sys.stdout.isatty(),
    )  # fmt: skip


@contextmanager
def job_bar(total: int) -> "Iterator[Callable[[int], None]]":
    """A bar for a folder job, with rate and failures; yields what to call with the latter."""
    if total < 2:
        yield lambda failed: None
        return
    from rich.progress import TextColumn

    with rich_progress(TextColumn("{task.fields[rate]}")) as bar:
        task = bar.add_task("projecting", total=total, rate="")

        def advance(failed: int) -> None:
            bar.advance(task)
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed or 0
            bar.update(task, rate=f"{speed:.0f} images/s" + f", {failed} failed" * bool(failed))

        yield advance


def summary(counts: "Counter[str]", reasons: "Counter[str]", left: int, seconds: float) -> None:
    """What became of a job's files: a table on a terminal, else one line."""
    rows = [(status, n) for status in STATUSES if (n := counts[status])]
    rows += [("not reached", left)] if left else []
    written = counts["changed"] + counts["unchanged"]
    rate = f"{written / seconds:.1f} images/s" if seconds and written else ""
    if _quiet:
        return
    if not sys.stderr.isatty():
        say(", ".join(f"{n} {status}" for status, n in rows))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False)
    for status, n in rows:
        first = status == ("changed" if counts["changed"] else "unchanged")
        table.add_row(status, f"{n:,}", rate if first else "")
    for reason, n in reasons.most_common(5):
        table.add_row("", f"{n:,}", reason)
    Console(stderr=True, markup=False).print(table)


@contextmanager
def stop_on_signals() -> "Iterator[Event]":
    """An event that Ctrl-C or SIGTERM sets, so that what is in hand is finished.

    The same signal once more ends the process where it stands: files appear whole all the same.
    """
    stop = Event()
    seen: set[int] = set()

    def ask(signum: int, frame: object) -> None:
        if signum in seen:
            # Threads that decode or apply f can't be interrupted, and are not waited for.
            os.write(sys.stderr.fileno(), b"mir: stopped at once; what was finished is kept\n")
            os._exit(INTERRUPTED)
        # torchrun passes Ctrl-C on as SIGTERM, after each process has had it already.
        seen.add(signum)
        stop.set()
        say("stopping; once more to stop at once")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
