"""Precisions that a bundle declares: which graph runs, what is refused, and that no row answers for another's."""

import asyncio

import numpy as np
import pytest
from redis import Redis

from service.bundle import LonLat
from service.embedding.models import load_models
from service.embedding.timing import Timing
from service.errors import ProviderUnavailable
from service.metrics import Metrics
from service.settings import Settings
from tests.redis_server import redis

__all__ = ["redis"]

PLACES = LonLat.from_degrees([[10, 20], [-30, 40], [0, 90]])


def load(bundle, **settings):
    return load_models(Settings(bundles=(str(bundle.path),), provider="cpu", **settings), Metrics(), None)


async def embed(model):
    deadline = asyncio.get_running_loop().time() + 30
    answer = await model.embedder.embed(PLACES, exact=False, deadline=deadline, timing=Timing())
    return answer.rows


def rows(bundle, **settings):
    async def main():
        models = load(bundle, **settings)
        try:
            return await embed(models.default)
        finally:
            await models.close()

    return asyncio.run(main())


def test_each_precision_runs_its_own_graph(precise_bundle):
    full, half = (rows(precise_bundle, precision=precision) for precision in ("float32", "float16"))
    assert np.abs(full - half).max() > 0.1
    assert load(precise_bundle, precision="float16").default.precision == "float16"
    assert load(precise_bundle).default.precision == "float32"


@pytest.mark.parametrize("precision", ["tf32", "float16"])
def test_what_the_card_does_not_declare_is_refused_with_what_it_does(tiny_bundle, precision):
    with pytest.raises(ProviderUnavailable, match=rf"SATCLE_PRECISION={precision}: model tiny declares float32 only"):
        load(tiny_bundle, precision=precision)


def test_tf32_is_of_gpus_alone(precise_bundle):
    with pytest.raises(ProviderUnavailable, match="only GPUs have it"):
        load(precise_bundle, precision="tf32")


def test_a_row_of_one_precision_never_answers_for_another(precise_bundle, redis):
    shared = {"redis_url": redis.url, "cache_memory_mb": 0, "redis_timeout_ms": 1000}
    alone = {precision: rows(precise_bundle, precision=precision) for precision in ("float32", "float16")}
    for precision in ("float32", "float16", "float16", "float32"):
        np.testing.assert_array_equal(rows(precise_bundle, precision=precision, **shared), alone[precision])
    with Redis.from_url(redis.url) as client:
        assert client.dbsize() == 2 * len(PLACES)
