"""Project many files: read, fit, apply f, write, and report each of them.

Only a few batches are in memory at a time, however many files there are. A bad file costs one
line of the report and nothing else.
"""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from itertools import islice
from threading import Event, Lock

import torch

from make_it_real.inference.choice import Auto
from make_it_real.inference.jobs import Job
from make_it_real.inference.report import Result
from make_it_real.inference.settings import Model as Model
from make_it_real.inference.settings import Settings as Settings
from make_it_real.inference.worker import ROOM, Worker

ACCELERATOR_WORKERS = 4
# Seconds after which a thread that runs Python lets another one in; Python's own 0.005 is as
# long as all the layers of a small f together, each of which has to be let in once.
SWITCH_INTERVAL = 0.0005


def run(
    model: Model | Auto, jobs: Iterable[Job], settings: Settings, stop: Event | None = None
) -> Iterator[Result]:
    """Do the jobs in order: yield a Result for each, or for each face that becomes an image.

    model: one for all pictures, or what chooses one for each. stop: once it is set, files that
    were begun are finished, and other jobs yield nothing.
    Closing the generator has the same effect.

    A worker does all the work of a batch. On the CPU there is a worker for each core, with f on
    one thread, so that no core waits for another or for a disk. An accelerator is used by one
    worker at a time, while the others read and write.
    """
    stop = stop or Event()
    # Pictures of any size are not batched, and each core has one of its own.
    size = max(1, settings.batch // len(settings.variations))
    batches = _batches(iter(jobs), 1 if model.any_size else size)
    threads = torch.get_num_threads()
    on_cpu = model.device.type == "cpu"
    workers = threads if on_cpu else ACCELERATOR_WORKERS
    # A first look ahead tells whether there is work for more than one.
    ahead = list(islice(batches, workers))
    workers = len(ahead) or 1
    alone = on_cpu and workers > 1
    worker = Worker(model, settings, nullcontext() if on_cpu else Lock(), stop, workers * ROOM)
    # OpenMP counts threads for each of its callers: every worker must ask for one itself.
    pool = ThreadPoolExecutor(
        workers, initializer=torch.set_num_threads, initargs=(1 if alone else threads,)
    )
    if alone:
        torch.set_num_threads(1)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        running: deque[Future[list[Result]]] = deque(pool.submit(worker.do, b) for b in ahead)
        del ahead
        while running:
            results = running.popleft().result()
            if not stop.is_set():
                running.extend(pool.submit(worker.do, batch) for batch in islice(batches, 1))
            yield from results
    finally:
        worker.closed = True
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
        sys.setswitchinterval(interval)


def _batches(jobs: Iterator[Job], size: int) -> Iterator[list[Job]]:
    while batch := list(islice(jobs, size)):
        yield batch
