from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bulk.read_csv import CsvSource
from service.bulk.source import BLOCK_ROWS, RowProblem
from service.errors import BadTable

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=1, max_size=8)
)


def rows_of(source: CsvSource) -> list[list[str]]:
    return [list(row.values()) for block in source.blocks() for row in block.to_pylist()]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@given(rows=TABLES, delimiter=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n"]), bom=st.booleans())
def test_whatever_is_quoted_comes_back(tmp_path_factory, rows, delimiter, end, bom):
    header = [f"c{i}" for i in range(len(rows[0]))]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    path = write(tmp_path_factory.mktemp("csv") / "in.csv", ("\ufeff" if bom else "") + text.getvalue())
    source = CsvSource.open(path)
    assert source.schema.names == header
    assert rows_of(source) == rows
    assert rows_of(source) == rows, "a source can be read again"


def test_a_gzip_file_is_read_as_it_is(tmp_path):
    source = CsvSource.open(write(tmp_path / "in.csv.gz", gzip.compress(b"lon,lat\n1,2\n")))
    assert rows_of(source) == [["1", "2"]]


def test_the_delimiter_is_the_one_that_finds_most_columns(tmp_path):
    source = CsvSource.open(write(tmp_path / "in.csv", '"a,b";lon;lat\n"1,5";2;3\n'))
    assert source.schema.names == ["a,b", "lon", "lat"]
    assert rows_of(source) == [["1,5", "2", "3"]]


def test_blank_lines_are_no_rows(tmp_path):
    assert rows_of(CsvSource.open(write(tmp_path / "in.csv", "\nh3\n\nx\n\n"))) == [["x"]]


def test_rows_come_in_bounded_blocks(tmp_path):
    n = 2 * BLOCK_ROWS + 1
    source = CsvSource.open(write(tmp_path / "in.csv", "n\n" + "".join(f"{i}\n" for i in range(n))))
    assert [block.num_rows for block in source.blocks()] == [BLOCK_ROWS, BLOCK_ROWS, 1]
    assert rows_of(source) == [[str(i)] for i in range(n)]


@pytest.mark.parametrize(
    ("content", "index", "reason"),
    [
        ("a,b\n1,2\n3\n", 1, "has 1 fields, the header has 2"),
        ("a,b\n1,2,\n", 0, "has 3 fields, the header has 2"),
        (b"a,b\n1,2\n3,\xff\n", 1, "is not UTF-8 text"),
        ('a,b\n1,2\n3,"4\n5,6\n', 1, "is not CSV: unexpected end of data"),
        ('a,b\n1,2\n3,"4"5\n', 1, "is not CSV: ',' expected after '\"'"),
        ('a,b\n1\n3,"4"5\n', 0, "has 1 fields, the header has 2"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path, content, index, reason):
    with pytest.raises(RowProblem) as caught:
        rows_of(CsvSource.open(write(tmp_path / "in.csv", content)))
    assert (caught.value.index, caught.value.reason) == (index, reason)


@pytest.mark.parametrize(
    ("row", "line"),
    [(0, 2), (1, 5), (2, 7)],
)
def test_a_row_is_found_by_the_line_it_starts_on(tmp_path, row, line):
    source = CsvSource.open(write(tmp_path / "in.csv", 'a,b\r\n1,"two\r\nlines"\r\n\r\n3,4\r\n\r\n5,6\r\n'))
    assert source.place_of(row) == f"row {row + 1} (line {line})"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", b"", "is empty"),
        ("in.csv", b"\n\n", "is empty"),
        ("in.csv", b"PAR1\x00\xff,\x00", "not UTF-8 text"),
        ("in.csv", "lon,lat\n".encode("utf-16"), "not UTF-8 text"),
        ("in.csv", b"lon,lat,lon\n", "more than one column 'lon'"),
        ("in.csv.gz", b"lon,lat\n", "not a gzip file"),
    ],
)
def test_a_file_that_is_no_csv_is_an_error(tmp_path, name, content, message):
    with pytest.raises(BadTable, match=message):
        CsvSource.open(write(tmp_path / name, content))


def test_a_gzip_file_cut_short_is_an_error(tmp_path):
    content = gzip.compress(b"lon,lat\n" + b"".join(b"%d,%d\n" % (i * i % 91, i) for i in range(9999)))
    source = CsvSource.open(write(tmp_path / "in.csv.gz", content[: len(content) // 2]))
    with pytest.raises(BadTable, match="is damaged"):
        rows_of(source)
