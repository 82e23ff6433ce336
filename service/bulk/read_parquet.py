"""Parquet and GeoParquet in, a few pages at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from service.bulk.source import BLOCK_ROWS, check_columns
from service.errors import BadTable

READ_AHEAD_BYTES = 2**20


@dataclass(frozen=True)
class ParquetSource:
    path: Path
    schema: pa.Schema
    is_text: bool = False

    @classmethod
    def open(cls, path: Path) -> ParquetSource:
        """Read the footer. Raises BadTable where the file is not Parquet."""
        if path.stat().st_size == 0:
            raise BadTable(f"{path} is empty")
        try:
            schema = pq.read_schema(path)
        except pa.ArrowInvalid as error:
            raise BadTable(f"{path} is not Parquet: {first_line(error)}") from error
        check_columns(path, schema)
        return cls(path, schema)

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        try:
            with pq.ParquetFile(self.path, buffer_size=READ_AHEAD_BYTES, pre_buffer=False) as file:
                yield from file.iter_batches(BLOCK_ROWS, columns=columns, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise BadTable(f"{self.path} is damaged: {first_line(error)}") from error

    def place_of(self, row: int) -> str:
        return f"row {row + 1}"


def first_line(error: Exception) -> str:
    """What Arrow says, without where it says it."""
    return str(error).partition("\n")[0]
