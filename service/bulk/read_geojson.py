"""GeoJSON in: a FeatureCollection of points (RFC 7946). The one format that is read whole, about 2 KB a feature."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from service.bulk.geometry import point_metadata, wkb_of
from service.bulk.source import BLOCK_ROWS
from service.errors import BadRow, BadTable

GEOMETRY = "geometry"


@dataclass(frozen=True)
class GeoJsonSource:
    """The properties as columns, then the points as a WKB geometry column, as in GeoParquet."""

    path: Path
    table: pa.Table
    is_text: bool = False

    @classmethod
    def open(cls, path: Path) -> GeoJsonSource:
        """Read it all. Raises BadTable, or BadRow at the first feature that is not a point."""
        try:
            collection = orjson.loads(path.read_bytes())
        except orjson.JSONDecodeError as error:
            raise BadTable(f"{path} is not JSON: {error}") from None
        features = collection.get("features") if isinstance(collection, dict) else None
        if not isinstance(features, list) or collection.get("type") != "FeatureCollection":
            raise BadTable(f"{path} is not a GeoJSON FeatureCollection")
        lonlat = np.array([_lonlat(path, row, f) for row, f in enumerate(features)], np.float64).reshape(-1, 2)
        columns = {**_properties(path, features), GEOMETRY: wkb_of(lonlat)}
        return cls(path, pa.table(columns, metadata=point_metadata(GEOMETRY)))

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def blocks(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        table = self.table.select(columns) if columns is not None else self.table
        yield from table.to_batches(BLOCK_ROWS)

    def place_of(self, row: int) -> str:
        return f"feature {row + 1}"


def _lonlat(path: Path, row: int, feature: Any) -> list[float]:  # noqa: ANN401 - whatever JSON holds
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    if not isinstance(geometry, dict) or geometry.get("type") != "Point":
        raise BadRow(f"{path}: feature {row + 1}: is not a Feature with a Point")
    position = geometry.get("coordinates")
    if not isinstance(position, list) or len(position) < 2 or any(type(x) not in (int, float) for x in position):
        raise BadRow(f"{path}: feature {row + 1}: coordinates must be [lon, lat]")
    return position[:2]


def _properties(path: Path, features: Sequence[Mapping[str, Any]]) -> dict[str, pa.Array]:
    rows = [feature.get("properties") or {} for feature in features]
    names = dict.fromkeys(name for row in rows for name in row)
    if GEOMETRY in names:
        raise BadTable(f"{path} has a property {GEOMETRY!r}, which the column of points is called; rename it")
    try:
        return {name: pa.array([row.get(name) for row in rows]) for name in names}
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise BadTable(f"{path}: a property holds values of more than one type: {error}") from None
