"""Where the pixels of a raster are: boxes in degrees, and separable grids of pixel centres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.bundle import LonLat
from service.errors import InvalidRequest, ItemError

MAX_SIDE = 65_536
"""Pixels a side that a grid has at most."""
MAX_ABS_LON = 360.0
EDGES = ("west", "south", "east", "north")
WGS84 = "EPSG:4326"

Degrees = NDArray[np.float64]


@dataclass(frozen=True)
class BBox:
    """A box of positive area: west in [-180, 180), west < east <= west + 360, south < north within ±90.

    Over the antimeridian `east` goes on beyond 180, so that the box is one interval.
    """

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def of(cls, values: Sequence[float], pointer: str = "/bbox") -> BBox:
        """The box [west, south, east, north] in degrees; west > east crosses the antimeridian.

        Longitudes beyond ±180, up to ±360, wrap. Raises InvalidRequest, whose pointers begin with `pointer`.
        """
        if len(values) != len(EDGES):
            raise _invalid(pointer, f"a bbox is [west, south, east, north], not {len(values)} numbers")
        problems = [
            ItemError(f"{pointer}/{i}", message)
            for i, value in enumerate(values)
            if (message := _problem_with(EDGES[i], value))
        ]
        if problems:
            raise InvalidRequest(problems)
        west, south, east, north = map(float, values)
        if south >= north:
            raise _invalid(pointer, _flat(south, north))
        if west > east:
            east += 360 * math.ceil((west - east) / 360)
        if west == east:
            raise _invalid(pointer, f"the bbox is 0 wide: west and east are {west:g}; the whole globe is -180 to 180")
        if east - west > 360:
            raise _invalid(pointer, f"the bbox is {east - west:g} degrees wide; 360 is the whole globe")
        turns = 360 * math.floor((west + 180) / 360)
        return cls(west - turns, south, east - turns, north)

    @property
    def crosses_antimeridian(self) -> bool:
        return self.east > 180

    @property
    def width(self) -> float:
        """Degrees of longitude, more than 0 and at most 360."""
        return self.east - self.west

    @property
    def height(self) -> float:
        return self.north - self.south

    @property
    def steradians(self) -> float:
        """The area on the unit sphere, 4π for the whole globe."""
        south, north = math.radians(self.south), math.radians(self.north)
        return math.radians(self.width) * (math.sin(north) - math.sin(south))

    def may_hold(self, lon: float, lat: float, reach: float, radius: float) -> bool:
        """Whether the box has any place within `reach` degrees of longitude and `radius` of latitude of (lon, lat)."""
        apart = abs((lon - (self.west + self.east) / 2 + 180) % 360 - 180)
        return lat - radius <= self.north and lat + radius >= self.south and apart <= self.width / 2 + reach

    def contains(self, lonlat: LonLat) -> NDArray[np.bool_]:
        """Which places are in the box, shape (n,). West and south belong to it, east and north only at a pole."""
        lon, lat = lonlat.degrees.T
        in_width = ((lon >= self.west) & (lon < self.east)) | (lon < self.east - 360)
        polar = (np.abs(lat) == 90) & ((lat == self.south) | (lat == self.north))  # every longitude is the pole
        inside: NDArray[np.bool_] = polar | (in_width & (lat >= self.south) & (lat < self.north))
        return inside


@dataclass(frozen=True, eq=False)
class Grid:
    """Centres of pixels: `lons` (W,) west to east, unwrapped beyond 180; `lats` (H,) north to south; degrees, float64.

    `bounds` (west, south, east, north) are the outer edges of the outer pixels, in the units of `crs`, in which
    pixels are even.
    """

    lons: Degrees
    lats: Degrees
    bounds: tuple[float, float, float, float]
    crs: str = WGS84

    @classmethod
    def of_bbox(cls, bbox: BBox, width: int, height: int) -> Grid:
        """`width` by `height` pixels that fill the box. Raises InvalidRequest outside 1 to MAX_SIDE."""
        problems = [
            ItemError(f"/{name}", f"{name} is {side}; it must be from 1 to {MAX_SIDE}")
            for name, side in (("width", width), ("height", height))
            if not 1 <= side <= MAX_SIDE
        ]
        if problems:
            raise InvalidRequest(problems)
        lons = bbox.west + bbox.width * (np.arange(width) + 0.5) / width
        lats = bbox.north - bbox.height * (np.arange(height) + 0.5) / height
        return cls(lons, lats, (bbox.west, bbox.south, bbox.east, bbox.north))

    @property
    def width(self) -> int:
        return len(self.lons)

    @property
    def height(self) -> int:
        return len(self.lats)

    def __len__(self) -> int:
        """Points: pixels."""
        return self.width * self.height


def lonlat_of(lons: Degrees, lats: Degrees) -> LonLat:
    """Every place of the product, row by row: place i·W + j is (lons[j], lats[i]). Longitudes may be any number."""
    degrees = np.empty((len(lats), len(lons), 2))
    degrees[..., 0] = np.mod(lons + 180, 360) - 180
    degrees[..., 1] = lats[:, None]
    return LonLat.from_degrees(degrees.reshape(-1, 2))


def _problem_with(edge: str, value: float) -> str | None:
    limit = 90.0 if edge in ("south", "north") else MAX_ABS_LON
    if not math.isfinite(value):
        return f"{edge} is {value}; it must be finite"
    if abs(value) > limit:
        return f"{edge} {value!r} is outside -{limit:g} to {limit:g}: a bbox is [west, south, east, north] in degrees"
    return None


def _flat(south: float, north: float) -> str:
    if south == north:
        return f"the bbox is 0 high: south and north are both {south:g}"
    return f"south {south:g} is north of north {north:g}: a bbox is [west, south, east, north]"


def _invalid(pointer: str, message: str) -> InvalidRequest:
    return InvalidRequest([ItemError(pointer, message)])
