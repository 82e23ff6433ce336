"""The contract between the engine and whatever a table is written to."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from service.embedding.backends.base import Rows
from service.embedding.cells import Cells

CELL = "h3"


@dataclass(frozen=True)
class Layout:
    """The columns of the output: those of the input as they are, the cell if `has_cell`, then the embedding.

    `geometry` is the kept column of WKB points, if any, for formats without bytes; `model` and `digest` say
    what made the embeddings, for formats that have room for it.
    """

    kept: pa.Schema
    geometry: str | None
    has_cell: bool
    dimensions: int
    model: str
    digest: str


Write = Callable[[pa.RecordBatch, Cells | None, Rows], None]
"""Takes the next block: its kept columns, the cells where the layout has them, rows of shape (n, dimensions)."""

Sink = Callable[[Path, Layout], AbstractContextManager[Write]]
"""Opens a file; it is whole when the context ends well."""
