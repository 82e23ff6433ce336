from itertools import pairwise

import numpy as np
import pytest

from service.bundle import SnapError
from trainer.snap import coarsest_resolution, measure_snap_errors, uniform_on_sphere

EARTH_RADIUS_METRES = 6_371_008.8


def unit_vectors(lonlat: np.ndarray) -> np.ndarray:
    lon, lat = np.radians(lonlat).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)


@pytest.fixture(scope="module")
def of_unit_vectors() -> tuple[SnapError, ...]:
    """Snap errors of the embedding whose cosine is that of the angle between two places."""
    return measure_snap_errors(unit_vectors, places=2000)


def test_every_resolution_from_7_to_15(of_unit_vectors):
    assert [error.resolution for error in of_unit_vectors] == list(range(7, 16))


def test_cosine_distances_of_a_known_embedding(of_unit_vectors):
    """1 - cos(d/R) is ½(d/R)² for such d; at resolution 15 it is 5e-15, far below 1 - u·v in float64."""
    for error in of_unit_vectors:
        for cosine, metres in (
            (error.cosine_median, error.metres_median),
            (error.cosine_p99, error.metres_p99),
            (error.cosine_max, error.metres_max),
        ):
            assert cosine == pytest.approx(0.5 * (metres / EARTH_RADIUS_METRES) ** 2, rel=1e-2)


def test_metres_are_those_of_h3_cells(of_unit_vectors):
    """H3's average hexagon edge at resolution 7 is 1,406 m, and a step divides it by √7."""
    first = of_unit_vectors[0]
    assert 1406 < first.metres_max < 1.3 * 1406
    for coarse, fine in pairwise(of_unit_vectors):
        assert coarse.metres_max / fine.metres_max == pytest.approx(7**0.5, rel=0.03)


def test_order_of_the_statistics(of_unit_vectors):
    for error in of_unit_vectors:
        assert 0 < error.cosine_median < error.cosine_p99 < error.cosine_max
        assert 0 < error.metres_median < error.metres_p99 < error.metres_max


def test_the_worst_of_a_cell_is_its_corner(of_unit_vectors):
    """Places fall at most somewhere in a cell; the max must be as far as a corner of the largest."""
    error = of_unit_vectors[2]
    assert error.metres_max > 1.05 * error.metres_p99


def test_coarsest_resolution_under_the_limit(of_unit_vectors):
    chosen = coarsest_resolution(of_unit_vectors)
    assert chosen == 7
    worse = [error.model_copy(update={"cosine_max": error.cosine_max * 100}) for error in of_unit_vectors]
    assert coarsest_resolution(worse) == min(e.resolution for e in worse if e.cosine_max < 1e-7)
    assert coarsest_resolution([e.model_copy(update={"cosine_max": 1e-7}) for e in worse]) is None


def test_places_are_uniform_by_area():
    lonlat = uniform_on_sphere(20_000, seed=0)
    assert np.abs(unit_vectors(lonlat).mean(axis=0)).max() < 0.02
    np.testing.assert_array_equal(lonlat, uniform_on_sphere(20_000, seed=0))
