import asyncio
import shutil

import numpy as np
import pytest

from service.bundle import BundleCorrupt, BundleError, BundleNotFound, LonLat, write_bundle
from service.embedding.backends.fake import FakeBackend
from service.embedding.backends.onnx import OnnxBackend
from service.embedding.generation import Generation
from service.embedding.model import memory_of
from service.embedding.models import load_models
from service.embedding.timing import Timing
from service.errors import BackendFailed, InvalidSetting, NotReady, UnknownModel
from service.metrics import Metrics
from service.settings import Settings, read_settings
from tests.service.conftest import let_one_be_a_megabyte


def load(*bundles, backend=None, **settings):
    paths = tuple(str(bundle.path) for bundle in bundles)
    return load_models(Settings(bundles=paths, **settings), Metrics(), backend)


@pytest.fixture
def two(tmp_path, make_bundle):
    return make_bundle(tmp_path / "a", name="first"), make_bundle(tmp_path / "b", name="second")


FOREVER = float("inf")


def run(coroutine):
    return asyncio.run(coroutine)


def embed(model, rows):
    async def main():
        deadline = asyncio.get_running_loop().time() + 30
        return await model.embedder.embed(LonLat.from_degrees(rows), exact=False, deadline=deadline, timing=Timing())

    return asyncio.run(main())


def test_models_are_found_by_name_and_the_first_is_the_default(two):
    models = load(*two)

    async def main():
        first, second = await models.all(None)
        assert [first.bundle, second.bundle] == list(two)
        assert await models.named(None, None) is await models.named("first", None) is first
        async with models.using("second", FOREVER) as model, models.using(None, FOREVER) as default:
            assert model is second.model
            assert default is first.model is models.default

    run(main())


def test_an_unknown_name_is_answered_with_those_there_are(two):
    with pytest.raises(UnknownModel, match="no model 'third' is served; there is first, second"):
        run(load(*two).named("third", None))


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
        residents = run(load(*bundles, cache_memory_mb=2).all(None))
        embedders = [resident.model.embedder for resident in residents]
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
    loaded = [resident.model for resident in run(models.all(None))]
    asyncio.run(models.close())
    for model in loaded:
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


def served(models):
    return {r.bundle.card.name: r.bundle.card.version for r in run(models.all(None))}


def test_another_than_the_first_may_be_the_default_and_is_listed_first(two):
    models = load(*two, default_model="second")
    assert models.default.bundle == two[1]
    assert list(served(models)) == ["second", "first"]
    with pytest.raises(InvalidSetting, match="SATCLE_DEFAULT_MODEL 'third': there is first, second"):
        load(*two, default_model="third")


def test_a_folder_of_bundles_is_all_that_are_in_it(tmp_path, make_bundle):
    for name in ("b", "a"):
        make_bundle(tmp_path / "all" / name, name=name)
    models = load_models(Settings(bundles=(str(tmp_path / "all"),)), Metrics(), FakeBackend(8))
    assert list(served(models)) == ["a", "b"]


def test_a_folder_may_be_empty_for_those_to_come_but_hold_nothing_else(tmp_path, tiny_bundle):
    folder = tmp_path / "all"
    folder.mkdir()
    with pytest.raises(BundleNotFound, match="put one there"):
        load_models(Settings(bundles=(str(folder),)), Metrics(), None)
    bundles = (str(tiny_bundle.path), str(folder))
    assert list(served(load_models(Settings(bundles=bundles), Metrics(), FakeBackend(8)))) == ["tiny"]
    (folder / "half-copied.onnx").write_bytes(b"")
    with pytest.raises(BundleNotFound, match=r"no manifest\.json"):
        load_models(Settings(bundles=bundles), Metrics(), None)


