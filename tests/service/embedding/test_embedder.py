"""The pipeline, with a backend whose rows depend on nothing but the place, so that rows can be compared bit for bit."""

import asyncio
import itertools
import threading
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from service.bundle import LonLat, read_bundle
from service.bundles import DEFAULT, bundle_path
from service.embedding.backends.onnx import OnnxBackend
from service.embedding.batcher import Batcher, BatchLimits
from service.embedding.cache.memory import MemoryCache
from service.embedding.cache.tiers import Cache
from service.embedding.cells import cells_of, centres_of
from service.embedding.embedder import Embedder, Timing
from service.embedding.pieces import PIECE
from service.errors import BackendFailed, DeadlineExceeded, NotReady, Overloaded
from service.metrics import Metrics

RESOLUTION = 10
PLACE = st.tuples(st.floats(-360, 360), st.floats(-90, 90))
PLACES = st.lists(PLACE, min_size=1, max_size=40)
HERE, NEXT_DOOR, FAR = [116.4, 39.9], [116.4000001, 39.9000001], [2.35, 48.86]


class CountingBackend:
    """Row (lon, lat, lon·lat, …) by elementwise arithmetic; counts the places, and fails for those it is told to."""

    embedding_dim = 8
    provider = "counting"

    def __init__(self):
        self.places = 0
        self.poisoned = False

    def embed(self, lonlat):
        self.places += len(lonlat)
        lon, lat = lonlat.degrees.T
        rows = np.stack([lon, lat, lon * lat, lon + lat, lon - lat, lon**2, lat**2, lon / 7], axis=1)
        if self.poisoned:
            rows[0, 3] = np.inf
        return rows.astype(np.float32)


@pytest.fixture(scope="module")
def card(tiny_bundle):
    return tiny_bundle.card


@asynccontextmanager
async def embedding(card, *, backend=None, cached=True, snap=True, batch=16, queue=100_000):
    metrics = Metrics()
    backend = backend or CountingBackend()
    batcher = Batcher(backend, BatchLimits(batch, queue, 2), metrics, card.name)
    cache = Cache([MemoryCache(backend.embedding_dim, 2**20)], metrics) if cached else None
    try:
        yield Embedder(card, batcher, cache, snap, metrics)
    finally:
        await batcher.close()


async def embed(embedder, rows, exact=False, timing=None, deadline=float("inf")):
    lonlat = rows if isinstance(rows, LonLat) else LonLat.from_degrees(rows)
    return await embedder.embed(lonlat, exact=exact, deadline=deadline, timing=timing or Timing())


def cached_rows(embedder):
    (memory,) = embedder.cache.info(embedder.batcher.spent)
    return memory["rows"]


def counted(embedder, sample, **labels):
    families = text_string_to_metric_families(embedder.metrics.exposition()[0].decode())
    samples = [found for family in families for found in family.samples]
    return sum(s.value for s in samples if s.name == sample and labels.items() <= s.labels.items())


@given(PLACES)
def test_a_hit_a_miss_and_no_cache_agree_bit_for_bit(card, rows):
    async def main():
        async with embedding(card) as cached, embedding(card, cached=False, batch=3) as uncached:
            miss, hit, off = await embed(cached, rows), await embed(cached, rows), await embed(uncached, rows)
        assert miss.rows.tobytes() == hit.rows.tobytes() == off.rows.tobytes()

    asyncio.run(main())


@given(PLACES)
def test_row_i_is_the_centre_of_the_cell_of_place_i(card, rows):
    async def main():
        async with embedding(card) as embedder:
            embedded = await embed(embedder, rows)
        lonlat = LonLat.from_degrees(rows)
        np.testing.assert_array_equal(embedded.cells, cells_of(lonlat, RESOLUTION))
        np.testing.assert_array_equal(embedded.rows, CountingBackend().embed(centres_of(embedded.cells)))

    asyncio.run(main())


