"""What a request says of places, as LonLat: pairs, H3 cells, GeoJSON, or raw float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from service.bundle import CoordinateError, LonLat
from service.embedding.cells import Cells, centres_of, first_invalid, parse_cell
from service.errors import InvalidRequest, ItemError, MalformedBody, TooLarge

INPUT_KINDS = (
    "must be [[lon, lat], …], one [lon, lat], a list of H3 cell strings, or GeoJSON points "
    "(Point, MultiPoint, Feature or FeatureCollection)"
)
PointerOf = Callable[[int], str]


def places_from_json(value: object, max_points: int, field: str = "input") -> LonLat:
    """Any of the JSON forms, as `field` of the body. Raises InvalidRequest, naming each item at fault, or TooLarge."""
    pointer = f"/{field}"
    if isinstance(value, dict):
        return _places_from_geojson(value, max_points, pointer)
    if not isinstance(value, list):
        raise InvalidRequest([ItemError(pointer, f"{field} {INPUT_KINDS}, not {_shown(value)}")])
    if len(value) == 2 and all(_is_number(element) for element in value):
        return _places_from_pairs([value], lambda _: pointer, max_points, pointer)
    if value and isinstance(value[0], str):
        return _places_from_cell_strings(value, max_points, pointer)
    return _places_from_pairs(value, lambda index: f"{pointer}/{index}", max_points, pointer)


def places_from_float64(body: bytes, max_points: int) -> LonLat:
    """Little-endian float64, pairs of lon, lat. Raises MalformedBody on a length that is no number of pairs."""
    if len(body) % 16:
        raise MalformedBody(
            f"the body has {len(body)} bytes; a lon, lat pair of little-endian float64 takes 16, so it must be a "
            "multiple of 16"
        )
    _check_count(len(body) // 16, max_points)
    return _canonical(np.frombuffer(body, "<f8").reshape(-1, 2), lambda index: f"/input/{index}")


def places_from_cells(cells: Cells, max_points: int) -> LonLat:
    """The centre of each cell. Raises InvalidRequest, naming the first that is no H3 cell."""
    _check_count(len(cells), max_points)
    if (row := first_invalid(cells)) is not None:
        raise InvalidRequest([ItemError(f"/input/{row}", f"{int(cells[row])} is not an H3 cell")])
    return centres_of(cells)


def places_from_columns(lon: ArrayLike, lat: ArrayLike, max_points: int) -> LonLat:
    """Two float64 columns of one length."""
    degrees = np.stack([np.asarray(lon, np.float64), np.asarray(lat, np.float64)], axis=1)
    _check_count(len(degrees), max_points)
    return _canonical(degrees, lambda index: f"/input/{index}")


def _places_from_pairs(pairs: Sequence[object], pointer_of: PointerOf, max_points: int, whole: str) -> LonLat:
    _check_count(len(pairs), max_points, whole)
    if not _are_all_pairs(pairs):
        errors = [error for index, pair in enumerate(pairs) for error in _pair_errors(pair, pointer_of(index))]
        raise InvalidRequest(errors)
    try:
        degrees = np.fromiter(chain.from_iterable(pairs), np.float64, count=2 * len(pairs))
    except OverflowError:
        raise InvalidRequest([ItemError(whole, "holds an integer too large to be a longitude or latitude")]) from None
    return _canonical(degrees.reshape(-1, 2), pointer_of)


def _are_all_pairs(pairs: Sequence[object]) -> TypeGuard[Sequence[list[float]]]:
    """Set algebra over the types, since this is the path of every sound request."""
    return (
        set(map(type, pairs)) == {list}
        and set(map(len, pairs)) == {2}  # type: ignore[arg-type]
        and set(map(type, chain.from_iterable(pairs))) <= {float, int}  # type: ignore[arg-type]
    )


def _pair_errors(pair: object, pointer: str) -> list[ItemError]:
    if not isinstance(pair, list):
        return [ItemError(pointer, f"expected [lon, lat], not {_shown(pair)}")]
    if len(pair) != 2:
        return [ItemError(pointer, f"expected [lon, lat], two numbers, not {len(pair)}")]
    return [
        ItemError(f"{pointer}/{axis}", f"{name} must be a number, not {_shown(value)}")
        for axis, (name, value) in enumerate(zip(("lon", "lat"), pair, strict=True))
        if not _is_number(value)
    ]


def _places_from_cell_strings(texts: Sequence[object], max_points: int, pointer: str) -> LonLat:
    _check_count(len(texts), max_points, pointer)
    cells = [parse_cell(text) if isinstance(text, str) else None for text in texts]
    errors = [
        ItemError(f"{pointer}/{index}", f"{_shown(texts[index])} is not an H3 cell")
        for index, cell in enumerate(cells)
        if cell is None
    ]
    if errors:
        raise InvalidRequest(errors)
    return centres_of(np.array(cells, np.uint64))


def _places_from_geojson(value: dict[str, Any], max_points: int, pointer: str) -> LonLat:
    positions, pointer_of = _geojson_positions(value, pointer)
    _check_count(len(positions), max_points, pointer)
    return _places_from_pairs([_without_altitude(position) for position in positions], pointer_of, max_points, pointer)


def _geojson_positions(value: dict[str, Any], whole: str) -> tuple[list[Any], PointerOf]:
    """The positions (an altitude may follow lon, lat: RFC 7946 §3.1.1) and where each stands."""
    if value.get("type") != "FeatureCollection":
        return _geometry_positions(*_geometry_of(value, whole), kinds=("Point", "MultiPoint"))
    features = value.get("features")
    if not isinstance(features, list):
        raise InvalidRequest([ItemError(f"{whole}/features", "a FeatureCollection needs a list of features")])
    positions = []
    for index, feature in enumerate(features):
        geometry, pointer = _geometry_of(feature, f"{whole}/features/{index}")
        positions += _geometry_positions(geometry, pointer, kinds=("Point",))[0]
    return positions, lambda index: f"{whole}/features/{index}/geometry/coordinates"


def _without_altitude(position: object) -> object:
    if isinstance(position, list) and len(position) == 3 and _is_number(position[2]):
        return position[:2]
    return position


def _geometry_of(value: object, pointer: str) -> tuple[object, str]:
    if isinstance(value, dict) and value.get("type") == "Feature":
        return value.get("geometry"), f"{pointer}/geometry"
    return value, pointer


def _geometry_positions(geometry: object, pointer: str, kinds: tuple[str, ...]) -> tuple[list[Any], PointerOf]:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if not isinstance(geometry, dict) or kind not in kinds:
        found = f"type {_shown(kind)}" if isinstance(geometry, dict) else _shown(geometry)
        raise InvalidRequest([ItemError(pointer, f"expected a GeoJSON {' or '.join(kinds)}, not {found}")])
    coordinates = geometry.get("coordinates")
    if kind == "Point":
        return [coordinates], lambda _: f"{pointer}/coordinates"
    if not isinstance(coordinates, list):
        raise InvalidRequest([ItemError(f"{pointer}/coordinates", "a MultiPoint needs a list of [lon, lat]")])
    return coordinates, lambda index: f"{pointer}/coordinates/{index}"


def _check_count(points: int, max_points: int, pointer: str = "/input") -> None:
    if points == 0:
        raise InvalidRequest([ItemError(pointer, "is empty; send at least one place")])
    if points > max_points:
        raise TooLarge(f"{points} points are more than the {max_points} of SATCLE_MAX_POINTS_PER_REQUEST: split them")


def _canonical(degrees: ArrayLike, pointer_of: PointerOf) -> LonLat:
    try:
        return LonLat.from_degrees(degrees)
    except CoordinateError as error:
        items = [
            ItemError(pointer_of(p.index) + ("" if p.axis is None else f"/{p.axis}"), p.message) for p in error.problems
        ]
        raise InvalidRequest(items, error.total) from None


def _is_number(value: object) -> bool:
    return type(value) in (float, int)  # bool is an int to isinstance


def _shown(value: object) -> str:
    """A short, ASCII rendering of what a client sent, in JSON's words; long text is cut."""
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else f"a list of {len(value)}"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
