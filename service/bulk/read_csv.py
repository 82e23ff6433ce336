"""CSV in: UTF-8, with a header; the delimiter is found in the header; `.gz` is read as it is.

Every field stays the text it is. Python's own parser is used for its strictness and its line numbers.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

import pyarrow as pa

from service.bulk.source import BLOCK_ROWS, RowProblem, check_columns
from service.errors import BadTable

DELIMITERS = (",", ";", "\t")
MAX_FIELD_CHARACTERS = 16 * 2**20

Record = list[str]


@dataclass(frozen=True)
class CsvSource:
    path: Path
    delimiter: str
    header: tuple[str, ...]
    is_text: bool = True

    @classmethod
    def open(cls, path: Path) -> CsvSource:
        """Read the header. Raises BadTable where there is none, or where the file is no CSV."""
        headers = {delimiter: _header(path, delimiter) for delimiter in DELIMITERS}
        delimiter = max(DELIMITERS, key=lambda d: len(headers[d]))
        header = headers[delimiter]
        if not header:
            raise BadTable(f"{path} is empty: it has no header that names its columns")
        if any("\0" in name or not _is_unicode(name) for name in header):
            raise BadTable(f"{path} is not CSV: its header is not UTF-8 text")
        source = cls(path, delimiter, tuple(header))
        check_columns(path, source.schema)
        return source

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([(name, pa.string()) for name in self.header])

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Every column, whichever are named: a row must be sound as a whole."""
        with _open_text(self.path) as file:
            records = filter(None, _reader(file, self.delimiter))
            next(records)
            try:
                while block := self._next_block(records):
                    yield block
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise BadTable(f"{self.path} is damaged: {error}") from error

    def place_of(self, row: int) -> str:
        """The row and the line it starts on, found by reading the file again: lines are not counted until asked for."""
        with _open_text(self.path) as file:
            reader = _reader(file, self.delimiter)
            records_before = row + 1
            while True:
                line = reader.line_num + 1
                try:
                    record = next(reader)
                except (csv.Error, StopIteration):
                    break
                if record and records_before == 0:
                    break
                records_before -= bool(record)
        return f"row {row + 1} (line {line})"

    def _next_block(self, records: Iterator[Record]) -> pa.RecordBatch | None:
        rows: list[Record] = []
        broken = None
        try:
            rows.extend(islice(records, BLOCK_ROWS))
        except csv.Error as error:
            broken = RowProblem(len(rows), f"is not CSV: {error}")
        self._check_widths(rows)
        if broken:
            raise broken
        if not rows:
            return None
        try:
            columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
        except UnicodeEncodeError:
            bad = next(i for i, row in enumerate(rows) if not all(map(_is_unicode, row)))
            raise RowProblem(bad, "is not UTF-8 text") from None
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)

    def _check_widths(self, rows: list[Record]) -> None:
        width = len(self.header)
        if set(map(len, rows)) - {width}:
            bad = next(i for i, row in enumerate(rows) if len(row) != width)
            raise RowProblem(bad, f"has {len(rows[bad])} fields, the header has {width}")


def _open_text(path: Path) -> TextIO:
    """Bytes that are no UTF-8 become lone surrogates, so that they are found row by row."""
    opened = gzip.open if path.suffix == ".gz" else open
    return opened(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")


def _reader(file: TextIO, delimiter: str) -> csv._reader:  # type: ignore[name-defined]
    csv.field_size_limit(MAX_FIELD_CHARACTERS)  # the default, 128 KiB, is less than a large polygon's text
    return csv.reader(file, delimiter=delimiter, strict=True)


def _header(path: Path, delimiter: str) -> Record:
    """The first record, or nothing where `delimiter` cannot be the file's."""
    with _open_text(path) as file:
        try:
            return next(filter(None, _reader(file, delimiter)), [])
        except csv.Error:
            return []
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise BadTable(f"{path} is not a gzip file: {error}") from error


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
