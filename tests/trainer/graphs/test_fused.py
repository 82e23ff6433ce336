import numpy as np
import onnx
import pytest
import torch

from trainer.export import embed_exactly, embed_with_graph, open_graph, parity_places
from trainer.graphs.encoder import encoder_graph
from trainer.graphs.fused import fused_graph
from trainer.models.fused_tower import FusedTower
from trainer.models.location_tower import harmonics_tower
from trainer.refinement.geospatial import GraphPropagationFusion, TangentNeighbourhoods

SHAPES = [
    {"legendre_polys": 2, "neighbours": 1, "sigma_deg": 5.0, "layers": 1},
    {"legendre_polys": 7, "neighbours": 3, "sigma_deg": 0.18, "layers": 3, "normalise_rows": True},
    {"legendre_polys": 40, "neighbours": 5, "sigma_deg": 0.01},
]


def tower_of(*, legendre_polys: int, neighbours: int, sigma_deg: float, **fusion: object) -> FusedTower:
    torch.manual_seed(0)
    tower = harmonics_tower(legendre_polys=legendre_polys, hidden_dim=48, embedding_dim=16)
    around = TangentNeighbourhoods(neighbours, sigma_deg)
    return FusedTower(tower, GraphPropagationFusion(16, **fusion), around).double().eval()  # type: ignore[arg-type]


def graph_of(tower: FusedTower) -> onnx.ModelProto:
    return fused_graph(tower, encoder_graph(tower.location_tower))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_is_the_tower_at_the_poles_and_the_antimeridian_too(shape):
    tower, lonlat = tower_of(**shape), parity_places()
    embeddings = embed_with_graph(graph_of(tower).SerializeToString(), lonlat)
    exact = embed_exactly(tower, lonlat)
    np.testing.assert_allclose(embeddings, exact, rtol=0, atol=1e-5)
    assert np.abs(exact).max() > 0.01


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_row_is_the_same_to_the_bit_in_any_batch(shape):
    session, lonlat = open_graph(graph_of(tower_of(**shape)).SerializeToString()), parity_places()
    (together,) = session.run(None, {"lonlat": lonlat})
    for size in (1, 2, 7, 512):
        apart = [session.run(None, {"lonlat": lonlat[i : i + size]})[0] for i in range(0, len(lonlat), size)]
        np.testing.assert_array_equal(np.concatenate(apart), together)


def test_contract_of_the_model():
    model = graph_of(tower_of(**SHAPES[0]))
    (given,), (made,) = model.graph.input, model.graph.output
    assert (given.name, given.type.tensor_type.elem_type) == ("lonlat", onnx.TensorProto.DOUBLE)
    assert (made.name, made.type.tensor_type.elem_type) == ("embedding", onnx.TensorProto.FLOAT)
    assert [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim] == ["n", 2]
    assert [d.dim_param or d.dim_value for d in made.type.tensor_type.shape.dim] == ["n", 16]


def test_no_places():
    session = open_graph(graph_of(tower_of(**SHAPES[0])).SerializeToString())
    (rows,) = session.run(None, {"lonlat": np.empty((0, 2))})
    assert rows.shape == (0, 16)
