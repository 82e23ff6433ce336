"""The tiers as one cache: asked in order, the near before the far, a bounded piece at a time."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from service.embedding.backends.base import Rows
from service.embedding.cache.base import Tier, Unavailable
from service.embedding.cells import Cells
from service.embedding.pieces import PIECE, pieces
from service.embedding.worth import Recent, worth
from service.metrics import Metrics

Indices = NDArray[np.intp]

ROWS_AT_ONCE = 1024
"""Looked up by one command, since two would wait for each other; a larger call is looked up in smaller pieces."""
PATIENCE_S = 0.1
PATIENCE_S_PER_ROW = 20e-6
"""A lookup takes no longer than this, about as long as computing takes; what it has not found by then is missed."""


class Cache:
    """Every tier of one bundle; what a far tier finds, the nearer ones keep. It measures what each tier is worth."""

    def __init__(self, tiers: Sequence[Tier], metrics: Metrics) -> None:
        self._tiers = tuple(tiers)
        self._lookups = {tier.name: Recent() for tier in tiers}
        self._metrics = metrics

    async def find(self, cells: Cells, rows: Rows) -> Indices:
        """Write the row of each cell that is found to its place in `rows`, shape (n, embedding_dim).

        Returns the indices of the others, in order.
        """
        missing: Indices = np.arange(len(cells))
        for depth, tier in enumerate(self._tiers):
            if len(missing):
                missed = await self._find_in(tier, self._tiers[:depth], cells, rows, missing)
                self._metrics.cache_hits.labels(tier.name).inc(len(missing) - len(missed))
                self._metrics.cache_misses.labels(tier.name).inc(len(missed))
                missing = missed
        return missing

    async def keep(self, cells: Cells, rows: Rows) -> None:
        """Offer every tier the rows of distinct cells."""
        async for piece in pieces(len(cells)):
            for tier in self._tiers:
                await tier.keep(cells[piece], rows[piece])

    async def shrink(self, capacity_bytes: int) -> None:
        """Keep no more than that in this process."""
        for tier in self._tiers:
            await tier.shrink(capacity_bytes)

    async def close(self) -> None:
        for tier in self._tiers:
            await tier.close()

    def info(self, model: Recent) -> list[dict[str, object]]:
        """What `/info` says: each tier's state, and its worth beside the model's seconds a row."""
        return [{"tier": tier.name, **tier.state(), **worth(self._lookups[tier.name], model)} for tier in self._tiers]

    async def _find_in(self, tier: Tier, nearer: Sequence[Tier], cells: Cells, rows: Rows, wanted: Indices) -> Indices:
        until = perf_counter() + PATIENCE_S + PATIENCE_S_PER_ROW * len(wanted)
        asking = True
        missed = []
        async for piece in pieces(len(wanted), PIECE if len(wanted) > ROWS_AT_ONCE else ROWS_AT_ONCE):
            missing = wanted[piece]
            if asking:
                try:
                    missing = await self._find_piece_in(tier, nearer, cells, rows, missing)
                    asking = perf_counter() < until
                except Unavailable:
                    asking = False
            missed.append(missing)
        return np.concatenate(missed)

    async def _find_piece_in(
        self, tier: Tier, nearer: Sequence[Tier], cells: Cells, rows: Rows, wanted: Indices
    ) -> Indices:
        start = perf_counter()
        hits, found = await tier.find(cells[wanted])
        self._lookups[tier.name].add(len(wanted), perf_counter() - start, len(hits))
        rows[wanted[found]] = hits
        for near in nearer:
            await near.keep(cells[wanted[found]], hits)
        return wanted[~found]
