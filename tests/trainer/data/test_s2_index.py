import csv
import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.data.s2_index import read_index
from trainer.data.tile_batch import FaultKind
from trainer.errors import ImageryError

NAMES = st.integers(0, 10**6).map(lambda number: f"patch_{number}.tif")
LON, LAT = st.floats(-180, 180), st.floats(-90, 90)


def index(folder, text: str):
    path = folder / "index.csv"
    path.write_bytes(text.encode())
    return read_index(path)


@given(st.lists(st.tuples(NAMES, LON, LAT), min_size=1, unique_by=lambda row: row[0]))
def test_what_is_written_is_read(tmp_path_factory, rows):
    text = "".join(f"{name},{lon!r},{lat!r}\n" for name, lon, lat in rows)
    read = index(tmp_path_factory.getbasetemp(), f"fn,lon,lat\n{text}")
    assert read.names == tuple(name for name, *_ in rows)
    assert read.lonlat.tolist() == [[lon, lat] for _, lon, lat in rows]
    assert read.lonlat.dtype == torch.float64
    assert read.faults == {}


@given(st.lists(st.lists(st.text(alphabet='ab1.-,\n"é ', max_size=6), max_size=5), min_size=1))
def test_every_row_is_a_place_or_a_fault_whatever_it_holds(tmp_path_factory, rows):
    text = io.StringIO()
    csv.writer(text).writerows([["fn", "lon", "lat"], *rows, ["last.tif", "1", "2"]])
    read = index(tmp_path_factory.getbasetemp(), text.getvalue())
    assert len(read.names) == len(read.lonlat)
    assert {row for row in range(len(read.names)) if read.lonlat[row].isnan().any()} == set(read.faults)
    assert read.names[-1] == "last.tif"
    assert read.lonlat[-1].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ("b.tif,1", FaultKind.MALFORMED_ROW, "index.csv line 3 (b.tif,1)"),
        ("b.tif,east,2", FaultKind.MALFORMED_ROW, "index.csv line 3 (b.tif,east,2)"),
        (",1,2", FaultKind.MALFORMED_ROW, "index.csv line 3 (no file name)"),
        ("b.tif,180.5,2", FaultKind.NOT_A_PLACE, "b.tif (index.csv line 3: lon 180.5, lat 2)"),
        ("b.tif,1,-91", FaultKind.NOT_A_PLACE, "b.tif (index.csv line 3: lon 1, lat -91; they look swapped)"),
        ("b.tif,100,-91", FaultKind.NOT_A_PLACE, "b.tif (index.csv line 3: lon 100, lat -91)"),
        ('b.tif,"1\n1",2', FaultKind.MALFORMED_ROW, "index.csv line 4 (b.tif,1 1,2)"),
        ("b.tif,nan,2", FaultKind.NOT_A_PLACE, "b.tif (index.csv line 3: lon nan, lat 2)"),
        ("a.tif,5,6", FaultKind.DUPLICATE_ROW, "a.tif (index.csv line 3)"),
    ],
)
def test_a_row_that_is_wrong_is_named_and_the_others_keep_their_numbers(tmp_path, row, kind, said):
    read = index(tmp_path, f"fn,lon,lat\na.tif,1,2\n{row}\nc.tif,3,4\n")
    assert {number: (fault.kind, str(fault)) for number, fault in read.faults.items()} == {1: (kind, said)}
    assert read.lonlat[[0, 2]].tolist() == [[1, 2], [3, 4]]
    assert all(map(math.isnan, read.lonlat[1].tolist()))


def test_columns_are_found_by_name_and_others_ignored(tmp_path):
    read = index(tmp_path, "\ufefflat,fn,shard,lon\r\n2,a.tif,7,1\r\n\r\n")
    assert (read.names, read.lonlat.tolist()) == (("a.tif",), [[1, 2]])


def test_a_field_beyond_the_limit_of_the_process_is_refused(tmp_path):
    (tmp_path / "index.csv").write_text(f"fn,lon,lat\n{'a' * 2000},1,2\n")
    limit = csv.field_size_limit(1000)
    try:
        with pytest.raises(ImageryError, match="is no CSV: field larger than field limit"):
            read_index(tmp_path / "index.csv")
    finally:
        csv.field_size_limit(limit)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has the columns none; it needs fn, lon, lat"),
        (b"fn,lat\na.tif,1\n", "has the columns fn, lat; it needs fn, lon, lat"),
        (b"fn,lon,lat\n", "has no row"),
        (b"fn,lon,lat\n\xff\xfe,1,2\n", "is not UTF-8 text"),
    ],
)
def test_what_is_no_index_is_refused(tmp_path, content, message):
    (tmp_path / "index.csv").write_bytes(content)
    with pytest.raises(ImageryError, match=message):
        read_index(tmp_path / "index.csv")
    with pytest.raises(ImageryError, match=r"none.csv cannot be read: No such file"):
        read_index(tmp_path / "none.csv")
