import asyncio
from contextlib import AsyncExitStack

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.embedding.flights import Flights

BATCH = 4


def cells_of(*numbers):
    return np.array(numbers, np.uint64)


def test_who_boards_first_computes_and_others_wait_for_the_cells_they_share():
    async def main():
        flights = Flights(BATCH)
        async with flights.boarding(cells_of(1, 2)) as first, flights.boarding(cells_of(2, 3)) as second:
            assert first.own.tolist() == [0, 1]
            assert first.others == {}
            assert second.own.tolist() == [1]
            assert second.others == {first.flight: [0]}
            assert first.flight.row_of == {1: 0, 2: 1}

    asyncio.run(main())


def test_a_flight_that_ends_without_rows_says_so_and_is_gone():
    async def main():
        flights = Flights(BATCH)
        async with flights.boarding(cells_of(1)) as first:
            pass
        assert first.flight.rows.result() is None
        async with flights.boarding(cells_of(1)) as second:
            assert second.others == {}

    asyncio.run(main())


def test_a_call_of_one_batch_does_not_wait_for_one_of_many():
    async def main():
        flights = Flights(BATCH)
        async with flights.boarding(cells_of(*range(1, 10))) as bulk, flights.boarding(cells_of(5)) as small:
            assert small.own.tolist() == [0]
            async with flights.boarding(cells_of(*range(4, 12))) as other_bulk, flights.boarding(cells_of(5)) as same:
                assert same.others == {small.flight: [0]}
                assert other_bulk.others == {bulk.flight: [0, 2, 3, 4, 5], small.flight: [1]}
                assert other_bulk.own.tolist() == [6, 7]

    asyncio.run(main())


@given(st.lists(st.lists(st.integers(1, 12), unique=True, min_size=1, max_size=10), max_size=8), st.data())
def test_whoever_leaves_in_whatever_order_nothing_stays(calls, data):
    async def main():
        flights = Flights(BATCH)
        stacks = []
        for numbers in calls:
            stack = AsyncExitStack()
            boarding = await stack.enter_async_context(flights.boarding(cells_of(*numbers)))
            shared = sorted([*boarding.own.tolist(), *(i for indices in boarding.others.values() for i in indices)])
            assert shared == list(range(len(numbers)))
            for flight, indices in boarding.others.items():
                assert all(numbers[index] in flight.row_of for index in indices)
            stacks.append(stack)
        for stack in data.draw(st.permutations(stacks)):
            await stack.aclose()
        assert not flights._small
        assert not flights._bulk

    asyncio.run(main())
