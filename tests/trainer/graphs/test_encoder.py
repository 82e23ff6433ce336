import math

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from tests.golden import golden_arrays, published_tower
from trainer.export import embed_exactly, embed_with_graph, parity_places
from trainer.graphs.encoder import encoder_graph, network_graph
from trainer.models.location_tower import LocationTower, harmonics_tower
from trainer.snap import uniform_on_sphere

SHAPES = [
    {"legendre_polys": 1},
    {"legendre_polys": 2},
    {"legendre_polys": 3, "hidden_dim": 50, "hidden_layers": 1, "embedding_dim": 5},
    {"legendre_polys": 7, "hidden_dim": 24, "hidden_layers": 4, "embedding_dim": 1, "w0_initial": 10.0, "w0": 3.0},
    {"legendre_polys": 10, "m0_scale": math.pi},
    {"legendre_polys": 40},
]


def tower_of(**shape: object) -> LocationTower:
    torch.manual_seed(0)
    return harmonics_tower(**shape).double().eval()  # type: ignore[arg-type]


def graph_of(tower: LocationTower) -> bytes:
    return encoder_graph(tower).SerializeToString()


def session_of(graph: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_is_the_tower(shape):
    tower, lonlat = tower_of(**shape), parity_places()
    np.testing.assert_allclose(
        embed_with_graph(graph_of(tower), lonlat), embed_exactly(tower, lonlat), rtol=0, atol=5e-6
    )


@pytest.mark.parametrize("legendre_polys", [10, 40])
def test_agrees_with_published_embeddings(legendre_polys):
    reference = golden_arrays(f"satclip_L{legendre_polys}.npz")
    embeddings = embed_with_graph(graph_of(published_tower(legendre_polys)), reference["lonlat"])
    np.testing.assert_allclose(embeddings, reference["emb_analytic_exact"], rtol=0, atol=5e-6)


def test_larger_weights_lose_no_more_near_the_poles():
    """With m = 0 first, the sums of the first layer would lose more than twice as much there."""
    tower = tower_of(legendre_polys=10, m0_scale=math.pi)
    with torch.no_grad():
        tower.network.hidden[0].weight *= 20
    polar = [[lon, lat] for lon in range(-180, 180, 5) for lat in (-88, -87, 87, 88)]
    lonlat = np.concatenate([parity_places(), polar])
    np.testing.assert_allclose(
        embed_with_graph(graph_of(tower), lonlat), embed_exactly(tower, lonlat), rtol=0, atol=1.8e-5
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_row_is_the_same_to_the_bit_in_any_batch(shape):
    session, lonlat = session_of(graph_of(tower_of(**shape))), uniform_on_sphere(1000, seed=1)
    (together,) = session.run(None, {"lonlat": lonlat})
    for size in (1, 2, 7, 512):
        apart = [session.run(None, {"lonlat": lonlat[i : i + size]})[0] for i in range(0, 1000, size)]
        np.testing.assert_array_equal(np.concatenate(apart), together)


@pytest.mark.parametrize("pole", [-90.0, 90.0])
def test_poles_have_one_embedding(pole):
    lonlat = np.array([[lon, pole] for lon in (-180.0, -77.7, 0.0, 12.3456789, 180.0)])
    rows = embed_with_graph(graph_of(tower_of(legendre_polys=40)), lonlat).astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert (0.5 * np.square(unit - unit[0]).sum(axis=1)).max() < 1e-12


def test_antimeridian_is_one_line():
    lats = np.linspace(-90, 90, 181)
    west, east = (
        embed_with_graph(graph_of(tower_of(legendre_polys=40)), np.stack([np.full_like(lats, lon), lats], axis=1))
        for lon in (-180, 180)
    )
    np.testing.assert_allclose(west, east, rtol=0, atol=1e-6)


def test_contract_of_the_model():
    model = encoder_graph(tower_of(legendre_polys=4, embedding_dim=9))
    (given,), (made,) = model.graph.input, model.graph.output
    assert model.opset_import[0].version >= 17
    assert (given.name, given.type.tensor_type.elem_type) == ("lonlat", onnx.TensorProto.DOUBLE)
    assert (made.name, made.type.tensor_type.elem_type) == ("embedding", onnx.TensorProto.FLOAT)
    assert [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim] == ["n", 2]
    assert [d.dim_param or d.dim_value for d in made.type.tensor_type.shape.dim] == ["n", 9]


def test_no_places():
    (rows,) = session_of(graph_of(tower_of(legendre_polys=3))).run(None, {"lonlat": np.empty((0, 2))})
    assert rows.shape == (0, 256)


def test_network_alone_takes_published_features():
    tower, lonlat = tower_of(legendre_polys=6), uniform_on_sphere(100, seed=2)
    features = tower.encoding(torch.from_numpy(lonlat)).float().numpy()
    (rows,) = session_of(network_graph(tower).SerializeToString()).run(None, {"features": features})
    np.testing.assert_allclose(rows, embed_exactly(tower, lonlat), rtol=0, atol=5e-6)
