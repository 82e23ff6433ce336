"""The contract between the engine and whatever a table is read from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from service.errors import BadTable

BLOCK_ROWS = 2048
"""Rows read, embedded and held at once: enough for a thread's work to outweigh handing it over."""


class RowProblem(Exception):
    """A row that cannot be read or names no place: its index in the block at hand, and why."""

    def __init__(self, index: int, reason: str) -> None:
        self.index = index
        self.reason = reason
        super().__init__(f"row {index}: {reason}")


class Source(Protocol):
    """A table that can be read any number of times."""

    @property
    def path(self) -> Path: ...

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def is_text(self) -> bool:
        """Whether every column is text, whatever it holds, as in CSV."""
        ...

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in order, at most BLOCK_ROWS at a time; columns not named may be left out.

        Raises RowProblem, whose index counts from the end of the last block, and BadTable.
        """
        ...

    def place_of(self, row: int) -> str:
        """How a person finds row `row`, which counts from 0, as `row 3 (line 4)`."""
        ...


def check_columns(path: Path, schema: pa.Schema) -> None:
    """Raises BadTable where two columns share a name, since neither could then be named."""
    for name in schema.names:
        if schema.names.count(name) > 1:
            raise BadTable(f"{path} has more than one column {name!r}; rename all but one")
