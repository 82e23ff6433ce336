import asyncio
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.embedding.cache.memory import INDEX_BYTES_PER_ROW, WAYS, MemoryCache

DIM = 3
ROW_BYTES = 4 * DIM + INDEX_BYTES_PER_ROW
H3_CELLS = st.integers(0x08A0000000000000, 0x08BFFFFFFFFFFFFF)


def cache_of(rows):
    return MemoryCache(DIM, rows * ROW_BYTES)


def cells(*numbers):
    return np.array(numbers, np.uint64)


def rows_of(numbers):
    """A row tells which cell it is of."""
    return np.array([[n % 1009, n % 2003 / 2, -(n % 4001)] for n in numbers], np.float32).reshape(-1, DIM)


def keep(cache, *numbers):
    asyncio.run(cache.keep(cells(*numbers), rows_of(numbers)))


def found(cache, *numbers):
    rows, mask = asyncio.run(cache.find(cells(*numbers)))
    hits = [number for number, hit in zip(numbers, mask, strict=True) if hit]
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, rows_of(hits))
    return hits


def test_what_was_kept_is_found_in_the_order_asked_for():
    cache = cache_of(10)
    keep(cache, 1, 2, 3)
    assert found(cache, 3, 9, 1, 1) == [3, 1, 1]


def test_the_one_used_longest_ago_is_the_first_to_go():
    cache = cache_of(3)
    for number in (1, 2, 3):
        keep(cache, number)
    assert found(cache, 1) == [1]
    keep(cache, 4)
    assert found(cache, 1, 2, 3, 4) == [1, 3, 4]


def test_keeping_a_cell_again_takes_no_second_place():
    cache = cache_of(3)
    keep(cache, 1, 2)
    keep(cache, 2, 1)
    assert cache.state()["rows"] == 2
    keep(cache, 3)
    assert found(cache, 1, 2, 3) == [1, 2, 3]


def test_of_more_cells_than_fit_as_many_stay_as_do():
    cache = cache_of(3)
    keep(cache, *range(1, 11))
    assert len(found(cache, *range(1, 11))) == 3


@pytest.mark.parametrize("capacity_bytes", [0, 1, ROW_BYTES - 1])
def test_a_cache_too_small_for_a_row_keeps_nothing(capacity_bytes):
    cache = MemoryCache(DIM, capacity_bytes)
    keep(cache, 1, 2)
    assert found(cache, 1, 2) == []
    assert cache.state() == {"rows": 0, "capacity_rows": 0, "bytes": 0}


def test_a_cache_of_one_row_keeps_the_last():
    cache = cache_of(1)
    for number in range(1, 6):
        keep(cache, number)
    assert found(cache, *range(1, 6)) == [5]


def test_nothing_kept_and_nothing_asked_is_nothing_found():
    cache = cache_of(2)
    keep(cache)
    assert found(cache) == []


def test_once_closed_it_keeps_and_finds_nothing():
    cache = cache_of(100)
    keep(cache, 1)
    asyncio.run(cache.close())
    keep(cache, 2)
    assert found(cache, 1, 2) == []
    assert cache.state() == {"rows": 0, "capacity_rows": 0, "bytes": 0}


def test_a_row_handed_out_is_a_copy():
    cache = cache_of(2)
    keep(cache, 1)
    rows, _ = asyncio.run(cache.find(cells(1)))
    rows[:] = 0
    assert found(cache, 1) == [1]


def test_a_row_handed_in_is_copied():
    cache = cache_of(2)
    rows = rows_of([1])
    asyncio.run(cache.keep(cells(1), rows))
    rows[:] = 0
    assert found(cache, 1) == [1]


STEPS = st.lists(st.tuples(st.sampled_from(["keep", "find"]), st.integers(1, 24)), max_size=60)


@given(st.integers(0, WAYS), STEPS)
def test_one_set_forgets_what_was_used_longest_ago_as_a_plain_dict_would(capacity, steps):
    cache, model = cache_of(capacity), {}
    for step, number in steps:
        if step == "keep":
            keep(cache, number)
            if capacity and number not in model:
                if len(model) == capacity:
                    del model[next(iter(model))]
                model[number] = None
        elif number in model:
            assert found(cache, number) == [number]
            model[number] = model.pop(number)
        else:
            assert found(cache, number) == []
        assert cache.state()["rows"] == len(model)


@given(st.integers(0, 200), st.lists(st.lists(H3_CELLS, unique=True, max_size=80), max_size=8))
def test_whatever_is_kept_a_hit_is_the_row_of_its_cell_and_the_bound_holds(capacity, calls):
    cache = cache_of(capacity)
    for numbers in calls:
        keep(cache, *numbers)
        found(cache, *itertools.chain(*calls))
        state = cache.state()
        assert state["rows"] <= state["capacity_rows"] <= capacity
        assert state["bytes"] == state["rows"] * ROW_BYTES <= capacity * ROW_BYTES
        assert len(found(cache, *numbers)) >= min(len(numbers), WAYS, state["capacity_rows"], 1)


@pytest.mark.parametrize("capacity", [1, 17, 1_400, 43_700])
def test_the_byte_bound_holds_for_every_array_there_is(capacity):
    cache = cache_of(capacity)
    arrays = [value for value in vars(cache).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) <= capacity * ROW_BYTES
    assert cache.state()["capacity_rows"] > capacity - WAYS


def test_cells_of_one_neighbourhood_spread_over_the_sets():
    cache = cache_of(16_000)
    numbers = np.arange(0x08B1FB4660000000, 0x08B1FB4660000000 + 8_000 * 0x8000, 0x8000, np.uint64)
    for part in np.split(numbers, 8):
        asyncio.run(cache.keep(part, np.zeros((1000, DIM), np.float32)))
    assert cache.state()["rows"] > 7_900
