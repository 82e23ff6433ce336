"""Rings of degrees that cross the antimeridian."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from service.maps.grid import Degrees


def unwrapped(ring: Degrees) -> tuple[Degrees, int]:
    """The ring, (n, 2) and not closed, without jumps, and how many turns eastwards around the globe it makes.

    Each edge is taken the short way round, so that longitudes may leave ±180.
    """
    steps = np.diff(ring[:, 0], append=ring[0, 0])
    steps -= 360 * np.round(steps / 360)
    lons = ring[0, 0] + np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    return np.column_stack([lons, ring[:, 1]]), round(steps.sum() / 360)


def within_the_map(ring: Degrees) -> list[Degrees]:
    """The parts of an unwrapped ring that lie within ±180, none of them closed."""
    shifted = (ring + np.array([shift, 0.0]) for shift in (-360, 0, 360))
    parts = (_clipped(_clipped(part, -180, +1), 180, -1) for part in shifted)
    return [part for part in parts if len(part) >= 3]


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
