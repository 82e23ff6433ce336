"""The batcher, with a backend that the test opens and shuts: order is set by events, never by time."""

import asyncio
import threading
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from service.bundle import LonLat
from service.embedding import batcher as batcher_module
from service.embedding.batcher import MAX_RETRY_AFTER_S, Batcher, BatchLimits
from service.embedding.lanes import BULK_TURN
from service.embedding.timing import Timing
from service.embedding.worth import Recent
from service.errors import BackendFailed, DeadlineExceeded, NotReady, Overloaded
from service.metrics import Metrics

FOREVER = float("inf")
HANG_S = 30  # a test that takes this long hangs


class GatedBackend:
    """The row of place (lon, lat) is (lon, lat, lon + lat). Runs while open, and remembers every batch it was given.

    Of places at the poisonous latitudes it makes an exception, NaN, or too few rows.
    """

    embedding_dim = 3
    provider = "gated"
    RAISES, NOT_FINITE, TOO_FEW = 81.0, 82.0, 83.0

    def __init__(self):
        self.batches = []
        self._open = threading.Event()
        self._open.set()
        self._started = threading.Semaphore(0)

    def embed(self, lonlat):
        lon, lat = lonlat.degrees.T
        self.batches.append(lon.astype(int).tolist())
        self._started.release()
        assert self._open.wait(HANG_S)
        if (lat == self.RAISES).any():
            raise RuntimeError("a poisoned row")
        rows = expected_rows(lonlat)
        rows[lat == self.NOT_FINITE] = np.nan
        return rows[1:] if (lat == self.TOO_FEW).any() else rows

    def shut(self):
        self._open.clear()

    def open(self):
        self._open.set()

    async def started(self):
        """Until one more batch is in the backend."""
        assert await asyncio.to_thread(self._started.acquire, timeout=HANG_S)


def expected_rows(lonlat):
    lon, lat = lonlat.degrees.T
    return np.stack([lon, lat, lon + lat], axis=1).astype(np.float32)


def places(*lons, lat=0.0):
    return LonLat.from_degrees(np.array([[lon, lat] for lon in lons]).reshape(-1, 2))


def run(coroutine):
    async def without_hanging():
        async with asyncio.timeout(HANG_S):
            await coroutine

    asyncio.run(without_hanging())


def measured(metrics, sample, **labels):
    exposition, _ = metrics.exposition()
    return sum(
        found.value
        for family in text_string_to_metric_families(exposition.decode())
        for found in family.samples
        if found.name == sample and labels.items() <= found.labels.items()
    )


def rejected(batcher, reason):
    return measured(batcher.metrics, "satcle_rejected_total", reason=reason)


def assert_nothing_queued(batcher):
    assert batcher.queued_points == 0
    assert measured(batcher.metrics, "satcle_queue_points") == 0


@asynccontextmanager
async def batching(backend, batch=4, queue=1000, threads=1):
    """A batcher that is closed at the end, when nothing may be left in its queue."""
    batcher = Batcher(backend, BatchLimits(batch, queue, threads), Metrics(), "tiny")
    try:
        yield batcher
        assert_nothing_queued(batcher)
    finally:
        backend.open()
        await batcher.close()


def call(batcher, lonlat, deadline=FOREVER):
    return asyncio.create_task(batcher.embed(lonlat, deadline))


def left_queue(timing):
    """When the first places of a call went into a batch."""
    return next(stage.end for stage in timing.stages if stage.name == "queue")


async def next_turn():
    await asyncio.sleep(0)


async def busy(batcher):
    """Shut the backend with one place in it, so that whatever comes now waits; returns that call."""
    batcher.backend.shut()
    first = call(batcher, places(99))
    await batcher.backend.started()
    return first


@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12),
    batch=st.integers(1, 10),
    threads=st.integers(1, 3),
)
def test_every_caller_gets_its_own_rows_in_order_whatever_the_sizes(sizes, batch, threads):
    async def main():
        backend = GatedBackend()
        calls = [places(*range(size), lat=number) for number, size in enumerate(sizes)]
        async with batching(backend, batch, threads=threads) as batcher:
            for lonlat, rows in zip(calls, await asyncio.gather(*(call(batcher, c) for c in calls)), strict=True):
                np.testing.assert_array_equal(rows, expected_rows(lonlat))
                assert rows.dtype == np.float32
        assert sum(map(len, backend.batches)) == sum(sizes)
        assert max(map(len, backend.batches), default=0) <= batch

    run(main())


