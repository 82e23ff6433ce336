"""H3 cells of a box or a geometry, and their outlines as GeoJSON has them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from service.embedding.cells import (
    Cells,
    centres_of,
    children_of,
    coarsest_cells,
    number_of_cells,
    outline_of,
    resolution_of,
)
from service.embedding.pieces import others_turn
from service.errors import InvalidRequest, ItemError
from service.maps.antimeridian import unwrapped, within_the_map
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
    for piece in candidates(region, resolution):
        centres = centres_of(piece)
        if isinstance(region, BBox):
            inside = region.contains(centres)
        else:
            inside = await asyncio.to_thread(region.contains, centres)
        found.append(piece[inside])
        total += len(found[-1])
        if total > max_cells:
            raise _too_many(region, max_cells)
        await others_turn()
    if total == 0:
        message = f"no cell of resolution {resolution} has its centre in the region: choose a finer one"
        raise InvalidRequest([ItemError("/h3_resolution", message)])
    return np.concatenate(found)


def outline(cell: int) -> dict[str, Any]:
    """The cell as a GeoJSON Polygon, or MultiPolygon where the antimeridian cuts it: closed, counterclockwise.

    Edges are straight in degrees, as RFC 7946 has them. A cell that holds a pole reaches up to it all along the width
    of the map.
    """
    ring, turn = unwrapped(outline_of(cell))
    if turn:
        return {"type": "Polygon", "coordinates": [_closed(_cap(ring, turn))]}
    parts = [[_closed(part)] for part in within_the_map(ring)]
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _check_resolution(region: BBox | Geometry, resolution: int, max_cells: int) -> None:
    if not 0 <= resolution <= FINEST:
        message = f"h3_resolution is {resolution}; it must be from 0 to {FINEST}"
        raise InvalidRequest([ItemError("/h3_resolution", message)])
    if (
        isinstance(region, BBox) and expected_cells(region, resolution) > 2 * max_cells
    ):  # cells differ in size by about 2
        raise _too_many(region, max_cells)


def expected_cells(region: BBox | Geometry, resolution: int) -> float:
    """About how many cells there are in the region."""
    return region.steradians / (4 * math.pi) * number_of_cells(resolution)


def _too_many(region: BBox | Geometry, max_cells: int) -> InvalidRequest:
    fits = max((r for r in range(FINEST + 1) if expected_cells(region, r) <= max_cells), default=0)
    message = f"the region holds more than {max_cells} cells: choose resolution {fits} or a coarser one"
    return InvalidRequest([ItemError("/h3_resolution", message)])


def candidates(region: BBox | Geometry, resolution: int, within: int | None = None) -> Iterator[Cells]:
    """Cells of `resolution`, some hundred at once and in ascending order: all whose centre may be in the region.

    Each once; those that descend from the cell `within`, where that is given, of a resolution coarser than theirs.
    """
    roots = np.sort(coarsest_cells()) if within is None else np.array([within], np.uint64)
    stack = [(int(cell), resolution_of(int(cell))) for cell in roots[::-1]]
    if stack[0][1] == resolution:
        yield roots
        return
    while stack:
        cell, level = stack.pop()
        if not _may_reach(cell, region):
            continue
        finer = resolution - STEP * ((resolution - level - 1) // STEP)  # so that the last step is a whole one
        children = np.sort(children_of(cell, finer))
        if finer == resolution:
            yield children
        else:
            stack += [(int(child), finer) for child in children[::-1]]


def reachable(region: BBox | Geometry, resolution: int) -> Cells:
    """Every cell of `resolution` that may have descendants whose centre is in the region, in ascending order."""
    pieces = [[cell for cell in piece.tolist() if _may_reach(cell, region)] for piece in candidates(region, resolution)]
    return np.array([cell for piece in pieces for cell in piece], np.uint64)


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


def _closed(ring: Degrees) -> list[list[float]]:
    return [*ring.tolist(), ring[0].tolist()]
