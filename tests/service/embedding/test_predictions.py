"""Predictions of many places: the same as of each alone, in the order asked for, classes ranked."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.embedding.backends.fake import FakeBackend
from service.embedding.batcher import Batcher, BatchLimits
from service.embedding.heads import open_heads
from service.embedding.predictions import _most_probable, predict
from service.errors import BackendFailed, DeadlineExceeded
from service.metrics import Metrics
from tests.service.conftest import COLOURS, EMBEDDING_DIM

ROWS = np.random.default_rng(1).normal(size=(1000, EMBEDDING_DIM)).astype(np.float32)


@pytest.fixture(scope="module")
def heads(headed_bundle):
    return list(open_heads(headed_bundle, "cpu").values())


def run(heads, rows, top=None, seconds=30.0, batch_points=64):
    async def main():
        batcher = Batcher(FakeBackend(EMBEDDING_DIM), BatchLimits(batch_points, 10_000, 2), Metrics(), "m")
        try:
            deadline = asyncio.get_running_loop().time() + seconds
            return await predict(batcher, heads, rows, deadline, top=top), batcher.queued_points
        finally:
            await batcher.close()

    return asyncio.run(main())


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1000])
def test_every_row_is_predicted_in_order_however_many_batches_it_takes(heads, n):
    (height, colour), queued = run(heads, ROWS[:n])
    np.testing.assert_allclose(height.numbers[:, 0], heads[0].predict(ROWS[:n]), rtol=1e-6)
    np.testing.assert_allclose(colour.numbers, heads[1].predict(ROWS[:n]), rtol=1e-5, atol=1e-8)
    assert height.ranked is None
    assert colour.ranked is None
    assert queued == 0


@pytest.mark.parametrize("n", [10, 500])
def test_ranked_classes_come_with_their_probabilities(heads, n):
    ((height, colour), _) = run(heads, ROWS[:n], top=3)
    probabilities = heads[1].predict(ROWS[:n])
    assert height.ranked is None
    assert colour.ranked.shape == (n, 3)
    np.testing.assert_array_equal(colour.ranked[:, 0], probabilities.argmax(axis=1))
    np.testing.assert_allclose(colour.numbers, -np.sort(-probabilities, axis=1)[:, :3], rtol=1e-5)


def test_fewer_classes_than_asked_for_are_all_there_are(heads):
    ((colour,), _) = run(heads[1:], ROWS[:5], top=99)
    assert sorted(colour.ranked[0].tolist()) == list(range(len(COLOURS)))
    assert (np.diff(colour.numbers, axis=1) <= 0).all()


@given(
    p=hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=st.floats(0, 1, width=32)),
    top=st.integers(1, 9),
)
def test_the_most_probable_are_the_largest_and_in_order(p, top):
    ranked = _most_probable(p, top)
    values = np.take_along_axis(p, ranked, axis=1)
    np.testing.assert_array_equal(values, -np.sort(-p, axis=1)[:, :top])
    assert all(len(set(row)) == len(row) for row in ranked.tolist())


def test_a_deadline_that_has_passed_ends_it_and_leaves_nothing_queued(heads):
    with pytest.raises(DeadlineExceeded):
        run(heads, ROWS, seconds=-1.0)


def test_a_head_that_fails_fails_the_call_alone(heads, headed_bundle):
    bad = ROWS.copy()
    bad[777] = np.inf
    with pytest.raises(BackendFailed, match="not finite"):
        run(heads, bad)


def test_a_queue_that_others_fill_does_not_refuse_what_was_embedded_already(heads):
    async def main():
        batcher = Batcher(FakeBackend(EMBEDDING_DIM), BatchLimits(64, 1000, 2), Metrics(), "m")
        deadline = asyncio.get_running_loop().time() + 30
        try:
            with batcher.reserved(1000):
                (height, _) = await predict(batcher, heads, ROWS, deadline, top=None)
            return height.numbers, batcher.queued_points
        finally:
            await batcher.close()

    numbers, queued = asyncio.run(main())
    np.testing.assert_allclose(numbers[:, 0], heads[0].predict(ROWS), rtol=1e-6)
    assert queued == 0
