"""Equal work that is wanted at one time is done once, for as long as anybody wants it."""

from __future__ import annotations

import asyncio

import pytest

from service.api.sharing import Shared
from service.errors import Overloaded


class Work:
    """Counts how often it is begun and cancelled; goes on when told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun = self.cancelled = 0
        self.error = error
        self.go_on = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return self.begun


async def ask(shared: Shared[int], work: Work, callers: int, key: str = "key") -> list[asyncio.Task[int]]:
    """So many callers, each of whom waits by now."""
    tasks = [asyncio.create_task(shared.result(key, work)) for _ in range(callers)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


def test_several_callers_take_the_result_of_one() -> None:
    async def run() -> None:
        shared, work = Shared[int](2, 10), Work()
        tasks = await ask(shared, work, 5)
        other = await ask(shared, work, 1, "another key")
        work.go_on.set()
        assert await asyncio.gather(*tasks, *other) == [2] * 6  # begun for one key and for the other
        assert work.begun == 2
        assert await shared.result("key", work) == 3  # nothing is kept

    asyncio.run(run())


def test_the_departure_of_the_caller_who_began_it_does_not_concern_the_others() -> None:
    async def run() -> None:
        shared, work = Shared[int](2, 10), Work()
        first, second = await ask(shared, work, 2)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        work.go_on.set()
        assert await second == 1
        assert (work.begun, work.cancelled) == (1, 0)

    asyncio.run(run())


def test_when_the_last_has_left_the_work_is_cancelled_and_begun_anew_for_whoever_comes_then() -> None:
    async def run() -> None:
        shared, work = Shared[int](2, 10), Work()
        tasks = await ask(shared, work, 3)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        (later,) = await ask(shared, work, 1)
        assert (work.begun, work.cancelled) == (2, 1)
        work.go_on.set()
        assert await later == 2

    asyncio.run(run())


def test_an_error_reaches_all_who_wait_and_is_not_kept() -> None:
    async def run() -> None:
        shared, work = Shared[int](2, 10), Work(ValueError("no"))
        tasks = await ask(shared, work, 3)
        work.go_on.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [ValueError] * 3
        work.error = None
        assert await shared.result("key", work) == 2

    asyncio.run(run())


@pytest.mark.parametrize("callers", [1, 4])
def test_nothing_stays_behind(callers: int) -> None:
    async def run() -> None:
        shared, work = Shared[int](2, 10), Work()
        tasks = await ask(shared, work, callers)
        work.go_on.set()
        await asyncio.gather(*tasks)
        assert not shared._works

    asyncio.run(run())


def test_work_has_its_turn_in_the_order_in_which_it_was_asked_for() -> None:
    async def run() -> None:
        shared = Shared[int](2, 10)
        works = [Work() for _ in range(4)]
        tasks = [(await ask(shared, work, 1, str(index)))[0] for index, work in enumerate(works)]
        assert [work.begun for work in works] == [1, 1, 0, 0]
        tasks[2].cancel()  # who leaves while waiting for a turn costs nothing
        works[1].go_on.set()
        await tasks[1]
        await ask(shared, works[3], 1, "3")
        assert [work.begun for work in works] == [1, 1, 0, 1]
        for work in works:
            work.go_on.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_too_much_work_is_refused_but_not_what_is_under_way_already() -> None:
    async def run() -> None:
        shared, work = Shared[int](1, 2), Work()
        tasks = await ask(shared, work, 1, "a") + await ask(shared, work, 1, "b")
        with pytest.raises(Overloaded):
            await shared.result("c", work)
        tasks += await ask(shared, work, 1, "a")
        work.go_on.set()
        await asyncio.gather(*tasks)
        assert await shared.result("c", work) == 3

    asyncio.run(run())
