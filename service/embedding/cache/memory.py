"""Rows in this process: one slab of float32, first in first out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.embedding.backends.base import Rows
from service.embedding.cache.base import CacheState
from service.embedding.cells import Cells

INDEX_BYTES_PER_ROW = 192
"""On CPython 3.11: 120 of a dict at its emptiest after a resize, 64 of two boxed integers, 8 of the ring."""


class MemoryCache:
    """At most `capacity_bytes`, index included. Used from the event loop only, so it needs no lock."""

    tier = "memory"

    def __init__(self, embedding_dim: int, capacity_bytes: int) -> None:
        self._row_bytes = 4 * embedding_dim + INDEX_BYTES_PER_ROW
        capacity = capacity_bytes // self._row_bytes
        self._slab: Rows = np.empty((capacity, embedding_dim), np.float32)
        self._slot_of: dict[int, int] = {}
        self._cell_in: list[int | None] = [None] * capacity
        self._next = 0

    async def find(self, cells: Cells) -> tuple[Rows, NDArray[np.bool_]]:
        slots = np.fromiter((self._slot_of.get(cell, -1) for cell in cells.tolist()), np.intp, count=len(cells))
        found = slots >= 0
        return self._slab[slots[found]], found

    async def keep(self, cells: Cells, rows: Rows) -> None:
        capacity = len(self._slab)
        if capacity == 0:
            return
        for cell, row in zip(cells[-capacity:].tolist(), rows[-capacity:], strict=True):
            if cell in self._slot_of:
                continue
            if (evicted := self._cell_in[self._next]) is not None:
                del self._slot_of[evicted]
            self._slab[self._next] = row
            self._slot_of[cell] = self._next
            self._cell_in[self._next] = cell
            self._next = (self._next + 1) % capacity

    def state(self) -> CacheState:
        rows = len(self._slot_of)
        return CacheState(self.tier, rows, len(self._slab), rows * self._row_bytes)
