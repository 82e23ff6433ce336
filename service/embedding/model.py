"""A model in memory: a verified bundle, what embeds with it, and what predicts from its embeddings."""

from __future__ import annotations

from dataclasses import dataclass

from service.bundle import Bundle, BundleCard, LonLat
from service.embedding.backends.base import Backend, GridBackend, batch_points_of
from service.embedding.backends.onnx import Precision
from service.embedding.batcher import Batcher, BatchLimits
from service.embedding.cache.base import Tier
from service.embedding.cache.memory import MemoryCache
from service.embedding.cache.redis import RedisCache, RedisServer
from service.embedding.cache.tiers import Cache
from service.embedding.cache.values import Values
from service.embedding.context import nearest_of
from service.embedding.embedder import Embedder
from service.embedding.graphs import Device, Graphs
from service.embedding.heads import Heads, open_heads
from service.embedding.turns import Turns
from service.geography.nearest import NearestPlaces
from service.metrics import Metrics
from service.settings import Settings

PROBE = LonLat.from_degrees([[0.0, 0.0]])
BYTES_PER_GRAPH_BYTE = 5
"""What the process grew by for each byte of a bundle's graphs, measured after batches of 512 in two workers: 4.7 to 5.5
at L = 10, with a raster and five heads, and 4.2 to 5.2 at L = 40."""


UNIT_VECTORS = 3
"""Training places are two float32 in the file, and three float64 in memory."""


@dataclass(frozen=True, eq=False)
class Model:
    """A bundle that is loaded."""

    bundle: Bundle
    backend: Backend
    embedder: Embedder
    heads: Heads
    grid_backend: GridBackend | None = None
    """The fast way for grids, where the bundle has one."""
    components: bytes | None = None
    """The file of its principal components, where the bundle has them: its folder may be replaced meanwhile."""
    precision: Precision = "float32"
    """Of the encoder; what is computed over grids, and the heads, are float32 whatever this is."""
    training_places: NearestPlaces | None = None
    """Where it was trained, where the bundle says so."""

    async def probe(self, points: int = 1) -> None:
        """A real inference of so many places on the real provider; raises BackendFailed, also where workers hang."""
        await self.embedder.batcher.probe(LonLat(PROBE.degrees.repeat(points, axis=0)))

    async def warm_up(self) -> None:
        """Take now what memory and time a first call and a first full batch take. Raises what `probe` raises."""
        for points in (1, self.embedder.batcher.limits.batch_points):
            await self.probe(points)

    async def close(self) -> None:
        await self.embedder.close()


@dataclass(frozen=True)
class Opener:
    """Makes models of bundles, as the settings say; they share the workers of `turns`."""

    settings: Settings
    metrics: Metrics
    turns: Turns
    backend: Backend | None
    """Instead of ONNX Runtime, where given."""

    def open(self, bundle: Bundle, models: int) -> Model:
        """One of so many models, which share the cache's memory. Blocks.

        Raises BundleError, ProviderUnavailable or BackendFailed.
        """
        card, settings = bundle.card, self.settings
        backend, grid_backend, heads = self._graphs(bundle)
        batch_points = settings.max_batch_points or batch_points_of(backend)
        limits = BatchLimits(batch_points, settings.max_queue_points, settings.worker_threads)
        batcher = Batcher(backend, limits, self.metrics, card.name, self.turns)
        tiers = self._tiers(card, backend, models)
        cache = Cache(tiers, self.metrics) if tiers else None
        self.metrics.provider_info.labels(card.name, backend.provider).set(1)
        embedder = Embedder(card, batcher, cache, settings.snap == "cell", self.metrics)
        components = bundle.read(card.components.file) if card.components else None
        nearest = nearest_of(bundle)
        return Model(bundle, backend, embedder, heads, grid_backend, components, self._precision, nearest)

    @property
    def _precision(self) -> Precision:
        """A backend that is given is what it is."""
        return self.settings.precision if self.backend is None else "float32"

    def _graphs(self, bundle: Bundle) -> tuple[Backend, GridBackend | None, Heads]:
        """What computes: the encoder, over grids too, and the heads, all by the provider that the encoder has."""
        if self.backend is not None:
            return self.backend, None, open_heads(bundle, self.settings.provider)
        graphs = Graphs(bundle, Device.of(self.settings), self.settings.precision)
        return graphs.encoder, graphs.grid_encoder(), graphs.heads()

    def cache_bytes(self, models: int) -> int:
        """The share that each of so many models has of the cache in this process."""
        return self.settings.cache_memory_mb * 2**20 // models

    def _tiers(self, card: BundleCard, backend: Backend, models: int) -> list[Tier]:
        """The near before the far; none where the cache is off."""
        settings = self.settings
        tiers: list[Tier] = []
        if settings.cache_memory_mb:
            tiers.append(MemoryCache(card.embedding_dim, self.cache_bytes(models)))
        if settings.redis_url:
            server = RedisServer(settings.redis_url, settings.redis_timeout_ms / 1000, settings.redis_retry_s)
            # A provider's rows are its own, and a precision's: another's differ in the last bits, or more.
            namespace = f"satcle:{card.digest[:16]}:{backend.provider}:{self._precision}"
            values = Values(namespace, card.embedding_dim, settings.cache_ttl_s)
            tiers.append(RedisCache(server, values, self.metrics, card.name))
        return tiers


def memory_of(bundle: Bundle) -> int:
    """About how many bytes its model takes, its cache aside."""
    card, files = bundle.card, bundle.manifest.files
    graphs = [card.encoder, *(head.file for head in card.heads), *([card.raster.file] if card.raster else [])]
    places = files[card.training_places.file].size if card.training_places else 0
    return BYTES_PER_GRAPH_BYTE * sum(files[name].size for name in graphs) + UNIT_VECTORS * places
