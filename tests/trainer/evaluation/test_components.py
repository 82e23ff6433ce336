"""Components of a sphere stretched along its axes are those axes."""

import numpy as np
import pytest

from trainer.evaluation.components import QUANTILES, principal_components
from trainer.snap import uniform_on_sphere

PLACES = uniform_on_sphere(5000, seed=7)


def stretched(lonlat):
    """Position on the sphere, z most spread, then x, then y, and a number that never changes."""
    lon, lat = np.radians(lonlat).T
    position = np.stack([2 * np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), 3 * np.sin(lat)], axis=1)
    return np.column_stack([position, np.full(len(lonlat), 7.0)])


def test_components_follow_the_axes_by_their_spread():
    components = principal_components(stretched)
    assert components.explained == pytest.approx((9 / 14, 4 / 14, 1 / 14), abs=0.01)
    colors = components.of(stretched(PLACES))
    for band, axis in enumerate((2, 0, 1)):
        correlation = np.corrcoef(colors[:, band], stretched(PLACES)[:, axis])[0, 1]
        assert abs(correlation) > 0.99


def test_the_scale_leaves_out_its_quantiles():
    colors = principal_components(stretched).of(stretched(PLACES))
    low, high = QUANTILES
    np.testing.assert_allclose((colors == 0).mean(axis=0), low, atol=0.01)
    np.testing.assert_allclose((colors == 1).mean(axis=0), 1 - high, atol=0.01)


def test_an_encoder_that_says_nothing_is_one_colour():
    components = principal_components(lambda lonlat: np.ones((len(lonlat), 4)))
    assert np.isfinite(components.affine).all()
    assert len(np.unique(components.of(np.ones((3, 4))), axis=0)) == 1


def test_two_dimensions_have_a_third_component_that_is_0():
    components = principal_components(lambda lonlat: stretched(lonlat)[:, :2])
    colors = components.of(stretched(PLACES)[:, :2])
    assert colors.shape == (len(PLACES), 3)
    assert not colors[:, 2].any()
