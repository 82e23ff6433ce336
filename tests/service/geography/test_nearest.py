"""The nearest place, against all distances one by one, wherever the places lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.bundle import LonLat
from service.geography.nearest import EARTH_RADIUS_KM, NearestPlaces

HALF_TURN_KM = np.pi * EARTH_RADIUS_KM


def haversine_km(lonlat, others):
    """Every distance, (n, m), by the formula that is exact for small ones."""
    (lon, lat), (lons, lats) = np.radians(lonlat).T[:, :, None], np.radians(others).T[:, None, :]
    half = np.sin((lat - lats) / 2) ** 2 + np.cos(lat) * np.cos(lats) * np.sin((lon - lons) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))


def nearest_km(others, lonlat):
    return NearestPlaces(LonLat.from_degrees(others)).kilometres(LonLat.from_degrees(lonlat))


def uniform(n, seed):
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(-180, 180, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))], axis=1)


degrees = st.tuples(
    st.one_of(st.floats(-180, 180), st.sampled_from([-180.0, -179.9999, 0.0, 179.9999, 180.0])),
    st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, -89.9999, 0.0, 89.9999, 90.0])),
)
places = st.lists(degrees, min_size=1, max_size=60).map(np.array)


@given(places, places)
def test_it_is_the_least_of_all_distances(others, lonlat):
    np.testing.assert_allclose(nearest_km(others, lonlat), haversine_km(lonlat, others).min(axis=1), atol=2e-3)


@given(
    centre=degrees,
    spread=st.sampled_from([1e-5, 1e-3, 0.1, 5.0]),
    n=st.integers(1, 3000),
    offsets=arrays(np.float64, (20, 2), elements=st.floats(-3, 3)),
)
def test_places_in_a_cluster_from_near_and_from_everywhere(centre, spread, n, offsets):
    others = centre + spread * np.random.default_rng(n).normal(size=(n, 2))
    others[:, 1] = np.clip(others[:, 1], -90, 90)
    near = centre + spread * offsets
    near[:, 1] = np.clip(near[:, 1], -90, 90)
    asked = np.concatenate([near, uniform(20, n), [[centre[0] + 180, -centre[1]]]])
    np.testing.assert_allclose(nearest_km(others, asked), haversine_km(asked, others).min(axis=1), atol=2e-3)


def test_thousands_of_places_all_over_the_globe():
    others, asked = uniform(5000, 1), uniform(1500, 2)
    np.testing.assert_allclose(nearest_km(others, asked), haversine_km(asked, others).min(axis=1), atol=2e-3)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 64, 65, 1000])
def test_a_place_among_them_is_at_no_distance(n):
    others = uniform(n, n)
    assert nearest_km(others, others).max() < 1e-3


def test_the_same_place_many_times():
    others = np.tile([[10.0, 20.0]], (5000, 1))
    np.testing.assert_allclose(nearest_km(others, [[10.0, 20.0], [-170.0, -20.0]]), [0, HALF_TURN_KM], atol=2e-3)


def test_poles_and_antimeridian():
    degree = HALF_TURN_KM / 180
    assert nearest_km([[0.0, 89.0]], [[123.0, 90.0]]) == pytest.approx([degree], rel=1e-6)
    assert nearest_km([[0.0, 89.0]], [[180.0, 89.0]]) == pytest.approx([2 * degree], rel=1e-6)
    assert nearest_km([[179.5, 0.0], [0.0, 0.0]], [[-179.5, 0.0]]) == pytest.approx([degree], rel=1e-6)
    assert nearest_km([[45.0, 90.0]], [[-100.0, -90.0]]) == pytest.approx([HALF_TURN_KM], rel=1e-6)


def test_places_around_a_great_circle_seen_from_its_pole():
    """All are equally near, so nothing can be ruled out."""
    others = np.stack([np.linspace(-180, 179.9, 3600), np.zeros(3600)], axis=1)
    np.testing.assert_allclose(nearest_km(others, [[0.0, 90.0], [0.0, -90.0]]), HALF_TURN_KM / 2, rtol=1e-6)


def test_no_place_asked_about():
    assert nearest_km([[0.0, 0.0]], np.empty((0, 2))).shape == (0,)


def test_few_comparisons_are_made_whatever_is_asked(monkeypatch):
    """A fiftieth of all pairs for places anywhere: of a globe's places, and of a cluster's that are all far away."""
    compared = 0
    within = NearestPlaces._chords_within

    def counted(self, vectors, block):
        nonlocal compared
        compared += len(block) * self._blocks.shape[2]
        return within(self, vectors, block)

    monkeypatch.setattr(NearestPlaces, "_chords_within", counted)
    asked = uniform(2000, 3)
    cluster = np.random.default_rng(4).normal((8.0, 47.0), size=(20_000, 2))
    for others in (uniform(20_000, 5), cluster):
        compared = 0
        nearest_km(others, asked)
        assert compared < len(asked) * len(others) / 50
