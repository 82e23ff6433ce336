"""Units of other work in the batcher: order is set by events, never by time."""

import asyncio
import threading

import pytest

from service.embedding.lanes import BULK_TURN
from service.embedding.timing import Timing
from service.errors import BackendFailed, DeadlineExceeded, NotReady, Overloaded, UnknownModel
from tests.service.embedding.test_batcher import (
    FOREVER,
    HANG_S,
    GatedBackend,
    assert_nothing_queued,
    batching,
    busy,
    call,
    left_queue,
    measured,
    next_turn,
    places,
    rejected,
    run,
)


class Gate:
    """A unit that says when it runs and ends when it is let."""

    def __init__(self):
        self._open, self._started = threading.Event(), threading.Event()

    def __call__(self):
        self._started.set()
        assert self._open.wait(HANG_S)
        return "done"

    def open(self):
        self._open.set()

    async def started(self):
        assert await asyncio.to_thread(self._started.wait, HANG_S)


def start(batcher, function, points=4, deadline=FOREVER):
    return asyncio.create_task(batcher.run(points, function, deadline))


def test_a_unit_answers_with_what_its_function_returns():
    async def main():
        async with batching(GatedBackend()) as batcher:
            thread = await batcher.run(4, threading.current_thread, FOREVER)
            assert thread is not threading.current_thread()
            assert thread.name.startswith("satcle-bulk")
            assert measured(batcher.metrics, "satcle_batch_points_sum") == 4

    run(main())


def test_a_function_that_raises_fails_its_caller_alone():
    def fails():
        raise ZeroDivisionError("odd")

    def fails_well():
        raise UnknownModel("told")

    async def main():
        async with batching(GatedBackend()) as batcher:
            results = await asyncio.gather(
                start(batcher, fails), start(batcher, fails_well), start(batcher, lambda: 7), return_exceptions=True
            )
            assert isinstance(results[0], BackendFailed)
            assert "odd" in str(results[0])
            assert isinstance(results[1], UnknownModel)
            assert results[2] == 7
            assert_nothing_queued(batcher)

    run(main())


def test_units_count_in_the_queue_and_a_full_one_refuses_them():
    async def main():
        async with batching(GatedBackend(), queue=10) as batcher:
            gate = Gate()
            first = start(batcher, gate, points=8)
            await gate.started()
            assert batcher.queued_points == 8
            with pytest.raises(Overloaded, match="8 of at most 10"):
                await batcher.run(3, gate, FOREVER)
            with pytest.raises(Overloaded):
                await batcher.embed(places(1, 2, 3), FOREVER)
            gate.open()
            assert await first == "done"
            assert rejected(batcher, "queue_full") == 2
            assert_nothing_queued(batcher)

    run(main())


def test_what_is_reserved_is_never_refused_and_is_given_back():
    async def main():
        async with batching(GatedBackend(), queue=10) as batcher:
            with batcher.reserved(10):
                for number in range(5):
                    assert await batcher.run_reserved(10, lambda number=number: number, FOREVER) == number
                with pytest.raises(Overloaded):
                    await batcher.embed(places(1), FOREVER)
            assert_nothing_queued(batcher)
            assert len(await batcher.embed(places(1), FOREVER)) == 1

    run(main())


def test_a_deadline_ends_the_wait_and_the_unit_never_runs():
    async def main():
        async with batching(GatedBackend()) as batcher:
            first = await busy(batcher)
            ran = []
            with pytest.raises(DeadlineExceeded):
                await batcher.run(4, lambda: ran.append(1), asyncio.get_running_loop().time() + 0.001)
            with pytest.raises(DeadlineExceeded):
                await batcher.run(4, lambda: ran.append(1), asyncio.get_running_loop().time())
            batcher.backend.open()
            await first
            assert ran == []
            assert rejected(batcher, "deadline") == 2

    run(main())


def test_a_caller_that_is_cancelled_leaves_the_queue():
    async def main():
        async with batching(GatedBackend()) as batcher:
            first = await busy(batcher)
            ran = []
            unit = start(batcher, lambda: ran.append(1))
            await next_turn()
            unit.cancel()
            with pytest.raises(asyncio.CancelledError):
                await unit
            batcher.backend.open()
            await first
            assert await batcher.run(1, lambda: 5, FOREVER) == 5  # so that all before it has ended
            assert ran == []
            assert rejected(batcher, "client_gone") == 1

    run(main())


def test_a_unit_cancelled_while_it_runs_ends_without_harm():
    async def main():
        async with batching(GatedBackend()) as batcher:
            gate = Gate()
            unit = start(batcher, gate)
            await gate.started()
            unit.cancel()
            with pytest.raises(asyncio.CancelledError):
                await unit
            gate.open()
            assert await batcher.run(1, lambda: 5, FOREVER) == 5
            assert_nothing_queued(batcher)

    run(main())


def test_a_single_place_waits_for_no_unit():
    async def main():
        async with batching(GatedBackend(), threads=1) as batcher:
            gate = Gate()
            unit = start(batcher, gate)
            await gate.started()
            assert len(await batcher.embed(places(1), FOREVER)) == 1
            assert not unit.done()
            gate.open()
            await unit

    run(main())


def test_units_and_bulk_batches_take_turns():
    async def main():
        backend = GatedBackend()
        order = []
        async with batching(backend, batch=2) as batcher:
            first = await busy(batcher)
            units = [start(batcher, lambda n=n: order.append((n, len(backend.batches)))) for n in range(2)]
            await next_turn()
            bulk = call(batcher, places(1, 2, 3, 4, 5, 6))
            await next_turn()
            backend.open()
            await asyncio.gather(first, bulk, *units)
        assert order == [(0, 1), (1, 1)]  # both were first in their lane, before the first batch of bulk
        assert backend.batches == [[99], [1, 2], [3, 4], [5, 6]]

    run(main())


def test_units_have_their_turn_beside_any_number_of_single_places():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=1) as batcher:
            first = await busy(batcher)
            begun = []
            unit = start(
                batcher, lambda: begun.extend(running.started_at for running in batcher._running if running.bulk)
            )
            timings = [Timing() for _ in range(20)]
            singles = [asyncio.create_task(batcher.embed(places(n), FOREVER, t)) for n, t in enumerate(timings)]
            await next_turn()
            backend.open()
            await asyncio.gather(first, unit, *singles)
        assert sum(left_queue(timing) < begun[0] for timing in timings) <= BULK_TURN

    run(main())


def test_closing_fails_what_waits_and_refuses_what_comes():
    async def main():
        backend = GatedBackend()
        async with batching(backend) as batcher:
            gate = Gate()
            running = start(batcher, gate)
            await gate.started()
            waiting = start(batcher, lambda: 1)
            await next_turn()
            closing = asyncio.create_task(batcher.close())
            with pytest.raises(NotReady):
                await waiting
            gate.open()
            await closing
            assert await running == "done"
            with pytest.raises(NotReady):
                await batcher.run(1, lambda: 1, FOREVER)

    run(main())
