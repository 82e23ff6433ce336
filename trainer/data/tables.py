"""Tables of places with a target, and labels of values: CSV or Parquet in, CSV or Parquet out."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from service.bundle import CoordinateError, LonLat
from trainer.errors import TableError

LON_NAMES = ("lon", "lng", "longitude", "x")
LAT_NAMES = ("lat", "latitude", "y")
SUFFIXES = (".csv", ".parquet")
LABEL_KINDS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_boolean)


@dataclass(frozen=True, eq=False)
class PlacesTable:
    """A table that was read: its places, its other columns, and the sha256 of its file."""

    path: Path
    lonlat: LonLat
    columns: pa.Table
    sha256: str

    def __len__(self) -> int:
        return len(self.lonlat)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column of finite numbers. Raises TableError, which names the first row that holds none."""
        column = self._complete(name)
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise TableError(f"{self.path}: column {name!r} holds {column.type}, not numbers; is it a classification?")
        values: NDArray[np.float64] = column.to_numpy(zero_copy_only=False).astype(np.float64)
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise TableError(
                f"{self.path}: column {name!r} has {len(wrong)} values that are not finite, the first in row "
                f"{wrong[0] + 1}; leave those rows out"
            )
        return values

    def labels(self, name: str) -> NDArray[np.str_]:
        """A column of text, integers or truth values, as text. Raises TableError."""
        column = self._complete(name)
        if not any(is_kind(column.type) for is_kind in LABEL_KINDS):
            raise TableError(f"{self.path}: column {name!r} holds {column.type}; classes are text or integers")
        labels = [str(value) for value in column.to_pylist()]
        if "" in labels:
            raise self._empty(name, labels.count(""), labels.index(""))
        return np.array(labels)

    def _complete(self, name: str) -> pa.Array:
        if name not in self.columns.column_names:
            found = ", ".join(map(repr, self.columns.column_names)) or "none besides lon and lat"
            raise TableError(f"{self.path} has no column {name!r}; it has {found}")
        column = self.columns[name].combine_chunks()
        if column.null_count:
            raise self._empty(name, column.null_count, pc.index(column.is_null(), True).as_py())
        return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column

    def _empty(self, name: str, rows: int, first: int) -> TableError:
        return TableError(
            f"{self.path}: column {name!r} is empty in {rows} rows, the first row {first + 1}; leave those rows out"
        )


def read_table(path: Path) -> PlacesTable:
    """Raises TableError where the file is no table, or has no places."""
    content = _read_bytes(path)
    table = _parse(path, content)
    named = _coordinates(path, table)
    lon, lat = (_degrees(path, table, name) for name in named)
    try:
        lonlat = LonLat.from_degrees(np.stack([lon, lat], axis=1))
    except CoordinateError as error:
        raise TableError(f"{path}: row {error.problems[0].index + 1}: {error.problems[0].message}") from None
    others = [name for name in table.column_names if name not in named]
    return PlacesTable(path, lonlat, table.select(others), hashlib.sha256(content).hexdigest())


def write_table(table: pa.Table, path: Path) -> None:
    """By its suffix, .csv or .parquet; whole or not at all. Raises TableError."""
    check_suffix(path)
    staged = path.with_name(f".{path.name}.part")
    try:
        if path.suffix == ".csv":
            pacsv.write_csv(table, staged, pacsv.WriteOptions(quoting_style="needed"))
        else:
            pq.write_table(table, staged, compression="zstd")
        staged.replace(path)
    except OSError as error:
        raise TableError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        staged.unlink(missing_ok=True)


def check_suffix(path: Path) -> None:
    """Raises TableError unless the suffix is one that is read and written."""
    if path.suffix not in SUFFIXES:
        raise TableError(f"{path}: tables are {' or '.join(SUFFIXES)}")


def read_value_labels(path: Path) -> dict[float, str]:
    """A CSV with the columns value and label. Raises TableError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            labels = {float(np.float32(row["value"])): row["label"] for row in csv.DictReader(file)}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} cannot be read: {error}") from error
    except (KeyError, ValueError, TypeError) as error:
        raise TableError(f"{path}: labels are a CSV with the columns value (a number) and label: {error}") from error
    if not labels or not all(labels.values()):
        raise TableError(f"{path} has no labels, or an empty one")
    return labels


def _read_bytes(path: Path) -> bytes:
    check_suffix(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}") from error


def _parse(path: Path, content: bytes) -> pa.Table:
    source = pa.BufferReader(content)
    try:
        table = pacsv.read_csv(source) if path.suffix == ".csv" else pq.read_table(source)
    except (pa.ArrowException, OSError) as error:
        raise TableError(f"{path} is no {path.suffix[1:]} table: {str(error).splitlines()[0]}") from error
    if len(table) == 0:
        raise TableError(f"{path} has no rows")
    if twice := [name for name in table.column_names if table.column_names.count(name) > 1]:
        raise TableError(f"{path} has two columns {twice[0]!r}; rename one")
    return table


def _coordinates(path: Path, table: pa.Table) -> tuple[str, str]:
    """The columns lon and lat; else the one that is named like each. Beside lon and lat, x and y are other things."""
    if {"lon", "lat"} <= set(table.column_names):
        return "lon", "lat"
    return _named(path, table, LON_NAMES), _named(path, table, LAT_NAMES)


def _named(path: Path, table: pa.Table, names: tuple[str, ...]) -> str:
    found: list[str] = [name for name in table.column_names if name.strip().lower() in names]
    if len(found) != 1:
        problem = "more than one column" if found else "no column"
        raise TableError(f"{path}: {problem} is named like {names[0]}; call them lon and lat")
    return found[0]


def _degrees(path: Path, table: pa.Table, name: str) -> NDArray[np.float64]:
    column: Any = table[name].combine_chunks()
    if column.null_count or not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise TableError(f"{path}: column {name!r} must hold a number in every row")
    degrees: NDArray[np.float64] = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return degrees
