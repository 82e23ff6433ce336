"""Geometry on the sphere, the same at the poles and across the antimeridian as anywhere else.

Places are float64 tensors (..., 2): lon, lat in degrees. Distances are degrees of arc.
"""

from __future__ import annotations

import torch
from torch import Tensor

EARTH_RADIUS_KM = 6371.0088
KM_PER_DEGREE = EARTH_RADIUS_KM * torch.pi / 180


def unit_vectors(lonlat: Tensor) -> Tensor:
    """(..., 2) degrees → (..., 3): x towards (0, 0), y towards (90, 0), z towards the north pole."""
    lon, lat = torch.deg2rad(lonlat).unbind(-1)
    return torch.stack((lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()), dim=-1)


def from_vectors(xyz: Tensor) -> Tensor:
    """(..., 3), of any length → (..., 2) degrees, lon in [-180, 180]."""
    x, y, z = xyz.unbind(-1)
    return torch.rad2deg(torch.stack((torch.atan2(y, x), torch.atan2(z, torch.hypot(x, y))), dim=-1))


def move(lonlat: Tensor, east_north: Tensor) -> Tensor:
    """The place reached from each `lonlat` along the great circle that starts in direction `east_north`.

    Both (..., 2), broadcast; the length of `east_north` is the distance, in degrees of arc. This is the exponential
    map: distances and directions from the starting place are kept, on all of the sphere. At a pole, east and north
    are those of the meridian that `lonlat` names.
    """
    lon, lat = torch.deg2rad(lonlat).unbind(-1)
    up = unit_vectors(lonlat)
    east = torch.stack((-lon.sin(), lon.cos(), torch.zeros_like(lon)), dim=-1)
    north = torch.stack((-lat.sin() * lon.cos(), -lat.sin() * lon.sin(), lat.cos()), dim=-1)
    turn = torch.deg2rad(east_north)
    distance = torch.linalg.vector_norm(turn, dim=-1, keepdim=True)
    step = turn * torch.sinc(distance / torch.pi)  # turn · sin(d)/d, and right at d = 0
    return from_vectors(distance.cos() * up + step[..., :1] * east + step[..., 1:] * north)


def distance_deg(a: Tensor, b: Tensor) -> Tensor:
    """Great-circle distance between places (..., 2), broadcast → (...), degrees of arc. Exact for near places."""
    chord = torch.linalg.vector_norm(unit_vectors(a) - unit_vectors(b), dim=-1)
    return torch.rad2deg(2 * torch.asin((chord / 2).clamp(max=1)))
