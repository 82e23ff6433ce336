"""Borders of countries, by name or ISO 3166 code: Natural Earth's (1:50m), which the map page draws.

Source: world-atlas, whose polygons jump at the antimeridian; TopoJSON,
https://github.com/topojson/topojson-specification.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import InvalidRequest, ItemError
from service.maps.antimeridian import unwrapped, within_the_map
from service.maps.geometry import Geometry
from service.maps.grid import Degrees
from service.web.built import FOLDER

BORDERS = "countries-50m-*.json"
CODES = Path(__file__).with_name("iso3166.csv")


def country(name: str, folder: Path = FOLDER) -> Geometry:
    """The area of a country: of `France`, `FR`, `FRA` or `250`. Raises InvalidRequest, which names those like it."""
    borders = next(folder.glob(BORDERS), None)
    if borders is None:
        raise _invalid("borders come with the map page, which was not built: give a bbox or a GeoJSON file instead")
    countries, arcs = _topology(borders)
    wanted = name.strip().casefold()
    found = [each for each in countries if _name(each).casefold() == wanted]
    if not found and (number := _numbers().get(wanted)):
        found = [each for each in countries if each.get("id") == number]
    if not found:
        raise _invalid(f"{name[:64]!a} is no country{_hint(wanted, [_name(each) for each in countries])}")
    polygons = [part for each in found for rings in _polygons(each) for part in _placed(rings, arcs)]
    return Geometry.of({"type": "MultiPolygon", "coordinates": polygons})


def _name(geometry: dict[str, Any]) -> str:
    return str(geometry["properties"]["name"])


def _numbers() -> dict[str, str]:
    """The number of each country by its codes: of 2 letters, of 3, and by itself."""
    with CODES.open(newline="") as file:
        return {row[key].casefold(): row["numeric"] for row in csv.DictReader(file) for key in row}


def _hint(wanted: str, names: list[str]) -> str:
    by_folded = {name.casefold(): name for name in names}
    like = get_close_matches(wanted, by_folded, n=3)
    meant = f": is it {' or '.join(by_folded[each] for each in like)}?" if like else ""
    return f"{meant}; a region is `world`, west,south,east,north, a country, its ISO code, or a GeoJSON file"


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest([ItemError("region", message)])


@lru_cache(maxsize=1)
def _topology(path: Path) -> tuple[list[dict[str, Any]], list[Degrees]]:
    """The countries, and the arcs that they share, in degrees: of integers, each the step from the one before."""
    topology = json.loads(path.read_bytes())
    scale, translate = (np.array(topology["transform"][key]) for key in ("scale", "translate"))
    arcs = [np.cumsum(np.array(arc), axis=0) * scale + translate for arc in topology["arcs"]]
    return topology["objects"]["countries"]["geometries"], arcs


def _polygons(geometry: dict[str, Any]) -> list[list[list[int]]]:
    """Polygons of rings of the indices of arcs."""
    match geometry["type"]:
        case "Polygon":
            return [geometry["arcs"]]
        case "MultiPolygon":
            return list(geometry["arcs"])
    return []


def _placed(rings: list[list[int]], arcs: list[Degrees]) -> Iterator[list[list[list[float]]]]:
    """A polygon cut at the antimeridian: the rings of each part, closed, the outer one first."""
    corners = [_corners(ring, arcs) for ring in rings]
    outer, *holes = (within_the_map(_without_jumps(ring)) for ring in corners if not _is_pole(ring))
    for part in outer:
        west, east = part[:, 0].min(), part[:, 0].max()
        inside = [hole for pieces in holes for hole in pieces if west <= hole[:, 0].mean() <= east]
        yield [[*ring.tolist(), ring[0].tolist()] for ring in (part, *inside)]


def _corners(ring: list[int], arcs: list[Degrees]) -> Degrees:
    """The corners of a ring, not closed; ~i is arc i backwards."""
    return np.concatenate([(arcs[i] if i >= 0 else arcs[~i][::-1])[:-1] for i in ring])


def _is_pole(ring: Degrees) -> bool:
    """Whether the ring is no more than a pole, by which Antarctica is a polygon with its coast as a hole."""
    return bool((np.abs(ring[:, 1]) > 89.99).all())


def _without_jumps(ring: Degrees) -> Degrees:
    """One that goes around a pole is led to it."""
    corners, turn = unwrapped(ring)
    if not turn:
        return corners
    (first, lat), pole = corners[0], np.sign(corners[:, 1].mean()) * 90.0
    return np.concatenate([corners, [[first + 360 * turn, lat], [first + 360 * turn, pole], [first, pole]]])
