"""The distance from places to the nearest of many others: exact, on the sphere, with numpy alone.

Places are unit vectors, to which neither the poles nor the antimeridian are anything special. The others are in groups
of blocks, each within a cap. The nearest place of the block whose centre is nearest bounds how far off the nearest of
all can be, and only what has a cap that comes nearer than that is looked at. Of 90,000 places that are some 300
comparisons for each that is asked about, wherever they lie and whatever is asked.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from service.bundle import LonLat

EARTH_RADIUS_KM = 6371.0088
"""The mean radius (IUGG): distances are within 0.6 % of those on the ellipsoid."""
AT_ONCE = 512
"""Places asked about together: about a millisecond's work, nearly all of it in numpy without the interpreter."""
SLACK = 1e-12
"""More than rounding does to sums of cosines: no cap that comes near is missed."""

Floats = NDArray[np.float64]


class NearestPlaces:
    """Finds the nearest of `places`, of which there must be one at least.

    Groups, blocks of a group and places of a block are each about the cube root of the number of places.
    """

    def __init__(self, places: LonLat) -> None:
        vectors = np.unique(_unit_vectors(places), axis=0)
        fan_out = 2 ** round(math.log2(len(vectors)) / 3)
        blocks = vectors[_blocks_of_neighbours(vectors, fan_out**2)]
        self._fan_out = fan_out
        self._blocks = np.ascontiguousarray(blocks.transpose(0, 2, 1))
        """(blocks, 3, places): of each block its places, some of them twice where the number does not come out even."""
        self._groups, self._group_radius = _caps(blocks.reshape(fan_out, -1, 3))
        """(groups, 6), and the largest radius."""
        caps, self._block_radius = _caps(blocks)
        self._caps = np.ascontiguousarray(caps.reshape(fan_out, fan_out, 6).transpose(0, 2, 1))
        """(groups, 6, blocks of a group), and the largest radius."""

    def kilometres(self, lonlat: LonLat) -> NDArray[np.float32]:
        """The distance from each of n places to the nearest, along the great circle, (n,)."""
        vectors = _unit_vectors(lonlat)
        pieces = [self._chords(vectors[start : start + AT_ONCE]) for start in range(0, len(vectors), AT_ONCE)]
        chords = np.concatenate([np.empty(0), *pieces])
        return (2 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chords / 2, 1))).astype(np.float32)

    def _chords(self, vectors: Floats) -> Floats:
        """The distance in space to the nearest, (n,)."""
        group = (vectors @ self._groups[:, :3].T).argmax(axis=1)
        block = group * self._fan_out + _products(vectors, self._caps[group, :3]).argmax(axis=1)
        chords = self._chords_within(vectors, block)
        of, group = np.nonzero(_reach(vectors, chords, self._group_radius) @ self._groups.T >= -SLACK)
        reach = _reach(vectors, chords, self._block_radius)
        pair, child = np.nonzero(_products(reach[of], self._caps[group]) >= -SLACK)
        of, other = of[pair], group[pair] * self._fan_out + child
        of, other = of[other != block[of]], other[other != block[of]]
        np.minimum.at(chords, of, self._chords_within(vectors[of], other))
        return chords

    def _chords_within(self, vectors: Floats, block: NDArray[np.intp]) -> Floats:
        """The distance in space from each place to the nearest of its own block."""
        nearest = _products(vectors, self._blocks[block]).argmax(axis=1)
        return np.asarray(np.linalg.norm(vectors - self._blocks[block, :, nearest], axis=1))


def _unit_vectors(lonlat: LonLat) -> Floats:
    lon, lat = np.radians(lonlat.degrees.T)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


def _products(rows: Floats, matrices: Floats) -> Floats:
    """Each row (k,) times its own matrix (k, m): (n, m)."""
    return np.asarray(np.matmul(rows[:, None], matrices)[:, 0])


def _blocks_of_neighbours(vectors: Floats, blocks: int) -> NDArray[np.intp]:
    """Indices, as many in each of `blocks`, a power of two: halved along the widest axis, time and again."""
    size = -(-len(vectors) // blocks)
    padded = np.minimum(np.arange(blocks * size), len(vectors) - 1)
    parts = padded[None]
    while len(parts) < blocks:
        inside = vectors[parts]
        widest = np.ptp(inside, axis=1).argmax(axis=1)
        along = np.take_along_axis(inside, widest[:, None, None], axis=2)[..., 0]
        half = parts.shape[1] // 2
        parts = np.take_along_axis(parts, np.argpartition(along, half, axis=1), axis=1).reshape(-1, half)
    return parts


def _caps(parts: Floats) -> tuple[Floats, float]:
    """Of each part (n, places, 3) the cap around it as a row (6,), and the largest radius of all, an angle.

    A cap of centre c and radius R comes within the angle b of a place q where q · c ≥ cos(b + R), as long as b + R ≤ π;
    that is (q, cos b, sin b) · (c, -cos R, sin R) ≥ 0. `_reach` has a sixth number for where b + R may be more.
    """
    centres = parts.mean(axis=1)
    lengths = np.linalg.norm(centres, axis=1, keepdims=True)
    centres = np.where(lengths > SLACK, centres / np.maximum(lengths, SLACK), (1.0, 0.0, 0.0))
    cos, sin = _cos_and_sin(np.linalg.norm(parts - centres[:, None], axis=2).max(axis=1))
    return np.column_stack([centres, -cos, sin, np.ones(len(parts))]), float(np.arctan2(sin, cos).max())


def _reach(vectors: Floats, chords: Floats, largest_radius: float) -> Floats:
    """Of each place a row (6,): its product with that of a cap is positive where the cap comes as near as the chord."""
    cos, sin = _cos_and_sin(chords)
    beyond = np.arctan2(sin, cos) + largest_radius > math.pi - SLACK
    return np.column_stack([vectors, cos, sin, np.where(beyond, 4.0, 0.0)])


def _cos_and_sin(chords: Floats) -> tuple[Floats, Floats]:
    """Of the angle that each chord of the unit sphere subtends."""
    return 1 - chords**2 / 2, chords * np.sqrt(np.maximum(0.0, 1 - chords**2 / 4))
