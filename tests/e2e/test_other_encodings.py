"""A tower of another encoding and network, from imagery to a map tile: it has no graph over grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.bundle import Bundle, read_bundle
from service.settings import Settings
from tests.synthetic_world import FEW_PLACES, small_config, write_world
from trainer.checkpoint import read_checkpoint
from trainer.config import Config
from trainer.export import embed_exactly
from trainer.package import package
from trainer.training import pretrain

TOWERS = {
    "csp": {
        "encoding": {"kind": "grid", "frequencies": 6, "max_radius": 100},
        "network": {"kind": "fcnet", "hidden_dim": 24, "residual_layers": 1},
    },
    "gps2vec": {"encoding": {"kind": "utm_soft", "cells": 4}, "network": {"kind": "mlp", "hidden_dim": 24}},
}


@pytest.fixture(scope="module", params=TOWERS)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    config = small_config(epochs=1) | {"location_tower": TOWERS[request.param] | {"embedding_dim": 16}}
    return pretrain(Config.model_validate(config), write_world(folder / "imagery"), folder / "runs")


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Bundle:
    package(checkpoint, checkpoint.parent / "bundle", snap_places=FEW_PLACES)
    return read_bundle(checkpoint.parent / "bundle")


def test_what_is_served_is_what_was_trained(bundle: Bundle, checkpoint: Path):
    tower = read_checkpoint(checkpoint).location_tower().double().eval()
    places = np.random.default_rng(0).uniform([-180, -90], [180, 90], (100, 2))
    places[:4] = [[180, 10], [-180, 10], [13, 90], [-77, -90]]
    with TestClient(create_app(Settings(bundles=(str(bundle.path),)))) as client:
        answer = client.post("/v1/embeddings", json={"input": places[4:].tolist(), "exact": True}).json()
    made = np.array([row["embedding"] for row in answer["data"]])
    np.testing.assert_allclose(made, embed_exactly(tower, places[4:]), atol=2e-5)


def test_the_card_describes_both_parts_and_maps_need_no_graph_over_grids(bundle: Bundle):
    assert bundle.card.raster is None
    assert bundle.card.encoding.kind in ("grid", "utm_soft")
    assert bundle.card.encoding.settings
    with TestClient(create_app(Settings(bundles=(str(bundle.path),)))) as client:
        tile = client.get("/v1/embeddings/tiles/WebMercatorQuad/2/1/1.png")
        assert tile.status_code == 200, tile.text
        assert tile.headers["content-type"] == "image/png"
        assert client.get(f"/v1/models/{bundle.card.name}").json()["encoding"]["kind"] == bundle.card.encoding.kind
