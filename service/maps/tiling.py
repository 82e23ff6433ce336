"""Tiles of the two tile matrix sets that are served, as grids (OGC 17-083r4, through morecantile)."""

from __future__ import annotations

import morecantile
import numpy as np

from service.errors import UnknownTile
from service.maps.grid import WGS84, Degrees, Grid

TILE_SIZE = 256
EARTH_RADIUS_M = 6378137.0
"""Of the sphere of Web Mercator (EPSG:3857)."""
WEB_MERCATOR, WORLD_CRS84 = "WebMercatorQuad", "WorldCRS84Quad"
TILE_MATRIX_SETS = {name: morecantile.tms.get(name) for name in (WEB_MERCATOR, WORLD_CRS84)}


def tile_grid(tms: str, z: int, x: int, y: int, size: int = TILE_SIZE) -> Grid:
    """The `size` by `size` pixel centres of tile x, y (from the north-west) at zoom z.

    Raises UnknownTile where there is no such tile matrix set, zoom or tile.
    """
    matrices = tile_matrix_set(tms)
    if not matrices.minzoom <= z <= matrices.maxzoom:
        raise UnknownTile(f"{tms} has no zoom {z}; it has {matrices.minzoom} to {matrices.maxzoom}")
    matrix = matrices.matrix(z)
    if not (0 <= x < matrix.matrixWidth and 0 <= y < matrix.matrixHeight):
        last = f"{matrix.matrixWidth - 1}/{matrix.matrixHeight - 1}"
        raise UnknownTile(f"{tms} has no tile {z}/{x}/{y}; zoom {z} goes from 0/0 to {last}")
    west, south, east, north = matrices.xy_bounds(morecantile.Tile(x, y, z))
    xs = west + (east - west) * (np.arange(size) + 0.5) / size
    ys = north - (north - south) * (np.arange(size) + 0.5) / size
    if tms == WORLD_CRS84:
        return Grid(xs, ys, (west, south, east, north), WGS84)
    lons, lats = _from_web_mercator(xs, ys)
    return Grid(lons, lats, (west, south, east, north), "EPSG:3857")


def tile_matrix_set(tms: str) -> morecantile.TileMatrixSet:
    """Raises UnknownTile, which names those that there are."""
    if tms not in TILE_MATRIX_SETS:
        raise UnknownTile(f"no tile matrix set {tms!r} is served; there is {', '.join(TILE_MATRIX_SETS)}")
    return TILE_MATRIX_SETS[tms]


def _from_web_mercator(xs: Degrees, ys: Degrees) -> tuple[Degrees, Degrees]:
    """Metres east and north to degrees (EPSG:3857: a sphere, so that latitude is the Gudermannian of y)."""
    return np.degrees(xs / EARTH_RADIUS_M), np.degrees(np.arctan(np.sinh(ys / EARTH_RADIUS_M)))