@given(PLACES, st.data())
def test_the_order_of_the_places_is_the_order_of_the_rows(card, rows, data):
    async def main():
        order = data.draw(st.permutations(range(len(rows))))
        async with embedding(card) as embedder:
            embedded = await embed(embedder, rows)
            permuted = await embed(embedder, [rows[i] for i in order])
        np.testing.assert_array_equal(permuted.rows, embedded.rows[order])
        np.testing.assert_array_equal(permuted.cells, embedded.cells[order])

    asyncio.run(main())


@given(PLACES, PLACES)
def test_a_row_does_not_depend_on_what_was_cached_before(card, before, rows):
    async def main():
        async with embedding(card) as warm, embedding(card) as cold:
            await embed(warm, before)
            np.testing.assert_array_equal((await embed(warm, rows)).rows, (await embed(cold, rows)).rows)

    asyncio.run(main())


@given(PLACES)
def test_exact_embeds_the_very_coordinates(card, rows):
    async def main():
        async with embedding(card) as embedder:
            embedded = await embed(embedder, rows, exact=True)
            assert embedded.cells is None
            assert cached_rows(embedder) == 0
        np.testing.assert_array_equal(embedded.rows, CountingBackend().embed(LonLat.from_degrees(rows)))

    asyncio.run(main())


@pytest.mark.parametrize("cached", [True, False])
def test_places_of_one_cell_are_computed_once_a_request(card, cached):
    async def main():
        async with embedding(card, cached=cached) as embedder:
            embedded = await embed(embedder, [HERE, FAR, NEXT_DOOR, HERE, [HERE[0] - 360, HERE[1]]])
            assert embedder.batcher.backend.places == 2
        for row in (2, 3, 4):
            np.testing.assert_array_equal(embedded.rows[row], embedded.rows[0])

    asyncio.run(main())


def test_only_what_is_missing_is_computed(card):
    async def main():
        async with embedding(card) as embedder:
            await embed(embedder, [HERE])
            await embed(embedder, [FAR, HERE, NEXT_DOOR])
            assert embedder.batcher.backend.places == 2
            labels = {"tier": "memory"}
            assert counted(embedder, "satcle_cache_hits_total", **labels) == 1
            assert counted(embedder, "satcle_cache_misses_total", **labels) == 2
            assert counted(embedder, "satcle_points_total", model="tiny", source="cache") == 1
            assert counted(embedder, "satcle_points_total", model="tiny", source="compute") == 2

    asyncio.run(main())


def test_exact_neither_reads_nor_fills_the_cache(card):
    async def main():
        async with embedding(card) as embedder:
            await embed(embedder, [HERE])
            await embed(embedder, [HERE], exact=True)
            assert embedder.batcher.backend.places == 2
            assert cached_rows(embedder) == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    ("snap", "resolution", "exact"), [(False, 10, False), (True, None, False), (True, 10, True)], ids=str
)
def test_where_nothing_snaps_the_coordinates_are_embedded_and_nothing_is_cached(card, snap, resolution, exact):
    async def main():
        other = card.model_copy(update={"snap_resolution": resolution})
        async with embedding(other, snap=snap) as embedder:
            assert not embedder.snaps(exact)
            embedded = await embed(embedder, [HERE], exact)
            assert cached_rows(embedder) == 0
        assert embedded.cells is None
        np.testing.assert_array_equal(embedded.rows, CountingBackend().embed(LonLat.from_degrees([HERE])))

    asyncio.run(main())


@pytest.mark.parametrize("resolution", [0, 7, 15])
def test_the_resolution_is_the_cards(card, resolution):
    async def main():
        other = card.model_copy(update={"snap_resolution": resolution})
        async with embedding(other) as embedder:
            embedded = await embed(embedder, [HERE])
        np.testing.assert_array_equal(embedded.cells, cells_of(LonLat.from_degrees([HERE]), resolution))

    asyncio.run(main())


def test_more_places_than_are_handled_on_the_event_loop_give_the_same_rows(card):
    async def main():
        rows = np.random.default_rng(0).uniform([-180, -90], [180, 90], (3 * PIECE, 2))
        async with embedding(card) as embedder, embedding(card, cached=False) as uncached:
            together = await embed(embedder, rows)
            apart = [await embed(uncached, part) for part in np.split(rows, 6)]
        np.testing.assert_array_equal(together.rows, np.concatenate([part.rows for part in apart]))

    asyncio.run(main())


