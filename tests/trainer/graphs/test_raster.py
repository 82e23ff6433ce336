"""The graph over grids is the encoder's own, made from its constants alone."""

import numpy as np
import pytest
import torch

from trainer.export import canonical_places, embed_exactly, embed_with_graph, export_raster, open_graph, parity_grid
from trainer.graphs.encoder import OUTPUT, encoder_graph
from trainer.graphs.raster import LATS, LONS, raster_graph
from trainer.models.location_tower import harmonics_tower

LIMIT = 2e-5


def tower(**options):
    torch.manual_seed(0)
    return harmonics_tower(**options).eval()


def over_grid(graph, lons, lats):
    return open_graph(graph.SerializeToString()).run([OUTPUT], {LONS: lons, LATS: lats})[0]


@pytest.mark.parametrize("legendre_polys", [1, 2, 3, 4, 10, 40])
@pytest.mark.parametrize("hidden_layers", [1, 2, 3])
def test_it_embeds_every_pixel_as_the_tower_does(legendre_polys, hidden_layers):
    model = tower(legendre_polys=legendre_polys, hidden_dim=40, hidden_layers=hidden_layers, embedding_dim=5)
    encoder = encoder_graph(model)
    lons, lats = parity_grid()
    rows = over_grid(raster_graph(encoder), lons, lats)
    places = canonical_places(lons, lats)
    assert np.abs(rows - embed_exactly(model.double(), places)).max() < LIMIT
    assert np.abs(rows - embed_with_graph(encoder.SerializeToString(), places)).max() < LIMIT


def test_at_a_pole_every_longitude_is_the_same_place():
    rows = over_grid(
        raster_graph(encoder_graph(tower(legendre_polys=40))), np.linspace(-180, 540, 50), np.array([90.0, -90])
    )
    poles = rows.reshape(2, 50, -1)
    assert np.abs(poles - poles[:, :1]).max() < 1e-6


def test_published_scale_of_zonal_harmonics_is_kept():
    model = tower(legendre_polys=10, m0_scale=float(np.pi))
    lons, lats = parity_grid()
    rows = over_grid(raster_graph(encoder_graph(model)), lons, lats)
    assert np.abs(rows - embed_exactly(model.double(), canonical_places(lons, lats))).max() < LIMIT


def test_the_export_says_how_far_the_two_graphs_are_apart():
    encoder = encoder_graph(tower(hidden_dim=64)).SerializeToString()
    graph, parity = export_raster(encoder)
    lons, lats = parity_grid()
    assert parity.points == len(lons) * len(lats)
    rows = open_graph(graph).run([OUTPUT], {LONS: lons, LATS: lats})[0]
    assert parity.max_abs_error == np.abs(rows - embed_with_graph(encoder, canonical_places(lons, lats))).max()


def test_a_single_pixel_is_a_grid_too():
    graph = raster_graph(encoder_graph(tower(hidden_dim=32, embedding_dim=3)))
    assert over_grid(graph, np.array([7.0]), np.array([50.0])).shape == (1, 3)
