"""Models to draw maps with, each in a loop of its own; the fake one needs no bundle's graph."""

import asyncio
from contextlib import asynccontextmanager

import numpy as np
import pytest

from service.embedding.backends.fake import FakeBackend
from service.embedding.models import load_models
from service.metrics import Metrics
from service.settings import Settings

HANG_S = 60


@pytest.fixture
def drawing(tiny_bundle):
    """`drawing(backend=None, **settings)`: a context with the tiny bundle's model, whose queue is empty in the end."""

    @asynccontextmanager
    async def with_model(backend=None, bundle=tiny_bundle, **settings):
        settings = Settings(bundles=(str(bundle.path),), cache_memory_mb=0, **settings)
        models = load_models(settings, Metrics(), backend or FakeBackend(bundle.card.embedding_dim))
        try:
            yield models.default
            assert models.default.embedder.batcher.queued_points == 0
        finally:
            await models.close()

    return with_model


@pytest.fixture(scope="session")
def run():
    """Run a coroutine, which fails where it hangs."""

    def run_it(coroutine):
        async def without_hanging():
            async with asyncio.timeout(HANG_S):
                return await coroutine

        return asyncio.run(without_hanging())

    return run_it


class Plain:
    """A layer of so many bands whose values are those of the embedding's first numbers."""

    unit = "m"
    name = "plain"
    value_range = (-1.0, 1.0)
    categories = None
    category_colors = None
    colormap_name = None

    def __init__(self, bands=1):
        self.bands = bands

    def values(self, rows):
        return np.ascontiguousarray(rows[:, : self.bands])


class Kinds(Plain):
    """Three categories by the sign of the first number of the embedding, roughly as many each."""

    name = "kinds"
    unit = None
    categories = ("low", "middle", "high")
    value_range = (0.0, 2.0)

    def values(self, rows):
        return np.digitize(rows[:, :1], [-0.5, 0.5]).astype(np.float32)


@pytest.fixture
def plain():
    return Plain()


@pytest.fixture
def kinds():
    return Kinds()
