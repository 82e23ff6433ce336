"""The three encodings without a scale: angles, their sines and cosines, and the unit sphere."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from trainer.models.encodings.encoding import Encoding
from trainer.models.encodings.waves import Wave, Waves, alone

RADIAN = math.pi / 180
"""In radians per degree."""


class Direct(Encoding):
    """(lon, lat) in radians, less π, as the published SatCLIP code has it; it breaks at the antimeridian."""

    def __init__(self) -> None:
        super().__init__(2)

    def encode(self, lonlat: Tensor) -> Tensor:
        return lonlat * RADIAN - torch.pi


def wrap() -> Waves:
    """(cos lon, sin lon, cos lat, sin lat) (Mac Aodha et al. 2019, Eq. 3); the meridians stay apart at the poles."""
    return Waves([alone(trig(**{axis: RADIAN})) for axis in ("lon", "lat") for trig in (Wave.cos, Wave.sin)])


def cartesian3d() -> Waves:
    """The place on the unit sphere, (cos lon cos lat, sin lon cos lat, sin lat)."""
    cos_lat = Wave.cos(lat=RADIAN)
    x, y = (Wave.cos(lon=RADIAN), cos_lat), (Wave.sin(lon=RADIAN), cos_lat)
    return Waves([x, y, alone(Wave.sin(lat=RADIAN))])