def test_calls_of_one_turn_of_the_loop_share_a_batch():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=8) as batcher:
            await asyncio.gather(*(call(batcher, places(n)) for n in range(5)))
        assert backend.batches == [[0, 1, 2, 3, 4]]

    run(main())


def test_a_lone_call_does_not_wait_for_company():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=512) as batcher:
            await batcher.embed(places(1), FOREVER)
        assert backend.batches == [[1]]

    run(main())


def test_whatever_waits_while_the_backend_is_busy_goes_in_one_batch():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=8) as batcher:
            calls = [await busy(batcher)]
            for n in range(4):
                calls.append(call(batcher, places(n)))
                await next_turn()
            backend.open()
            await asyncio.gather(*calls)
        assert backend.batches == [[99], [0, 1, 2, 3]]

    run(main())


def test_a_full_batch_takes_the_first_part_of_a_call_and_the_next_the_rest():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=4) as batcher:
            await asyncio.gather(call(batcher, places(1, 2, 3)), call(batcher, places(4, 5, 6)))
        assert backend.batches == [[1, 2, 3, 4], [5, 6]]

    run(main())


def test_a_small_call_goes_before_a_large_one_that_was_first():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=2) as batcher:
            first = await busy(batcher)
            large, small = call(batcher, places(1, 2, 3, 4, 5)), call(batcher, places(50))
            backend.open()
            await asyncio.gather(first, large, small)
        assert backend.batches == [[99], [50], [1, 2], [3, 4], [5]]

    run(main())


def test_a_small_call_has_a_worker_where_large_ones_take_all_the_others():
    async def main():
        backend = GatedBackend()
        backend.shut()
        async with batching(backend, batch=2, threads=2) as batcher:
            calls = [call(batcher, places(1, 2, 3, 4, 5))]
            await backend.started()
            await backend.started()
            calls += [call(batcher, places(50)), call(batcher, places(51))]
            await backend.started()  # though nothing has ended
            assert sorted(backend.batches) == [[1, 2], [3, 4], [50, 51]]
            backend.open()
            await asyncio.gather(*calls)

    run(main())


def test_large_calls_have_their_turn_however_many_small_ones_come():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=1) as batcher:
            first = await busy(batcher)
            large, *small = timings = [Timing() for _ in range(11)]
            asked = [places(-1, -2), *(places(n) for n in range(10))]
            calls = [
                asyncio.create_task(batcher.embed(lonlat, FOREVER, t)) for lonlat, t in zip(asked, timings, strict=True)
            ]
            await next_turn()
            backend.open()
            await asyncio.gather(first, *calls)
        # Every fourth small batch at the latest lets a large one pass; whose worker the system runs first is its own.
        assert sum(left_queue(timing) < left_queue(large) for timing in small) <= BULK_TURN

    run(main())


def test_large_calls_share_their_lane_batch_by_batch():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=2) as batcher:
            first = await busy(batcher)
            calls = [call(batcher, places(1, 2, 3, 4)), call(batcher, places(11, 12, 13))]
            await next_turn()
            backend.open()
            await asyncio.gather(first, *calls)
        assert backend.batches == [[99], [1, 2], [11, 12], [3, 4], [13]]

    run(main())


def test_as_many_batches_run_at_once_as_there_are_threads():
    async def main():
        backend = GatedBackend()
        backend.shut()
        async with batching(backend, batch=1, threads=3) as batcher:
            calls = [call(batcher, places(n)) for n in range(5)]
            for _ in range(3):
                await backend.started()
            assert len(backend.batches) == 3
            assert batcher.queued_points == 2
            backend.open()
            await asyncio.gather(*calls)

    run(main())


def test_no_places_are_answered_without_the_backend():
    async def main():
        backend = GatedBackend()
        async with batching(backend) as batcher:
            rows = await batcher.embed(LonLat.from_degrees(np.empty((0, 2))), FOREVER)
        assert rows.shape == (0, 3)
        assert rows.dtype == np.float32
        assert backend.batches == []

    run(main())


def test_a_call_that_does_not_fit_the_queue_is_refused_and_changes_nothing():
    async def main():
        backend = GatedBackend()
        async with batching(backend, queue=3) as batcher:
            calls = [await busy(batcher), call(batcher, places(1, 2))]
            await next_turn()
            with pytest.raises(Overloaded, match=r"holds 2 of at most 3 points; 2 more.*SATCLE_MAX_QUEUE_POINTS"):
                await batcher.embed(places(3, 4), FOREVER)
            assert batcher.queued_points == 2
            calls.append(call(batcher, places(5)))  # this one still fits
            await next_turn()
            assert batcher.queued_points == 3
            backend.open()
            await asyncio.gather(*calls)
        assert sum(map(len, backend.batches)) == 4
        assert rejected(batcher, "queue_full") == 1

    run(main())


