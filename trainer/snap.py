"""What moving a place to the centre of its H3 cell does to its embedding. The trainer's only h3 import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import zip_longest

import h3
import numpy as np
import torch
from numpy.typing import NDArray

from service.bundle import SnapError
from trainer.sphere import KM_PER_DEGREE, distance_deg

RESOLUTIONS = range(7, 16)
PLACES = 20_000
MAX_COSINE_DISTANCE = 1e-7
"""Largest error that `snap_resolution` allows: what float32 itself leaves uncertain in an embedding."""

Floats = NDArray[np.float64]
Embed = Callable[[Floats], Floats]


def measure_snap_errors(embed: Embed, places: int = PLACES, seed: int = 0) -> tuple[SnapError, ...]:
    """Snap errors at H3 resolutions 7 to 15 over `places` places uniform on the sphere.

    `embed` maps (n, 2) lon and lat in degrees to (n, d), in float64: float32 noise would drown 1e-8.
    Median and p99 are over the places; max also takes the vertex of each place's cell furthest from its centre.
    """
    lonlat = uniform_on_sphere(places, seed)
    directions = _normalized(embed(lonlat))
    return tuple(_snap_error(embed, lonlat, directions, resolution) for resolution in RESOLUTIONS)


def coarsest_resolution(snap_errors: Sequence[SnapError]) -> int | None:
    """The coarsest resolution whose worst cosine distance is under MAX_COSINE_DISTANCE, None where none is."""
    fine_enough = [error.resolution for error in snap_errors if error.cosine_max < MAX_COSINE_DISTANCE]
    return min(fine_enough, default=None)


def uniform_on_sphere(places: int, seed: int) -> Floats:
    """(places, 2) lon and lat in degrees, uniform by area."""
    unit = np.random.default_rng(seed).random((places, 2))
    return np.stack([360 * unit[:, 0] - 180, np.degrees(np.arcsin(2 * unit[:, 1] - 1))], axis=1)


def _snap_error(embed: Embed, lonlat: Floats, directions: Floats, resolution: int) -> SnapError:
    cells = [h3.latlng_to_cell(lat, lon, resolution) for lon, lat in lonlat]
    centres = np.array([h3.cell_to_latlng(cell) for cell in cells])[:, [1, 0]]
    corners = _furthest_corners(cells, centres)
    centre_directions = _normalized(embed(centres))
    cosine = _cosine_distance(directions, centre_directions)
    corner_cosine = _cosine_distance(_normalized(embed(corners)), centre_directions)
    metres, corner_metres = _metres(lonlat, centres), _metres(corners, centres)
    return SnapError(
        resolution=resolution,
        cosine_median=float(np.median(cosine)),
        cosine_p99=float(np.quantile(cosine, 0.99)),
        cosine_max=float(max(cosine.max(), corner_cosine.max())),
        metres_median=float(np.median(metres)),
        metres_p99=float(np.quantile(metres, 0.99)),
        metres_max=float(max(metres.max(), corner_metres.max())),
    )


def _furthest_corners(cells: Sequence[str], centres: Floats) -> Floats:
    """The vertex furthest from its centre of each cell, (n, 2) lon and lat in degrees."""
    furthest = centres
    boundaries = zip_longest(*(h3.cell_to_boundary(cell) for cell in cells))  # 5 to 10 vertices a cell
    for vertices in boundaries:
        latlng = [centre[::-1] if vertex is None else vertex for vertex, centre in zip(vertices, centres, strict=True)]
        corners = np.array(latlng)[:, [1, 0]]
        further = _metres(corners, centres) > _metres(furthest, centres)
        furthest = np.where(further[:, None], corners, furthest)
    return furthest


def _metres(a: Floats, b: Floats) -> Floats:
    metres: Floats = 1000 * KM_PER_DEGREE * distance_deg(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    return metres


def _normalized(embeddings: Floats) -> Floats:
    unit: Floats = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit


def _cosine_distance(u: Floats, v: Floats) -> Floats:
    """1 - u·v of unit vectors, as ½‖u - v‖²: no cancellation."""
    distance: Floats = 0.5 * np.square(u - v).sum(axis=1)
    return distance
