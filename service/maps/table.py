"""Cells and their values as Arrow and Parquet (`h3` uint64, `value`), and as GeoJSON. Calls block: use a thread."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from service.embedding.cells import Cells, cell_strings
from service.maps.cells import outline
from service.maps.layers import Layer, Values

VALUE = "value"
FEATURES_A_PIECE = 32
"""About a millisecond of outlines."""


def table_of(cells: Cells, values: Values, layer: Layer, metadata: dict[str, str]) -> pa.Table:
    """`h3` uint64 and `value`: float32, or the name of the category (dictionary) where the layer has categories.

    `values` are (n, 1). The unit stands in the metadata of the field, and `metadata` in that of the table.
    """
    h3 = pa.field("h3", pa.uint64(), nullable=False)
    schema = pa.schema([h3, value_field(layer)], metadata={"layer": layer.name, **metadata})
    return pa.table([pa.array(cells), value_column(values, layer)], schema)


def value_field(layer: Layer) -> pa.Field:
    """The column `value`, with the unit in its metadata."""
    kind = pa.float32() if layer.categories is None else pa.dictionary(pa.int32(), pa.string())
    return pa.field(VALUE, kind, nullable=False, metadata={"unit": layer.unit} if layer.unit else None)


def value_column(values: Values, layer: Layer) -> pa.Array:
    """Values (n, 1) as `value_field` has them."""
    column = pa.array(values[:, 0])
    if layer.categories is None:
        return column
    return pa.DictionaryArray.from_arrays(column.cast(pa.int32()), pa.array(layer.categories, pa.string()))


def arrow_bytes(table: pa.Table) -> bytes:
    """An Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def parquet_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def geojson_pieces(cells: Cells, values: Values, layer: Layer) -> Iterator[bytes]:
    """A FeatureCollection, some features a piece; each has the properties `h3` (text) and `value` (as `table_of`)."""
    yield b'{"type":"FeatureCollection","features":['
    for start in range(0, len(cells), FEATURES_A_PIECE):
        piece = slice(start, start + FEATURES_A_PIECE)
        features = (
            {"type": "Feature", "properties": {"h3": name, "value": value}, "geometry": outline(cell)}
            for cell, name, value in zip(
                cells[piece].tolist(), cell_strings(cells[piece]), _shown(values[piece, 0], layer), strict=True
            )
        )
        text = ",".join(json.dumps(feature, separators=(",", ":")) for feature in features)
        yield (b"," if start else b"") + text.encode()
    yield b"]}"


def _shown(values: Values, layer: Layer) -> list[float] | list[str]:
    if layer.categories is not None:
        return [layer.categories[code] for code in values.astype(np.intp)]
    return [float(str(value)) for value in values]  # the shortest that is the same float32
