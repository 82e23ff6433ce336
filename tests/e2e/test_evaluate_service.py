"""A running service is evaluated as the bundle that it serves."""

from __future__ import annotations

import numpy as np

from tests.e2e.conftest import Serve, Served
from trainer.evaluation.encoders import embeddings_of, fingerprint, open_encoder
from trainer.snap import uniform_on_sphere


def test_a_service_says_what_its_bundle_says(served: Served) -> None:
    places = uniform_on_sphere(10_000, 0)  # more than one request
    over_http, from_files = open_encoder(served.url), open_encoder("earth-l30")
    assert over_http.name == "earth-l30"
    np.testing.assert_allclose(embeddings_of(over_http, places), embeddings_of(from_files, places), atol=2e-6)
    assert fingerprint(over_http) == fingerprint(open_encoder(f"{served.url}#earth-l30"))


def test_a_service_with_little_room_is_asked_in_turn(serve: Serve) -> None:
    places = uniform_on_sphere(20_000, 1)
    with serve(SATCLE_MAX_QUEUE_POINTS="2048", SATCLE_MAX_POINTS_PER_REQUEST="2048") as running:
        assert embeddings_of(open_encoder(running.url), places).shape == (20_000, 256)
