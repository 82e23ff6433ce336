from pathlib import Path

import numpy as np
import pytest
import torch

from tests.synthetic_world import small_config, write_config, write_world
from trainer.baselines.mosaiks import Nearest, grid_centres, mosaiks
from trainer.sphere import distance_deg


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mosaiks")
    return f"{write_config(folder / 'small.yaml', small_config())}@{write_world(folder / 'imagery')}"


def test_cells_cover_the_globe():
    centres = grid_centres()
    assert len(centres) == 360 * 180
    np.testing.assert_array_equal(centres.amin(dim=0), [-179.5, -89.5])
    np.testing.assert_array_equal(centres.amax(dim=0), [179.5, 89.5])


def test_nearest_is_by_great_circle():
    lonlat = torch.tensor([[179.5, 0.0], [-170.0, 0.0], [0.0, 89.0], [10.0, -45.0]], dtype=torch.float64)
    nearest = Nearest(lonlat, torch.arange(4.0)[:, None])
    places = np.array([[-179.0, 0.0], [180.0, 0.0], [-170.0, 80.0], [180.0, 90.0], [11.0, -50.0], [-172.0, -3.0]])
    expected = distance_deg(torch.from_numpy(places)[:, None], lonlat).argmin(dim=1)
    np.testing.assert_array_equal(nearest.embed(places)[:, 0], expected)


def test_a_place_has_the_features_of_its_cell(asked):
    baseline = mosaiks(asked)
    here, same, far = baseline.embed(np.array([[20.5, 10.5], [20.7, 10.3], [80.5, -40.5]]))
    np.testing.assert_array_equal(here, same)
    assert np.abs(here - far).max() > 0
    assert "cells of small" in baseline.note


def test_cells_lie_on_land_and_are_computed_once(asked):
    first = mosaiks(asked)
    (kept,) = (Path(asked.partition("@")[2]) / "kept").iterdir()
    cells = np.load(kept / "lonlat.npy")
    assert (np.abs(cells[:, 0]) < 90).all()
    assert len(cells) == 180 * 180
    written = (kept / "features.npy").stat().st_mtime_ns
    places = np.array([[5.0, 5.0], [-60.0, 60.0]])
    np.testing.assert_array_equal(mosaiks(asked).embed(places), first.embed(places))
    assert (kept / "features.npy").stat().st_mtime_ns == written
