import numpy as np
import pytest
import torch
from torch import nn

from service.bundle import Network, OtherPart, PositionalEncoding
from trainer.config.location import LocationTowerConfig
from trainer.export import MAX_PARITY_ERROR, check_parity, export_encoder, export_raster, open_graph
from trainer.graphs.building import Graph
from trainer.graphs.encoder import encoder_graph
from trainer.graphs.traced import add_traced
from trainer.models.location_tower import LocationTower, build_location_tower
from trainer.snap import uniform_on_sphere
from trainer.tower_card import encoding_card, network_card

ENCODINGS = [
    {"kind": "direct"},
    {"kind": "wrap"},
    {"kind": "cartesian3d"},
    {"kind": "grid", "frequencies": 5},
    {"kind": "grid", "min_radius": 1e-5, "max_radius": 0.01},
    {"kind": "theory", "frequencies": 5},
    {"kind": "spherec"},
    {"kind": "spherecplus"},
    {"kind": "spherem"},
    {"kind": "spheremplus"},
    {"kind": "dfs", "frequencies": 4},
    {"kind": "random_fourier", "frequencies": 64},
    {"kind": "utm_onehot"},
    {"kind": "utm_soft", "cells": 5},
    {"kind": "spherical_harmonics", "legendre_polys": 7, "variant": "printed"},
    {"kind": "spherical_harmonics", "legendre_polys": 7, "variant": "closed-form"},
]
NETWORKS = [
    {"kind": "linear"},
    {"kind": "mlp", "hidden_dim": 48},
    {"kind": "fcnet", "hidden_dim": 48},
    {"kind": "siren", "hidden_dim": 48, "w0_initial": 5.0},
]
PAIRS = [
    *((encoding, NETWORKS[at % len(NETWORKS)]) for at, encoding in enumerate(ENCODINGS)),
    *((encoding, network) for encoding in (ENCODINGS[3], ENCODINGS[-1]) for network in NETWORKS),
    ({"kind": "random_fourier", "frequencies": 64}, {"kind": "capsules", "hidden_dim": 64}),
]


def tower_of(encoding: dict, network: dict) -> LocationTower:
    torch.manual_seed(0)
    asked = LocationTowerConfig.model_validate({"encoding": encoding, "network": network, "embedding_dim": 16})
    return build_location_tower(asked).double().eval()


@pytest.mark.parametrize(("encoding", "network"), PAIRS, ids=str)
def test_is_the_tower_at_the_poles_the_antimeridian_and_anywhere(encoding, network):
    tower = tower_of(encoding, network)
    assert check_parity(encoder_graph(tower).SerializeToString(), tower).max_abs_error <= MAX_PARITY_ERROR


@pytest.mark.parametrize(("encoding", "network"), PAIRS, ids=str)
def test_a_row_is_the_same_to_the_bit_in_any_batch(encoding, network):
    session, lonlat = (
        open_graph(encoder_graph(tower_of(encoding, network)).SerializeToString()),
        uniform_on_sphere(300, seed=1),
    )
    (together,) = session.run(None, {"lonlat": lonlat})
    for size in (1, 2, 7, 128):
        apart = [session.run(None, {"lonlat": lonlat[i : i + size]})[0] for i in range(0, 300, size)]
        np.testing.assert_array_equal(np.concatenate(apart), together)


def test_exports_without_a_graph_over_grids():
    exported = export_encoder(tower_of({"kind": "wrap"}, {"kind": "mlp", "hidden_dim": 8}), snap_places=50)
    assert exported.snap_errors[0].metres_max > 0
    assert export_raster(exported.onnx) is None


def test_harmonics_before_another_network_have_no_graph_over_grids_either():
    graph = encoder_graph(tower_of({"legendre_polys": 4}, {"kind": "linear"})).SerializeToString()
    assert export_raster(graph) is None


def test_no_places():
    session = open_graph(
        encoder_graph(tower_of({"kind": "utm_soft", "cells": 3}, {"kind": "linear"})).SerializeToString()
    )
    assert session.run(None, {"lonlat": np.empty((0, 2))})[0].shape == (0, 16)


def test_a_step_without_a_node_is_named():
    class Strange(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.erfinv(x)

    with pytest.raises(NotImplementedError, match="erfinv"):
        add_traced(Graph(), Strange(), "given", "made", torch.zeros(2, 2))
    with pytest.raises(NotImplementedError, match="GELU"):
        add_traced(Graph(), nn.GELU(), "given", "made", torch.zeros(2, 2))


def test_cards_say_what_the_parts_are():
    asked = LocationTowerConfig.model_validate(
        {"encoding": {"kind": "grid", "frequencies": 4}, "network": {"kind": "mlp", "hidden_dim": 8}}
    )
    settings = {"frequencies": 4, "min_radius": 1.0, "max_radius": 360.0}
    assert encoding_card(asked.encoding) == OtherPart(kind="grid", settings=settings)
    assert network_card(asked.network) == OtherPart(kind="mlp", settings={"hidden_dim": 8, "hidden_layers": 2})
    usual = LocationTowerConfig()
    assert encoding_card(usual.encoding) == PositionalEncoding(variant="exact", legendre_polys=10)
    assert network_card(usual.network) == Network(hidden_dim=512, hidden_layers=2)
