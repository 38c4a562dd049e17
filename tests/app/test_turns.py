"""Requests take turns, and are stopped where nobody waits."""

import asyncio
import threading
from collections.abc import Callable
from functools import partial

import pytest

from make_it_real.app.turns import CancelledError, Turns
from make_it_real.errors import BusyError


def forever(turns: Turns, started: threading.Event) -> Callable[[], None]:
    """Work that ends only where it is stopped."""

    def work() -> None:
        started.set()
        while True:
            turns.check()

    return work


async def begun(turns: Turns) -> "asyncio.Task[None]":
    """A task of endless work that is under way."""
    started = threading.Event()
    task = asyncio.create_task(turns.do(forever(turns, started)))
    await asyncio.to_thread(started.wait, 60)
    assert started.is_set()
    return task


def test_work_is_done_one_by_one_in_order(turns: Turns) -> None:
    done: list[int] = []
    inside = threading.Lock()

    def work(i: int) -> int:
        assert inside.acquire(blocking=False), "two at once"
        done.append(i)
        inside.release()
        return i * i

    async def run() -> list[int]:
        return await asyncio.gather(*(turns.do(partial(work, i)) for i in range(50)))

    assert asyncio.run(run()) == [i * i for i in range(50)]
    assert done == list(range(50))


def test_an_error_goes_to_who_asked(turns: Turns) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    async def run() -> str:
        with pytest.raises(ZeroDivisionError):
            await turns.do(fail)
        return await turns.do(lambda: "next")

    assert asyncio.run(run()) == "next"


def test_work_under_way_is_stopped_with_its_task(turns: Turns) -> None:
    async def run() -> str:
        task = await begun(turns)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await turns.do(lambda: "next")

    assert asyncio.run(asyncio.wait_for(run(), 60)) == "next"


def test_work_that_waits_is_never_begun_once_its_task_has_gone(turns: Turns) -> None:
    done: list[str] = []

    async def run() -> None:
        first = await begun(turns)
        second = asyncio.create_task(turns.do(lambda: done.append("second")))
        third = asyncio.create_task(turns.do(lambda: done.append("third")))
        await asyncio.sleep(0)
        second.cancel()
        first.cancel()
        await third

    asyncio.run(asyncio.wait_for(run(), 60))
    assert done == ["third"]


def test_too_many_are_refused() -> None:
    few = Turns(waiting=2)

    async def run() -> None:
        first = await begun(few)
        second = asyncio.create_task(few.do(lambda: None))
        await asyncio.sleep(0)
        with pytest.raises(BusyError, match="2 requests wait already"):
            await few.do(lambda: None)
        first.cancel()
        await second
        await few.do(lambda: None)

    asyncio.run(asyncio.wait_for(run(), 60))
    assert few.close(60)


def test_closing_stops_what_is_under_way() -> None:
    turns = Turns()

    async def run() -> None:
        task = await begun(turns)
        assert turns.close(60)
        with pytest.raises(CancelledError):
            await task

    asyncio.run(asyncio.wait_for(run(), 60))
