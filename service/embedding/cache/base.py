"""The contract of a cache tier. One cache serves one bundle, so that no digest's rows meet another's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.embedding.backends.base import Rows
from service.embedding.cells import Cells

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2⁶⁴ over the golden ratio, odd: multiplied by it, cells that differ in few bits spread over all 64."""


class Unavailable(Exception):
    """The tier could not be asked: what was wanted of it is missed."""


class Tier(Protocol):
    """Keeps rows by cell; a cell is never 0. The event loop calls it, a bounded number of cells at a time."""

    name: str

    async def find(self, cells: Cells) -> tuple[Rows, NDArray[np.bool_]]:
        """Copies of the rows it has, in the order of `cells`, and the mask of which cells they are of.

        Raises Unavailable.
        """
        ...

    async def keep(self, cells: Cells, rows: Rows) -> None:
        """Remember the rows of distinct cells, or some of them; never fails."""
        ...

    def state(self) -> Mapping[str, object]:
        """What `/info` says of it."""
        ...

    async def shrink(self, capacity_bytes: int) -> None:
        """Take no more of this process's memory than that, be it that what is kept is lost."""
        ...

    async def close(self) -> None: ...
