"""What a file is, by its suffix."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

from service.bulk.read_csv import CsvSource
from service.bulk.read_geojson import GeoJsonSource
from service.bulk.read_parquet import ParquetSource
from service.bulk.sink import CELL, Layout, Sink
from service.bulk.source import Source
from service.bulk.write_csv import csv_sink, dimension_names
from service.bulk.write_parquet import EMBEDDING, parquet_sink
from service.errors import BadTable

SOURCES: Mapping[str, Callable[[Path], Source]] = {
    ".csv": CsvSource.open,
    ".csv.gz": CsvSource.open,
    ".tsv": CsvSource.open,
    ".parquet": ParquetSource.open,
    ".geoparquet": ParquetSource.open,
    ".geojson": GeoJsonSource.open,
}
SINKS: Mapping[str, Sink] = {
    ".csv": csv_sink,
    ".csv.gz": partial(csv_sink, gzipped=True),
    ".parquet": parquet_sink,
    ".geoparquet": parquet_sink,
}
T = TypeVar("T")


def open_source(path: Path) -> Source:
    """Raises BadTable, and OSError where the file cannot be read."""
    return _by_suffix(path, SOURCES, "read")(path)


def sink_for(path: Path) -> Sink:
    return _by_suffix(path, SINKS, "written")


def is_typed(sink: Sink) -> bool:
    """Whether the format has types, so that text should become the numbers it holds."""
    return sink is parquet_sink


def added_names(sink: Sink, layout: Layout) -> list[str]:
    """The columns that the output has and the input has not."""
    embedding = [EMBEDDING] if is_typed(sink) else dimension_names(layout.dimensions)
    return [CELL, *embedding] if layout.has_cell else embedding


def _by_suffix(path: Path, formats: Mapping[str, T], done: str) -> T:
    for suffix, format_ in formats.items():
        if path.name.lower().endswith(suffix):
            return format_
    raise BadTable(f"{path}: only {', '.join(formats)} can be {done}")
