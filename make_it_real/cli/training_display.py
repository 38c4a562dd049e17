"""What mir train shows while it trains: a live line on a terminal, else a line a minute."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from make_it_real.cli import console

if TYPE_CHECKING:
    from rich.console import Console

    from make_it_real.training.events import Logged, Step

    Show = Callable[[Step | Logged], None]

# The first two of these that a run has are shown: D(f(x), x), D(f(Ax), x), D(f(f(z)), f(z)), and
# the paper's last term.
FIGURES = ("rec", "restore", "idem", "tight")
LINE_EVERY = 60.0
# Seconds between readings of a step's own figures, before there is a log.
READ_EVERY = 5.0
# The narrowest bar that still says something.
LEAST_BAR = 5


class Status:
    """How far a run is, in words. step: as it begins; limit: seconds it may take."""

    def __init__(
        self, step: int, limit: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from make_it_real.training.events import Pace

        self.limit, self.clock, self.start = limit, clock, clock()
        self.pace = Pace(step, clock)
        self.step: Step | None = None
        self.figures: list[str] = []
        self.logged, self.read = False, self.start

    def add(self, event: "Step | Logged") -> None:
        """Take note of a step, or of a line of the log."""
        from make_it_real.training.events import Step

        if isinstance(event, Step):
            self.step = event
            self.pace.add(event.number)
            # Means over many steps come with the log; where steps take long, that is late.
            if not self.logged and self.clock() - self.read >= READ_EVERY:
                self.read, self.figures = self.clock(), figures(event.terms)
        else:
            self.logged, self.figures = True, figures(event.line)

    @property
    def share(self) -> float:
        """The part that is done, 0 to 1: of the steps, or of the time where that ends it."""
        steps = self.step.number / self.step.total if self.step else 0.0
        passed = (self.clock() - self.start) / self.limit if self.limit else 0.0
        return min(1.0, max(steps, passed))

    @property
    def done(self) -> str:
        """1,234/12,000, or 12.3/30 min where --minutes is given."""
        if self.limit is not None:
            return f"{(self.clock() - self.start) / 60:.1f}/{self.limit / 60:g} min"
        return f"{self.step.number:,}/{self.step.total:,}" if self.step else ""

    @property
    def facts(self) -> list[str]:
        """Images a second and the time left, once they are known, and two figures."""
        from make_it_real.training.events import duration, rate

        seconds = self.pace.seconds
        if self.step is None or not seconds:
            return self.figures
        left = seconds * (self.step.total - self.step.number)
        if self.limit is not None:
            left = min(left, max(0.0, self.limit - (self.clock() - self.start)))
        return [rate(self.step.batch / seconds), f"{duration(left)} left", *self.figures]


def figures(terms: Mapping[str, Any]) -> list[str]:
    """The two to be shown of some terms, which may be tensors."""
    return [f"{name} {float(terms[name]):.3f}" for name in FIGURES if name in terms][:2]


@contextmanager
def training_display(
    step: int, limit: float | None, clock: Callable[[], float] = time.monotonic
) -> "Iterator[Show]":
    """Show a run from a step on; yields what to call with each step and line of its log.

    limit: seconds that it may take, if it has any. clock: gives the time in seconds.
    """
    status = Status(step, limit, clock)
    if not console.is_quiet() and sys.stderr.isatty():
        from rich.console import Console

        with live(status, Console(stderr=True, markup=False, highlight=False)) as show:
            yield show
        return
    last = clock()

    def line(event: "Step | Logged") -> None:
        nonlocal last
        status.add(event)
        if clock() - last >= LINE_EVERY:
            last = clock()
            where = status.done if limit is not None else f"step {status.done}"
            console.say(", ".join([where, *status.facts]))

    yield line


@contextmanager
def live(status: Status, terminal: "Console") -> "Iterator[Show]":
    """One line that a bar fills up to the terminal's width."""
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    def text(field: str) -> Any:
        return TextColumn(f"{{task.fields[{field}]}}", table_column=Column(no_wrap=True))

    bar = Progress(
        text("done"), BarColumn(bar_width=None, table_column=Column(ratio=1)), text("facts"),
        console=terminal, expand=True, refresh_per_second=4,
        # Else what is printed on a stdout that goes to a file would end up on the terminal.
        redirect_stdout=sys.stdout.isatty(),
    )  # fmt: skip
    with bar:
        task = bar.add_task("", total=1.0, done="", facts="")

        def show(event: "Step | Logged") -> None:
            status.add(event)
            facts = fitting(status.done, status.facts, terminal.width)
            bar.update(task, completed=status.share, done=status.done, facts=facts)

        yield show


def fitting(done: str, facts: list[str], width: int) -> str:
    """As many of the facts, from the first, as leave room for a bar in so many columns."""
    for count in range(len(facts), 0, -1):
        text = " · ".join(facts[:count])
        # A space on each side of the bar.
        if len(done) + 1 + LEAST_BAR + 1 + len(text) <= width:
            return text
    return ""
