"""The region of a job: the world, a box, a country, or the polygons of a GeoJSON file."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.bulk.countries import country
from service.errors import InvalidRequest, ItemError
from service.maps.files import bbox_of
from service.maps.geometry import Geometry
from service.maps.grid import BBox

WORLD = BBox(-180.0, -90.0, 180.0, 90.0)
SUFFIXES = (".geojson", ".json")


@dataclass(frozen=True)
class Region:
    """An area, and what it was called when it was asked for."""

    name: str
    area: BBox | Geometry

    @property
    def digest(self) -> str:
        """The same for the same area, whatever it is called: sha256 of its corners, 16 hexadecimal digits."""
        if isinstance(self.area, BBox):
            corners = [np.array([self.area.west, self.area.south, self.area.east, self.area.north])]
        else:
            corners = [polygon.edges for polygon in self.area.polygons]
        content = b"".join(np.ascontiguousarray(each, "<f8").tobytes() for each in corners)
        return hashlib.sha256(content).hexdigest()[:16]


def region_of(text: str) -> Region:
    """`world`; `west,south,east,north`; a path ending in .geojson or .json; else a country. Raises InvalidRequest."""
    if text.strip().casefold() == "world":
        return Region("world", WORLD)
    if text.lower().endswith(SUFFIXES):
        return Region(text, _of_file(Path(text)))
    if re.fullmatch(r"[-+\d.eE\s]+(,[-+\d.eE\s]+)+", text):
        return Region(text, bbox_of(text))
    return Region(text, country(text))


def _of_file(path: Path) -> Geometry:
    try:
        geojson = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise InvalidRequest([ItemError("region", f"{path} is not GeoJSON")]) from None
    return Geometry.of(geojson, str(path))
