"""CSV out: comma, minimal quotes, `\\n`; the cell as hexadecimal text and each dimension as a column e0, e1, …"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson
import pyarrow as pa

from service.bulk.geometry import wkt_of
from service.bulk.sink import CELL, Layout, Write
from service.embedding.backends.base import Rows
from service.embedding.cells import Cells, cell_strings
from service.errors import BadTable


@contextmanager
def csv_sink(path: Path, layout: Layout, *, gzipped: bool = False) -> Iterator[Write]:
    """Raises BadTable where a kept column cannot be written as text."""
    for field in layout.kept:
        if field.name != layout.geometry:
            _check_text(field)
    header = [*layout.kept.names, *([CELL] if layout.has_cell else []), *dimension_names(layout.dimensions)]

    def write(block: pa.RecordBatch, cells: Cells | None, rows: Rows) -> None:
        columns = [_text(block.column(name), is_geometry=name == layout.geometry) for name in layout.kept.names]
        if layout.has_cell and cells is not None:
            columns.append(cell_strings(cells))
        file.writelines(
            b"%s,%s\n" % (kept, numbers)
            for kept, numbers in zip(_lines(zip(*columns, strict=True)), _numbers(rows), strict=True)
        )

    with gzip.open(path, "wb", compresslevel=1) if gzipped else path.open("wb") as file:
        file.write(next(_lines([header])) + b"\n")
        yield write


def dimension_names(dimensions: int) -> list[str]:
    return [f"e{i}" for i in range(dimensions)]


def _check_text(field: pa.Field) -> None:
    try:
        if pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type):
            raise pa.ArrowNotImplementedError
        pa.nulls(0, field.type).cast(pa.string())
    except pa.ArrowNotImplementedError:
        raise BadTable(f"column {field.name!r} holds {field.type}, which CSV cannot hold; write Parquet") from None


def _text(column: pa.Array, *, is_geometry: bool) -> Sequence[str | None]:
    text = wkt_of(column) if is_geometry else column.cast(pa.string())
    return text.to_pylist()  # type: ignore[no-any-return]


def _lines(records: Iterator[Sequence[str | None]] | list[list[str]]) -> Iterator[bytes]:
    """Each record as CSV, without its line end."""
    written: list[str] = []
    csv.writer(_Appending(written), lineterminator="\r\n").writerows(records)  # what ends a line is quoted in fields
    return (line[:-2].encode() for line in written)


class _Appending:
    """As much of a file as csv.writer needs: it writes a line a call."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def _numbers(rows: Rows) -> list[bytes]:
    """Each row's numbers with commas, in the fewest digits that give the same float32."""
    return orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2].split(b"],[")
