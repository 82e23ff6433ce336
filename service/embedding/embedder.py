"""The pipeline: places → cells → cache → batcher → backend → rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np

from service.bundle import BundleCard, LonLat
from service.embedding.backends.base import Rows
from service.embedding.batcher import Batcher
from service.embedding.cache.base import Cache
from service.embedding.cells import Cells, cells_of, centres_of
from service.embedding.timing import Timing
from service.metrics import Metrics

P = ParamSpec("P")
T = TypeVar("T")

INLINE_PLACES = 256
"""More places than this are turned into cells in a thread, so that the event loop goes on (about 2 µs a place)."""


@dataclass(frozen=True)
class Embedded:
    """Rows of shape (n, embedding_dim) and what exactly was encoded: the centres of `cells`, or `lonlat` where None."""

    lonlat: LonLat
    cells: Cells | None
    rows: Rows


@dataclass
class Embedder:
    """Embeds places with one bundle. `cache` is None where it is off."""

    card: BundleCard
    batcher: Batcher
    cache: Cache | None
    snap: bool
    metrics: Metrics

    def snaps(self, exact: bool) -> bool:
        """Whether a place is moved to the centre of its cell."""
        return self.snap and not exact and self.card.snap_resolution is not None

    async def embed(self, lonlat: LonLat, *, exact: bool, deadline: float, timing: Timing) -> Embedded:
        """Embed every place, in order. Raises what `Batcher.embed` raises."""
        if not self.snaps(exact):
            return Embedded(lonlat, None, await self._compute(lonlat, deadline, timing))
        assert self.card.snap_resolution is not None
        with timing.stage("cells"):
            cells = await _off_loop_if_many(len(lonlat), cells_of, lonlat, self.card.snap_resolution)
            unique, row_of = np.unique(cells, return_inverse=True)
        rows = await self._rows_of(unique, deadline, timing)
        return Embedded(lonlat, cells, rows[row_of])

    async def _rows_of(self, cells: Cells, deadline: float, timing: Timing) -> Rows:
        """The row of each of these distinct cells."""
        if self.cache is None:
            return await self._compute_cells(cells, deadline, timing)
        with timing.stage("cache"):
            hits, found = await self.cache.find(cells)
        self.metrics.cache_hits.labels(self.cache.tier).inc(len(hits))
        self.metrics.cache_misses.labels(self.cache.tier).inc(len(cells) - len(hits))
        self.metrics.points.labels(self.card.name, "cache").inc(len(hits))
        if len(hits) == len(cells):
            return hits
        missing = cells[~found]
        computed = await self._compute_cells(missing, deadline, timing)
        with timing.stage("cache"):
            await self.cache.keep(missing, computed)
        rows = np.empty((len(cells), computed.shape[1]), np.float32)
        rows[found], rows[~found] = hits, computed
        return rows

    async def _compute_cells(self, cells: Cells, deadline: float, timing: Timing) -> Rows:
        with timing.stage("cells"):
            centres = await _off_loop_if_many(len(cells), centres_of, cells)
        return await self._compute(centres, deadline, timing)

    async def _compute(self, lonlat: LonLat, deadline: float, timing: Timing) -> Rows:
        with timing.stage("model"):
            rows = await self.batcher.embed(lonlat, deadline, timing)
        self.metrics.points.labels(self.card.name, "compute").inc(len(rows))
        return rows


async def _off_loop_if_many(places: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    if places <= INLINE_PLACES:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)