def test_at_start_as_many_are_loaded_as_fit_the_default_first(tmp_path, make_bundle, monkeypatch):
    for name in ("a", "b", "c"):
        make_bundle(tmp_path / name, name=name)
    monkeypatch.setattr("service.embedding.model.BYTES_PER_GRAPH_BYTE", 1000)  # so that tiny bundles count
    size = memory_of(make_bundle(tmp_path / "other"))
    bound = Settings(
        bundles=tuple(str(tmp_path / name) for name in ("a", "b", "c")), default_model="c",
        model_memory_mb=2 * size // 2**20 + 1,
    )  # fmt: skip
    models = load_models(bound, Metrics(), FakeBackend(8))
    loaded = {r.bundle.card.name: r.model is not None for r in run(models.all(None))}
    assert loaded == {"c": True, "a": True, "b": False}
    with pytest.raises(InvalidSetting, match="raise SATCLE_MODEL_MEMORY_MB"):
        load_models(bound.model_copy(update={"model_memory_mb": size // 2**20 // 2}), Metrics(), FakeBackend(8))


class Reloading:
    """A service's models in a folder that the test changes."""

    def __init__(self, folder, make_bundle, **settings):
        self.folder, self.make = folder, make_bundle
        self.write("a"), self.write("b")
        self.settings = Settings(bundles=(str(folder),), cache_memory_mb=2, **settings)
        self.metrics = Metrics()
        self.models = load_models(self.settings, self.metrics, None)

    def write(self, name, version="1", **fields):
        fields = {"name": name, "version": version, "shift": float(version)} | fields
        return self.make(self.folder / name, overwrite=True, **fields)

    async def reload(self):
        return {change.model: change.kind for change in await self.models.reload()}


@pytest.fixture
def reloading(tmp_path, make_bundle):
    return Reloading(tmp_path / "all", make_bundle)


async def rows_of(model):
    lonlat = LonLat.from_degrees([[10, 20], [30, 40]])
    return (await model.embedder.embed(lonlat, exact=False, deadline=FOREVER, timing=Timing())).rows


def test_a_reload_takes_up_what_is_new_or_other_and_lets_go_of_what_is_gone(reloading):
    async def main():
        assert await reloading.reload() == {"a": "kept", "b": "kept"}
        reloading.write("c")
        reloading.write("a", "2")
        shutil.rmtree(reloading.folder / "b")
        assert await reloading.reload() == {"a": "replaced", "c": "added", "b": "removed"}
        with pytest.raises(UnknownModel, match="there is a, c"):
            await reloading.models.named("b", None)
        async with reloading.models.using("a", FOREVER) as model:
            assert model.bundle.card.version == "2"
        await reloading.models.close()

    run(main())


def test_what_is_in_flight_ends_on_the_model_that_it_began_on(reloading):
    async def main():
        async with reloading.models.using("a", FOREVER) as old:
            before = await rows_of(old)
            reloading.write("a", "2")
            await reloading.reload()
            async with reloading.models.using("a", FOREVER) as new:
                assert (await rows_of(new) != before).any()
            old.embedder.cache = None
            assert (await rows_of(old) == before).all()
        while len(reloading.models._residents.loaded) > 2:  # noqa: ASYNC110 - what ends is nobody's event
            await asyncio.sleep(0.001)
        with pytest.raises(NotReady):
            await rows_of(old)
        await reloading.models.close()

    run(main())


@pytest.mark.parametrize("spoil", ["altered", "no graph", "no manifest"])
def test_what_does_not_verify_or_open_is_refused_and_the_rest_is_taken(reloading, tiny_bundle, spoil):
    async def main():
        reloading.write("c")
        bundle = reloading.write("b", "2")
        if spoil == "altered":
            (bundle.path / "encoder.onnx").write_bytes(b"altered")
        elif spoil == "no graph":
            write_bundle(bundle.path, bundle.card, {"encoder.onnx": b"junk"}, overwrite=True)
        else:
            (bundle.path / "manifest.json").unlink()
        assert await reloading.reload() == {"a": "kept", "b": "refused", "c": "added"}
        async with reloading.models.using("b", FOREVER) as model:
            assert model.bundle.card.version == "1"
            await rows_of(model)
        await reloading.models.close()

    run(main())


def test_the_default_is_not_removed(reloading):
    async def main():
        shutil.rmtree(reloading.folder / "a")
        assert await reloading.reload() == {"b": "kept", "a": "refused"}
        async with reloading.models.using(None, FOREVER) as model:
            await rows_of(model)
        await reloading.models.close()

    run(main())


def test_one_whose_files_are_gone_never_makes_room(reloading, monkeypatch):
    let_one_be_a_megabyte(monkeypatch)
    settings = reloading.settings.model_copy(update={"model_memory_mb": 2})
    models = load_models(settings, Metrics(), None)

    async def main():
        reloading.write("c")
        shutil.rmtree(reloading.folder / "a")
        await models.reload()
        for name in ("b", "c", "b", None):
            async with models.using(name, FOREVER) as model:
                await rows_of(model)
        assert models.default.bundle.card.name == "a"
        await models.close()

    run(main())


def test_one_that_sorts_before_the_default_does_not_become_it(reloading):
    async def main():
        reloading.write("0")
        assert await reloading.reload() == {"0": "added", "a": "kept", "b": "kept"}
        assert (await reloading.models.named(None, None)).bundle.card.name == "a"
        await reloading.models.close()

    run(main())


def test_the_caches_of_more_models_take_no_more_memory(reloading):
    def capacity():
        return sum(
            resident.model.embedder.cache.info(resident.model.embedder.batcher.spent)[0]["capacity_rows"]
            for resident in reloading.models._residents.loaded
        )

    async def main():
        before = capacity()
        for name in ("c", "d", "e"):
            reloading.write(name)
        await reloading.reload()
        assert len(await reloading.models.all(None)) == 5
        assert capacity() <= before
        await reloading.models.close()

    run(main())


def test_processes_that_share_a_generation_follow_one_another(reloading):
    generation = Generation()
    settings = reloading.settings.model_copy(update={"default_model": "a"})
    one, other = (load_models(settings, Metrics(), None, generation) for _ in range(2))

    async def main():
        assert one.follow() is other.follow() is None
        reloading.write("c")
        await one.reload()
        assert one.follow() is None
        assert [r.bundle.card.name for r in await other.all(FOREVER)] == ["a", "b", "c"]
        assert other.follow() is None
        reloading.write("d")
        await asyncio.gather(one.reload(), other.reload())
        for models in (one, other):
            assert [r.bundle.card.name for r in await models.all(FOREVER)] == ["a", "b", "c", "d"]
            assert models.follow() is None
            await models.close()
        await reloading.models.close()

    run(main())


def test_a_process_that_joins_later_does_without_what_it_must_refuse(reloading):
    generation = Generation()
    first = load_models(reloading.settings, Metrics(), None, generation)
    (reloading.write("c").path / "encoder.onnx").write_bytes(b"altered")
    settings = reloading.settings.model_copy(update={"default_model": "a"})
    assert list(served(load_models(settings, Metrics(), None, generation))) == ["a", "b"]
    with pytest.raises(BundleCorrupt):
        load_models(settings, Metrics(), None)
    shutil.rmtree(reloading.folder / "a")
    with pytest.raises(BundleError, match="default model 'a' is gone"):
        load_models(settings, Metrics(), None, generation)
    run(first.close())
