import numpy as np
import onnx
import pytest
import torch

from service.bundle import read_bundle
from service.bundles import DEFAULT, bundle_path
from trainer.export import embed_with_graph, parity_places
from trainer.graphs.encoder import encoder_graph
from trainer.models.encodings.plain import wrap
from trainer.models.location_tower import LocationTower, harmonics_tower
from trainer.models.networks.siren import Siren
from trainer.precision import HALF, cosine_distances, with_precisions


@pytest.fixture(scope="module")
def card():
    return read_bundle(bundle_path(DEFAULT)).card.model_copy(update={"precisions": ()})


def encoder(scale: float = 1.0) -> bytes:
    torch.manual_seed(0)
    tower = harmonics_tower(legendre_polys=6, hidden_dim=32, embedding_dim=8).eval()
    with torch.no_grad():
        tower.network.hidden[0].weight *= scale
    return encoder_graph(tower).SerializeToString()


def test_cosine_distances_are_those_of_the_definition():
    u, v = np.random.default_rng(0).standard_normal((2, 50, 8)).astype(np.float32)
    cosines = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    np.testing.assert_allclose(cosine_distances(u, v), 1 - cosines, atol=1e-6)
    assert cosine_distances(u, 3 * u).max() < 1e-13


def test_both_are_declared_with_what_they_cost(card):
    made, files = with_precisions(card, encoder())
    tf32, half = made.precisions
    assert (tf32.name, tf32.file, half.name, half.file) == ("tf32", None, "float16", HALF)
    for precision in made.precisions:
        assert 1e-9 < precision.cosine_mean < precision.cosine_max < 1e-4
        assert precision.points == len(parity_places())
    assert "emulated" in tf32.measured
    assert files.keys() == {HALF}
    onnx.checker.check_model(onnx.load_from_string(files[HALF]), full_check=True)


def test_the_largest_distance_is_of_the_graph_that_is_shipped(card):
    made, files = with_precisions(card, encoder())
    places = parity_places()
    distances = cosine_distances(embed_with_graph(files[HALF], places), embed_with_graph(encoder(), places))
    assert 0.1 < distances.max() / made.precisions[1].cosine_max < 2  # onnxruntime rounds less on a CPU


def test_larger_weights_cost_more(card):
    plain, larger = (with_precisions(card, encoder(scale))[0].precisions for scale in (1, 3))
    for one, other in zip(plain, larger, strict=True):
        assert other.cosine_max > 2 * one.cosine_max


def test_what_moves_an_embedding_too_far_is_not_declared(card):
    made, files = with_precisions(card, encoder(scale=300))
    assert made.precisions == ()
    assert files == {}


def test_an_encoder_that_is_traced_has_tf32_alone(card):
    torch.manual_seed(0)
    encoding = wrap()
    tower = LocationTower(encoding, Siren(encoding.feature_dim, 32, 1, 8)).eval()
    made, files = with_precisions(card, encoder_graph(tower).SerializeToString())
    assert [precision.name for precision in made.precisions] == ["tf32"]
    assert files == {}
