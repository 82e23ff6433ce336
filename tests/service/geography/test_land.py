"""The mask that ships, at places that everybody knows, and the reading of any mask."""

import numpy as np
import pytest

from service.geography.land import Land, read_land

LAND = {
    "Beijing": (116.4, 39.9),
    "Paris": (2.35, 48.86),
    "Nairobi": (36.8, -1.3),
    "La Paz": (-68.15, -16.5),
    "Alice Springs": (133.9, -23.7),
    "Vostok": (106.8, -78.5),
    "the South Pole": (0.0, -90.0),
    "Vanua Levu, just west of the antimeridian": (179.8, -16.7),
    "Chukotka, east of the antimeridian": (-179.0, 67.5),
    "Reykjavik": (-21.85, 64.1),
    "Hawaii": (-155.5, 19.6),
    "Lake Superior": (-87.0, 48.0),
    "Lake Victoria": (33.0, -1.0),
    "Lake Baikal": (108.0, 53.5),
    "the Caspian Sea": (51.0, 42.0),
}
SEA = {
    "the North Pole": (0.0, 90.0),
    "the Gulf of Guinea": (0.0, 0.0),
    "the middle of the Pacific": (-140.0, 0.0),
    "the antimeridian in the Pacific": (-180.0, -40.0),
    "the antimeridian from the west": (np.nextafter(180.0, 0), -40.0),
    "the Mediterranean": (18.0, 35.0),
    "the Black Sea": (34.0, 43.0),
    "the Baltic": (19.5, 57.0),
    "Hudson Bay": (-85.0, 60.0),
    "the English Channel": (-1.0, 50.2),
    "the Ross Ice Shelf": (-175.0, -81.0),
}


@pytest.fixture(scope="module")
def land():
    return read_land()


@pytest.mark.parametrize("name", LAND)
def test_land(land, name):
    assert land.holds(np.array([LAND[name]])).tolist() == [True]


@pytest.mark.parametrize("name", SEA)
def test_sea(land, name):
    assert land.holds(np.array([SEA[name]])).tolist() == [False]


def test_the_share_of_land(land):
    """29.2 % of the Earth's surface, in the textbooks, without the lakes' and the ice shelves' part in the rounding."""
    rng = np.random.default_rng(0)
    lonlat = np.stack([rng.uniform(-180, 180, 100_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 100_000)))], axis=1)
    assert land.holds(lonlat).mean() == pytest.approx(0.289, abs=0.006)


def test_no_place(land):
    assert land.holds(np.empty((0, 2))).shape == (0,)


def test_the_cells_of_a_mask():
    """Two rows of four cells, the second and the seventh of land."""
    mask = Land((2, 4), np.array([1, 2, 6, 7], np.int32))
    centres = np.array([[lon, lat] for lat in (45, -45) for lon in (-135, -45, 45, 135)], float)
    assert mask.holds(centres).tolist() == [False, True, False, False, False, False, True, False]
    edges = np.array([[-90.0, 90.0], [-90.0, 0.0], [0.0, -0.1], [-180.0, 90.0], [179.9, -90.0]])
    assert mask.holds(edges).tolist() == [True, False, True, False, False]