def test_a_real_graph_answers_the_same_alone_and_among_a_thousand(card, tiny_bundle):
    async def main():
        rows = np.random.default_rng(0).uniform([-180, -90], [180, 90], (1000, 2))
        backend = OnnxBackend(tiny_bundle, "cpu")
        async with embedding(card, backend=backend) as one, embedding(card, backend=backend, cached=False) as other:
            together = await embed(one, rows)
            alone = np.concatenate([(await embed(other, row[None])).rows for row in rows[:50]])
        np.testing.assert_allclose(together.rows[:50], alone, atol=1e-6)

    asyncio.run(main())


def test_a_row_that_is_not_finite_is_neither_answered_nor_cached(card):
    async def main():
        async with embedding(card) as embedder:
            embedder.batcher.backend.poisoned = True
            with pytest.raises(BackendFailed, match="not finite"):
                await embed(embedder, [HERE, FAR])
            assert cached_rows(embedder) == 0
            embedder.batcher.backend.poisoned = False
            assert np.isfinite((await embed(embedder, [HERE, FAR])).rows).all()

    asyncio.run(main())


def test_what_the_batcher_raises_is_what_the_caller_gets_and_nothing_is_cached(card):
    async def main():
        async with embedding(card) as embedder:
            with pytest.raises(DeadlineExceeded):
                await embed(embedder, [HERE], deadline=asyncio.get_running_loop().time())
            await embedder.batcher.close()
            with pytest.raises(NotReady):
                await embed(embedder, [HERE])
            assert cached_rows(embedder) == 0

    asyncio.run(main())


def test_what_is_cached_is_answered_whatever_became_of_the_backend(card):
    async def main():
        async with embedding(card) as embedder:
            computed = await embed(embedder, [HERE])
            embedder.batcher.backend.poisoned = True
            np.testing.assert_array_equal((await embed(embedder, [HERE])).rows, computed.rows)

    asyncio.run(main())


def test_an_answer_may_be_changed_without_changing_the_next(card):
    async def main():
        async with embedding(card) as embedder:
            for _ in range(3):
                embedded = await embed(embedder, [HERE])
                assert embedded.rows.any()
                embedded.rows[:] = 0

    asyncio.run(main())


def test_no_places_have_no_rows(card):
    async def main():
        async with embedding(card) as embedder:
            for exact in (True, False):
                embedded = await embed(embedder, LonLat.from_degrees(np.empty((0, 2))), exact)
                assert embedded.rows.shape == (0, 8)

    asyncio.run(main())


def test_the_stages_of_a_request_are_timed(card):
    async def main():
        async with embedding(card) as embedder:
            miss, hit, exact = Timing(), Timing(), Timing()
            await embed(embedder, [HERE], timing=miss)
            await embed(embedder, [HERE], timing=hit)
            await embed(embedder, [HERE], exact=True, timing=exact)
        assert miss.seconds.keys() == {"cells", "cache", "model"}
        assert hit.seconds.keys() == {"cells", "cache"}
        assert exact.seconds.keys() == {"model"}
        assert all(seconds >= 0 for seconds in miss.seconds.values())

    asyncio.run(main())


def test_a_stage_entered_twice_adds_up_and_one_that_fails_is_timed_too():
    timing = Timing({"cells": 100.0})
    with timing.stage("cells"):
        pass
    with pytest.raises(ValueError, match="midway"), timing.stage("model"):
        raise ValueError("midway")
    assert timing.seconds["cells"] >= 100
    assert "model" in timing.seconds


