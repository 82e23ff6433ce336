"""Whether lon and lat of many places look swapped: at sea as they are given, on land the other way round.

That alone would often be so of ships: swapped, the Mediterranean is Ethiopia and Arabia. But whoever means the sea has
all of their places there; and where that is so, the extent of the places as given must have no more land to be avoided
than the swapped one has sea, else to be at sea throughout is the greater coincidence, and means that they are at sea.

Measured on random data: of places on land that are at sea when swapped, 92 to 98 % of sets look swapped, whatever their
extent; of 40,000 sets of five places at sea, none; of straight voyages at sea 6 to 8 % up to 300 km, where an extent
tells little, 3 % of 1,000 km and 0.2 % of 5,000 km; of 17 shipping lanes, none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from service.bundle import LonLat
from service.geography.land import Land

MIN_PLACES = 5
"""That differ: fewer may be so by chance."""
SAMPLE = 256
"""So many of more places, evenly from first to last, are looked at: some 0.1 ms, whatever the number."""
MOST = 0.5
NEARLY_ALL_ON_LAND = 0.9
NEARLY_ALL_AT_SEA = 0.95
"""Whoever means the sea has no fewer of their places there."""
MIN_SWAPPED_LAT = -60.0
"""Nobody means Antarctica when they give places of tropical seas."""
GRID = 16
"""Places along each side of an extent by which its shares of land and sea are known."""

Floats = NDArray[np.float64]


def look_swapped(land: Land, lonlat: LonLat) -> bool:
    """Whether most of the places are at sea, nearly all on land when swapped, and the sea is not what was meant."""
    if len(lonlat) < MIN_PLACES:
        return False
    sample = lonlat.degrees
    if len(lonlat) > SAMPLE:
        sample = sample[np.linspace(0, len(lonlat) - 1, SAMPLE).astype(np.intp)]
    at_sea = _at_sea(land, sample)
    if at_sea <= MOST or _on_land_swapped(land, sample) < NEARLY_ALL_ON_LAND:
        return False
    if len(np.unique(sample, axis=0)) < MIN_PLACES:
        return False
    extent = _extent(sample)
    return at_sea < NEARLY_ALL_AT_SEA or _at_sea(land, extent) >= _on_land_swapped(land, extent)


def _at_sea(land: Land, degrees: Floats) -> float:
    """The share of places (n, 2) that are at sea."""
    return 1 - float(land.holds(degrees).mean())


def _on_land_swapped(land: Land, degrees: Floats) -> float:
    """The share of places (n, 2) that are on land when their lon and lat are swapped."""
    possible = (degrees[:, 0] >= MIN_SWAPPED_LAT) & (degrees[:, 0] <= 90)
    return float(land.holds(degrees[possible][:, ::-1]).sum()) / len(degrees)


def _extent(degrees: Floats) -> Floats:
    """Places all over the box that holds these."""
    steps = (np.arange(GRID) + 0.5) / GRID
    (west, south), (east, north) = degrees.min(axis=0), degrees.max(axis=0)
    lon, lat = np.meshgrid(west + (east - west) * steps, south + (north - south) * steps)
    return np.stack([lon.ravel(), lat.ravel()], axis=1)
