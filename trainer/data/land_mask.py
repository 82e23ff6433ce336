"""The mask of land that the service ships, made of polygons of land, and how often it is wrong."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import shapely
from numpy.typing import NDArray

from trainer.data.polygons import Polygon, rasterized, within_the_globe

Bools = NDArray[np.bool_]


def land_mask(polygons: Sequence[Polygon], cells_per_degree: int) -> Bools:
    """Which cells of the globe, row 0 north, have their centre in one of the polygons: (rows, columns)."""
    return rasterized([(1, polygon) for polygon in polygons], 1 / cells_per_degree).astype(bool)


def encoded(mask: Bools) -> bytes:
    """As `service.geography.land` reads it: an .npz of `shape`, and of `planes`, which say where land begins and ends.

    Row after row, the cells that differ from the one before are counted from each other; `planes` are the four bytes of
    those counts, the lowest first, each a row of its own since so they compress best.
    """
    cells = mask.reshape(-1)
    turns = np.flatnonzero(np.diff(cells, prepend=False))
    steps = np.diff(turns, prepend=0).astype("<u4")
    file = io.BytesIO()
    planes = np.ascontiguousarray(steps.view(np.uint8).reshape(-1, 4).T)
    np.savez_compressed(file, shape=np.array(mask.shape, np.int32), planes=planes)
    return file.getvalue()


def share_wrong(mask: Bools, polygons: Sequence[Polygon], lonlat: NDArray[np.float64]) -> float:
    """The share of the places (n, 2) of which the mask says other than the polygons themselves."""
    rows, columns = mask.shape
    row = np.minimum((90 - lonlat[:, 1]) * rows / 180, rows - 1).astype(np.intp)
    column = np.minimum((lonlat[:, 0] + 180) * columns / 360, columns - 1).astype(np.intp)
    return float((mask[row, column] != _are_in(polygons, lonlat)).mean())


def _are_in(polygons: Sequence[Polygon], lonlat: NDArray[np.float64]) -> Bools:
    parts = [part for polygon in polygons for part in within_the_globe(polygon)]
    tree = shapely.STRtree(shapely.points(lonlat))
    inside = np.zeros(len(lonlat), bool)
    inside[tree.query([shapely.Polygon(outline, holes) for outline, *holes in parts], "contains")[1]] = True
    return inside
