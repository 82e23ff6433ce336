"""Where the places of a table are: two columns of degrees, a column of H3 cells, or a geometry column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.bulk.geometry import geometry_column, lonlat_of_wkb
from service.bulk.source import RowProblem, Source
from service.bulk.text import parse_numbers
from service.bundle import CoordinateError, LonLat
from service.embedding.cells import centres_of, first_invalid, parse_cell
from service.errors import BadTable

LON_NAMES = ("lon", "lng", "longitude", "x")
LAT_NAMES = ("lat", "latitude", "y")
CELL_NAMES = ("h3",)


class Locations(Protocol):
    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that hold the places."""
        ...

    def lonlat(self, block: pa.RecordBatch) -> LonLat:
        """The place of every row. Raises RowProblem at the first row that names none."""
        ...


@dataclass(frozen=True)
class DegreeColumns:
    """Numbers, or text that holds numbers, in degrees."""

    columns: tuple[str, str]

    def lonlat(self, block: pa.RecordBatch) -> LonLat:
        return _canonical(np.stack([_numbers(block, name) for name in self.columns], axis=1))


@dataclass(frozen=True)
class CellColumn:
    """H3 cells as integers or as hexadecimal text; the place is the cell's centre."""

    columns: tuple[str]

    def lonlat(self, block: pa.RecordBatch) -> LonLat:
        (name,) = self.columns
        column = _without_nulls(block, name)
        if not _is_text(column.type):
            cells = column.to_numpy(zero_copy_only=False).astype(np.uint64)
        else:
            parsed = [parse_cell(text.strip()) for text in column.to_pylist()]
            cells = np.array([cell or 0 for cell in parsed], np.uint64)
        if (row := first_invalid(cells)) is not None:
            raise RowProblem(row, f"{name} {_shown(column[row])} is not an H3 cell")
        return centres_of(cells)


@dataclass(frozen=True)
class GeometryColumn:
    """WKB points of a GeoParquet file."""

    columns: tuple[str]

    def lonlat(self, block: pa.RecordBatch) -> LonLat:
        return _canonical(lonlat_of_wkb(_without_nulls(block, self.columns[0])))


def find_locations(source: Source, lon: str | None = None, lat: str | None = None) -> Locations:
    """The columns called `lon` and `lat`, or else the geometry, the columns whose names say so, or `h3`.

    Raises BadTable, which names the columns there are, where that leaves none or leaves a choice.
    """
    schema = source.schema
    if lon is None and lat is None and (geometry := geometry_column(schema)):
        return GeometryColumn((geometry,))
    lons = _named(schema, LON_NAMES) if lon is None else [_existing(source, lon, "--lon")]
    lats = _named(schema, LAT_NAMES) if lat is None else [_existing(source, lat, "--lat")]
    cells = _named(schema, CELL_NAMES)
    if len(lons) == len(lats) == 1:
        return DegreeColumns((_of_numbers(source, lons[0]), _of_numbers(source, lats[0])))
    if not lons and not lats and len(cells) == 1:
        return CellColumn((_of_cells(source, cells[0]),))
    problem = "more than one column may be" if len(lons) > 1 or len(lats) > 1 else "no columns are named like"
    raise BadTable(
        f"{source.path}: {problem} lon and lat, or h3, among {_names(schema)}; say which with --lon and --lat"
    )


def _named(schema: pa.Schema, names: Sequence[str]) -> list[str]:
    return [name for name in schema.names if name.strip().lower() in names]


def _existing(source: Source, name: str, option: str) -> str:
    if name not in source.schema.names:
        raise BadTable(f"{source.path} has no column {name!r} ({option}); it has {_names(source.schema)}")
    return name


def _of_numbers(source: Source, name: str) -> str:
    kind = source.schema.field(name).type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or _is_text(kind)):
        raise BadTable(f"{source.path}: column {name!r} holds {kind}, not degrees; choose with --lon and --lat")
    return name


def _of_cells(source: Source, name: str) -> str:
    kind = source.schema.field(name).type
    if not (pa.types.is_integer(kind) or _is_text(kind)):
        raise BadTable(f"{source.path}: column {name!r} holds {kind}, not H3 cells as uint64 or hexadecimal text")
    return name


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _names(schema: pa.Schema) -> str:
    return ", ".join(map(repr, schema.names))


def _canonical(degrees: NDArray[np.float64]) -> LonLat:
    try:
        return LonLat.from_degrees(degrees)
    except CoordinateError as error:
        raise RowProblem(error.problems[0].index, error.problems[0].message) from None


def _numbers(block: pa.RecordBatch, name: str) -> NDArray[np.float64]:
    column = _without_nulls(block, name)
    if not _is_text(column.type):
        return column.cast(pa.float64(), safe=False).to_numpy()  # type: ignore[no-any-return]
    try:
        numbers = parse_numbers(column, pa.float64())
    except pa.ArrowInvalid:
        row = next(i for i in range(len(column)) if not _is_number(column.slice(i, 1)))
        raise RowProblem(row, f"{name} {_shown(column[row])} is not a number") from None
    if numbers.null_count:
        raise RowProblem(_first_null(numbers), f"{name} is empty")
    return numbers.to_numpy()  # type: ignore[no-any-return]


def _is_number(text: pa.Array) -> bool:
    try:
        parse_numbers(text, pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _without_nulls(block: pa.RecordBatch, name: str) -> pa.Array:
    column = block.column(name)
    if column.null_count:
        raise RowProblem(_first_null(column), f"{name} is null")
    return column


def _first_null(column: pa.Array) -> int:
    return int(pc.index(column.is_null(), True).as_py())


def _shown(value: pa.Scalar) -> str:
    text = repr(value.as_py())
    return text if len(text) <= 40 else text[:37] + "...'"
