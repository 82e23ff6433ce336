"""Each way to name an encoder gives its embeddings."""

import numpy as np
import pytest

from trainer.baselines import Baseline
from trainer.errors import CheckpointError, EvaluationError
from trainer.evaluation.encoders import embeddings_of, fingerprint, open_encoder, open_encoders
from trainer.export import embed_with_graph
from trainer.snap import uniform_on_sphere

PLACES = uniform_on_sphere(50, 0)


def test_a_bundle_and_its_checkpoint_say_the_same(small_bundle, small_run):
    bundle, checkpoint = open_encoder(str(small_bundle.path)), open_encoder(str(small_run / "best.ckpt"))
    expected = embed_with_graph(small_bundle.read(small_bundle.card.encoder), PLACES)
    np.testing.assert_array_equal(embeddings_of(bundle, PLACES), expected)
    np.testing.assert_allclose(embeddings_of(checkpoint, PLACES), expected, atol=2e-5)
    assert (bundle.name, checkpoint.name) == ("small", "small")
    assert small_bundle.card.digest[:12] in bundle.note


def test_a_name_of_the_users_heads_the_row(small_bundle):
    with pytest.raises(EvaluationError, match="two encoders are named 'small'"):
        open_encoders([str(small_bundle.path)] * 2)
    names = [each.name for each in open_encoders([str(small_bundle.path), f"again={small_bundle.path}"])]
    assert names == ["small", "again"]


def test_a_shipped_bundle_and_a_baseline_go_by_name():
    assert open_encoder("earth-l30").name == "earth-l30"
    assert embeddings_of(open_encoder("baseline:sincos"), PLACES).shape == (50, 4)
    with pytest.raises(CheckpointError, match=r"none\.ckpt does not exist"):
        open_encoder("none.ckpt")


def test_the_fingerprint_is_of_what_an_encoder_says():
    def encoder(factor):
        return Baseline("a", "", lambda places: (places * factor).astype(np.float32))

    assert fingerprint(encoder(1)) == fingerprint(encoder(1))
    assert fingerprint(encoder(1)) != fingerprint(encoder(1.001))


def test_what_is_not_finite_or_missing_is_named():
    broken = Baseline("broken", "", lambda places: np.where(places > 179, np.nan, places).astype(np.float32))
    with pytest.raises(
        EvaluationError, match=r"broken has no finite embedding of 1 places, the first lon 179.5, lat 2"
    ):
        embeddings_of(broken, np.array([[1.0, 2], [179.5, 2]]))
    short = Baseline("short", "", lambda places: places[1:].astype(np.float32))
    with pytest.raises(EvaluationError, match=r"short gave \(49, 2\) for 50 places"):
        embeddings_of(short, PLACES)
