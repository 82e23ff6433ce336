import asyncio
from contextlib import AsyncExitStack

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.embedding.flights import Flight, Flights

BATCH = 4


def cells_of(*numbers):
    return np.array(numbers, np.uint64)


def others_of(boarding):
    return {flight: indices.tolist() for flight, indices in boarding.others.items()}


def test_who_boards_first_computes_and_others_wait_for_the_cells_they_share():
    async def main():
        flights = Flights(BATCH)
        async with flights.boarding(cells_of(1, 2)) as first, flights.boarding(cells_of(2, 3)) as second:
            assert first.own.tolist() == [0, 1]
            assert first.others == {}
            assert second.own.tolist() == [1]
            assert others_of(second) == {first.flight: [0]}

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
                assert others_of(same) == {small.flight: [0]}
                assert others_of(other_bulk) == {bulk.flight: [0, 1, 2, 3, 4, 5]}
                assert other_bulk.own.tolist() == [6, 7]

    asyncio.run(main())


@given(st.lists(st.integers(1, 40), unique=True, min_size=1), st.lists(st.integers(0, 50)))
def test_a_flight_knows_where_each_cell_stands(numbers, wanted):
    flight = Flight(cells_of(*numbers), rows=None)
    expected = [numbers.index(number) if number in numbers else -1 for number in wanted]
    assert flight.indices_of(cells_of(*wanted)).tolist() == expected


def test_a_large_call_takes_from_small_ones_what_they_compute():
    async def main():
        flights = Flights(BATCH)
        async with flights.boarding(cells_of(7, 3)) as small, flights.boarding(cells_of(*range(1, 8))) as bulk:
            assert others_of(bulk) == {small.flight: [2, 6]}
            assert bulk.own.tolist() == [0, 1, 3, 4, 5]

    asyncio.run(main())


@given(st.lists(st.lists(st.integers(1, 12), unique=True, min_size=1, max_size=10), max_size=8), st.data())
def test_whoever_leaves_in_whatever_order_nothing_stays(calls, data):
    async def main():
        flights = Flights(BATCH)
        stacks, boardings = [], []
        for numbers in calls:
            stack = AsyncExitStack()
            boarding = await stack.enter_async_context(flights.boarding(cells_of(*numbers)))
            shared = sorted([*boarding.own.tolist(), *(i for indices in boarding.others.values() for i in indices)])
            assert shared == list(range(len(numbers)))
            for flight, indices in boarding.others.items():
                assert flight in [earlier.flight for earlier in boardings]
                assert (
                    flight.cells[flight.indices_of(boarding.flight.cells[indices])] == [numbers[i] for i in indices]
                ).all()
            boardings.append(boarding)
            stacks.append(stack)
        for stack in data.draw(st.permutations(stacks)):
            await stack.aclose()
        assert not flights._small
        assert not flights._bulk

    asyncio.run(main())
