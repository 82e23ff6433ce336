"""Parquet out: the input's columns and metadata, then the cell and the embedding as the service writes them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from service.bulk.sink import Layout, Write
from service.embedding.backends.base import Rows
from service.embedding.cells import Cells
from service.embedding.table import embedding_columns, embedding_schema

EMBEDDING = "embedding"
ROW_GROUP_BYTES = 32 * 2**20


@contextmanager
def parquet_sink(path: Path, layout: Layout) -> Iterator[Write]:
    schema = embedding_schema(layout.kept, layout.model, layout.digest, layout.dimensions, layout.has_cell)
    waiting: list[pa.RecordBatch] = []
    waiting_bytes = 0

    def write(block: pa.RecordBatch, cells: Cells | None, rows: Rows) -> None:
        nonlocal waiting_bytes
        added = embedding_columns(cells if layout.has_cell else None, rows)
        waiting.append(pa.RecordBatch.from_arrays([*block.columns, *added.values()], schema=schema))
        waiting_bytes += waiting[-1].nbytes
        if waiting_bytes >= ROW_GROUP_BYTES:
            flush()
            waiting_bytes = 0

    def flush() -> None:
        if waiting:
            table = pa.Table.from_batches(waiting)
            writer.write_table(table, row_group_size=len(table))
            waiting.clear()

    # Embeddings have next to no repeats, but their exponents are alike: split into bytes, they compress.
    with pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        use_dictionary=layout.kept.names,
        use_byte_stream_split=[f"{EMBEDDING}.list.element"],
    ) as writer:
        yield write
        flush()
