"""H3 cells of a box or a geometry, and their outlines as GeoJSON has them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from service.embedding.cells import Cells, centres_of, children_of, coarsest_cells, number_of_cells, outline_of
from service.embedding.pieces import others_turn
from service.errors import InvalidRequest, ItemError
from service.maps.geometry import Geometry
from service.maps.grid import BBox, Degrees

MAX_CELLS = 1_000_000
FINEST = 15
STEP = 3
"""Resolutions that are gone down at once: 343 children, about 0.3 ms."""
SPREAD = 1.4
"""How much further from a cell's centre than its corners the centres of its descendants may be, with room to spare."""


async def covering(region: BBox | Geometry, resolution: int, max_cells: int = MAX_CELLS) -> Cells:
    """Every cell of `resolution` (0 to 15) whose centre is in the region, once, in ascending order.

    So neighbouring boxes share no cell and leave none out. Raises InvalidRequest, pointer /h3_resolution, where there
    are more than `max_cells`, or none at all. Others have their turn meanwhile.
    """
    _check_resolution(region, resolution, max_cells)
    found: list[Cells] = []
    total = 0
    for candidates in _descend(region, resolution):
        centres = centres_of(candidates)
        if isinstance(region, BBox):
            inside = region.contains(centres)
        else:
            inside = await asyncio.to_thread(region.contains, centres)
        found.append(candidates[inside])
        total += len(found[-1])
        if total > max_cells:
            raise _too_many(region, max_cells)
        await others_turn()
    if total == 0:
        message = f"no cell of resolution {resolution} has its centre in the region: choose a finer one"
        raise InvalidRequest([ItemError("/h3_resolution", message)])
    return np.sort(np.concatenate(found))


def outline(cell: int) -> dict[str, Any]:
    """The cell as a GeoJSON Polygon, or MultiPolygon where the antimeridian cuts it: closed, counterclockwise.

    Edges are straight in degrees, as RFC 7946 has them. A cell that holds a pole reaches up to it all along the width
    of the map.
    """
    corners = outline_of(cell)
    steps = np.diff(corners[:, 0], append=corners[0, 0])
    steps -= 360 * np.round(steps / 360)  # each edge the short way round
    turn = round(steps.sum() / 360)
    unwrapped = corners[0, 0] + np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    ring = np.column_stack([unwrapped, corners[:, 1]])
    if turn:
        return {"type": "Polygon", "coordinates": [_closed(_cap(ring, turn))]}
    parts = []
    for shift in (-360, 0, 360):
        part = _clipped(_clipped(ring + np.array([shift, 0.0]), -180, +1), 180, -1)
        if len(part) >= 3:
            parts.append([_closed(part)])
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _check_resolution(region: BBox | Geometry, resolution: int, max_cells: int) -> None:
    if not 0 <= resolution <= FINEST:
        message = f"h3_resolution is {resolution}; it must be from 0 to {FINEST}"
        raise InvalidRequest([ItemError("/h3_resolution", message)])
    if isinstance(region, BBox) and _expected(region, resolution) > 2 * max_cells:  # cells differ in size by about 2
        raise _too_many(region, max_cells)


def _expected(region: BBox | Geometry, resolution: int) -> float:
    """About how many cells there are in the region."""
    return region.steradians / (4 * math.pi) * number_of_cells(resolution)


def _too_many(region: BBox | Geometry, max_cells: int) -> InvalidRequest:
    fits = max((r for r in range(FINEST + 1) if _expected(region, r) <= max_cells), default=0)
    message = f"the region holds more than {max_cells} cells: choose resolution {fits} or a coarser one"
    return InvalidRequest([ItemError("/h3_resolution", message)])


def _descend(region: BBox | Geometry, resolution: int) -> Iterator[Cells]:
    """Cells of `resolution`, some hundred at once: all whose centre may be in the region, each once."""
    stack = [(int(cell), 0) for cell in coarsest_cells()]
    if resolution == 0:
        yield coarsest_cells()
        return
    while stack:
        cell, level = stack.pop()
        if not _may_reach(cell, region):
            continue
        finer = resolution - STEP * ((resolution - level - 1) // STEP)  # so that the last step is a whole one
        children = children_of(cell, finer)
        if finer == resolution:
            yield children
        else:
            stack += [(int(child), finer) for child in children]


def _may_reach(cell: int, region: BBox | Geometry) -> bool:
    """Whether a descendant of the cell may have its centre in the region; never wrong where it says no."""
    ((lon, lat),) = centres_of(np.array([cell], np.uint64)).degrees
    radius = SPREAD * float(_arc_degrees(lon, lat, outline_of(cell)).max())
    cosine = math.cos(math.radians(lat))
    sine = math.sin(math.radians(min(radius, 90)))
    reach = 180.0 if abs(lat) + radius >= 90 or sine >= cosine else math.degrees(math.asin(sine / cosine))
    return region.may_hold(lon, lat, reach, radius)


def _arc_degrees(lon: float, lat: float, corners: Degrees) -> Degrees:
    """Great-circle distances from a place to each corner (haversine)."""
    lons, lats = np.radians(corners).T
    half_lat = np.sin((lats - math.radians(lat)) / 2) ** 2
    half_lon = np.sin((lons - math.radians(lon)) / 2) ** 2
    chord = np.sqrt(half_lat + math.cos(math.radians(lat)) * np.cos(lats) * half_lon)
    arcs: Degrees = np.degrees(2 * np.arcsin(chord.clip(0, 1)))
    return arcs


def _cap(ring: Degrees, turn: int) -> Degrees:
    """The ring of a cell that holds a pole, cut at the antimeridian and led along it to the pole and back."""
    pole = 90.0 if turn > 0 else -90.0  # counterclockwise around the north pole is eastwards
    eastwards = ring if turn > 0 else ring[::-1]
    lons = (eastwards[:, 0] + 180) % 360 - 180
    order = np.argsort(lons)
    lons, lats = lons[order], eastwards[order, 1]
    edge = float(np.interp(180, [lons[-1], lons[0] + 360], [lats[-1], lats[0]]))
    cap = np.column_stack([[-180, *lons, 180, 180, -180], [edge, *lats, edge, pole, pole]])
    return cap if turn > 0 else cap[::-1]


def _clipped(ring: Degrees, lon: float, side: int) -> Degrees:
    """The part of the ring, not closed, east (+1) or west (-1) of a meridian (Sutherland and Hodgman 1974)."""
    kept = []
    for a, b in pairwise([*ring, *ring[:1]]):
        inside_a, inside_b = side * (a[0] - lon) >= 0, side * (b[0] - lon) >= 0
        if inside_a:
            kept.append(a)
        if inside_a != inside_b:
            kept.append(np.array([lon, a[1] + (lon - a[0]) / (b[0] - a[0]) * (b[1] - a[1])]))
    clipped = np.array(kept).reshape(-1, 2)
    return clipped if len(clipped) and np.ptp(clipped[:, 0]) > 0 else clipped[:0]


def _closed(ring: Degrees) -> list[list[float]]:
    return [*ring.tolist(), ring[0].tolist()]