def test_the_queue_is_measured_while_calls_wait():
    async def main():
        async with batching(GatedBackend()) as batcher:
            calls = [await busy(batcher), call(batcher, places(1, 2, 3))]
            await next_turn()
            assert batcher.queued_points == measured(batcher.metrics, "satcle_queue_points") == 3
            batcher.backend.open()
            await asyncio.gather(*calls)

    run(main())


def test_a_deadline_that_passes_in_the_queue_takes_the_call_out_of_it():
    async def main():
        backend = GatedBackend()
        async with batching(backend) as batcher:
            first = await busy(batcher)
            with pytest.raises(DeadlineExceeded):
                await batcher.embed(places(1, 2), asyncio.get_running_loop().time() + 0.01)
            assert_nothing_queued(batcher)
            backend.open()
            await first
        assert backend.batches == [[99]]
        assert rejected(batcher, "deadline") == 1

    run(main())


def test_a_deadline_that_passes_between_the_parts_of_a_call_saves_the_rest_of_them():
    async def main():
        backend = GatedBackend()
        backend.shut()
        async with batching(backend, batch=2) as batcher:
            with pytest.raises(DeadlineExceeded):
                await batcher.embed(places(1, 2, 3, 4, 5), asyncio.get_running_loop().time() + 0.01)
            assert_nothing_queued(batcher)
            backend.open()
            np.testing.assert_array_equal(await batcher.embed(places(7), FOREVER), expected_rows(places(7)))
        assert backend.batches in ([[1, 2], [7]], [[7]])

    run(main())


def test_a_deadline_that_has_passed_already_costs_no_compute():
    async def main():
        backend = GatedBackend()
        async with batching(backend) as batcher:
            with pytest.raises(DeadlineExceeded):
                await batcher.embed(places(1), asyncio.get_running_loop().time())
        assert backend.batches == []
        assert rejected(batcher, "deadline") == 1

    run(main())


def test_a_cancelled_caller_leaves_the_queue_and_costs_nothing_more():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=2) as batcher:
            first = await busy(batcher)
            waiting = call(batcher, places(1, 2, 3))
            await next_turn()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert_nothing_queued(batcher)
            backend.open()
            await first
        assert backend.batches == [[99]]
        assert rejected(batcher, "client_gone") == 1

    run(main())


def test_a_caller_cancelled_while_its_first_part_runs_has_no_second():
    async def main():
        backend = GatedBackend()
        backend.shut()
        async with batching(backend, batch=2) as batcher:
            large = call(batcher, places(1, 2, 3, 4, 5, 6))
            await backend.started()
            large.cancel()
            with pytest.raises(asyncio.CancelledError):
                await large
            backend.open()
            np.testing.assert_array_equal(await batcher.embed(places(7), FOREVER), expected_rows(places(7)))
        assert backend.batches == [[1, 2], [7]]

    run(main())


POISON = [GatedBackend.RAISES, GatedBackend.NOT_FINITE, GatedBackend.TOO_FEW]


@pytest.mark.parametrize("poison", POISON, ids=["raises", "not finite", "too few rows"])
def test_a_place_that_the_backend_fails_for_fails_its_own_caller_only(poison):
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=10) as batcher:
            innocent, guilty, also_innocent = await asyncio.gather(
                call(batcher, places(1, 2)),
                call(batcher, places(3, lat=poison)),
                call(batcher, places(4)),
                return_exceptions=True,
            )
            assert isinstance(guilty, BackendFailed)
            np.testing.assert_array_equal(innocent, expected_rows(places(1, 2)))
            np.testing.assert_array_equal(also_innocent, expected_rows(places(4)))
        assert backend.batches[0] == [1, 2, 3, 4]

    run(main())


def test_a_poisoned_batch_is_halved_until_the_culprit_is_alone():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=64) as batcher:
            calls = [call(batcher, places(n, lat=backend.RAISES if n == 37 else 0.0)) for n in range(64)]
            results = await asyncio.gather(*calls, return_exceptions=True)
        assert [n for n, result in enumerate(results) if isinstance(result, BackendFailed)] == [37]
        assert len(backend.batches) == 1 + 2 * 6  # two halves at each of log2(64) levels

    run(main())


