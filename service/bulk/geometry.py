"""Points as GeoParquet holds them: WKB in a column that the `geo` metadata of the schema describes.

Source: GeoParquet 1.1, https://geoparquet.org/releases/v1.1.0/; WKB: OGC 06-103r4, 8.2.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from service.bulk.source import RowProblem
from service.errors import BadTable

GEO = b"geo"
WGS84 = {("OGC", "CRS84"), ("EPSG", "4326")}
LITTLE_ENDIAN = 1
POINT = 1
EWKB_FLAGS = 0xE0000000
"""The bits with which some writers say that there is a z, an m or an SRID; ISO writers add 1000 for each dimension."""
SRID_FLAG = 0x20000000

WKB_POINT = np.dtype([("order", "u1"), ("kind", "<u4"), ("lonlat", "<f8", 2)])
WKB_POINT_BIG_ENDIAN = np.dtype([("order", "u1"), ("kind", ">u4"), ("lonlat", ">f8", 2)])


def geometry_column(schema: pa.Schema) -> str | None:
    """The primary geometry column, or None where the schema has no `geo` metadata.

    Raises BadTable where the column is not WKB in WGS84.
    """
    if GEO not in (schema.metadata or {}):
        return None
    try:
        geo = json.loads(schema.metadata[GEO])
        name: str = geo["primary_column"]
        column: dict[str, Any] = geo["columns"][name]
        encoding = column["encoding"]
        crs = column.get("crs", {"id": {"authority": "OGC", "code": "CRS84"}})
        identifier = (crs or {}).get("id") or {"authority": "no", "code": "known system"}
        authority, code = str(identifier["authority"]), str(identifier["code"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadTable(
            f"the geo metadata is not GeoParquet's ({error!r}); name the columns with --lon and --lat"
        ) from None
    if name not in schema.names or encoding != "WKB":
        raise BadTable(f"geometry {name!r} is {encoding}, not WKB; name the columns with --lon and --lat")
    if (authority, code) not in WGS84:
        raise BadTable(f"geometry {name!r} is in {authority}:{code}; transform it to WGS84 (EPSG:4326) first")
    return name


def lonlat_of_wkb(column: pa.Array) -> NDArray[np.float64]:
    """Longitudes and latitudes, shape (n, 2), of WKB points without nulls; a z or m is passed over.

    Raises RowProblem at the first geometry that is no point.
    """
    binary = column.cast(pa.large_binary())
    starts = np.frombuffer(binary.buffers()[1], np.int64)[binary.offset :][: len(binary) + 1]
    too_short = np.flatnonzero(np.diff(starts) < WKB_POINT.itemsize)
    if len(too_short):
        raise RowProblem(int(too_short[0]), "the geometry is not a WKB point")
    content = np.frombuffer(binary.buffers()[2] or b"", np.uint8)
    heads = content[starts[:-1, None] + np.arange(WKB_POINT.itemsize)]
    little, big = heads.view(WKB_POINT)[:, 0], heads.view(WKB_POINT_BIG_ENDIAN)[:, 0]
    is_little = little["order"] == LITTLE_ENDIAN
    kinds = np.where(is_little, little["kind"], big["kind"])
    is_point = ((kinds & ~np.uint32(EWKB_FLAGS)) % 1000 == POINT) & (kinds & SRID_FLAG == 0)
    if not is_point.all():
        raise RowProblem(int(np.flatnonzero(~is_point)[0]), "the geometry is not a WKB point")
    lonlat: NDArray[np.float64] = np.where(is_little[:, None], little["lonlat"], big["lonlat"])
    return lonlat


def wkb_of(lonlat: NDArray[np.float64]) -> pa.Array:
    """A WKB point for each row of an array of shape (n, 2)."""
    points = np.empty(len(lonlat), WKB_POINT)
    points["order"], points["kind"], points["lonlat"] = LITTLE_ENDIAN, POINT, lonlat
    starts = np.arange(len(points) + 1, dtype=np.int32) * WKB_POINT.itemsize
    return pa.Array.from_buffers(pa.binary(), len(points), [None, pa.py_buffer(starts), pa.py_buffer(points.tobytes())])


def wkt_of(column: pa.Array) -> pa.Array:
    """The text of each WKB point, as `POINT (2.35 48.86)`."""
    lon, lat = (pa.array(np.ascontiguousarray(axis)).cast(pa.string()) for axis in lonlat_of_wkb(column).T)
    return pc.binary_join_element_wise("POINT (", pc.binary_join_element_wise(lon, lat, " "), ")", "")


def point_metadata(name: str) -> dict[bytes, bytes]:
    """The `geo` metadata of a schema whose column `name` holds WKB points in WGS84."""
    geo = {
        "version": "1.1.0",
        "primary_column": name,
        "columns": {name: {"encoding": "WKB", "geometry_types": ["Point"]}},
    }
    return {GEO: json.dumps(geo).encode()}
