import asyncio
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.embedding.cache.memory import INDEX_BYTES_PER_ROW, MemoryCache

DIM = 3
ROW_BYTES = 4 * DIM + INDEX_BYTES_PER_ROW


def cache_of(rows):
    return MemoryCache(DIM, rows * ROW_BYTES)


def cells(*numbers):
    return np.array(numbers, np.uint64)


def rows_of(numbers):
    """A row tells which cell it is of, and which `put` of it."""
    return np.array([[number, number / 2, -number] for number in numbers], np.float32).reshape(-1, DIM)


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


def test_the_first_kept_is_the_first_to_go():
    cache = cache_of(3)
    keep(cache, 1, 2, 3)
    keep(cache, 4)
    assert found(cache, 1, 2, 3, 4) == [2, 3, 4]


def test_keeping_a_cell_again_neither_moves_it_nor_takes_a_second_place():
    cache = cache_of(3)
    keep(cache, 1, 2)
    keep(cache, 1, 1)
    keep(cache, 3, 4)
    assert found(cache, 1, 2, 3, 4) == [2, 3, 4]


def test_of_more_cells_than_fit_the_last_stay():
    cache = cache_of(3)
    keep(cache, *range(10))
    assert found(cache, *range(10)) == [7, 8, 9]


@pytest.mark.parametrize("capacity_bytes", [0, 1, ROW_BYTES - 1])
def test_a_cache_too_small_for_a_row_keeps_nothing(capacity_bytes):
    cache = MemoryCache(DIM, capacity_bytes)
    keep(cache, 1, 2)
    assert found(cache, 1, 2) == []
    assert cache.state().rows == cache.state().capacity_rows == cache.state().bytes == 0


def test_a_cache_of_one_row_keeps_the_last():
    cache = cache_of(1)
    for number in range(5):
        keep(cache, number)
    assert found(cache, *range(5)) == [4]


def test_nothing_kept_and_nothing_asked_is_nothing_found():
    cache = cache_of(2)
    keep(cache)
    assert found(cache) == []


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


NUMBERS = st.lists(st.integers(0, 12), max_size=8)


@given(st.integers(0, 6), st.lists(st.tuples(st.sampled_from(["keep", "find"]), NUMBERS), max_size=20))
def test_it_behaves_as_a_plain_dict_that_forgets_its_first(capacity, steps):
    cache, model = cache_of(capacity), {}
    for step, numbers in steps:
        if step == "keep":
            keep(cache, *numbers)
            for number in numbers[-capacity:] if capacity else []:
                model.setdefault(number)
                if len(model) > capacity:
                    del model[next(iter(model))]
        else:
            assert found(cache, *numbers) == [number for number in numbers if number in model]
        assert cache.state().rows == len(model)
        assert cache.state().bytes == len(model) * ROW_BYTES


@pytest.mark.parametrize("capacity", [1_400, 5_470, 43_700])  # just over a third of a power of two: the worst dicts
def test_the_byte_bound_holds_in_memory_as_measured(capacity):
    cache = cache_of(capacity)
    first = 0x8A0000000000000
    for start in range(first, first + 3 * capacity, 1000):
        numbers = np.arange(start, start + 1000, dtype=np.uint64)
        asyncio.run(cache.keep(numbers, np.zeros((1000, DIM), np.float32)))
    index, ring = cache._slot_of, cache._cell_in
    boxed = sum(sys.getsizeof(cell) + sys.getsizeof(slot) for cell, slot in index.items())
    measured = cache._slab.nbytes + sys.getsizeof(index) + sys.getsizeof(ring) + boxed
    assert len(index) == capacity
    assert measured <= capacity * ROW_BYTES