def test_a_caller_that_left_is_not_computed_again_when_its_batch_fails():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=4) as batcher:
            backend.shut()
            poisoned, gone = call(batcher, places(1, lat=backend.RAISES)), call(batcher, places(2))
            await backend.started()
            gone.cancel()
            await asyncio.wait([gone])
            backend.open()
            with pytest.raises(BackendFailed):
                await poisoned
        assert backend.batches == [[1, 2], [1]]

    run(main())


@pytest.mark.parametrize("poison", POISON, ids=["raises", "not finite", "too few rows"])
def test_a_large_call_ends_with_its_first_part_that_fails(poison):
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=2) as batcher:
            poisoned = LonLat.from_degrees([[1, 0], [2, poison], *([n, 0] for n in range(3, 20))])
            with pytest.raises(BackendFailed):
                await batcher.embed(poisoned, FOREVER)
            assert_nothing_queued(batcher)
            np.testing.assert_array_equal(await batcher.embed(places(7), FOREVER), expected_rows(places(7)))
        assert backend.batches == [[1, 2], [7]]

    run(main())


def test_a_backend_that_breaks_the_rules_of_python_fails_its_callers_and_hangs_none():
    class Exits(GatedBackend):
        def embed(self, lonlat):
            raise SystemExit(1)

    async def main():
        async with batching(Exits()) as batcher:
            for _ in range(2):
                with pytest.raises(BackendFailed, match="a batch broke"):
                    await batcher.embed(places(1), FOREVER)

    run(main())


def test_closing_turns_away_what_waits_and_what_comes_and_lets_what_runs_end():
    async def main():
        backend = GatedBackend()
        async with batching(backend) as batcher:
            running = await busy(batcher)
            waiting = call(batcher, places(1, 2))
            await next_turn()
            closing = asyncio.create_task(batcher.close())
            with pytest.raises(NotReady):
                await waiting
            assert not closing.done()
            assert_nothing_queued(batcher)
            with pytest.raises(NotReady):
                await batcher.embed(places(3), FOREVER)
            backend.open()
            await closing
            np.testing.assert_array_equal(await running, expected_rows(places(99)))
        assert backend.batches == [[99]]
        assert rejected(batcher, "draining") == 1

    run(main())


def test_closing_ends_a_call_of_which_only_a_part_has_run():
    async def main():
        backend = GatedBackend()
        backend.shut()
        async with batching(backend, batch=2) as batcher:
            large = call(batcher, places(1, 2, 3))
            await backend.started()
            closing = asyncio.create_task(batcher.close())
            with pytest.raises(NotReady):
                await large
            backend.open()
            await closing
        assert backend.batches == [[1, 2]]

    run(main())


def test_closing_in_the_turn_of_a_call_turns_it_away():
    async def main():
        backend = GatedBackend()
        async with batching(backend) as batcher:
            late = call(batcher, places(1))
            await next_turn()  # queued, and its batch not yet made up
            await batcher.close()
            with pytest.raises(NotReady):
                await late
        assert backend.batches == []

    run(main())


def test_closing_twice_is_closing_once():
    async def main():
        async with batching(GatedBackend()) as batcher:
            await batcher.close()
            await batcher.close()

    run(main())


def test_closing_does_not_wait_for_a_backend_that_hangs(monkeypatch):
    monkeypatch.setattr(batcher_module, "CLOSE_S", 0.01)

    async def main():
        backend = GatedBackend()
        async with batching(backend) as batcher:
            hanging = await busy(batcher)
            await batcher.close()
            with pytest.raises(NotReady, match="before the model answered"):
                await hanging

    run(main())


def test_a_backend_that_hangs_leaves_its_callers_their_deadline():
    async def main():
        backend = GatedBackend()
        backend.shut()
        async with batching(backend, batch=2, threads=2) as batcher:
            deadline = asyncio.get_running_loop().time() + 0.01
            calls = [call(batcher, places(*range(size)), deadline) for size in (1, 2, 5)]
            for result in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(result, DeadlineExceeded)
            assert_nothing_queued(batcher)

    run(main())


def test_a_probe_is_an_inference_past_the_queue():
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch=1, queue=1) as batcher:
            calls = [await busy(batcher), call(batcher, places(1))]
            await next_turn()
            probe = asyncio.create_task(batcher.probe(places(7)))
            await next_turn()
            backend.open()
            await asyncio.gather(probe, *calls)
        assert backend.batches == [[99], [7], [1]]

    run(main())


