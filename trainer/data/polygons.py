"""Named areas of the globe, as countries are: GeoJSON or TopoJSON polygons, made a raster of their numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.transform import Affine

from trainer.data.mosaic import Raster
from trainer.errors import TableError

STEP_DEG = 0.05
MIN_POSITIONS = 4
"""A ring of fewer has no area, since it ends where it began."""
SUFFIXES = (".json", ".geojson", ".topojson")

Ring = NDArray[np.float64]
Polygon = list[Ring]
"""Its outline, then its holes, each (n, 2) lon and lat in degrees."""


@dataclass(frozen=True)
class Areas:
    """A globe of numbers, no data outside every area, and the name of each number."""

    raster: Raster
    labels: dict[float, str]


def read_areas(path: Path, name_property: str) -> Areas:
    """The polygons of a FeatureCollection, or of all objects of a Topology, that have a property which names them.

    Rings that cross the antimeridian or go around a pole are as good as others. Raises TableError.
    """
    named = [(str(name), polygon) for properties, polygon in _read(path) if (name := properties.get(name_property))]
    names = sorted({name for name, _ in named})
    if not names:
        raise TableError(f"{path} holds no polygons with a property {name_property!r}")
    number = {name: index for index, name in enumerate(names, 1)}
    values = torch.from_numpy(rasterized([(number[name], polygon) for name, polygon in named], STEP_DEG)).float()
    raster = Raster(torch.where(values > 0, values, torch.nan)[..., None], (-180.0, -90.0, 180.0, 90.0))
    return Areas(raster, {float(value): name for name, value in number.items()})


def read_polygons(path: Path) -> list[Polygon]:
    """Every polygon of a FeatureCollection, or of all objects of a Topology. Raises TableError."""
    polygons = [polygon for _, polygon in _read(path)]
    if not polygons:
        raise TableError(f"{path} holds no polygons")
    return polygons


def _read(path: Path) -> list[tuple[dict[str, Any], Polygon]]:
    """Each polygon with the properties of what it is part of."""
    try:
        return list(_polygons(json.loads(path.read_bytes())))
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise TableError(f"{path} is neither GeoJSON nor TopoJSON: {type(error).__name__} {error}") from error


def _polygons(content: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Polygon]]:
    if content["type"] == "Topology":
        arcs = _arcs(content)
        geometries = [each for collection in content["objects"].values() for each in collection["geometries"]]
        for geometry in geometries:
            for polygon in _parts(geometry, geometry.get("arcs")):
                yield geometry.get("properties") or {}, [_joined(arcs, ring) for ring in polygon]
        return
    for feature in content["features"]:
        geometry = feature["geometry"] or {}
        for polygon in _parts(geometry, geometry.get("coordinates")):
            yield feature.get("properties") or {}, [np.array(ring, np.float64)[:, :2] for ring in polygon]


def _parts(geometry: dict[str, Any], nested: Sequence[Any] | None) -> Sequence[Any]:
    """The polygons of a geometry; none where it is empty or is something else."""
    parts = {"Polygon": [nested], "MultiPolygon": nested}.get(geometry.get("type", ""))
    return parts if nested and parts else []


def _arcs(topology: dict[str, Any]) -> list[Ring]:
    """https://github.com/topojson/topojson-specification: quantized arcs are delta-encoded."""
    given = [np.array(arc, np.float64) for arc in topology["arcs"]]
    if "transform" not in topology:
        return given
    scale, translate = np.array(topology["transform"]["scale"]), np.array(topology["transform"]["translate"])
    return [np.cumsum(arc, axis=0) * scale + translate for arc in given]


def _joined(arcs: Sequence[Ring], indices: Sequence[int]) -> Ring:
    """A negative index is the arc ~index, reversed; each arc begins where the one before it ends."""
    parts = [arcs[index] if index >= 0 else arcs[~index][::-1] for index in indices]
    return np.concatenate([part if position == 0 else part[1:] for position, part in enumerate(parts)])


def rasterized(numbered: Sequence[tuple[int, Polygon]], step_deg: float) -> NDArray[np.integer[Any]]:
    """A globe of cells of `step_deg`, row 0 north, each with the number of the polygon that its centre is in, or 0."""
    shapes = [
        ({"type": "Polygon", "coordinates": [ring.tolist() for ring in part]}, number)
        for number, polygon in numbered
        for part in within_the_globe(polygon)
    ]
    rows = round(180 / step_deg)
    grid = Affine(step_deg, 0, -180, 0, -step_deg, 90)
    dtype = "uint8" if max(number for number, _ in numbered) < 256 else "int32"
    numbers: NDArray[np.integer[Any]] = rasterize(shapes, (rows, 2 * rows), transform=grid, dtype=dtype)
    return numbers


def within_the_globe(polygon: Polygon) -> list[Polygon]:
    """The polygon without jumps at the antimeridian, once for each turn on which some of it lies within ±180.

    None where it has no area.
    """
    if len(polygon[0]) < MIN_POSITIONS:
        return []
    rings = [_unwrapped(ring) for ring in polygon if len(ring) >= MIN_POSITIONS]
    return [
        [np.add(ring, (turn, 0.0)) for ring in rings]
        for turn in (-360.0, 0.0, 360.0)
        if rings[0][:, 0].max() + turn > -180 and rings[0][:, 0].min() + turn < 180
    ]


def _unwrapped(ring: Ring) -> Ring:
    """Longitudes made continuous; a ring around a pole goes on to the pole and back."""
    step = np.diff(ring[:, 0])
    lon = ring[0, 0] + np.concatenate([[0.0], np.cumsum(step - 360 * np.round(step / 360))])
    unwrapped = np.stack([lon, ring[:, 1]], axis=1)
    if abs(lon[-1] - lon[0]) < 180:
        return unwrapped
    pole = np.copysign(90.0, ring[:, 1].mean())
    return np.concatenate([unwrapped, [[lon[-1], pole], [lon[0], pole]], unwrapped[:1]])
