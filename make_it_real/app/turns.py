"""One piece of work at a time: requests wait for the model in the order in which they came."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, TypeVar

from make_it_real.errors import BusyError

T = TypeVar("T")
# Requests that may wait at once; the page has one under way, so that is as many pages.
WAITING = 64


class CancelledError(Exception):
    """Work that nobody waits for any more was stopped."""


@dataclass(frozen=True)
class _Piece:
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[Any]"
    stop: Event = field(default_factory=Event)


class Turns:
    """A thread that does pieces of work, one after the other.

    Work that is under way can be stopped where it calls ``check``, which f does in each layer.
    """

    def __init__(self, waiting: int = WAITING) -> None:
        self._waiting, self._count = waiting, 0
        self._queue: SimpleQueue[_Piece | None] = SimpleQueue()
        self._now: _Piece | None = None
        self._closed = False
        # A thread that decodes a picture can't be stopped, and the process does not wait for it.
        self._thread = Thread(target=self._run, name="turns", daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[], T]) -> T:
        """Do a piece of work in its turn, and return its result.

        A task that is cancelled meanwhile takes its work with it. Raises BusyError where too many
        wait already.
        """
        if self._count >= self._waiting:
            raise BusyError(f"{self._count} requests wait already; try again in a while")
        loop = asyncio.get_running_loop()
        piece = _Piece(work, loop, loop.create_future())
        self._count += 1
        self._queue.put(piece)
        try:
            result: T = await piece.answer
            return result
        finally:
            self._count -= 1
            piece.stop.set()

    def check(self) -> None:
        """Raise CancelledError in work that nobody waits for."""
        if self._closed or (self._now and self._now.stop.is_set()):
            raise CancelledError

    def close(self, seconds: float = 0.5) -> bool:
        """Stop what is under way and what waits; whether the thread ended within a time."""
        self._closed = True
        self._queue.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (piece := self._queue.get()) is not None:
            if self._closed or piece.stop.is_set():
                continue
            self._now = piece
            try:
                result = piece.work()
            except BaseException as error:
                _deliver(piece, piece.answer.set_exception, error)
            else:
                _deliver(piece, piece.answer.set_result, result)
            finally:
                self._now = None


def _deliver(piece: _Piece, give: Callable[[Any], None], what: object) -> None:
    """Hand a result over to the loop that waits for it, if any still does."""

    def hand_over() -> None:
        if not piece.answer.done():
            give(what)

    # The loop is closed once the server has ended.
    with suppress(RuntimeError):
        piece.loop.call_soon_threadsafe(hand_over)
