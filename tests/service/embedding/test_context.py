"""What is known of places, as an object: of a bundle with training places and of one without."""

import asyncio
import contextlib

import numpy as np
import pyarrow as pa
import pytest

from service.bundle import LonLat
from service.embedding.backends.fake import FakeBackend
from service.embedding.batcher import Batcher, BatchLimits
from service.embedding.context import AT_ONCE, context_of, context_reader, nearest_of
from service.embedding.model import memory_of
from service.errors import DeadlineExceeded
from service.geography.land import read_land
from service.metrics import Metrics
from tests.service.conftest import TRAINED_AT

PLACES = LonLat.from_degrees([[116.4, 39.9], [0.0, 0.0]])


def test_a_bundle_with_training_places(placed_bundle):
    context = context_reader(placed_bundle)(PLACES)
    assert context.land.tolist() == [True, False]
    assert context.nearest_sample_km is not None
    assert context.nearest_sample_km[1] == 0
    columns = context.columns()
    assert list(columns) == ["nearest_sample_km", "land"]
    assert [column.type for column in columns.values()] == [pa.float32(), pa.bool_()]
    assert context[1:].columns()["land"].to_pylist() == [False]


def test_a_bundle_without(tiny_bundle):
    context = context_reader(tiny_bundle)(PLACES)
    assert context.nearest_sample_km is None
    assert context.columns()["nearest_sample_km"].to_pylist() == [None, None]
    assert context[:1].nearest_sample_km is None


def test_the_memory_of_a_model_counts_its_training_places(placed_bundle, tiny_bundle):
    assert memory_of(placed_bundle) - memory_of(tiny_bundle) >= 24 * len(TRAINED_AT)


def test_many_places_are_done_piece_by_piece_and_say_what_they_say_at_once(placed_bundle):
    rng = np.random.default_rng(0)
    many = LonLat.from_degrees(rng.uniform((-180, -90), (180, 90), (2 * AT_ONCE + 1, 2)))
    nearest, land = nearest_of(placed_bundle), read_land()

    async def ask(deadline_s):
        batcher = Batcher(FakeBackend(8), BatchLimits(64, 4096, 2), Metrics(), "placed")
        with contextlib.closing(batcher._turns):
            return await context_of(batcher, land, nearest, many, asyncio.get_running_loop().time() + deadline_s)

    context, at_once = asyncio.run(ask(60)), context_reader(placed_bundle)(many)
    np.testing.assert_array_equal(context.nearest_sample_km, at_once.nearest_sample_km)
    np.testing.assert_array_equal(context.land, at_once.land)
    with pytest.raises(DeadlineExceeded):
        asyncio.run(ask(-1))
