import asyncio

import numpy as np
import pytest

from service.bundle import BundleCorrupt, BundleError, BundleNotFound, LonLat, write_bundle
from service.embedding.backends.fake import FakeBackend
from service.embedding.backends.onnx import OnnxBackend
from service.embedding.embedder import Timing
from service.embedding.models import load_models
from service.errors import BackendFailed, InvalidSetting, NotReady, UnknownModel
from service.metrics import Metrics
from service.settings import Settings, read_settings


def load(*bundles, backend=None, **settings):
    paths = tuple(str(bundle.path) for bundle in bundles)
    return load_models(Settings(bundles=paths, **settings), Metrics(), backend)


@pytest.fixture
def two(tmp_path, make_bundle):
    return make_bundle(tmp_path / "a", name="first"), make_bundle(tmp_path / "b", name="second")


def embed(model, rows):
    async def main():
        deadline = asyncio.get_running_loop().time() + 30
        return await model.embedder.embed(LonLat.from_degrees(rows), exact=False, deadline=deadline, timing=Timing())

    return asyncio.run(main())


def test_models_are_found_by_name_and_the_first_is_the_default(two):
    models = load(*two)
    assert list(models.by_name) == ["first", "second"]
    assert models.named(None) is models.named("first") is models.default
    assert models.named("second").bundle == two[1]


def test_an_unknown_name_is_answered_with_those_there_are(two):
    with pytest.raises(UnknownModel, match="no model 'third' is served; there is first, second"):
        load(*two).named("third")


def test_two_bundles_of_one_name_are_refused(tmp_path, make_bundle):
    bundles = [make_bundle(tmp_path / folder) for folder in ("a", "b")]
    with pytest.raises(BundleError, match="must differ in name, and are named tiny, tiny"):
        load(*bundles)


def test_a_model_embeds_with_onnx_runtime_unless_given_a_backend(tiny_bundle):
    assert isinstance(load(tiny_bundle).default.backend, OnnxBackend)
    fake = FakeBackend(8)
    model = load(tiny_bundle, backend=fake).default
    assert model.backend is fake
    centre = embed(model, [[116.4, 39.9]])
    assert centre.cells is not None
    assert np.isfinite(centre.rows).all()


def test_settings_reach_the_embedder(tiny_bundle):
    embedder = load(
        tiny_bundle, max_batch_points=7, max_queue_points=200_000, worker_threads=3, snap="exact", cache_memory_mb=0
    ).default.embedder
    limits = embedder.batcher.limits
    assert (limits.batch_points, limits.queue_points, limits.threads) == (7, 200_000, 3)
    assert embedder.cache is None
    assert not embedder.snaps(exact=False)


def test_the_cache_memory_is_shared_among_the_models(two):
    def capacities(*bundles):
        embedders = [model.embedder for model in load(*bundles, cache_memory_mb=2).by_name.values()]
        return [embedder.cache.info(embedder.batcher.spent)[0]["capacity_rows"] for embedder in embedders]

    (alone,) = capacities(two[0])
    assert capacities(*two) == pytest.approx([alone / 2] * 2, rel=1e-3)  # capacities are whole sets


def test_a_bundle_that_is_not_there_or_altered_is_not_loaded(tmp_path, make_bundle):
    with pytest.raises(BundleNotFound, match="no bundle"):
        load_models(Settings(bundles=(str(tmp_path / "absent"),)), Metrics(), None)
    bundle = make_bundle(tmp_path / "altered")
    (bundle.path / "encoder.onnx").write_bytes(b"altered")
    with pytest.raises(BundleCorrupt, match=r"encoder\.onnx"):
        load(bundle)


def test_an_encoder_that_is_no_model_is_one_clear_error(tmp_path, tiny_bundle):
    bundle = write_bundle(tmp_path / "junk", tiny_bundle.card, {"encoder.onnx": b"junk"})
    with pytest.raises(BackendFailed, match=r"cannot open .*encoder\.onnx"):
        load(bundle)


def test_a_probe_is_an_inference_that_can_fail(tiny_bundle):
    class Failing(FakeBackend):
        def embed(self, lonlat):
            raise RuntimeError("the device is lost")

    asyncio.run(load(tiny_bundle, backend=FakeBackend(8)).default.probe())
    with pytest.raises(BackendFailed, match="the device is lost"):
        asyncio.run(load(tiny_bundle, backend=Failing(8)).default.probe())


def test_the_provider_in_use_is_a_metric(tiny_bundle):
    metrics = Metrics()
    load_models(Settings(bundles=(str(tiny_bundle.path),), provider="cpu"), metrics, None)
    assert b'satcle_provider_info{model="tiny",provider="cpu"} 1.0' in metrics.exposition()[0]


def test_closing_closes_every_model(two):
    models = load(*two, backend=FakeBackend(8))
    asyncio.run(models.close())
    for model in models.by_name.values():
        with pytest.raises(NotReady):
            embed(model, [[1, 2]])


def test_redis_is_a_tier_behind_memory_and_shows_no_password(tiny_bundle):
    models = load(tiny_bundle, redis_url="redis://user:secret@localhost:1/0", cache_ttl_s=60)
    info = models.default.embedder.cache.info(models.default.embedder.batcher.spent)
    assert [tier["tier"] for tier in info] == ["memory", "redis"]
    assert info[1]["breakers"] == {"read": "closed", "write": "closed"}
    (alone,) = load(tiny_bundle, redis_url="redis://localhost:1", cache_memory_mb=0).default.embedder.cache._tiers
    assert alone.name == "redis"
    settings = Settings(redis_url="rediss+cluster://user:sec/ret@host:6379/0?password=secret")
    assert settings.model_dump()["redis_url"] == "rediss+cluster://***@host:6379/0"
    with pytest.raises(InvalidSetting, match=r"SATCLE_REDIS_URL '\*\*\*@host'"):
        read_settings(redis_url="http://user:secret@host")
