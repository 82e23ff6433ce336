import asyncio
import threading

import pytest

from service.embedding.workers import Workers


def test_a_call_is_answered_with_what_the_function_returns_or_raises():
    async def main():
        workers = Workers(2, "test")
        assert await workers.run(lambda: 5) == 5
        with pytest.raises(KeyError, match="absent"):
            await workers.run(lambda: {}["absent"])
        with pytest.raises(SystemExit):
            await workers.run(lambda: exit(1))
        assert await workers.run(threading.current_thread) is not threading.current_thread()
        workers.close()

    asyncio.run(main())


def test_as_many_calls_run_at_once_as_there_are_threads():
    async def main():
        workers = Workers(3, "test")
        together = threading.Barrier(3)
        await asyncio.gather(*(workers.run(lambda: together.wait(30)) for _ in range(3)))
        workers.close()

    asyncio.run(main())


def test_a_call_that_was_given_up_before_it_began_is_not_made():
    async def main():
        workers = Workers(1, "test")
        gate, made = threading.Event(), []
        first = workers.run(lambda: gate.wait(30))
        second = workers.run(lambda: made.append(2))
        second.cancel()
        gate.set()
        await first
        await workers.run(lambda: None)
        assert made == []
        workers.close()

    asyncio.run(main())


def test_closing_ends_the_threads_and_waits_for_none():
    async def main():
        workers = Workers(2, "test")
        gate = threading.Event()
        hanging = workers.run(lambda: gate.wait(30))
        workers.close()
        assert not hanging.done()
        gate.set()
        await hanging
        for thread in workers._threads:
            await asyncio.to_thread(thread.join, 30)
            assert not thread.is_alive()

    asyncio.run(main())


def test_a_result_that_comes_after_the_loop_has_closed_is_dropped():
    gate = threading.Event()

    async def main():
        workers = Workers(1, "test")
        workers.run(lambda: gate.wait(30))
        workers.close()
        return workers

    workers = asyncio.run(main())
    gate.set()
    workers._threads[0].join(30)
    assert not workers._threads[0].is_alive()
