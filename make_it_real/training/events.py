"""What a run tells while it trains, and how fast it is."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# Steps of so many seconds back say how fast a run is.
WINDOW = 120.0


@dataclass(frozen=True)
class Notice:
    """Something to be told to people: for all, as a warning, or for those who ask for details."""

    text: str
    kind: Literal["message", "warning", "detail"] = "message"


@dataclass(frozen=True)
class Step:
    """A step that was done: its number, how many there are in all, and images in its batch.

    terms: of its loss, on the device. To read them is to wait for it.
    """

    number: int
    total: int
    batch: int
    terms: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Logged:
    """A line of the log."""

    line: dict[str, float]


Tell = Callable[[Notice | Step | Logged], None]
# Why a run ends: all steps are done; its time is over; held-out images say so; it was stopped.
Ending = Literal["steps", "minutes", "held-out", "interrupted"]


class Pace:
    """How long a step takes, by those of the last two minutes.

    ``clock`` gives the time in seconds.
    """

    def __init__(self, step: int, clock: Callable[[], float] = time.monotonic) -> None:
        """step: how many steps are done as training begins."""
        self.clock = clock
        self.marks = deque([(clock(), step)])

    def add(self, step: int) -> None:
        """Take note that so many steps are done now."""
        now = self.clock()
        self.marks.append((now, step))
        while len(self.marks) > 2 and self.marks[1][0] < now - WINDOW:
            self.marks.popleft()

    @property
    def seconds(self) -> float | None:
        """Seconds that a step takes, or None before the first is done."""
        (start, first), (end, last) = self.marks[0], self.marks[-1]
        return (end - start) / (last - first) if last > first else None


def duration(seconds: float) -> str:
    """A time in its two largest units: 45 s, 12 min, 9 h 40 min, 3 d 4 h."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(minutes / 60), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def rate(images: float) -> str:
    """So many images a second, as people read it: 0.42, 8.3 or 1,022 images/s."""
    digits = 0 if images >= 10 else 1 if images >= 1 else 2
    return f"{images:,.{digits}f} images/s"
