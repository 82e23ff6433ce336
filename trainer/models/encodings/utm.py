"""Cells of the Universal Transverse Mercator grid: a place's zone, and where in it (GPS2Vec, Yin et al. 2019).

A zone is one of 60 columns of 6° by one of 20 bands of 8° from 80° S (C) to 84° N (X, of 12°), with the wider zones of
Norway and Svalbard. Beyond the bands are two caps, which the grid has not: each is one zone.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from trainer.models.encodings.encoding import Encoding, first_lane, in_lanes

COLUMNS, BANDS = 60, 20
SOUTH_CAP, NORTH_CAP = COLUMNS * BANDS, COLUMNS * BANDS + 1
ZONES = COLUMNS * BANDS + 2
SOUTH, NORTH = -80.0, 84.0
V, X = 17, 19
"""The bands with zones of other widths."""

RADIAN = math.pi / 180
AXIS, FLATTENING, K0 = 6378137.0, 1 / 298.257223563, 0.9996
E2 = FLATTENING * (2 - FLATTENING)
E2_PRIME = E2 / (1 - E2)
EARTH_RADIUS = 6371008.8
"""Metres."""


class UtmOneHot(Encoding):
    """One feature a zone: 1 for that of the place, 0 for the others."""

    zones: Tensor

    def __init__(self) -> None:
        super().__init__(ZONES)
        self.constant("zones", np.arange(ZONES, dtype=np.float64))

    def encode(self, lonlat: Tensor) -> Tensor:
        return (utm_zone(lonlat) == self.zones).to(self.dtype)


class UtmSoft(Encoding):
    """The zone, one-hot, then the zone's `cells` x `cells` grid: exp(-d / sigma), d the metres to each cell's centre.

    So the published GPS2Vec code, which then has one network a zone where this has the zone among the features.
    """

    zones: Tensor
    extents: Tensor
    east: Tensor
    north: Tensor

    def __init__(self, cells: int = 20, sigma_m: float = 20_000.0) -> None:
        super().__init__(ZONES + cells**2)
        self.sigma_m = sigma_m
        self.constant("zones", np.arange(ZONES, dtype=np.float64))
        self.constant("extents", np.array([zone_extent(zone) for zone in range(ZONES)]))
        centres = (np.arange(cells) + 0.5) / cells
        self.constant("east", np.repeat(centres, cells))
        self.constant("north", np.tile(centres, cells))

    def encode(self, lonlat: Tensor) -> Tensor:
        zone = utm_zone(lonlat)
        west, width, south, height = self.extents.index_select(0, zone.long()[:, 0]).chunk(4, dim=1)
        x, y = utm_metres(lonlat, zone).chunk(2, dim=1)
        east, north = x - west - width * self.east, y - south - height * self.north
        kernel = torch.exp(torch.sqrt(east * east + north * north) / -self.sigma_m)
        return torch.cat([(zone == self.zones).to(self.dtype), kernel.to(self.dtype)], dim=1)


def utm_zone(lonlat: Tensor) -> Tensor:
    """(n, 2) float64 lon and lat in degrees to (n, 1) zones, whole numbers: 60 · band + column, or a cap."""
    lon, lat = lonlat.chunk(2, dim=1)
    lon = lon - 360 * torch.floor((lon + 180) / 360)
    column = torch.floor((lon + 180) / 6)
    band = torch.floor((lat - SOUTH) / 8).clamp(0, BANDS - 1)
    norway = (band == V) & (lon >= 3) & (lon < 6)
    svalbard = (band == X) & (lon >= 0) & (lon < 42)
    column = torch.where(norway, column + 1, column)
    column = torch.where(svalbard, 30 + 2 * torch.floor((lon + 3) / 12), column)
    zone = COLUMNS * band + column
    zone = torch.where(lat < SOUTH, torch.full_like(zone, SOUTH_CAP), zone)
    return torch.where(lat >= NORTH, torch.full_like(zone, NORTH_CAP), zone)


def utm_metres(lonlat: Tensor, zone: Tensor) -> Tensor:
    """East of the zone's central meridian and north of the equator, in metres, (n, 2).

    In the caps, on the azimuthal equidistant plane around the pole.
    """
    lon, lat = in_lanes(lonlat)
    column = zone - COLUMNS * torch.floor(zone / COLUMNS)
    from_meridian = lon - (6 * column - 177)
    from_meridian = from_meridian - 360 * torch.round(from_meridian / 360)
    east, north = transverse_mercator(from_meridian, lat.clamp(SOUTH, NORTH))
    from_pole = EARTH_RADIUS * RADIAN * (90 - torch.abs(lat))
    in_cap = zone >= SOUTH_CAP
    x = torch.where(in_cap, from_pole * torch.sin(lon * RADIAN), east)
    y = torch.where(in_cap, from_pole * torch.cos(lon * RADIAN), north)
    return torch.cat([first_lane(x), first_lane(y)], dim=1)


def transverse_mercator(from_meridian: Tensor, lat: Tensor) -> tuple[Tensor, Tensor]:
    """Degrees from the central meridian, and lat, to metres east and north on WGS84 (Snyder 1987, Eqs. 8-9 to 8-15)."""
    phi = lat * RADIAN
    sine, cosine = torch.sin(phi), torch.cos(phi)
    t, c, a = sine * sine / (cosine * cosine), E2_PRIME * cosine * cosine, from_meridian * RADIAN * cosine
    normal, a2 = AXIS / torch.sqrt(1 - E2 * sine * sine), a * a
    third, fifth = (1 - t + c) / 6, (5 - 18 * t + t * t + 72 * c - 58 * E2_PRIME) / 120
    east = normal * a * (1 + a2 * (third + a2 * fifth))
    fourth, sixth = (5 - t + 9 * c + 4 * c * c) / 24, (61 - 58 * t + t * t + 600 * c - 330 * E2_PRIME) / 720
    north = _meridian_arc(phi) + normal * sine / cosine * a2 * (0.5 + a2 * (fourth + a2 * sixth))
    return K0 * east, K0 * north


def _meridian_arc(phi: Tensor) -> Tensor:
    """Metres from the equator along a meridian (Snyder 1987, Eq. 3-21)."""
    e4, e6 = E2**2, E2**3
    return AXIS * (
        (1 - E2 / 4 - 3 * e4 / 64 - 5 * e6 / 256) * phi
        - (3 * E2 / 8 + 3 * e4 / 32 + 45 * e6 / 1024) * torch.sin(2 * phi)
        + (15 * e4 / 256 + 45 * e6 / 1024) * torch.sin(4 * phi)
        - (35 * e6 / 3072) * torch.sin(6 * phi)
    )


def zone_extent(zone: int) -> tuple[float, float, float, float]:
    """West, width, south, height, in metres as `utm_metres` has them: symmetric in east, and enough in north."""
    if zone >= SOUTH_CAP:
        radius = EARTH_RADIUS * RADIAN * (90 - NORTH if zone == NORTH_CAP else 90 + SOUTH)
        return -radius, 2 * radius, -radius, 2 * radius
    band, column = divmod(zone, COLUMNS)
    return _extent(band, *_longitudes(band, column))


@cache
def _extent(band: int, west: float, east: float) -> tuple[float, float, float, float]:
    """That of a zone between two longitudes, in degrees from its central meridian."""
    from_meridian = torch.linspace(west, east, 61, dtype=torch.float64)
    top = NORTH if band == X else SOUTH + 8 * (band + 1)
    low_x, low_y = transverse_mercator(from_meridian, torch.full_like(from_meridian, SOUTH + 8 * band))
    high_x, high_y = transverse_mercator(from_meridian, torch.full_like(from_meridian, top))
    half = float(torch.cat([low_x, high_x]).abs().max())
    south, north = float(low_y.min()), float(high_y.max())
    return -half, 2 * half, south, north - south


def _longitudes(band: int, column: int) -> tuple[float, float]:
    """The degrees from its central meridian between which a zone lies."""
    if band == V and column == 31:
        return -6, 3
    if band == X and column in (30, 36):
        return (-3, 6) if column == 30 else (-6, 3)
    if band == X and column in (32, 34):
        return -6, 6
    return -3, 3
