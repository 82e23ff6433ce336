import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainer.data.tables import read_table, read_value_labels, write_table
from trainer.errors import TableError


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_comes_back_as_it_was_written(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    table = pa.table({"lon": [1.5, -170.25], "lat": [-3.5, 89.0], "v": [0.1, 2.0], "name": ["a, b", 'c"d']})
    write_table(table, path)
    read = read_table(path)
    np.testing.assert_array_equal(read.lonlat.degrees, [[1.5, -3.5], [-170.25, 89.0]])
    assert read.columns.to_pydict() == {"v": [0.1, 2.0], "name": ["a, b", 'c"d']}
    assert len(read) == 2
    assert list(tmp_path.iterdir()) == [path]


def test_the_sha256_is_the_file_s(tmp_path):
    import hashlib

    path = tmp_path / "t.csv"
    path.write_text("lon,lat\n1,2\n")
    assert read_table(path).sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("header", ["Lon,Lat", "longitude,latitude", " lng ,LAT", "x,y"])
def test_columns_of_places_go_by_many_names(tmp_path, header):
    path = tmp_path / "t.csv"
    path.write_text(header + ",v\n370,2,5\n")
    with pytest.raises(TableError, match="row 1: lon 370 is outside"):
        read_table(path)
    path.write_text(header + ",v\n190,2,5\n")
    assert read_table(path).lonlat.degrees.tolist() == [[-170, 2]]
    assert read_table(path).columns.column_names == ["v"]


def test_beside_lon_and_lat_other_columns_may_have_names_of_coordinates(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,lon,longitude,lat,y\n7,1,8,2,9\n")
    read = read_table(path)
    assert read.lonlat.degrees.tolist() == [[1, 2]]
    assert read.numbers("y").tolist() == [9]
    assert read.columns.column_names == ["x", "longitude", "y"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "is no csv table"),
        ("t.csv", "lon,lat,v\n", "has no rows"),
        ("t.csv", "lon,v\n1,2\n", "no column is named like lat"),
        ("t.csv", "lng,x,lat\n1,2,3\n", "more than one column is named like lon; call them lon and lat"),
        ("t.csv", "lon,lat,v,v\n1,2,3,4\n", "two columns 'v'"),
        ("t.csv", "lon,lat\na,2\n", "'lon' must hold a number"),
        ("t.csv", "lon,lat\n,2\n", "'lon' must hold a number"),
        ("t.csv", "lon,lat\n39.9,116.4\n", "row 1: lat 116.4 is outside -90 to 90; lon and lat look swapped"),
        ("t.csv", "lon,lat\n1,2,3\n", "is no csv table"),
        ("t.parquet", "not parquet", "is no parquet table"),
        ("t.txt", "lon,lat\n1,2\n", r"tables are .csv or .parquet"),
    ],
)
def test_what_is_no_table_of_places_is_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(TableError, match=message) as raised:
        read_table(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(TableError, match="cannot be read"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(TableError, match="cannot be written"):
        write_table(pa.table({"lon": [1.0]}), tmp_path / "none" / "t.csv")


def test_parquet_of_dictionary_text_is_read_as_labels(tmp_path):
    column = pa.array(["a", "b", "a"]).dictionary_encode()
    pq.write_table(pa.table({"lon": [1.0, 2, 3], "lat": [1.0, 2, 3], "c": column}), tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").labels("c").tolist() == ["a", "b", "a"]


def test_value_labels(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("value,label\n0,water\n16,barren\n")
    assert read_value_labels(path) == {0.0: "water", 16.0: "barren"}


@pytest.mark.parametrize(
    "content", ["", "value,label\n", "value,label\na,b\n", "number,name\n1,a\n", "value,label\n1,\n"]
)
def test_what_are_no_value_labels(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_text(content)
    with pytest.raises(TableError):
        read_value_labels(path)
