"""Rows in this process: a set-associative table, all of it numpy arrays made once.

A cell may be in any of the WAYS slots of the one set that its hash names, so a lookup is one comparison of
arrays, whatever is asked for; within a set, the row used longest ago makes room.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.embedding.backends.base import Rows
from service.embedding.cache.base import GOLDEN
from service.embedding.cells import Cells

WAYS = 16
INDEX_BYTES_PER_ROW = 16
"""A cell and when it was last used."""
NO_CELL = np.uint64(0)
HALF_WORD = np.uint64(32)


class MemoryCache:
    """At most `capacity_bytes`, index included. Used from the event loop only, so it needs no lock."""

    name = "memory"

    def __init__(self, embedding_dim: int, capacity_bytes: int) -> None:
        self._dim = embedding_dim
        self._row_bytes = 4 * embedding_dim + INDEX_BYTES_PER_ROW
        self._now = 0
        self._allocate(capacity_bytes // self._row_bytes)

    def _allocate(self, capacity: int) -> None:
        self._ways = min(WAYS, capacity)
        sets = capacity // self._ways if capacity else 0
        self._cells: Cells = np.full((sets, self._ways), NO_CELL)
        self._used_at = np.zeros((sets, self._ways), np.int64)
        self._slab: Rows = np.full((sets * self._ways, self._dim), 0, np.float32)  # taken now, not under load

    async def find(self, cells: Cells) -> tuple[Rows, NDArray[np.bool_]]:
        found, slots = self._slots_of(cells)
        self._touch(slots)
        return self._slab.take(slots, axis=0), found

    async def keep(self, cells: Cells, rows: Rows) -> None:
        """A set takes as many of the rows as it has ways, and no more."""
        absent = np.flatnonzero(~self._slots_of(cells)[0])
        sets = self._sets_of(cells[absent])
        by_set = np.argsort(sets, kind="stable")
        kept, sets = absent[by_set], sets[by_set]
        rank = np.arange(len(sets)) - np.searchsorted(sets, sets)  # 0, 1, … among the new rows of one set
        fits = rank < self._ways
        kept, sets, rank = kept[fits], sets[fits], rank[fits]
        oldest_first = np.argsort(self._used_at[sets], axis=1, kind="stable")
        slots = sets * self._ways + oldest_first[np.arange(len(sets)), rank]
        self._cells.reshape(-1)[slots] = cells[kept]
        self._slab[slots] = rows[kept]
        self._touch(slots)

    def state(self) -> dict[str, int]:
        rows = int(np.count_nonzero(self._cells != NO_CELL))
        return {"rows": rows, "capacity_rows": len(self._slab), "bytes": rows * self._row_bytes}

    async def shrink(self, capacity_bytes: int) -> None:
        """Begin anew in that much memory, where it is less than now."""
        capacity = capacity_bytes // self._row_bytes
        if capacity < len(self._slab):
            self._allocate(capacity)

    async def close(self) -> None:
        """Give the memory back; nothing is kept or found any more."""
        self._allocate(0)

    def _sets_of(self, cells: Cells) -> NDArray[np.intp]:
        """The high bits of the hash, scaled to the number of sets, which need be no power of two."""
        sets = np.uint64(len(self._cells))
        return ((cells * GOLDEN >> HALF_WORD) * sets >> HALF_WORD).astype(np.intp)

    def _slots_of(self, cells: Cells) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        """The mask of the cells that are here, and their slots, in order."""
        found = np.zeros(len(cells), np.bool_)
        if len(self._slab) == 0:
            return found, np.empty(0, np.intp)
        sets = self._sets_of(cells)
        matches = np.flatnonzero(self._cells.take(sets, axis=0) == cells[:, None])  # at most one a cell
        row, way = np.divmod(matches, self._ways)
        found[row] = True
        return found, sets[row] * self._ways + way

    def _touch(self, slots: NDArray[np.intp]) -> None:
        self._now += 1
        self._used_at.reshape(-1)[slots] = self._now
