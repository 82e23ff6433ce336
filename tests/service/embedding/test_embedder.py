"""The pipeline, with a backend whose rows depend on nothing but the place, so that rows can be compared bit for bit."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from service.bundle import LonLat
from service.embedding.backends.onnx import OnnxBackend
from service.embedding.batcher import Batcher, BatchLimits
from service.embedding.cache.memory import MemoryCache
from service.embedding.cells import cells_of, centres_of
from service.embedding.embedder import INLINE_PLACES, Embedder, Timing
from service.errors import BackendFailed, DeadlineExceeded, NotReady
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
async def embedding(card, *, backend=None, cached=True, snap=True, batch=16):
    metrics = Metrics()
    backend = backend or CountingBackend()
    batcher = Batcher(backend, BatchLimits(batch, 100_000, 2), metrics, card.name)
    cache = MemoryCache(backend.embedding_dim, 2**20) if cached else None
    try:
        yield Embedder(card, batcher, cache, snap, metrics)
    finally:
        await batcher.close()


async def embed(embedder, rows, exact=False, timing=None, deadline=float("inf")):
    lonlat = rows if isinstance(rows, LonLat) else LonLat.from_degrees(rows)
    return await embedder.embed(lonlat, exact=exact, deadline=deadline, timing=timing or Timing())


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
            assert embedder.cache.state().rows == 0
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
            assert embedder.cache.state().rows == 1

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
            assert embedder.cache.state().rows == 0
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
        rows = np.random.default_rng(0).uniform([-180, -90], [180, 90], (3 * INLINE_PLACES, 2))
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
            assert embedder.cache.state().rows == 0
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
            assert embedder.cache.state().rows == 0

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
