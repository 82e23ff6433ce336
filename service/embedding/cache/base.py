"""The contract of a cache tier. One cache serves one bundle, so that no digest's rows meet another's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from service.embedding.backends.base import Rows
from service.embedding.cells import Cells


@dataclass(frozen=True)
class CacheState:
    """What `/info` says of a tier."""

    tier: str
    rows: int
    capacity_rows: int
    bytes: int


class Cache(Protocol):
    """`find` returns the rows that were found, in order of `cells`, and a mask over `cells` of which they are."""

    tier: str

    async def find(self, cells: Cells) -> tuple[Rows, NDArray[np.bool_]]: ...

    async def keep(self, cells: Cells, rows: Rows) -> None: ...

    def state(self) -> CacheState: ...
