"""Embeddings as Arrow columns: one shape for HTTP answers and for files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from service.embedding.backends.base import Rows
from service.embedding.cells import Cells


def arrow_stream_of(table: pa.Table) -> memoryview:
    """An Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())


def parquet_of(table: pa.Table) -> memoryview:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return memoryview(sink.getvalue())


def embedding_schema(given: pa.Schema, model: str, digest: str, dimensions: int, with_cells: bool) -> pa.Schema:
    """`given` columns, then `h3` (uint64; where `with_cells`) and `embedding`, with the model in the metadata."""
    fields = [*given, *([pa.field("h3", pa.uint64())] if with_cells else [])]
    fields.append(pa.field("embedding", pa.list_(pa.float32(), dimensions)))
    metadata = {b"satcle.model": model, b"satcle.digest": digest, b"satcle.dimensions": str(dimensions)}
    return pa.schema(fields, {**(given.metadata or {}), **metadata})


def embedding_columns(cells: Cells | None, rows: Rows) -> dict[str, pa.Array]:
    """The columns that `embedding_schema` adds; `embedding` shares the memory of `rows`."""
    values = pa.array(np.ascontiguousarray(rows).reshape(-1))
    embedding = pa.FixedSizeListArray.from_arrays(values, rows.shape[1])
    return {"embedding": embedding} if cells is None else {"h3": pa.array(cells), "embedding": embedding}