class GatedBackend(CountingBackend):
    """Runs while open; fails the first batch it was given if told to."""

    def __init__(self):
        super().__init__()
        self.open = threading.Event()
        self.started = threading.Semaphore(0)
        self.fails_first = False
        self._batches = itertools.count()

    def embed(self, lonlat):
        batch = next(self._batches)
        self.started.release()
        assert self.open.wait(30)
        if batch == 0 and self.fails_first:
            raise RuntimeError("the first batch")
        return super().embed(lonlat)


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("cached", [True, False])
def test_calls_that_miss_one_cell_at_one_time_compute_it_once(card, cached):
    async def main():
        backend = GatedBackend()
        async with embedding(card, backend=backend, cached=cached) as embedder:
            calls = [asyncio.create_task(embed(embedder, [HERE])) for _ in range(20)]
            calls += [asyncio.create_task(embed(embedder, [FAR, NEXT_DOOR])) for _ in range(20)]
            await asyncio.to_thread(backend.started.acquire)
            await turns()
            backend.open.set()
            results = await asyncio.gather(*calls)
            assert backend.places == 2
        expected = CountingBackend().embed(centres_of(cells_of(LonLat.from_degrees([HERE, FAR]), RESOLUTION)))
        for result in results[:20]:
            np.testing.assert_array_equal(result.rows, expected[:1])
        for result in results[20:]:
            np.testing.assert_array_equal(result.rows, expected[::-1])

    asyncio.run(main())


def test_large_calls_of_the_same_places_compute_them_once(card):
    async def main():
        backend = GatedBackend()
        backend.open.set()
        rows = np.random.default_rng(0).uniform([-180, -90], [180, 90], (2 * PIECE + 7, 2))
        async with embedding(card, backend=backend, cached=False) as embedder:
            one, other = await asyncio.gather(embed(embedder, rows), embed(embedder, rows))
            assert backend.places == len(rows)
        assert one.rows.tobytes() == other.rows.tobytes()

    asyncio.run(main())


def test_what_would_not_fit_the_queue_is_refused_before_anything_else(card):
    async def main():
        backend = GatedBackend()
        async with embedding(card, backend=backend, queue=100) as embedder:
            first = asyncio.create_task(embed(embedder, np.arange(120).reshape(60, 2) / 2))
            await turns(1)
            timing = Timing()
            with pytest.raises(Overloaded, match="holds 60 of at most 100 points; 41 more do not fit"):
                await embed(embedder, np.ones((41, 2)), timing=timing)
            assert timing.seconds == {}
            backend.open.set()
            await first
            assert counted(embedder, "satcle_rejected_total", reason="queue_full") == 1
            assert len((await embed(embedder, np.ones((100, 2)))).rows) == 100

    asyncio.run(main())


def test_room_that_a_caller_holds_is_used_by_its_own_places_and_refused_to_others(card):
    async def main():
        async with embedding(card, queue=100) as embedder:
            with embedder.admitted(60):
                with pytest.raises(Overloaded, match="holds 60 of at most 100 points; 41 more do not fit"):
                    await embed(embedder, np.ones((41, 2)))
                now, places = asyncio.get_running_loop().time(), LonLat.from_degrees(np.ones((60, 2)))
                embedded = await embedder.embed_admitted(places, exact=True, deadline=now + 30, timing=Timing())
                assert len(embedded.rows) == 60
            assert len((await embed(embedder, np.ones((100, 2)))).rows) == 100

    asyncio.run(main())


@pytest.mark.parametrize("end", ["cancelled", "failed", "late"])
def test_whoever_waits_for_a_call_that_does_not_end_well_computes_the_row_itself(card, end):
    async def main():
        backend = GatedBackend()
        async with embedding(card, backend=backend) as embedder:
            soon = asyncio.get_running_loop().time() + (0.01 if end == "late" else 30)
            leader = asyncio.create_task(embed(embedder, [HERE], deadline=soon))
            if end == "late":  # it may be so before it is computed
                await turns()
            else:
                await asyncio.to_thread(backend.started.acquire)
            waiting = [asyncio.create_task(embed(embedder, [NEXT_DOOR, FAR])) for _ in range(5)]
            await turns()
            if end == "cancelled":
                leader.cancel()
            if end == "late":
                await asyncio.wait([leader])
            backend.fails_first = end == "failed"
            backend.open.set()
            with pytest.raises((asyncio.CancelledError, BackendFailed, DeadlineExceeded)):
                await leader
            for result in await asyncio.gather(*waiting):
                np.testing.assert_array_equal(result.rows, CountingBackend().embed(centres_of(result.cells)))

    asyncio.run(main())


