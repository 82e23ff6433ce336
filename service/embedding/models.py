"""The models being served: each bundle with its embedder."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from service.bundle import Bundle, BundleError, LonLat, read_bundle
from service.bundles import bundle_path
from service.embedding.backends.base import Backend, embed_checked
from service.embedding.backends.onnx import OnnxBackend
from service.embedding.batcher import Batcher, BatchLimits
from service.embedding.cache.memory import MemoryCache
from service.embedding.embedder import Embedder
from service.errors import UnknownModel
from service.metrics import Metrics
from service.settings import Settings

PROBE = LonLat.from_degrees([[0.0, 0.0]])


@dataclass(frozen=True)
class Model:
    """A verified bundle and what embeds with it."""

    bundle: Bundle
    backend: Backend
    embedder: Embedder

    async def probe(self, points: int = 1) -> None:
        """A real inference of so many places on the real provider; raises BackendFailed."""
        await asyncio.to_thread(embed_checked, self.backend, LonLat(PROBE.degrees.repeat(points, axis=0)))


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
            await model.embedder.batcher.close()


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
    backend = backend or OnnxBackend(bundle, settings.provider)
    limits = BatchLimits(settings.max_batch_points, settings.max_queue_points, settings.worker_threads)
    batcher = Batcher(backend, limits, metrics, card.name)
    cache_bytes = settings.cache_memory_mb * 2**20 // len(settings.bundles)
    cache = MemoryCache(card.embedding_dim, cache_bytes) if cache_bytes else None
    metrics.provider_info.labels(card.name, backend.provider).set(1)
    return Model(bundle, backend, Embedder(card, batcher, cache, settings.snap == "cell", metrics))
