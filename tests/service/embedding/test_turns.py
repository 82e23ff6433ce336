"""Workers shared by the queues of several models: whose turn it is, on a backend that says what it was given."""

import asyncio
import threading
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.embedding.batcher import Batcher, BatchLimits
from service.embedding.turns import Turn, Turns
from service.metrics import Metrics
from tests.service.embedding.test_batcher import FOREVER, GatedBackend, call, expected_rows, next_turn, places, run


class Shared(GatedBackend):
    """A model's backend, which is open whenever its gate is, and enters its name in the common log of batches."""

    def __init__(self, name, log):
        super().__init__()
        self.name, self.log = name, log

    def embed(self, lonlat):
        self.log.append(self.name)
        return super().embed(lonlat)


@asynccontextmanager
async def sharing(models, threads=1, batch=2, queue=10_000):
    """So many batchers on the same workers, and the log of whose batches were run."""
    log, turns, metrics = [], Turns(threads), Metrics()
    limits = BatchLimits(batch, queue, threads)
    batchers = [Batcher(Shared(name, log), limits, metrics, str(name), turns) for name in range(models)]
    try:
        yield batchers, log
    finally:
        for batcher in batchers:
            batcher.backend.open()
            await batcher.close()
        turns.close()


async def hold(batchers, threads):
    """Keep every worker with a place of the first model, so that whatever comes now waits; returns those calls."""
    batchers[0].backend.shut()
    calls = []
    for number in range(threads):
        calls.append(call(batchers[0], places(number)))
        await batchers[0].backend.started()
    return calls


@given(batches=st.lists(st.integers(2, 12), min_size=2, max_size=4), bulk=st.booleans())
def test_models_that_have_work_have_as_many_turns_each(batches, bulk):
    async def main():
        async with sharing(len(batches)) as (batchers, log):
            calls = await hold(batchers, threads=1)
            for batcher, count in zip(batchers, batches, strict=True):
                sizes = [2 * count] if bulk else [2] * count
                calls += [call(batcher, places(*range(size))) for size in sizes]
            await next_turn()
            batchers[0].backend.open()
            await asyncio.gather(*calls)
            had = [0] * len(batches)
            for model in log[1:]:
                had[model] += 1
                waiting = [had[m] for m, count in enumerate(batches) if had[m] < count]
                assert max(waiting, default=0) - min(waiting, default=0) <= 1
            assert had == batches

    run(main())


class Endless:
    """A queue in which something always waits, bulk or not; notes each turn that any worker might have had."""

    def __init__(self, name, bulk, log, enough):
        self.name, self.bulk, self.log, self.enough = name, bulk, log, enough

    def __len__(self):
        return int(len(self.log) < self.enough)

    def next_turn(self, *, interactive_only):
        if self.bulk and interactive_only:
            return None
        if not interactive_only:
            self.log.append(self.name)
        return Turn(1, self.bulk, [], lambda: None, lambda turn: None)


@given(bulk=st.lists(st.booleans(), min_size=2, max_size=5), threads=st.integers(1, 3))
def test_in_whichever_lanes_they_wait_all_have_their_turns_in_rotation(bulk, threads):
    """Beside that the express worker serves the interactive lanes."""

    async def main():
        turns, log = Turns(threads), []
        queues = [Endless(name, is_bulk, log, 30) for name, is_bulk in enumerate(bulk)]
        for queue in queues:
            turns.wait(queue)
        while len(log) < 30:
            await next_turn()
        turns.close()
        gaps = [len(set(log[start : start + len(bulk) + 1])) for start in range(30 - len(bulk))]
        if all(bulk) or not any(bulk):
            assert min(gaps) == len(bulk)  # each exactly once in each round
        for name, is_bulk in enumerate(bulk):
            if is_bulk:  # what the express worker never serves has its turn in every round all the same
                where = [at for at, turn in enumerate(log) if turn == name]
                assert max(after - before for before, after in pairwise(where)) <= len(bulk)

    run(main())


def test_two_saturated_models_alternate():
    async def main():
        async with sharing(2) as (batchers, log):
            calls = await hold(batchers, threads=1)
            calls += [call(batcher, places(1, 2)) for batcher in batchers for _ in range(20)]
            await next_turn()
            batchers[0].backend.open()
            await asyncio.gather(*calls)
            turns = log[1:]
            assert all(one != other for one, other in pairwise(turns))

    run(main())


def test_a_flood_does_not_hold_up_the_only_call_of_another_model():
    async def main():
        async with sharing(2) as (batchers, log):
            calls = await hold(batchers, threads=1)
            calls += [call(batchers[0], places(1, 2)) for _ in range(100)]
            calls.append(call(batchers[1], places(7)))
            await next_turn()
            batchers[0].backend.open()
            await asyncio.gather(*calls)
            assert log.index(1) <= 2  # the one that ran, one that was before it, and then its own

    run(main())


def test_a_model_alone_has_every_turn_and_every_worker():
    async def main():
        async with sharing(3, threads=3) as (batchers, log):
            batchers[1].backend.shut()
            calls = [call(batchers[1], places(1, 2)) for _ in range(6)]
            for _ in range(3):
                await batchers[1].backend.started()
            assert log == [1, 1, 1]
            batchers[1].backend.open()
            await asyncio.gather(*calls)
            assert log == [1] * 6

    run(main())


@pytest.mark.parametrize("models", [1, 8])
def test_many_models_have_no_more_threads_than_one(models):
    async def main():
        before = set(threading.enumerate())
        async with sharing(models, threads=2) as (batchers, _):
            await asyncio.gather(*(call(batcher, places(1)) for batcher in batchers))
            assert len(set(threading.enumerate()) - before) == 4  # two for each lane

    run(main())


def test_the_queue_is_bounded_for_each_model_by_itself():
    async def main():
        async with sharing(2, queue=4) as (batchers, _):
            calls = await hold(batchers, threads=1)
            calls += [call(batcher, places(1, 2, 3, 4)) for batcher in batchers]
            await next_turn()
            assert [batcher.queued_points for batcher in batchers] == [4, 4]
            batchers[0].backend.open()
            await asyncio.gather(*calls)

    run(main())


def test_a_model_that_is_closed_leaves_the_others_their_workers():
    async def main():
        async with sharing(2) as (batchers, _):
            await batchers[0].close()
            (rows,) = await asyncio.gather(call(batchers[1], places(5)))
            assert (rows == expected_rows(places(5))).all()

    run(main())


@given(
    calls=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 9)), min_size=1, max_size=20),
    threads=st.integers(1, 3),
)
def test_whatever_comes_each_model_answers_its_own(calls, threads):
    async def main():
        async with sharing(3, threads=threads, batch=4) as (batchers, log):
            asked = [(batchers[model], places(*range(size), lat=float(model))) for model, size in calls]
            answers = await asyncio.gather(*(batcher.embed(lonlat, FOREVER) for batcher, lonlat in asked))
            for rows, (_, lonlat) in zip(answers, asked, strict=True):
                assert (rows == expected_rows(lonlat)).all()
            assert set(log) == {model for model, _ in calls}

    run(main())
