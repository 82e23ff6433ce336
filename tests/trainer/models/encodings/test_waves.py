import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.location import LocationTowerConfig
from trainer.models.encodings import build_encoding
from trainer.models.encodings.waves import ONE, Wave, Waves, alone

KINDS = (
    "spherical_harmonics", "direct", "wrap", "cartesian3d", "grid", "theory", "spherec", "spherecplus", "spherem",
    "spheremplus", "dfs", "random_fourier", "utm_onehot", "utm_soft",
)  # fmt: skip


def encoding_of(kind):
    return build_encoding(LocationTowerConfig.model_validate({"encoding": {"kind": kind}}).encoding)


ENCODINGS = {kind: encoding_of(kind) for kind in KINDS}


def test_features_are_waves_and_products_in_the_order_given():
    east, north = Wave.sin(lon=0.3), Wave.cos(lat=0.2)
    encoding = Waves([(north, east), alone(north), (east, east), alone(ONE)]).double()
    lon, lat = np.array([[10.0, -20.0], [-180.0, 90.0]]).T
    sine, cosine = np.sin(0.3 * lon), np.cos(0.2 * lat)
    expected = np.stack([sine * cosine, cosine, sine * sine, np.ones(2)], axis=1)
    np.testing.assert_allclose(encoding(torch.tensor(np.stack([lon, lat], axis=1))), expected, rtol=0, atol=1e-13)


def test_a_wave_of_many_features_is_computed_once():
    wave = Wave.sin(lon=1.0)
    assert Waves([alone(wave)] * 100).turns.shape == (16,)


@pytest.mark.parametrize("kind", KINDS)
@given(lon=st.floats(-180, 180), lat=st.floats(-90, 90))
def test_features_are_finite_everywhere(kind, lon, lat):
    encoding = ENCODINGS[kind]
    features = encoding(torch.tensor([[lon, lat]], dtype=torch.float64))
    assert features.shape == (1, encoding.feature_dim)
    assert features.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_float64_rounded_and_casting_loses_nothing(kind):
    torch.manual_seed(0)
    encoding = encoding_of(kind)
    lonlat = torch.tensor([[179.999, -89.9], [12.34567, 48.1], [-77.7, 0.0]], dtype=torch.float64)
    narrow = encoding(lonlat)
    assert narrow.dtype == torch.float32
    exact = encoding.half().float().double()(lonlat)
    torch.testing.assert_close(narrow.double(), exact, rtol=0, atol=3e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_leaves_angles_alone(kind):
    lonlat = torch.tensor([[179.999, -89.9], [12.34567, 48.1]], dtype=torch.float64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lowered = ENCODINGS[kind](lonlat)
    assert torch.equal(lowered, ENCODINGS[kind](lonlat))


@pytest.mark.parametrize("kind", set(KINDS) - {"random_fourier"})
def test_checkpoints_hold_no_constants(kind):
    assert ENCODINGS[kind].state_dict() == {}
