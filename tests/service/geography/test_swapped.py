"""Swapped cities are noticed; what is really at sea, hardly ever is held to be swapped."""

import numpy as np
import pytest

from service.bundle import LonLat
from service.geography.land import read_land
from service.geography.swapped import MIN_PLACES, SAMPLE, look_swapped

# lat, lon: as people say them, and so the wrong way round here
EUROPE = [
    (52.52, 13.40), (48.86, 2.35), (41.90, 12.50), (40.42, -3.70), (50.08, 14.44), (47.50, 19.04), (52.23, 21.01),
    (44.43, 26.10), (50.85, 4.35), (55.68, 12.57), (59.33, 18.07), (46.95, 7.45), (45.46, 9.19), (48.14, 11.58),
    (43.30, 5.37), (53.55, 9.99), (41.39, 2.17), (45.81, 15.98), (42.70, 23.32), (48.21, 16.37),
]  # fmt: skip
SOUTH_AMERICA = [
    (-23.55, -46.63), (-34.60, -58.38), (-33.45, -70.67), (-12.05, -77.04), (4.71, -74.07), (-16.50, -68.15),
    (-15.79, -47.88), (-25.28, -57.63), (-0.18, -78.47), (-30.03, -51.22), (-19.92, -43.94), (-31.42, -64.18),
]  # fmt: skip
INDIA = [
    (28.61, 77.21), (19.08, 72.88), (12.97, 77.59), (17.39, 78.49), (23.02, 72.57), (13.08, 80.27), (18.52, 73.86),
    (26.91, 75.79), (26.85, 80.95), (21.15, 79.09), (22.72, 75.86), (23.26, 77.41), (25.59, 85.14), (22.57, 88.36),
]  # fmt: skip
BRITAIN = [
    (51.51, -0.13), (52.49, -1.89), (53.48, -2.24), (53.80, -1.55), (53.41, -2.98), (51.45, -2.59), (53.38, -1.47),
    (55.95, -3.19), (55.86, -4.25), (51.48, -3.18), (54.60, -5.93), (54.97, -1.61), (52.95, -1.15), (57.15, -2.10),
]  # fmt: skip
WORLD = [*EUROPE, *SOUTH_AMERICA, (30.04, 31.24), (6.52, 3.38), (-1.29, 36.82), (-26.20, 28.05), (28.61, 77.21),
         (19.08, 72.88), (24.86, 67.01), (35.69, 51.39), (33.31, 44.37), (55.75, 37.62), (41.01, 28.95), (9.03, 38.74),
         (-4.32, 15.31), (5.56, -0.20), (14.69, -17.44), (33.57, -7.59), (36.75, 3.06), (38.72, -9.14), (51.51, -0.13),
         (40.71, -74.01), (43.65, -79.38), (25.76, -80.19), (41.88, -87.63), (23.11, -82.37)]  # fmt: skip
GERMANY = [
    (52.52, 13.40), (53.55, 9.99), (48.14, 11.58), (50.94, 6.96), (50.11, 8.68), (48.78, 9.18), (51.23, 6.78),
    (51.34, 12.37), (51.51, 7.47), (51.46, 7.01), (53.08, 8.80), (51.05, 13.74), (52.37, 9.73), (49.45, 11.08),
]  # fmt: skip
LANES = {
    "Gibraltar to Suez": [(-5.6, 36), (1, 37.2), (10, 37.8), (15, 36), (25, 34), (32.3, 31.4)],
    "Rotterdam to New York": [(3.5, 52), (-6, 49), (-40, 45), (-60, 41.5), (-73.5, 40.3)],
    "Aden to Mumbai": [(46, 12.2), (55, 14), (65, 17), (72, 18.8)],
    "the Cape to Rio": [(18, -34.2), (0, -30), (-20, -27), (-42.5, -23.3)],
    "the Red Sea": [(33.5, 28), (38, 20), (42.5, 14), (45, 12)],
    "the Black Sea": [(29.3, 41.4), (33, 43), (38, 43.5), (41, 42)],
    "the Baltic": [(11, 55.3), (15, 55), (19, 57.5), (22, 59.3)],
    "Biscay": [(-5, 48.8), (-8, 46), (-9.6, 43.3)],
    "Somalia": [(51.5, 11.5), (52, 8), (49, 3), (45, -1)],
    "Lisbon to the Cape": [(-9.6, 38.5), (-17.8, 28), (-18, 15), (-8, 2), (5, -15), (17, -33)],
    "the North Sea": [(2, 52), (3, 56), (2, 60), (-5, 62)],
    "the Canaries": [(-17, 29.5), (-15, 28.8), (-14.6, 27.5), (-17, 27.3)],
    "the Gulf of Guinea": [(-5, 3), (2, 4), (6, 2), (9, -1)],
    "the Caribbean": [(-62, 14), (-70, 14.5), (-78, 15), (-81, 18)],
    "the Bay of Bengal": [(80.5, 12), (85, 15), (89, 20)],
    "the Gulf of Oman": [(56.6, 26.2), (59, 24.5), (62, 23)],
    "the Persian Gulf": [(49, 29.3), (51, 27.5), (54, 25.7), (56.3, 26.5)],
}


