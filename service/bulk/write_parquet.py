"""Parquet out: the input's columns and metadata, then the cell and the embedding as the service writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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


WriteBatch = Callable[[pa.RecordBatch], None]


@contextmanager
def row_groups(path: Path, schema: pa.Schema, dictionaries: Sequence[str]) -> Iterator[WriteBatch]:
    """A file, zstd, written whenever there is enough for a row group; columns in `dictionaries` repeat values."""
    waiting: list[pa.RecordBatch] = []
    waiting_bytes = 0

    def write(batch: pa.RecordBatch) -> None:
        nonlocal waiting_bytes
        waiting.append(batch)
        waiting_bytes += batch.nbytes
        if waiting_bytes >= ROW_GROUP_BYTES:
            flush()
            waiting_bytes = 0

    def flush() -> None:
        if waiting:
            table = pa.Table.from_batches(waiting)
            writer.write_table(table, row_group_size=len(table))
            waiting.clear()

    # Embeddings have next to no repeats, but their exponents are alike: split into bytes, they compress.
    split = [f"{EMBEDDING}.list.element"] if EMBEDDING in schema.names else False
    with pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=list(dictionaries), use_byte_stream_split=split
    ) as writer:
        yield write
        flush()


@contextmanager
def parquet_sink(path: Path, layout: Layout) -> Iterator[Write]:
    schema = embedding_schema(layout.kept, layout.model, layout.digest, layout.dimensions, layout.has_cell)
    with row_groups(path, schema, layout.kept.names) as write_batch:

        def write(block: pa.RecordBatch, cells: Cells | None, rows: Rows) -> None:
            added = embedding_columns(cells if layout.has_cell else None, rows)
            write_batch(pa.RecordBatch.from_arrays([*block.columns, *added.values()], schema=schema))

        yield write
