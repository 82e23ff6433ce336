import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.models.encodings.sphere2vec import dfs, spherec, spherecplus, spherem, spheremplus

PLACES = torch.tensor([[12.5, -33.0], [-180.0, 90.0], [180.0, -90.0], [0.0, 0.0], [-77.7, 12.3]], dtype=torch.float64)
SCALES = np.geomspace(1, 360, 4)
WIDTHS = {spherec: 6, spherecplus: 12, spherem: 10, spheremplus: 16}


def waves(per_radian=1.0):
    """sin and cos of lon and lat at every scale, (n, scales) each, and unscaled, (n, 1)."""
    lon, lat = (PLACES.numpy() * per_radian).T[:, :, None]
    scaled = [wave(angle / SCALES) for angle in (lon, lat) for wave in (np.sin, np.cos)]
    return scaled, [wave(angle) for angle in (lon, lat) for wave in (np.sin, np.cos)]


def by_hand(encoding):
    (sin_lon, cos_lon, sin_lat, cos_lat), (sin_1, cos_1, _, cos_lat_1) = waves()
    mixed = [cos_lat * cos_1, cos_lat_1 * cos_lon, cos_lat * sin_1, cos_lat_1 * sin_lon]
    sphere = [cos_lat * cos_lon, cos_lat * sin_lon]
    parts = {
        spherec: [sin_lat, *sphere],
        spherecplus: [sin_lat, cos_lat, sin_lon, cos_lon, *sphere],
        spherem: [sin_lat, *mixed],
        spheremplus: [sin_lat, cos_lat, sin_lon, cos_lon, *mixed],
    }[encoding]
    return np.repeat(np.stack(parts, axis=-1), 2, axis=-1).reshape(len(PLACES), -1)


@pytest.mark.parametrize("encoding", WIDTHS)
def test_by_hand(encoding):
    built = encoding(4, 1, 360).double()
    assert built.feature_dim == 4 * WIDTHS[encoding]
    np.testing.assert_allclose(built(PLACES), by_hand(encoding), rtol=0, atol=1e-13)


def test_dfs_by_hand():
    (sin_lon, cos_lon, sin_lat, cos_lat), _ = waves(np.pi / 180)
    lons, lats = np.concatenate([sin_lon, cos_lon], axis=1), np.concatenate([sin_lat, cos_lat], axis=1)
    products = (lons[:, :, None] * lats[:, None]).reshape(len(PLACES), -1)
    alone = np.stack([sin_lat, cos_lat, sin_lon, cos_lon], axis=-1).reshape(len(PLACES), -1)
    built = dfs(4, 1, 360).double()
    assert built.feature_dim == 4 * 16 + 16
    np.testing.assert_allclose(built(PLACES), np.concatenate([products, alone], axis=1), rtol=0, atol=1e-13)


@given(lat=st.floats(-90, 90), east=st.floats(-180, 180))
def test_the_unscaled_double_fourier_sphere_is_one_across_the_antimeridian(lat, east):
    encoding = dfs(2, 1, 1).double()
    here, there = encoding(torch.tensor([[east, lat], [east - 360, lat]], dtype=torch.float64))
    np.testing.assert_allclose(here, there, rtol=0, atol=1e-12)
