"""The models being served: each bundle with its embedder."""

from __future__ import annotations

from dataclasses import dataclass

from service.bundle import Bundle, BundleCard, BundleError, LonLat, read_bundle
from service.bundles import bundle_path
from service.embedding.backends.base import Backend, GridBackend
from service.embedding.backends.onnx import OnnxBackend, OnnxGridBackend
from service.embedding.batcher import Batcher, BatchLimits
from service.embedding.cache.base import Tier
from service.embedding.cache.memory import MemoryCache
from service.embedding.cache.redis import RedisCache, RedisServer
from service.embedding.cache.tiers import Cache
from service.embedding.cache.values import Values
from service.embedding.embedder import Embedder
from service.embedding.heads import Heads, open_heads
from service.errors import UnknownModel
from service.metrics import Metrics
from service.settings import Settings

PROBE = LonLat.from_degrees([[0.0, 0.0]])


@dataclass(frozen=True)
class Model:
    """A verified bundle, what embeds with it, and what predicts from its embeddings."""

    bundle: Bundle
    backend: Backend
    embedder: Embedder
    heads: Heads
    grid_backend: GridBackend | None = None
    """The fast way for grids, where the bundle has one."""

    async def probe(self, points: int = 1) -> None:
        """A real inference of so many places on the real provider; raises BackendFailed, also where workers hang."""
        await self.embedder.batcher.probe(LonLat(PROBE.degrees.repeat(points, axis=0)))


class Models:
    """Models by name; the first is the default."""

    def __init__(self, models: list[Model]) -> None:
        self.by_name = {model.bundle.card.name: model for model in models}
        self.default = models[0]

    def named(self, name: str | None) -> Model:
        if name is None:
            return self.default
        if name not in self.by_name:
            raise UnknownModel(f"no model {name!r} is served; there is {', '.join(self.by_name)}")
        return self.by_name[name]

    async def close(self) -> None:
        for model in self.by_name.values():
            await model.embedder.close()


def load_models(settings: Settings, metrics: Metrics, backend: Backend | None) -> Models:
    """Read, verify and open every bundle of the settings; `backend` replaces ONNX Runtime where given.

    Raises BundleError, ProviderUnavailable or BackendFailed.
    """
    bundles = [read_bundle(bundle_path(name)) for name in settings.bundles]
    names = [bundle.card.name for bundle in bundles]
    if len(set(names)) < len(names):
        raise BundleError(f"the bundles of SATCLE_BUNDLES must differ in name, and are named {', '.join(names)}")
    return Models([_load(bundle, settings, metrics, backend) for bundle in bundles])


def _load(bundle: Bundle, settings: Settings, metrics: Metrics, backend: Backend | None) -> Model:
    card = bundle.card
    grid_backend = None
    if backend is None:
        backend = OnnxBackend(bundle, settings.provider)
        grid_backend = OnnxGridBackend(bundle, card.raster.file, settings.provider) if card.raster else None
    limits = BatchLimits(settings.max_batch_points, settings.max_queue_points, settings.worker_threads)
    batcher = Batcher(backend, limits, metrics, card.name)
    tiers = _tiers(card, backend, settings, metrics)
    cache = Cache(tiers, metrics) if tiers else None
    metrics.provider_info.labels(card.name, backend.provider).set(1)
    embedder = Embedder(card, batcher, cache, settings.snap == "cell", metrics)
    return Model(bundle, backend, embedder, open_heads(bundle, settings.provider), grid_backend)


def _tiers(card: BundleCard, backend: Backend, settings: Settings, metrics: Metrics) -> list[Tier]:
    """The near before the far; none where the cache is off."""
    tiers: list[Tier] = []
    if settings.cache_memory_mb:
        tiers.append(MemoryCache(card.embedding_dim, settings.cache_memory_mb * 2**20 // len(settings.bundles)))
    if settings.redis_url:
        server = RedisServer(settings.redis_url, settings.redis_timeout_ms / 1000, settings.redis_retry_s)
        # A provider's rows are its own: another's differ in the last bits.
        namespace = f"satcle:{card.digest[:16]}:{backend.provider}"
        values = Values(namespace, card.embedding_dim, settings.cache_ttl_s)
        tiers.append(RedisCache(server, values, metrics, card.name))
    return tiers
