"""Single flight: of several calls that miss one cell at one time, one computes it and the others take its row."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from service.embedding.backends.base import Rows
from service.embedding.cells import Cells

Indices = NDArray[np.intp]


@dataclass(eq=False)
class Flight:
    """One call: distinct `cells`, and in `rows` the row of each, in order; None where they were not had after all."""

    cells: Cells
    rows: asyncio.Future[Rows | None]

    def indices_of(self, wanted: Cells) -> Indices:
        """Where each of `wanted` stands in `cells`; -1 where it does not."""
        after = np.searchsorted(self.cells, wanted, sorter=self._sorted)
        candidates = self._sorted.take(after, mode="clip")
        return np.where(self.cells[candidates] == wanted, candidates, -1)

    @cached_property
    def _sorted(self) -> Indices:
        return np.argsort(self.cells)


@dataclass(frozen=True)
class Boarding:
    """The cells of a call, shared out: `own` are the indices to compute, `others` those that come from elsewhere."""

    flight: Flight
    own: Indices
    others: Mapping[Flight, Indices]


class Flights:
    """What is being computed, on one event loop.

    A call of at most `batch_points`, which one batch answers, waits for no flight that takes many batches. A flight
    waits only for flights that began before it, so that no two wait for each other.
    """

    def __init__(self, batch_points: int) -> None:
        self._batch_points = batch_points
        self._small: dict[int, Flight] = {}
        self._bulk: list[Flight] = []

    @asynccontextmanager
    async def boarding(self, cells: Cells) -> AsyncIterator[Boarding]:
        """Share out these distinct cells. Within, get every row and set `flight.rows`; others may wait for them."""
        flight = Flight(cells, asyncio.get_running_loop().create_future())
        board = self._board_bulk if len(cells) > self._batch_points else self._board_small
        try:
            async with board(flight) as boarding:
                yield boarding
        finally:
            if not flight.rows.done():
                flight.rows.set_result(None)

    @asynccontextmanager
    async def _board_small(self, flight: Flight) -> AsyncIterator[Boarding]:
        own: list[int] = []
        others: dict[Flight, list[int]] = {}
        cells = flight.cells.tolist()
        for index, cell in enumerate(cells):
            if other := self._small.get(cell):
                others.setdefault(other, []).append(index)
            else:
                self._small[cell] = flight
                own.append(index)
        try:
            yield Boarding(flight, np.array(own, np.intp), {other: np.array(at) for other, at in others.items()})
        finally:
            for index in own:
                del self._small[cells[index]]

    @asynccontextmanager
    async def _board_bulk(self, flight: Flight) -> AsyncIterator[Boarding]:
        earlier = [*self._bulk, *dict.fromkeys(self._small.values())]
        self._bulk.append(flight)
        try:
            yield await asyncio.to_thread(_share_out, flight, earlier)
        finally:
            self._bulk.remove(flight)


def _share_out(flight: Flight, earlier: list[Flight]) -> Boarding:
    own = np.arange(len(flight.cells))
    others: dict[Flight, Indices] = {}
    for other in earlier:
        shared = other.indices_of(flight.cells[own]) >= 0
        if shared.any():
            others[other] = own[shared]
            own = own[~shared]
    return Boarding(flight, own, others)
