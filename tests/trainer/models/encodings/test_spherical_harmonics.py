import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import sph_harm_y

from tests.golden import PUBLISHED_M0_SCALE, golden_arrays
from trainer.models.encodings.spherical_harmonics import SphericalHarmonics, harmonics

LEGENDRE_POLYS = (1, 2, 3, 10, 40, 100)
EDGES = [[0, 90], [123.4, 90], [0, -90], [-77, -90], [180, 12.5], [-180, 12.5], [0, 0], [179.9999999, -89.9999999]]

lons = st.floats(-180, 180)
lats = st.floats(-90, 90)


def places(count: int = 200) -> torch.Tensor:
    unit = np.random.default_rng(0).random((count, 2))
    return torch.tensor(np.concatenate([unit * [360, 180] - [180, 90], EDGES]))


def exact(legendre_polys: int, m0_scale: float = 1.0) -> SphericalHarmonics:
    return SphericalHarmonics(legendre_polys, m0_scale).double()


def scipy_harmonics(legendre_polys: int, lonlat: torch.Tensor) -> np.ndarray:
    """In published order and sign: scipy's have the Condon-Shortley phase, ours do not."""
    phi, theta = np.radians(lonlat.numpy() + np.array([180, 90])).T
    features = []
    for degree in range(legendre_polys):
        for order in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(order), theta, phi) * (-1) ** order * math.sqrt(1 if order == 0 else 2)
            features.append(value.real if order >= 0 else value.imag)
    return np.stack(features, axis=1)


@pytest.mark.parametrize("legendre_polys", LEGENDRE_POLYS)
def test_agrees_with_scipy(legendre_polys):
    lonlat = places(50)
    expected = scipy_harmonics(legendre_polys, lonlat)
    np.testing.assert_allclose(exact(legendre_polys)(lonlat), expected, rtol=0, atol=1e-14 * legendre_polys**2 + 1e-14)


@pytest.mark.parametrize("legendre_polys", [10, 40])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 2e-6), (torch.float64, 3e-7)])
def test_agrees_with_published_exact_features(legendre_polys, dtype, atol):
    reference = golden_arrays(f"features_L{legendre_polys}.npz")
    encoding = SphericalHarmonics(legendre_polys, PUBLISHED_M0_SCALE).to(dtype)
    features = encoding(torch.from_numpy(reference["lonlat"]))
    assert features.dtype == dtype
    np.testing.assert_allclose(features, reference["feat_analytic_exact"], rtol=0, atol=atol)


@pytest.mark.parametrize("legendre_polys", LEGENDRE_POLYS)
def test_addition_theorem(legendre_polys):
    squares = exact(legendre_polys)(places()) ** 2
    for degree in range(legendre_polys):
        total = squares[:, degree**2 : (degree + 1) ** 2].sum(dim=1)
        np.testing.assert_allclose(total, (2 * degree + 1) / (4 * math.pi), rtol=1e-11)


@pytest.mark.parametrize("legendre_polys", [1, 5, 12])
def test_orthonormal(legendre_polys):
    sin_lat, weights = np.polynomial.legendre.leggauss(legendre_polys)
    lon = np.arange(2 * legendre_polys) * 180 / legendre_polys
    grid = np.stack(np.meshgrid(lon, np.degrees(np.arcsin(sin_lat))), axis=-1).reshape(-1, 2)
    areas = np.repeat(weights, len(lon)) * 2 * np.pi / len(lon)
    features = exact(legendre_polys)(torch.from_numpy(grid)).numpy()
    np.testing.assert_allclose(features.T @ (features * areas[:, None]), np.eye(legendre_polys**2), atol=1e-12)


def test_gradient():
    lonlat = torch.tensor([[12.0, 34.0], [-120.0, -80.0], [179.99, 0.0], [0.0, 89.9]], dtype=torch.float64)
    assert torch.autograd.gradcheck(exact(6), lonlat.requires_grad_())


def test_float32_module_has_gradients_too():
    lonlat = torch.tensor([[12.0, 34.0]], dtype=torch.float64, requires_grad=True)
    SphericalHarmonics(5)(lonlat).square().sum().backward()
    assert lonlat.grad is not None
    # Σ Y² is the same everywhere, so its gradient vanishes
    np.testing.assert_allclose(lonlat.grad, 0, atol=1e-6)


@given(lon=lons, lat=lats, turns=st.integers(-2, 2))
def test_longitude_is_periodic(lon, lat, turns):
    here, there = exact(20)(torch.tensor([[lon, lat], [lon + 360 * turns, lat]], dtype=torch.float64))
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-11)


@given(lon=lons, pole=st.sampled_from([-90.0, 90.0]))
def test_poles_have_no_longitude(lon, pole):
    here, there = exact(20)(torch.tensor([[lon, pole], [0, pole]], dtype=torch.float64))
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-12)


@given(lat=lats)
def test_antimeridian_is_one_line(lat):
    west, east = SphericalHarmonics(40)(torch.tensor([[-180, lat], [180, lat]], dtype=torch.float64))
    torch.testing.assert_close(west, east, rtol=0, atol=2e-6)


def test_m0_scale_multiplies_zonal_features_alone():
    zonal = [degree * (degree + 1) for degree in range(8)]
    ratio = exact(8, m0_scale=2.5)(places()) / exact(8)(places())
    others = np.delete(np.arange(64), zonal)
    np.testing.assert_allclose(ratio[:, zonal], 2.5)
    np.testing.assert_allclose(ratio[:200, others], 1)


def test_float32_keeps_float64_angles():
    """A tenth of a millimetre is far below float32 degrees, and moves the features by the right amount."""
    lonlat = torch.tensor([[100.0, 0.0], [100.0 + 1e-6, 0.0]], dtype=torch.float64)
    moved = torch.diff(SphericalHarmonics(100).float()(lonlat), dim=0).abs().max()
    expected = torch.diff(exact(100)(lonlat), dim=0).abs().max()
    np.testing.assert_allclose(moved, expected, rtol=0.5)


def test_casting_never_loses_the_constants():
    there_and_back = SphericalHarmonics(10).half().float().double()
    assert there_and_back.turns.dtype == torch.float64
    assert torch.equal(there_and_back(places()), exact(10)(places()))


def test_autocast_leaves_the_encoding_alone():
    encoding = SphericalHarmonics(10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoding(places()), SphericalHarmonics(10)(places()))


def test_checkpoints_hold_no_constants():
    assert SphericalHarmonics(10).state_dict() == {}


def test_no_places():
    assert exact(4)(torch.empty(0, 2, dtype=torch.float64)).shape == (0, 16)


@pytest.mark.parametrize("legendre_polys", [0, 101])
def test_legendre_polys_out_of_range(legendre_polys):
    with pytest.raises(ValueError, match="from 1 to 100"):
        SphericalHarmonics(legendre_polys)


def test_feature_of_every_column():
    constants = harmonics(5, 1.0)
    columns = np.arange(len(constants.order))
    made = set(constants.feature(columns, +1)) | set(constants.feature(columns, -1))
    assert made == set(range(25))
