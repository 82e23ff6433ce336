"""Places as an array: (lon, lat), degrees, WGS84, always that order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.bundle.errors import MAX_PROBLEMS, CoordinateError, CoordinateProblem

MAX_ABS_LON = 360.0
MAX_ABS_LAT = 90.0
SWAP_HINT = "; lon and lat look swapped: the order is [lon, lat]"


@dataclass(frozen=True, eq=False)
class LonLat:
    """n places in canonical form: one array for one place, whatever way it was written.

    `degrees` is a read-only, C-contiguous float64 array of shape (n, 2); lon is in [-180, 180),
    lat in [-90, 90], and lon is 0 at the poles, where every longitude is the same place.

    `written` is the same array with what was within ±180 as it was written; None where that is no different.
    """

    degrees: NDArray[np.float64]
    written: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for array in (self.degrees, self.written):
            if array is not None:
                array.flags.writeable = False

    @classmethod
    def from_degrees(cls, values: ArrayLike) -> LonLat:
        """Check and canonicalise an array of shape (n, 2), lon within ±360 and lat within ±90.

        Raises CoordinateError where a row is not finite or out of bounds, ValueError where the
        array is not (n, 2) numbers.
        """
        given = np.asarray(values)
        if given.dtype.kind not in "iuf":
            raise ValueError(f"coordinates must be numbers, not {given.dtype}")
        if given.ndim != 2 or given.shape[1] != 2:
            raise ValueError(f"coordinates must have shape (n, 2), not {given.shape}")
        degrees = np.array(given, dtype=np.float64, order="C")
        lon, lat = degrees[:, 0], degrees[:, 1]
        with np.errstate(invalid="ignore"):
            sound = (np.abs(lon) <= MAX_ABS_LON) & (np.abs(lat) <= MAX_ABS_LAT)
        if not sound.all():
            raise _coordinate_error(degrees, np.flatnonzero(~sound))
        lon -= 360.0 * (lon >= 180.0)
        lon += 360.0 * (lon < -180.0)
        lon[np.abs(lat) == MAX_ABS_LAT] = 0.0
        degrees += 0.0  # -0.0 and 0.0 are one place, so let them be one bit pattern
        return cls(degrees, _written(given, degrees))

    @classmethod
    def concatenate(cls, parts: Sequence[LonLat]) -> LonLat:
        degrees = np.concatenate([part.degrees for part in parts])
        if all(part.written is None for part in parts):
            return cls(degrees)
        return cls(degrees, np.concatenate([part.as_written for part in parts]))

    @property
    def as_written(self) -> NDArray[np.float64]:
        """(n, 2) as `degrees`, with 180 and the longitudes of poles kept: for encoders that tell them apart."""
        return self.degrees if self.written is None else self.written

    def __len__(self) -> int:
        return len(self.degrees)

    def __getitem__(self, rows: slice | NDArray[np.intp]) -> LonLat:
        written = None if self.written is None else np.ascontiguousarray(self.written[rows])
        return LonLat(np.ascontiguousarray(self.degrees[rows]), written)


def _written(given: NDArray[np.generic], canonical: NDArray[np.float64]) -> NDArray[np.float64] | None:
    lon = given[:, 0].astype(np.float64, copy=False)
    other = (lon != canonical[:, 0]) & (np.abs(lon) <= 180.0)
    if not other.any():
        return None
    written = canonical.copy()
    written[other, 0] = lon[other]
    return written


def _coordinate_error(degrees: NDArray[np.float64], wrong: NDArray[np.intp]) -> CoordinateError:
    problems = tuple(_problem(int(i), *map(float, degrees[i])) for i in wrong[:MAX_PROBLEMS])
    return CoordinateError(problems, total=len(wrong))


def _problem(index: int, lon: float, lat: float) -> CoordinateProblem:
    for axis, name, value in ((0, "lon", lon), (1, "lat", lat)):
        if not np.isfinite(value):
            return CoordinateProblem(index, axis, f"{name} is {value}; it must be finite")
    if abs(lat) > MAX_ABS_LAT:
        hint = SWAP_HINT if abs(lat) <= MAX_ABS_LON and abs(lon) <= MAX_ABS_LAT else ""
        return CoordinateProblem(index, 1, f"lat {_shown(lat)} is outside -90 to 90{hint}")
    return CoordinateProblem(index, 0, f"lon {_shown(lon)} is outside -360 to 360")


def _shown(degrees: float) -> str:
    """Every digit: rounded, 90.0000001 would read as 90, which is within bounds."""
    return repr(degrees).removesuffix(".0")