def test_a_probe_fails_where_the_backend_does_or_no_worker_is_left(monkeypatch):
    monkeypatch.setattr(batcher_module, "PROBE_S", 0.01)

    async def main():
        backend = GatedBackend()
        async with batching(backend, threads=1) as batcher:
            with pytest.raises(BackendFailed, match="a poisoned row"):
                await batcher.probe(places(1, lat=backend.RAISES))
            await busy(batcher)
            with pytest.raises(BackendFailed, match=r"no worker embedded a place within 0\.01 s"):
                await batcher.probe(places(1))
            assert_nothing_queued(batcher)

    run(main())


def test_a_probe_tells_of_workers_that_hang():
    async def main():
        backend = GatedBackend()
        limits = BatchLimits(batch_points=4, queue_points=10, threads=2, hung_s=0)
        batcher = Batcher(backend, limits, Metrics(), "tiny")
        hanging = await busy(batcher)
        with pytest.raises(BackendFailed, match="1 of 2 workers hang"):
            await batcher.probe(places(1))
        backend.open()
        await hanging
        await batcher.probe(places(1))
        await batcher.close()
        with pytest.raises(NotReady):
            await batcher.probe(places(1))

    run(main())


@pytest.mark.parametrize(("seconds_per_row", "retry_after_s"), [(None, 1), (0.001, 1), (1.0, 5), (1000.0, 60)])
def test_who_finds_the_queue_full_is_told_when_it_will_be_empty(seconds_per_row, retry_after_s):
    async def main():
        backend = GatedBackend()
        async with batching(backend, queue=10, threads=2) as batcher:
            first = await busy(batcher)
            backend.open()
            await first
            backend.shut()
            calls = [await busy(batcher), await busy(batcher), call(batcher, places(*range(10)))]
            batcher.spent = Recent(1, seconds_per_row) if seconds_per_row else Recent()
            await next_turn()
            with pytest.raises(Overloaded) as refused:
                await batcher.embed(places(1), FOREVER)
            assert refused.value.retry_after_s == retry_after_s <= MAX_RETRY_AFTER_S
            backend.open()
            await asyncio.gather(*calls)

    run(main())


def test_batches_waits_and_inferences_are_measured():
    async def main():
        async with batching(GatedBackend(), batch=4) as batcher:
            await batcher.embed(places(*range(10)), FOREVER)
            for sample, value in {
                "satcle_batch_points_count": 3,
                "satcle_batch_points_sum": 10,
                "satcle_queue_wait_seconds_count": 1,
                "satcle_inference_seconds_count": 3,
            }.items():
                assert measured(batcher.metrics, sample) == value
            labels = {"model": "tiny", "provider": "gated"}
            assert measured(batcher.metrics, "satcle_inference_seconds_count", **labels) == 3

    run(main())


FATES = st.sampled_from(["patient", "cancelled", "late", "hurried", *POISON])
CALLS = st.lists(st.tuples(st.integers(1, 20), FATES, st.integers(0, 3)), min_size=1, max_size=15)


@given(CALLS, st.integers(1, 8), st.integers(10, 80), st.integers(1, 3), st.booleans())
def test_whatever_happens_each_caller_gets_its_due_and_the_queue_returns_to_zero(calls, batch, queue, threads, closes):
    async def main():
        backend = GatedBackend()
        async with batching(backend, batch, queue, threads) as batcher:
            tasks = []
            for size, fate, turns in calls:
                lonlat = places(*range(size), lat=fate if fate in POISON else 0.0)
                delay = {"late": 0.0, "hurried": 0.0005}.get(fate, FOREVER)
                task = call(batcher, lonlat, asyncio.get_running_loop().time() + delay)
                tasks.append((task, fate, lonlat))
                for _ in range(turns):
                    await next_turn()
                if fate == "cancelled":
                    task.cancel()
            if closes:
                await batcher.close()
            results = await asyncio.gather(*(task for task, _, _ in tasks), return_exceptions=True)
            for result, (_, fate, lonlat) in zip(results, tasks, strict=True):
                assert_is_due(result, fate, lonlat, closes)
            if not closes:
                np.testing.assert_array_equal(await batcher.embed(places(7), FOREVER), expected_rows(places(7)))
        assert max(map(len, backend.batches), default=0) <= batch

    run(main())


def assert_is_due(result, fate, lonlat, closes):
    allowed = [Overloaded, *([NotReady] if closes else [])]
    allowed += {"patient": [], "cancelled": [asyncio.CancelledError]}.get(fate, [])
    allowed += [DeadlineExceeded] if fate in ("late", "hurried") else []
    allowed += [BackendFailed] if fate in POISON else []
    if isinstance(result, BaseException):
        assert type(result) in allowed
    else:
        assert fate not in (*POISON, "late")
        np.testing.assert_array_equal(result, expected_rows(lonlat))
