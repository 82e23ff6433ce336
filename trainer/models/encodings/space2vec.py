"""Space2Vec (Mai et al. 2020): sines and cosines of position at geometric scales, in the published column order.

Scales are s_f = min_radius (max_radius / min_radius)^(f / (F - 1)), f = 0 … F - 1. The published code takes degrees
over degrees for radians, so that a scale's wavelength is 2π s_f degrees, and longitude does not close at ±180.
"""

from __future__ import annotations

import math

import numpy as np

from trainer.models.encodings.encoding import Floats
from trainer.models.encodings.waves import Wave, Waves, alone

DIRECTIONS = ((1.0, 0.0), (-0.5, math.sqrt(3) / 2), (-0.5, -math.sqrt(3) / 2))
"""Unit vectors 120° apart."""


def geometric_frequencies(frequencies: int, min_radius: float, max_radius: float) -> Floats:
    """1 / s_f, (frequencies,), highest first where max_radius is the larger; there are two at least."""
    return 1 / np.geomspace(min_radius, max_radius, frequencies)


def grid(frequencies: int, min_radius: float, max_radius: float) -> Waves:
    """(sin, cos) of lon / s_f for every f, then of lat / s_f (Space2Vec-grid, Eq. 3): 4F features."""
    per_degree = geometric_frequencies(frequencies, min_radius, max_radius)
    return Waves(
        [alone(trig(**{axis: f})) for axis in ("lon", "lat") for f in per_degree for trig in (Wave.sin, Wave.cos)]
    )


def theory(frequencies: int, min_radius: float, max_radius: float) -> Waves:
    """(sin, cos) of ⟨place, a_j⟩ / s_f for every f and each of three directions a_j (Space2Vec-theory, Eq. 2): 6F.

    The published code alternates sine and cosine from the start of each half of the row, not of the row itself, which
    for an odd F exchanges them in the second half.
    """
    per_degree = geometric_frequencies(frequencies, min_radius, max_radius)
    angles = [(east * f, north * f) for f in per_degree for east, north in DIRECTIONS for _ in range(2)]
    half = 3 * frequencies
    return Waves(
        [alone((Wave.cos if at % half % 2 else Wave.sin)(lon=lon, lat=lat)) for at, (lon, lat) in enumerate(angles)]
    )
