"""The places of a part, as GeoParquet has them: sorted by cell, with a geometry and its bounding box."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from service.bulk.geometry import GEO, point_metadata, wkb_of
from service.bulk.parts import Part
from service.bulk.source import BLOCK_ROWS
from service.bundle import LonLat

GEOMETRY = "geometry"
BBOX = "bbox"
CORNERS = ("xmin", "ymin", "xmax", "ymax")
BBOX_TYPE = pa.struct([pa.field(corner, pa.float64(), nullable=False) for corner in CORNERS])


@dataclass(frozen=True)
class Places:
    """Rows of a table, and where they are: row i is at place i."""

    table: pa.Table
    lonlat: LonLat

    def __len__(self) -> int:
        return len(self.lonlat)

    def blocks(self) -> Iterator[tuple[pa.RecordBatch, LonLat]]:
        """The same rows, a few at a time."""
        rows = self.table.combine_chunks()
        for start in range(0, len(self), BLOCK_ROWS):
            (block,) = rows.slice(start, BLOCK_ROWS).to_batches()
            yield block, self.lonlat[start : start + BLOCK_ROWS]


class Input(Protocol):
    """Where a job's places come from. Inputs are pickled for workers on other machines."""

    @property
    def names(self) -> list[str]:
        """The columns that its places have."""
        ...

    @property
    def repeating(self) -> list[str]:
        """Those of them whose values may repeat."""
        ...

    @property
    def has_cells(self) -> bool:
        """Whether the places are H3 cells, named by the column `h3`."""
        ...

    @property
    def description(self) -> dict[str, Any]: ...

    def parts(self) -> list[Part]: ...

    def places(self, part: Part) -> Places:
        """Raises BadRow, BadTable and OSError."""
        ...


def missing_geometry(schema: pa.Schema) -> list[str]:
    """The columns that `with_geometry` adds to such a table."""
    metadata = schema.metadata or {}
    if GEO not in metadata:
        return [GEOMETRY, BBOX]
    geo = json.loads(metadata[GEO])
    return [] if "covering" in geo["columns"][geo["primary_column"]] else [BBOX]


def with_geometry(table: pa.Table, lonlat: LonLat) -> pa.Table:
    """The table with `geometry`, points in WKB, and `bbox`, as far as its schema names no such columns."""
    metadata = dict(table.schema.metadata or {})
    missing = missing_geometry(table.schema)
    if GEOMETRY in missing:
        table = table.append_column(pa.field(GEOMETRY, pa.binary(), nullable=False), wkb_of(lonlat.degrees))
        metadata |= point_metadata(GEOMETRY)
    geo = json.loads(metadata[GEO])
    column = geo["columns"][geo["primary_column"]]
    if BBOX in missing:
        table = table.append_column(pa.field(BBOX, BBOX_TYPE, nullable=False), _boxes(lonlat.degrees))
        column["covering"] = {"bbox": {corner: [BBOX, corner] for corner in CORNERS}}
    column["bbox"] = [*lonlat.degrees.min(axis=0).tolist(), *lonlat.degrees.max(axis=0).tolist()]
    column["geometry_types"] = ["Point"]
    geo["version"] = "1.1.0"
    return table.replace_schema_metadata({**metadata, GEO: json.dumps(geo).encode()})


def _boxes(degrees: NDArray[np.float64]) -> pa.Array:
    lon, lat = (pa.array(np.ascontiguousarray(axis)) for axis in degrees.T)
    return pa.StructArray.from_arrays([lon, lat, lon, lat], fields=list(BBOX_TYPE))
