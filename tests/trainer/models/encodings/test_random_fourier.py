import importlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.export import parity_places
from trainer.importers import read_location_encoder
from trainer.models.encodings.random_fourier import SCALE, RandomFourier, equal_earth
from trainer.snap import uniform_on_sphere


def test_equal_earth_at_known_places():
    """The map's half width and half height, on a unit sphere (Šavrič et al. 2019)."""
    corners = equal_earth(torch.tensor([[180.0, 0.0], [0.0, 90.0], [0.0, 0.0]], dtype=torch.float64)) / SCALE
    np.testing.assert_allclose(corners, [[2.7066297, 0], [0, 1.3173627], [0, 0]], rtol=0, atol=1e-6)


def test_equal_earth_has_one_area_everywhere():
    lonlat = torch.tensor([[10.0, 0.0], [-100.0, 35.0], [170.0, -60.0], [5.0, 85.0]], dtype=torch.float64)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda place: equal_earth(place[None])[0]))(lonlat)
    areas = torch.linalg.det(jacobian) / torch.cos(torch.deg2rad(lonlat[:, 1]))
    np.testing.assert_allclose(areas / areas[0], 1, rtol=1e-6)  # up to √3 in float32


def test_features_by_hand():
    torch.manual_seed(0)
    encoding = RandomFourier(sigmas=(1.0, 16.0), frequencies=3).double()
    lonlat = torch.from_numpy(uniform_on_sphere(20, seed=0))
    phases = 2 * torch.pi * equal_earth(lonlat) @ encoding.drawn.T
    first, second = phases.split(3, dim=1)
    expected = torch.cat([first.cos(), first.sin(), second.cos(), second.sin()], dim=1)
    np.testing.assert_allclose(encoding(lonlat), expected, rtol=0, atol=1e-12)


def test_frequencies_are_drawn_at_their_scale_and_kept_in_checkpoints():
    torch.manual_seed(0)
    encoding = RandomFourier(sigmas=(1.0, 256.0), frequencies=2000)
    deviations = encoding.drawn.view(2, -1).std(dim=1)
    np.testing.assert_allclose(deviations, [1, 256], rtol=0.05)
    assert list(encoding.state_dict()) == ["drawn"]
    assert encoding.float().drawn.dtype == torch.float64


def published_geoclip() -> torch.nn.Module:
    """GeoCLIP's own location encoder, without the image side that its package imports beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch, about the package's torch.jit.script
        module = importlib.import_module("geoclip.model.location_encoder")
    return module.LocationEncoder().eval()


@pytest.fixture(scope="module")
def geoclip() -> torch.nn.Module:
    return published_geoclip()


def test_geoclip_is_its_own_forward_pass(geoclip):
    """In float64: in float32 its phases of some thousand radians leave its own forward pass 2e-5 off itself."""
    lonlat = np.concatenate([uniform_on_sphere(2000, seed=0), parity_places()[4096:]])
    ours = read_location_encoder(Path("geoclip"))
    with torch.inference_mode():
        expected = geoclip.double()(torch.from_numpy(lonlat).flip(1)).numpy()
        np.testing.assert_allclose(ours.tower(torch.from_numpy(lonlat)), expected, rtol=0, atol=2e-8)
