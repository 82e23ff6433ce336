import numpy as np
import onnxruntime
import pytest
import torch

from service.bundle import BundleExists, read_bundle
from tests.synthetic_world import FEW_PLACES, small_config, write_world
from trainer.checkpoint import read_checkpoint
from trainer.config import Config
from trainer.export import embed_with_graph
from trainer.models.fused_tower import FusedTower
from trainer.package import method_of, package
from trainer.training import pretrain


def test_the_bundle_reads_back_and_its_card_says_what_was_asked(small_bundle):
    card = read_bundle(small_bundle.path).card
    config = Config.model_validate(small_config())
    assert (card.name, card.version, card.license, card.limits) == ("small", "1", "MIT", "It is made up.")
    assert (card.embedding_dim, card.dimensions, card.encoding.legendre_polys) == (16, (16,), 5)
    assert (card.network.hidden_dim, card.network.hidden_layers) == (32, 2)
    assert (card.training.samples, card.training.seed) == (360, 0)
    assert card.training.config_digest == config.digest
    assert card.training.fusion_served is False
    assert [source.credit for source in card.training.sources] == ["made up", "made up"]
    assert "retrieval top-1" in [metric.name for metric in card.metrics]
    assert {error.resolution for error in card.snap_errors} >= set(range(7, 16))


def test_the_encoder_in_the_bundle_is_the_trained_tower(small_bundle, small_run):
    encoder = small_bundle.read(small_bundle.card.encoder)
    session = onnxruntime.InferenceSession(encoder, providers=["CPUExecutionProvider"])
    lonlat = np.array([[0.0, 0.0], [180.0, 45.0], [12.5, -90.0]])
    served = session.run(None, {session.get_inputs()[0].name: lonlat})[0]
    with torch.no_grad():
        trained = read_checkpoint(small_run / "best.ckpt").location_tower()(torch.from_numpy(lonlat))
    np.testing.assert_allclose(served, trained, atol=1e-4)


def test_lower_precisions_are_declared_and_the_graph_of_one_is_in_the_bundle(small_bundle):
    tf32, half = small_bundle.card.precisions
    assert (tf32.name, tf32.file, half.name) == ("tf32", None, "float16")
    lonlat = np.array([[0.0, 0.0], [170.0, 45.0], [12.5, -80.0]])
    full, lower = (embed_with_graph(small_bundle.read(file), lonlat) for file in (small_bundle.card.encoder, half.file))
    assert 0 < np.abs(full - lower).max() < 0.05 * np.abs(full).max()


def test_a_bundle_is_not_overwritten_unasked(small_run, tmp_path):
    best, out = small_run / "best.ckpt", tmp_path / "bundle"
    package(best, out, name="first", snap_places=FEW_PLACES)
    with pytest.raises(BundleExists):
        package(best, out, name="second")
    assert read_bundle(out).card.name == "first"
    package(best, out, name="second", overwrite=True, snap_places=FEW_PLACES)
    assert read_bundle(out).card.name == "second"


def test_a_served_fusion_is_in_the_encoder_and_the_card_says_so(tmp_path):
    given = small_config(epochs=1)
    config = Config.model_validate({**given, "refinement": {**given["refinement"], "serve_fusion": True}})
    best = pretrain(config, write_world(tmp_path / "imagery"), tmp_path / "runs")
    bundle = package(best, tmp_path / "bundle", snap_places=FEW_PLACES)
    assert bundle.card.training.fusion_served is True
    assert bundle.card.raster is None
    lonlat = np.array([[0.0, 0.0], [180.0, 45.0], [12.5, -90.0]])
    fused = read_checkpoint(best).location_tower()
    assert isinstance(fused, FusedTower)
    with torch.no_grad():
        trained, unfused = fused(torch.from_numpy(lonlat)), fused.location_tower(torch.from_numpy(lonlat))
    served = embed_with_graph(bundle.read(bundle.card.encoder), lonlat)
    np.testing.assert_allclose(served, trained, atol=1e-4)
    assert np.abs(served - unfused.numpy()).max() > 0.1


@pytest.mark.parametrize(
    ("sections", "method"),
    [
        ({}, "satcle (geospatial)"),
        ({"causal": {}, "vision": {}}, "satcle (geospatial, causal)"),
        ({"causal": {}, "vision": {}, "refinement": {"neighbours": 0}}, "satcle (causal)"),
        ({"refinement": {"fusion": "published"}}, "satcle (geospatial as published)"),
        ({"refinement": {"neighbours": 0}}, "satcle"),
        ({"method": "satclip", "refinement": {}}, "satclip"),
        ({"method": "satclip", "refinement": {}, "training": {"objective": "csp"}}, "csp"),
    ],
)
def test_the_card_says_which_refinements_were_on(sections, method):
    assert method_of(Config.model_validate({**small_config(), **sections})) == method
