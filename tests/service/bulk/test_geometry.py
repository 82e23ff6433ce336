from __future__ import annotations

import json
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bulk.geometry import geometry_column, lonlat_of_wkb, point_metadata, wkb_of, wkt_of
from service.bulk.source import RowProblem
from service.errors import BadTable

POINT = struct.pack("<BIdd", 1, 1, 2.5, 48.0)
BIG_ENDIAN = struct.pack(">BIdd", 0, 1, 2.5, 48.0)
ISO_Z = struct.pack("<BIddd", 1, 1001, 2.5, 48.0, 35.0)
EWKB_Z = struct.pack("<BIddd", 1, 0x80000001, 2.5, 48.0, 35.0)
EWKB_SRID = struct.pack("<BIIdd", 1, 0x20000001, 4326, 2.5, 48.0)
LINE = struct.pack("<BIIdddd", 1, 2, 2, 0, 0, 1, 1)


@given(st.lists(st.tuples(st.floats(-360, 360), st.floats(-90, 90))))
def test_wkb_round_trips(pairs):
    lonlat = np.array(pairs, np.float64).reshape(-1, 2)
    np.testing.assert_array_equal(lonlat_of_wkb(wkb_of(lonlat)), lonlat)


@pytest.mark.parametrize("wkb", [POINT, BIG_ENDIAN, ISO_Z, EWKB_Z])
def test_every_kind_of_point_is_read(wkb):
    column = pa.array([POINT, wkb, POINT])
    np.testing.assert_array_equal(lonlat_of_wkb(column), [[2.5, 48.0]] * 3)
    np.testing.assert_array_equal(lonlat_of_wkb(column.slice(1)), [[2.5, 48.0]] * 2)


@pytest.mark.parametrize("wkb", [LINE, EWKB_SRID, b"", b"\x01"])
def test_what_is_no_point_is_named(wkb):
    with pytest.raises(RowProblem, match="row 1: the geometry is not a WKB point"):
        lonlat_of_wkb(pa.array([POINT, wkb]))


def test_wkt():
    assert wkt_of(pa.array([POINT, ISO_Z])).to_pylist() == ["POINT (2.5 48)"] * 2


def schema_with(geo: object, name: str = "geometry") -> pa.Schema:
    return pa.schema([(name, pa.binary())], {b"geo": geo if isinstance(geo, bytes) else json.dumps(geo).encode()})


def geo_with(**fields: object) -> dict[str, object]:
    return {"primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB", **fields}}}


def test_the_geometry_column_is_what_the_metadata_says():
    assert geometry_column(pa.schema([("geometry", pa.binary())])) is None
    assert geometry_column(pa.schema([("place", pa.binary())], point_metadata("place"))) == "place"
    for authority, code in (("OGC", "CRS84"), ("EPSG", 4326)):
        assert geometry_column(schema_with(geo_with(crs={"id": {"authority": authority, "code": code}}))) == "geometry"


@pytest.mark.parametrize(
    ("geo", "message"),
    [
        (geo_with(crs={"id": {"authority": "EPSG", "code": 3857}}), "is in EPSG:3857; transform it to WGS84"),
        (geo_with(crs=None), "is in no:known system"),
        (geo_with(encoding="point"), "is point, not WKB"),
        ({"primary_column": "geometry", "columns": {}}, "geo metadata is not GeoParquet's"),
        ([], "geo metadata is not GeoParquet's"),
        (b"{", "geo metadata is not GeoParquet's"),
    ],
)
def test_a_geometry_that_cannot_be_used_is_an_error(geo, message):
    with pytest.raises(BadTable, match=message):
        geometry_column(schema_with(geo))
