"""The display of an evaluation: a bar for each section while it is measured, then its tables."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from make_it_real.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress, Task
    from rich.table import Table as RichTable
    from rich.text import Text

    from make_it_real.evaluation.bootstrap import Interval
    from make_it_real.evaluation.report import Cell, Report, Table


def about(seconds: float) -> str:
    """Write a duration roughly: 40 s, 2 min or 1 h 20 min."""
    if seconds < 1:
        return "1 s"
    if seconds < 10:
        return f"{seconds:.0f} s"
    if seconds < 55:
        return f"{10 * round(seconds / 10)} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(10 * round(minutes / 10), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


# Spaces between columns.
GAP = 2


@contextmanager
def bars(totals: Mapping[str, int]) -> "Iterator[Callable[[str, int], None]]":
    """Show how far each stage is; yield what to call with a stage and a number of images.

    totals: number of images by stage, in order. Stages follow each other; each has a bar on a
    terminal, and elsewhere a line when it is done. Both are on stderr.
    """
    if not sys.stderr.isatty():
        yield _Lines(totals)
        return
    with _progress() as progress:
        tasks = {
            stage: progress.add_task(stage, total=total, start=False)
            for stage, total in totals.items()
        }

        def tick(stage: str, images: int) -> None:
            # The clock of a stage starts when the one before it is done.
            progress.advance(tasks[stage], images)
            if progress.tasks[tasks[stage]].finished:
                begin_next()

        def begin_next() -> None:
            waiting = (task.id for task in progress.tasks if not task.started)
            if (following := next(waiting, None)) is not None:
                progress.start_task(following)

        begin_next()
        yield tick


class _Lines:
    """Says when a stage is done, and how long it took."""

    def __init__(self, totals: Mapping[str, int]) -> None:
        self.left, self.start = dict(totals), time.perf_counter()
        self.stages = list(totals)

    def __call__(self, stage: str, images: int) -> None:
        self.left[stage] -= images
        if self.left[stage] <= 0:
            now = time.perf_counter()
            place = f"{self.stages.index(stage) + 1} of {len(self.stages)}"
            console.say(f"{stage} ({place}): done in {about(now - self.start)}")
            self.start = now


def _progress() -> "Progress":
    """Build the display of bars on stderr: stage, bar, images, time; it fits 80 columns."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
    from rich.text import Text

    class Times(ProgressColumn):
        """How long a stage has taken, and about how long it still takes."""

        def render(self, task: "Task") -> "Text":
            if not task.started or task.elapsed is None:
                return Text("")
            if task.finished:
                return Text(about(task.finished_time or 0), style="progress.elapsed")
            left = task.time_remaining
            text = "" if left is None or task.elapsed < 1 else f"{about(left)} left"
            return Text(text, style="progress.remaining")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} images", justify="right"),
        Times(),
        console=Console(stderr=True),
        disable=console.is_quiet(),
        redirect_stdout=sys.stdout.isatty(),
    )


def print_lines(figures: Mapping[str, float]) -> None:
    """Print figures on stdout, a line each, at once."""
    for name, value in figures.items():
        print(f"{name:32} {value:.6g}", flush=True)


def show(report: "Report") -> None:
    """Print the tables on stdout, with intervals as the terminal's width allows, and the facts."""
    from rich.console import Console
    from rich.table import Table as Grid

    from make_it_real.evaluation.report import bracketed, plus_minus

    screen = Console(markup=False, highlight=False)
    note = "In brackets: 95 % intervals."
    sections = list(_laid_out(report, bracketed))
    if any(_width(table) > screen.width for _, table in sections):
        note = "±: half the width of the 95 % interval; --report and --json have both its ends."
        short, stacked = _laid_out(report, plus_minus), _laid_out(report, _stacked)
        sections = [
            one if _width(one[1]) <= screen.width else two
            for one, two in zip(short, stacked, strict=True)
        ]
    title = ""
    for section, table in sections:
        if section != title:
            screen.print(f"\n{section}", style="bold")
        title = section
        screen.print(_grid(table, screen.width))
    screen.print(note)
    facts = Grid.grid(padding=(0, 2, 0, 0))
    for name, value in report.facts.items():
        facts.add_row(name, value)
    screen.print("", facts)


def _stacked(value: float, interval: "Interval | None") -> str:
    """Write a value and, below it, half the width of its interval."""
    from make_it_real.evaluation.report import plus_minus

    return plus_minus(value, interval).replace(" ", "\n")


def _laid_out(report: "Report", cell: "Cell") -> "Iterator[tuple[str, Table]]":
    """Yield each table with the title of its section. cell: writes a value and its interval."""
    for title, tables in report.tables(cell):
        for table in tables:
            yield title, table


def _widths(table: "Table") -> list[int]:
    """Count the characters that each column needs, where labels and titles may wrap."""
    titles = (table.title, *table.columns)
    columns = [[row[n] for row in table.rows if n < len(row)] for n in range(len(titles))]
    labels = [word for label in columns[0] for word in label.split()]
    figures = [[line for cell in column for line in cell.split("\n")] for column in columns[1:]]
    return [
        max(map(len, [*entries, *title.split()]), default=0) + GAP
        for title, entries in zip(titles, [labels, *figures], strict=True)
    ]


def _width(table: "Table") -> int:
    """Count the characters that a line of a table needs."""
    return sum(_widths(table))


def _grid(table: "Table", width: int) -> "RichTable":
    """Lay out a table: labels and titles wrap where they must, figures never."""
    from rich import box
    from rich.table import Table as RichTable

    titles, widths = (table.title, *table.columns), _widths(table)
    out = RichTable(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), pad_edge=False)
    spare = max(0, width - sum(widths))
    for n, title in enumerate(titles):
        # Columns from the left on are as wide as what they hold, while there is room.
        rows = [row[0] for row in table.rows] if n == 0 else []
        more = min(spare, max(0, max(map(len, [title, *rows])) + GAP - widths[n]))
        spare -= more
        column_width = widths[n] + more - GAP
        out.add_column(title, width=column_width, justify="right" if n else "left")
    for row in table.rows:
        out.add_row(*row)
    return out
