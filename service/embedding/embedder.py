"""The pipeline: places → cells → cache → batcher → backend → rows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.bundle import BundleCard, LonLat
from service.embedding.backends.base import Rows
from service.embedding.batcher import Batcher
from service.embedding.cache.tiers import Cache
from service.embedding.cells import Cells, cells_of, centres_of
from service.embedding.flights import Flight, Flights
from service.embedding.pieces import PIECE
from service.embedding.timing import Timing
from service.metrics import Metrics

P = ParamSpec("P")
T = TypeVar("T")

INLINE_ROWS = 1024
"""Work on more than this many rows is done in a thread."""


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
    _flights: Flights = field(init=False)
    _points: int = field(default=0, init=False)
    """Of all calls that are being answered, whatever stage they are at."""

    def __post_init__(self) -> None:
        self._flights = Flights(self.batcher.limits.batch_points)

    def snaps(self, exact: bool) -> bool:
        """Whether a place is moved to the centre of its cell."""
        return self.snap and not exact and self.card.snap_resolution is not None

    async def embed(self, lonlat: LonLat, *, exact: bool, deadline: float, timing: Timing) -> Embedded:
        """Embed every place, in order. Raises what `admitted` and `Batcher.embed` raise."""
        with self.admitted(len(lonlat)):
            return await self.embed_admitted(lonlat, exact=exact, deadline=deadline, timing=timing)

    @contextmanager
    def admitted(self, points: int) -> Iterator[None]:
        """Hold room for so many points while they are answered. Raises Overloaded.

        Whatever would not fit the queue is refused before it costs anything, though some of it may be cached.
        """
        if self._points + points > self.batcher.limits.queue_points:
            raise self.batcher.overloaded(self._points, points)
        self._points += points
        try:
            yield
        finally:
            self._points -= points

    async def embed_admitted(self, lonlat: LonLat, *, exact: bool, deadline: float, timing: Timing) -> Embedded:
        """`embed`, within room that the caller holds, and may go on holding while it uses the rows."""
        if not self.snaps(exact):
            return Embedded(lonlat, None, await self._compute(lonlat, deadline, timing))
        with timing.stage("cells"):
            resolution = self.card.snap_resolution
            assert resolution is not None
            cells, distinct, row_of = await _off_loop_if_many(len(lonlat), _distinct_cells, lonlat, resolution)
        rows = await self._rows_of(distinct, deadline, timing)
        if row_of is not None:
            rows = await _off_loop_if_many(len(cells), rows.take, row_of, axis=0)
        return Embedded(lonlat, cells, rows)

    async def close(self) -> None:
        await self.batcher.close()
        if self.cache is not None:
            await self.cache.close()

    async def _rows_of(self, cells: Cells, deadline: float, timing: Timing) -> Rows:
        """The row of each of these distinct cells, from the cache or computed."""
        rows = np.empty((len(cells), self.card.embedding_dim), np.float32)
        missing = np.arange(len(cells))
        if self.cache is not None:
            with timing.stage("cache"):
                missing = await self.cache.find(cells, rows)
        self._count_points("cache", len(cells) - len(missing))
        if len(missing) == 0:
            return rows
        computed = await self._rows_of_missing(cells[missing], deadline, timing)
        if len(missing) == len(cells):
            return computed
        await _off_loop_if_many(len(missing), _scatter, computed, rows, missing)
        return rows

    async def _rows_of_missing(self, cells: Cells, deadline: float, timing: Timing) -> Rows:
        """Computed here, or, where another call is computing a cell already, taken from it."""
        async with self._flights.boarding(cells) as boarding:
            rows = await self._compute_and_keep(cells[boarding.own], deadline, timing)
            if boarding.others:
                computed, rows = rows, np.empty((len(cells), rows.shape[1]), np.float32)
                await _off_loop_if_many(len(computed), _scatter, computed, rows, boarding.own)
                for flight, indices in boarding.others.items():
                    rows[indices] = await self._rows_from(flight, cells[indices], deadline, timing)
            boarding.flight.rows.set_result(rows)
        return rows

    async def _rows_from(self, flight: Flight, cells: Cells, deadline: float, timing: Timing) -> Rows:
        """What another call computes, once it has; computed here where that call was cancelled or failed."""
        with timing.stage("model"):
            await asyncio.wait([flight.rows], timeout=deadline - asyncio.get_running_loop().time())
        if not flight.rows.done():
            raise self.batcher.too_late()
        rows = flight.rows.result()
        if rows is None:
            return await self._compute_and_keep(cells, deadline, timing)
        self._count_points("cache", len(cells))
        return rows[flight.indices_of(cells)]

    async def _compute_and_keep(self, cells: Cells, deadline: float, timing: Timing) -> Rows:
        with timing.stage("cells"):
            centres = await _off_loop_if_many(len(cells), centres_of, cells)
        rows = await self._compute(centres, deadline, timing)
        if self.cache is not None:
            with timing.stage("cache"):
                await self.cache.keep(cells, rows)
        return rows

    async def _compute(self, lonlat: LonLat, deadline: float, timing: Timing) -> Rows:
        with timing.stage("model"):
            rows = await self.batcher.embed(lonlat, deadline, timing)
        self._count_points("compute", len(rows))
        return rows

    def _count_points(self, source: str, points: int) -> None:
        self.metrics.points.labels(self.card.name, source).inc(points)


def _distinct_cells(lonlat: LonLat, resolution: int) -> tuple[Cells, Cells, NDArray[np.intp] | None]:
    """The cell of each place, those without repetition, and which of them each is; None where nothing repeats."""
    cells = cells_of(lonlat, resolution)
    distinct, of = np.unique(cells, return_inverse=True)
    return (cells, cells, None) if len(distinct) == len(cells) else (cells, distinct, of)


def _scatter(rows: Rows, into: Rows, at: NDArray[np.intp]) -> None:
    """`into[at] = rows`, in pieces, so that nobody waits long for the interpreter."""
    for start in range(0, len(rows), PIECE):
        into[at[start : start + PIECE]] = rows[start : start + PIECE]


async def _off_loop_if_many(rows: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call what lets go of the interpreter now and then, in a thread where it has much to do."""
    return function(*args, **kwargs) if rows <= INLINE_ROWS else await asyncio.to_thread(function, *args, **kwargs)
