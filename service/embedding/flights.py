"""Single flight: of several calls that miss one cell at one time, one computes it and the others take its row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from service.embedding.backends.base import Rows
from service.embedding.cells import Cells
from service.embedding.pieces import pieces


@dataclass(eq=False)
class Flight:
    """What one call computes: `row_of` each cell, in `rows`; None where they were not computed after all."""

    bulk: bool
    rows: asyncio.Future[Rows | None]
    row_of: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Boarding:
    """The cells of a call, shared out: `own` are the indices to compute, `others` those that come from elsewhere."""

    flight: Flight
    own: NDArray[np.intp]
    others: dict[Flight, list[int]]


class Flights:
    """What is being computed, on one event loop.

    A call of at most `batch_points`, which one batch answers, waits for no flight that takes many batches.
    """

    def __init__(self, batch_points: int) -> None:
        self._batch_points = batch_points
        self._small: dict[int, Flight] = {}
        self._bulk: list[Flight] = []

    @asynccontextmanager
    async def boarding(self, cells: Cells) -> AsyncIterator[Boarding]:
        """Share out these distinct cells. Within, compute `own` and set `flight.rows`; others may wait for them."""
        flight = Flight(len(cells) > self._batch_points, asyncio.get_running_loop().create_future())
        if flight.bulk:
            self._bulk.append(flight)
        try:
            yield await self._share_out(flight, cells)
        finally:
            if not flight.rows.done():
                flight.rows.set_result(None)
            if flight.bulk:
                self._bulk.remove(flight)
            else:
                for cell in flight.row_of:
                    del self._small[cell]

    async def _share_out(self, flight: Flight, cells: Cells) -> Boarding:
        own: list[int] = []
        others: dict[Flight, list[int]] = {}
        async for piece in pieces(len(cells)):
            for index, cell in enumerate(cells[piece].tolist(), piece.start):
                if other := self._flight_of(cell, flight):
                    others.setdefault(other, []).append(index)
                    continue
                flight.row_of[cell] = len(own)
                own.append(index)
                if not flight.bulk:
                    self._small[cell] = flight
        return Boarding(flight, np.array(own, np.intp), others)

    def _flight_of(self, cell: int, boarder: Flight) -> Flight | None:
        """The flight that computes `cell`, if there is one that `boarder` may wait for."""
        if flight := self._small.get(cell):
            return flight
        if boarder.bulk and len(self._bulk) > 1:
            return next((flight for flight in self._bulk if cell in flight.row_of), None)
        return None