@pytest.fixture(scope="module")
def land():
    return read_land()


def looks_swapped(land, degrees):
    return look_swapped(land, LonLat.from_degrees(np.asarray(degrees, float)))


@pytest.mark.parametrize("cities", [SOUTH_AMERICA, INDIA, BRITAIN, GERMANY])
def test_cities_given_as_lat_lon_are_noticed(land, cities):
    assert looks_swapped(land, cities)
    assert not looks_swapped(land, np.array(cities)[:, ::-1])


def test_as_many_as_a_request_may_hold_and_in_any_order(land):
    rng = np.random.default_rng(0)
    many = np.array(BRITAIN)[rng.integers(0, len(BRITAIN), 100_000)] + rng.normal(size=(100_000, 2)) / 100
    assert looks_swapped(land, many)
    assert not looks_swapped(land, many[:, ::-1])


def test_where_fewer_than_half_fall_in_the_sea_nothing_looks_wrong(land):
    """Swapped, most of these are in Somalia and Arabia: nobody can tell."""
    on_land = np.array(EUROPE)[land.holds(np.array(EUROPE))]
    assert len(on_land) >= MIN_PLACES
    assert not looks_swapped(land, on_land)


def test_a_few_places_may_be_there_by_chance(land):
    cities = np.array(WORLD)
    at_sea = cities[~land.holds(cities)]
    assert not looks_swapped(land, at_sea[: MIN_PLACES - 1])
    assert not looks_swapped(land, np.tile(at_sea[: MIN_PLACES - 1], (100, 1)))
    assert looks_swapped(land, at_sea[:10])


def test_random_places_at_sea_hardly_ever_look_swapped(land):
    rng = np.random.default_rng(1)
    lonlat = np.stack([rng.uniform(-180, 180, 60_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 60_000)))], axis=1)
    at_sea = lonlat[~land.holds(lonlat)]
    sets = at_sea[: 4000 * MIN_PLACES].reshape(4000, MIN_PLACES, 2)
    assert sum(looks_swapped(land, places) for places in sets) <= 2
    assert not looks_swapped(land, at_sea)


@pytest.mark.parametrize("lane", LANES)
def test_ships_do_not_look_swapped(land, lane):
    turns = np.array(LANES[lane], float)
    along = np.linspace(0, len(turns) - 1, 200)
    track = np.stack([np.interp(along, np.arange(len(turns)), turns[:, axis]) for axis in (0, 1)], axis=1)
    assert not looks_swapped(land, track)


def test_antarctica_is_nobodys_mistake(land):
    """The Pacific off Ecuador, swapped, is Antarctica."""
    rng = np.random.default_rng(2)
    pacific = np.stack([rng.uniform(-88, -84, 500), rng.uniform(-8, -2, 500)], axis=1)
    assert land.holds(pacific[:, ::-1]).all()
    assert not looks_swapped(land, pacific)


def test_no_more_than_a_sample_is_looked_at():
    """Whatever the number of places."""

    class Counting:
        def __init__(self, land):
            self.land, self.most = land, 0

        def holds(self, degrees):
            self.most = max(self.most, len(degrees))
            return self.land.holds(degrees)

    counting = Counting(read_land())
    assert looks_swapped(counting, np.array(BRITAIN * 2000))
    assert counting.most <= max(SAMPLE, 256)
