import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.models.encodings.plain import Direct, cartesian3d, wrap
from trainer.sphere import unit_vectors

PLACES = torch.tensor([[0.0, 0.0], [90.0, 0.0], [-180.0, 45.0], [12.5, -90.0]], dtype=torch.float64)


def test_direct_is_radians_less_pi():
    expected = np.radians(PLACES.numpy()) - np.pi
    np.testing.assert_allclose(Direct().double()(PLACES), expected, rtol=0, atol=1e-15)


def test_wrap_has_lon_first_and_cosines_first():
    lon, lat = np.radians(PLACES.numpy()).T
    expected = np.stack([np.cos(lon), np.sin(lon), np.cos(lat), np.sin(lat)], axis=1)
    np.testing.assert_allclose(wrap().double()(PLACES), expected, rtol=0, atol=1e-15)


@given(lon=st.floats(-180, 180), lat=st.floats(-90, 90), turns=st.integers(-2, 2))
def test_cartesian3d_is_the_unit_vector_on_every_turn(lon, lat, turns):
    there = cartesian3d().double()(torch.tensor([[lon + 360 * turns, lat]], dtype=torch.float64))
    here = unit_vectors(torch.tensor([[lon, lat]], dtype=torch.float64))
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-13)