def test_whoever_waits_for_anothers_row_waits_no_longer_than_its_own_deadline(card):
    async def main():
        backend = GatedBackend()
        async with embedding(card, backend=backend) as embedder:
            leader = asyncio.create_task(embed(embedder, [HERE]))
            await asyncio.to_thread(backend.started.acquire)
            with pytest.raises(DeadlineExceeded):
                await embed(embedder, [HERE], deadline=asyncio.get_running_loop().time() + 0.01)
            assert counted(embedder, "satcle_rejected_total", reason="deadline") == 1
            backend.open.set()
            await leader

    asyncio.run(main())


FATES = st.sampled_from(["patient", "cancelled", "hurried"])


@given(st.lists(st.tuples(PLACES, FATES, st.integers(0, 4)), min_size=1, max_size=10), st.booleans())
def test_whoever_leaves_everyone_else_gets_the_right_rows(card, calls, fails):
    async def main():
        backend = GatedBackend()
        backend.fails_first = fails
        backend.open.set()
        async with embedding(card, backend=backend, batch=5) as embedder:
            tasks = []
            for rows, fate, pause in calls:
                deadline = asyncio.get_running_loop().time() + (0.0005 if fate == "hurried" else 30)
                tasks.append(asyncio.create_task(embed(embedder, rows, deadline=deadline)))
                await turns(pause)
                if fate == "cancelled":
                    tasks[-1].cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert embedder.batcher.queued_points == 0
        allowed = {"patient": (), "cancelled": (asyncio.CancelledError,), "hurried": (DeadlineExceeded,)}
        failed = 0
        for (_, fate, _), result in zip(calls, results, strict=True):
            if isinstance(result, BackendFailed):
                failed += 1
            elif isinstance(result, BaseException):
                assert isinstance(result, allowed[fate])
            else:
                np.testing.assert_array_equal(result.rows, CountingBackend().embed(centres_of(result.cells)))
        assert failed <= fails

    asyncio.run(main())


@pytest.fixture(scope="module")
def default_bundle():
    return read_bundle(bundle_path(DEFAULT))


def places_everywhere(count):
    """Uniform on the sphere, with the poles, the antimeridian and their neighbourhoods."""
    rng = np.random.default_rng(7)
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    edges = [[lon, lat] for lon in (-180, 180, -179.9999999, 179.9999999, 0) for lat in (-90, -89.9999999, 0, 90)]
    return np.concatenate([np.stack([rng.uniform(-180, 180, count), lat], axis=1), edges])


def test_on_the_default_bundle_an_answer_never_depends_on_the_cache(default_bundle):
    async def main():
        card, backend = default_bundle.card, OnnxBackend(default_bundle, "cpu")
        rows = places_everywhere(4000)
        options = {"backend": backend, "batch": 512}
        async with (
            embedding(card, **options) as cached,
            embedding(card, cached=False, **options) as uncached,
            embedding(card, cached=False, backend=backend, batch=97) as otherwise,
        ):
            miss, hit, off = await embed(cached, rows), await embed(cached, rows), await embed(uncached, rows)
            distinct = centres_of(np.unique(miss.cells))
            exact = await embed(uncached, distinct, exact=True)
            chunked = await embed(otherwise, rows)
            alone = [await embed(otherwise, rows[n : n + 1]) for n in range(0, len(rows), 40)]
        assert miss.rows.tobytes() == hit.rows.tobytes() == off.rows.tobytes()
        of = np.searchsorted(np.unique(miss.cells), miss.cells)
        assert exact.rows[of].tobytes() == miss.rows.tobytes()
        np.testing.assert_allclose(chunked.rows, miss.rows, rtol=0, atol=1e-6)
        np.testing.assert_allclose(np.concatenate([one.rows for one in alone]), miss.rows[::40], rtol=0, atol=1e-6)

    asyncio.run(main())
