"""The tiers as one cache; a small and a large table of memory stand for the near and the far."""

import asyncio

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from service.embedding.cache import tiers as tiers_module
from service.embedding.cache.base import Unavailable
from service.embedding.cache.memory import MemoryCache
from service.embedding.cache.tiers import ROWS_AT_ONCE, Cache
from service.embedding.pieces import PIECE
from service.embedding.worth import Recent
from service.metrics import Metrics

DIM = 2


class Far(MemoryCache):
    """A tier that can fail, and counts how often it is asked."""

    name = "far"
    down = False
    asked = 0

    async def find(self, cells):
        self.asked += 1
        if self.down:
            raise Unavailable
        return await super().find(cells)


def cells_of(*numbers):
    return np.array(numbers, np.uint64)


def rows_of(cells):
    return np.stack([cells % 1009, cells % 2003], axis=1).astype(np.float32)


def tiers(near_rows=10_000):
    near, far = MemoryCache(DIM, near_rows * 24), Far(DIM, 10_000 * 24)
    return near, far, Cache([near, far], Metrics())


def find(cache, cells):
    """The cells found, whose rows must be right; the places of others must be left alone."""
    rows = np.full((len(cells), DIM), -1, np.float32)
    missing = asyncio.run(cache.find(cells, rows))
    found = np.setdiff1d(np.arange(len(cells)), missing)
    np.testing.assert_array_equal(rows[found], rows_of(cells[found]))
    assert (rows[missing] == -1).all()
    assert missing.tolist() == sorted(missing.tolist())
    return cells[found].tolist()


def keep(cache, cells):
    asyncio.run(cache.keep(cells, rows_of(cells)))


def counted(cache, sample, tier):
    families = text_string_to_metric_families(cache._metrics.exposition()[0].decode())
    samples = [found for family in families for found in family.samples]
    return sum(s.value for s in samples if s.name == sample and s.labels == {"tier": tier})


def test_every_tier_keeps_and_the_nearest_that_has_a_row_answers():
    _, far, cache = tiers()
    keep(cache, cells_of(1, 2, 3))
    assert find(cache, cells_of(3, 2, 1)) == [3, 2, 1]
    assert far.asked == 0
    assert far.state()["rows"] == 3


def test_what_the_far_tier_finds_the_near_one_keeps():
    near, far, cache = tiers()
    keep(far, cells_of(1, 2, 3))
    keep(near, cells_of(2, 5))
    assert find(cache, cells_of(1, 2, 3, 4, 5)) == [1, 2, 3, 5]
    assert near.state()["rows"] == 4
    assert find(cache, cells_of(1, 2, 3, 5)) == [1, 2, 3, 5]
    assert far.asked == 1
    for tier, hits, misses in (("memory", 2 + 4, 3), ("far", 2, 1)):
        assert counted(cache, "satcle_cache_hits_total", tier) == hits
        assert counted(cache, "satcle_cache_misses_total", tier) == misses


def test_a_tier_that_cannot_be_asked_is_a_miss_and_is_asked_once_a_lookup():
    _, far, cache = tiers()
    cells = np.arange(1, 3 * ROWS_AT_ONCE, dtype=np.uint64)
    keep(far, cells)
    far.down = True
    assert find(cache, cells) == []
    assert far.asked == 1
    far.down = False
    assert find(cache, cells) == cells.tolist()


def test_an_outage_says_nothing_of_the_worth_of_a_tier():
    _, far, cache = tiers()
    far.down = True
    find(cache, np.arange(1, 1000, dtype=np.uint64))
    assert cache.info(Recent())[1]["hit_rate"] is None


def test_what_is_not_found_within_the_patience_is_missed(monkeypatch):
    monkeypatch.setattr(tiers_module, "PATIENCE_S", -1.0)
    _, far, _ = tiers()
    cells = np.arange(1, 3 * ROWS_AT_ONCE, dtype=np.uint64)
    keep(far, cells)
    assert find(Cache([far], Metrics()), cells) == cells[:PIECE].tolist()
    assert far.asked == 1


def test_other_tasks_have_their_turn_between_the_pieces():
    async def main():
        _, _, cache = tiers()
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        cells = np.arange(1, 100 * PIECE, dtype=np.uint64)
        await cache.keep(cells, rows_of(cells))
        kept = turns
        await cache.find(cells, np.empty((len(cells), DIM), np.float32))
        counting.cancel()
        assert kept > 1
        assert turns - kept > 1

    asyncio.run(main())


def test_each_tier_says_what_it_is_worth():
    _, _, cache = tiers()
    keep(cache, np.arange(1, 501, dtype=np.uint64))
    find(cache, np.arange(1, 1001, dtype=np.uint64))
    near, far = cache.info(Recent(1, 1.0))
    assert (near["tier"], near["rows"], near["hit_rate"], near["pays"]) == ("memory", 500, 0.5, True)
    assert (far["tier"], far["hit_rate"], far["pays"]) == ("far", 0.0, False)
    assert near["model_seconds_per_row"] == 1.0


NUMBERS = st.lists(st.integers(1, 2**64 - 1), unique=True, max_size=30)


@given(st.integers(0, 40), st.lists(st.tuples(st.sampled_from(["keep", "find", "down", "up"]), NUMBERS), max_size=20))
def test_whatever_is_kept_where_a_row_found_is_the_row_of_its_cell(near_rows, steps):
    _, far, cache = tiers(near_rows)
    kept = set()
    for step, numbers in steps:
        cells = np.array(numbers, np.uint64)
        if step == "keep":
            keep(cache, cells)
            kept.update(numbers)
        elif step == "find":
            found = find(cache, cells)
            assert set(found) <= kept
            assert far.down or set(found) == kept & set(numbers)  # the far tier is large enough for all
        else:
            far.down = step == "down"
