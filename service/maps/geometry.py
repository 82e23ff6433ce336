"""GeoJSON areas: polygons in degrees, split at the antimeridian as RFC 7946 (3.1.9) asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.bundle import LonLat
from service.errors import InvalidRequest, ItemError
from service.maps.grid import BBox, Degrees

MAX_VERTICES = 100_000
MAX_DEPTH = 16
"""Of collections in collections."""
CHUNK = 2**22
"""Places times edges that are compared at once."""

Ring = Degrees
"""(n, 2) lon and lat; the last is the first."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Polygon:
    """The edges (n, 2, 2) of all rings, holes among them, those of them that some parallel crosses, and the box."""

    edges: Degrees
    sloped: Degrees
    box: BBox
    steradians: float

    @classmethod
    def of(cls, rings: Sequence[Ring]) -> _Polygon:
        edges = np.concatenate([np.stack([ring[:-1], ring[1:]], axis=1) for ring in rings])
        level = edges[:, 0, 1] == edges[:, 1, 1]
        (west, south), (east, north) = rings[0].min(axis=0).tolist(), rings[0].max(axis=0).tolist()
        outer, *holes = map(_steradians, rings)
        return cls(edges, edges[~level], BBox(west, south, east, north), max(0.0, outer - sum(holes)))


@dataclass(frozen=True, eq=False)
class Geometry:
    """An area of polygons. What is in any of them is inside."""

    polygons: tuple[_Polygon, ...]

    @classmethod
    def of(cls, geojson: Any, pointer: str = "/geometry") -> Geometry:  # noqa: ANN401 - whatever JSON holds
        """A Polygon or MultiPolygon, or a Feature, FeatureCollection or GeometryCollection of them.

        Raises InvalidRequest.
        """
        polygons = [
            [_ring(ring, f"{at}/{i}") for i, ring in enumerate(_list(rings, at, "rings"))]
            for rings, at in _polygons(geojson, pointer, MAX_DEPTH)
        ]
        if (vertices := sum(len(ring) for rings in polygons for ring in rings)) > MAX_VERTICES:
            raise _invalid(pointer, f"has {vertices} vertices; simplify it to {MAX_VERTICES} at most")
        return cls(tuple(map(_Polygon.of, polygons)))

    @property
    def bbox(self) -> BBox:
        """The narrowest box around all polygons: where they lie on both sides of the antimeridian, it crosses it."""
        boxes = sorted((polygon.box for polygon in self.polygons), key=lambda box: box.west)
        south, north = min(box.south for box in boxes), max(box.north for box in boxes)
        reach, gap, west, east = boxes[0].east, 0.0, boxes[0].west, 0.0
        for box in boxes[1:]:
            if box.west - reach > gap:
                gap, west, east = box.west - reach, box.west, reach + 360
            reach = max(reach, box.east)
        if boxes[0].west + 360 - reach >= gap:
            west, east = boxes[0].west, reach
        return BBox(west, south, east, north)

    @property
    def steradians(self) -> float:
        """About the area on the unit sphere; what overlaps counts twice."""
        return sum(polygon.steradians for polygon in self.polygons)

    def may_hold(self, lon: float, lat: float, reach: float, radius: float) -> bool:
        """Whether any place within `reach` degrees of longitude and `radius` of latitude of (lon, lat) may be inside.

        Where no edge is near, all of them are inside, or none is.
        """
        half = np.array([reach, radius])
        boxed = [polygon for polygon in self.polygons if polygon.box.may_hold(lon, lat, reach, radius)]
        near = any(
            _any_meets(polygon.edges, np.array([lon + turn, lat]), half) for polygon in boxed for turn in (-360, 0, 360)
        )
        return near or bool(boxed and self.contains(LonLat.from_degrees([[lon, lat]]))[0])

    def mask(self, lons: Degrees, lats: Degrees) -> Mask:
        """Which places of a grid are inside, (H, W): in each row, those past an odd number of edges."""
        lons = np.mod(lons + 180, 360) - 180
        inside = np.zeros((len(lats), len(lons)), np.bool_)
        for polygon in self.polygons:
            for row, lat in enumerate(lats):
                edges = polygon.sloped[_crossed(polygon.sloped, lat)]
                crossings = np.sort(_crossings(edges, lat))
                inside[row] |= np.searchsorted(crossings, lons, side="right") % 2 == 1
        return inside

    def contains(self, lonlat: LonLat) -> Mask:
        """Which places are inside, (n,), as `mask` has it; quick where they are near each other."""
        inside = np.zeros(len(lonlat), np.bool_)
        lon, lat = lonlat.degrees.T
        for polygon in self.polygons if len(lonlat) else ():
            low, high = np.sort(polygon.sloped[..., 1], axis=1).T
            edges = polygon.sloped[(low <= lat.max()) & (high > lat.min())]
            step = max(1, CHUNK // max(1, len(edges)))
            for start in range(0, len(lonlat), step):
                of = slice(start, start + step)
                past = _crossed(edges, lat[of, None]) & (_crossings(edges, lat[of, None]) <= lon[of, None])
                inside[of] |= past.sum(axis=1) % 2 == 1
        return inside


def _crossed(edges: Degrees, lat: Any) -> Mask:  # noqa: ANN401 - one latitude, or a column of them
    """Whether each edge crosses the parallel: its lower end does, its upper does not belong to it."""
    crossed: Mask = (edges[:, 0, 1] <= lat) != (edges[:, 1, 1] <= lat)
    return crossed


def _crossings(edges: Degrees, lat: Any) -> Degrees:  # noqa: ANN401
    """The longitude at which each edge, as a straight line in degrees, meets the parallel."""
    (lon_a, lat_a), (lon_b, lat_b) = edges[:, 0].T, edges[:, 1].T
    with np.errstate(over="ignore", invalid="ignore"):  # of edges that are not crossed
        crossings: Degrees = lon_a + (lat - lat_a) / (lat_b - lat_a) * (lon_b - lon_a)
    return crossings


def _any_meets(edges: Degrees, centre: Degrees, half: Degrees) -> bool:
    """Whether any edge meets the box: neither the axes nor the edge's normal separates the two."""
    a, b = edges[:, 0] - centre, edges[:, 1] - centre
    along = b - a
    overlaps = ((np.minimum(a, b) <= half) & (np.maximum(a, b) >= -half)).all(axis=1)
    off = np.abs(along[:, 0] * a[:, 1] - along[:, 1] * a[:, 0])
    return bool((overlaps & (off <= np.abs(along[:, 0]) * half[1] + np.abs(along[:, 1]) * half[0])).any())


def _steradians(ring: Ring) -> float:
    """About the area on the unit sphere, by the trapezoids between the edges and the equator."""
    lon, sine = np.radians(ring[:, 0]), np.sin(np.radians(ring[:, 1]))
    return abs(float(np.sum(np.diff(lon) * (sine[1:] + sine[:-1]) / 2)))


def _polygons(geojson: Any, at: str, depth: int) -> Iterator[tuple[Any, str]]:  # noqa: ANN401
    """The rings of every polygon, as given, and where they are."""
    if not isinstance(geojson, dict) or depth == 0:
        raise _invalid(at, "is not GeoJSON of polygons" if depth else f"is nested more than {MAX_DEPTH} deep")
    match geojson.get("type"):
        case "Polygon":
            yield geojson.get("coordinates"), f"{at}/coordinates"
        case "MultiPolygon":
            coordinates = _list(geojson.get("coordinates"), f"{at}/coordinates", "polygons")
            yield from ((rings, f"{at}/coordinates/{i}") for i, rings in enumerate(coordinates))
        case "Feature":
            yield from _polygons(geojson.get("geometry"), f"{at}/geometry", depth - 1)
        case "FeatureCollection" | "GeometryCollection" as kind:
            members = "features" if kind == "FeatureCollection" else "geometries"
            for i, member in enumerate(_list(geojson.get(members), f"{at}/{members}", members)):
                yield from _polygons(member, f"{at}/{members}/{i}", depth - 1)
        case other:
            raise _invalid(f"{at}/type", f"is {str(other)[:64]!a}; only Polygon and MultiPolygon have an area")


def _list(value: Any, at: str, what: str) -> list[Any]:  # noqa: ANN401
    if not isinstance(value, list) or not value:
        raise _invalid(at, f"must be a list of {what}, and not empty")
    return value


def _ring(positions: Any, at: str) -> Ring:  # noqa: ANN401
    """A position may have an altitude, which is passed over."""
    if not isinstance(positions, list) or len(positions) < 4:
        raise _invalid(at, "must be a ring of at least four positions, the last one the first again")
    for i, position in enumerate(positions):
        if not isinstance(position, list) or not 2 <= len(position) <= 3:
            raise _invalid(f"{at}/{i}", "must be a position [lon, lat]")
        if any(isinstance(number, bool) or not isinstance(number, int | float) for number in position):
            raise _invalid(f"{at}/{i}", "must be a position [lon, lat] of numbers")
    try:
        ring = np.array([position[:2] for position in positions], np.float64)
    except OverflowError:
        raise _invalid(at, "holds an integer too large to be in degrees") from None
    with np.errstate(invalid="ignore"):
        outside = np.flatnonzero(~((np.abs(ring[:, 0]) <= 180) & (np.abs(ring[:, 1]) <= 90)))
    if len(outside):
        raise _invalid(
            f"{at}/{outside[0]}", "is outside lon ±180, lat ±90; cut what crosses the antimeridian into a MultiPolygon"
        )
    if (ring[0] != ring[-1]).any():
        raise _invalid(at, "is not closed: its last position must be its first")
    if (ring.min(axis=0) == ring.max(axis=0)).any():
        raise _invalid(at, "has no area")
    return ring


def _invalid(pointer: str, message: str) -> InvalidRequest:
    return InvalidRequest([ItemError(pointer, message)])
