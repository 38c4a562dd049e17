"""Files as they arrive in a folder."""

import os
from collections.abc import Callable, Iterator
from threading import Event

from make_it_real.jobs import Job, Plan


def arrivals(plan: Callable[[], Plan], stop: Event, every: float = 1.0) -> Iterator[list[Job]]:
    """The jobs whose files are new or changed, some at a time, until ``stop`` is set.

    The plan is made again ``every`` so many seconds. A file that two plans in a row find with
    the same size and time of change has settled: nobody writes it any more.
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
