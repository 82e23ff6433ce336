"""What every kind of training imagery offers: tiles by row, and the rows that cannot be read, by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from torch import Tensor

from service.bundle import DataSource


class FaultKind(StrEnum):
    """What can be wrong with imagery. Only `NODATA` is as it should be: nothing was seen there."""

    NODATA = "nodata"
    MALFORMED_ROW = "malformed index row"
    NOT_A_PLACE = "lon or lat out of range"
    DUPLICATE_ROW = "duplicate index row"
    NO_FILE = "index row without a file"
    NO_ROW = "file without an index row"
    DUPLICATE_FILE = "file that is there twice"
    BROKEN_SHARD = "truncated or damaged shard"
    CORRUPT = "corrupt or truncated file"
    WRONG_BANDS = "wrong band count"
    WRONG_SIZE = "wrong size"
    WRONG_TYPE = "wrong data type"


@dataclass(frozen=True)
class Fault:
    """`item` is the file, shard or index row; `detail` says more where there is more to say."""

    kind: FaultKind
    item: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.item} ({self.detail})" if self.detail else self.item


@dataclass(frozen=True, eq=False)
class TileBatch:
    """`rows` (m,) int64, and their `tiles` (m, bands, h, w) float32, NaN where no data."""

    rows: Tensor
    tiles: Tensor


class Tiles(Protocol):
    """Training imagery: row i is the tile at place i, whatever else can be read.

    `lonlat` (n, 2) float64. `train_rows` and `validation_rows` are int64, ascending, disjoint, and leave out only what
    is known from the start to be unreadable; a place that is none is NaN and in neither. `identity` is JSON-able, and
    another wherever pixels or places are. `sources` are the credits. `unreadable` grows as reading finds more.
    """

    @property
    def bands(self) -> tuple[str, ...]: ...
    @property
    def lonlat(self) -> Tensor: ...
    @property
    def train_rows(self) -> Tensor: ...
    @property
    def validation_rows(self) -> Tensor: ...
    @property
    def identity(self) -> object: ...
    @property
    def sources(self) -> tuple[DataSource, ...]: ...
    @property
    def unreadable(self) -> dict[int, Fault]: ...

    def read(self, rows: Tensor) -> TileBatch:
        """The tiles of rows (m,), in their order; those that cannot be read are left out, and in `unreadable`.

        Raises ImageryError where nothing can be read at all, or more is unreadable than the config allows.
        """
        ...


def summary(faults: Iterable[Fault]) -> str:
    """Counts by kind, each with its first item, on one line."""
    listed = list(faults)
    counts = Counter(fault.kind for fault in listed)
    first = {fault.kind: fault for fault in reversed(listed)}
    return "; ".join(f"{counts[kind]} {kind}, e.g. {first[kind]}" for kind in FaultKind if kind in counts)
