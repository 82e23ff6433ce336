import copy
import re

import numpy as np
import pytest
import torch

from trainer.export import (
    MAX_PARITY_ERROR,
    ExportError,
    check_parity,
    embed_exactly,
    embed_with_graph,
    export_encoder,
    parity_places,
)
from trainer.graphs.encoder import encoder_graph
from trainer.models.location_tower import LocationTower, harmonics_tower


def small_tower() -> LocationTower:
    torch.manual_seed(0)
    return harmonics_tower(legendre_polys=4, hidden_dim=32, embedding_dim=8)


def limit_for(exact: LocationTower) -> float:
    """The limit is in units of the largest value of any embedding, where that is above 1."""
    return MAX_PARITY_ERROR * max(1.0, float(np.abs(embed_exactly(exact, parity_places())).max()))


def test_exports_what_it_measured():
    tower = small_tower()
    before = copy.deepcopy(tower.state_dict())
    exported = export_encoder(tower, snap_places=500)
    assert 0 < exported.parity.max_abs_error < 5e-6
    assert exported.parity.points >= 4096
    assert [error.resolution for error in exported.snap_errors] == list(range(7, 16))
    assert exported.snap_resolution in range(7, 16)
    assert embed_with_graph(exported.onnx, np.zeros((3, 2))).shape == (3, 8)
    assert tower.training
    assert all(
        value.dtype == torch.float32 and torch.equal(value, before[k]) for k, value in tower.state_dict().items()
    )


def test_another_towers_graph_is_refused_with_the_place_and_the_limit():
    exact, other = small_tower().double(), small_tower().double()
    with torch.no_grad():
        other.network.last.bias[3] += 1e-3
    with pytest.raises(ExportError) as refusal:
        check_parity(encoder_graph(other).SerializeToString(), exact)
    message = str(refusal.value)
    said = re.search(r"by (\S+) at lon (\S+), lat (\S+); the limit is (\S+)", message)
    assert said is not None, message
    assert float(said[1]) == pytest.approx(1e-3, rel=1e-2)
    assert float(said[4]) == pytest.approx(limit_for(exact), rel=1e-5)


def test_just_over_the_limit_is_refused_and_just_under_is_not():
    exact = small_tower().double()
    limit = limit_for(exact)
    for off, refused in ((0.8 * limit, False), (1.2 * limit, True)):
        other = copy.deepcopy(exact)
        with torch.no_grad():
            other.network.last.bias[0] += off
        graph = encoder_graph(other).SerializeToString()
        if refused:
            with pytest.raises(ExportError):
                check_parity(graph, exact)
        else:
            assert check_parity(graph, exact).max_abs_error == pytest.approx(off, rel=0.1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_weights_are_refused(value):
    tower = small_tower()
    with torch.no_grad():
        tower.network.last.weight[0, 0] = value
    with pytest.raises(ExportError, match=r"differs from the tower by (nan|inf)"):
        export_encoder(tower)


def test_parity_is_checked_where_it_is_hardest():
    lon, lat = parity_places().T
    assert (np.abs(lat) == 90).sum() > 10
    assert (np.abs(lon) == 180).sum() > 10
    assert ((np.abs(lat) > 89.999) & (np.abs(lat) < 90)).any()
    assert ((np.abs(lon) > 179.999) & (np.abs(lon) < 180)).any()
    assert (np.abs(lat) <= 90).all()
    assert (np.abs(lon) <= 180).all()
