"""Both sides in one file: imagery → training → checkpoint → bundle → service → embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.bundle import Bundle, LonLat, read_bundle
from service.embedding.cells import cells_of, centres_of
from service.settings import Settings
from tests.synthetic_world import FEW_PLACES, small_config, write_world
from trainer.checkpoint import read_checkpoint
from trainer.config import Config
from trainer.export import embed_exactly
from trainer.models.location_tower import LocationTower
from trainer.models.two_tower import untrained_location_tower
from trainer.package import package
from trainer.training import pretrain


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained for a few seconds on a made-up world."""
    folder = tmp_path_factory.mktemp("training")
    return pretrain(Config.model_validate(small_config()), write_world(folder / "imagery"), folder / "runs")


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Bundle:
    package(checkpoint, checkpoint.parent / "bundle", snap_places=FEW_PLACES)
    return read_bundle(checkpoint.parent / "bundle")


@pytest.fixture(scope="module")
def tower(checkpoint: Path) -> LocationTower:
    return read_checkpoint(checkpoint).location_tower().double().eval()


def test_what_is_served_is_what_was_trained(bundle: Bundle, tower: LocationTower):
    places = np.random.default_rng(0).uniform([-180, -90], [180, 90], (300, 2))
    places[:4] = [[180, 10], [-180, 10], [13, 90], [-77, -90]]
    centres = centres_of(cells_of(LonLat.from_degrees(places), bundle.card.snap_resolution))
    with TestClient(create_app(Settings(bundles=(str(bundle.path),)))) as client:
        answer = client.post("/v1/embeddings", json={"input": places.tolist()}).json()
        exact = client.post("/v1/embeddings", json={"input": places.tolist(), "exact": True}).json()

    assert answer["model"] == "small"
    np.testing.assert_allclose(_rows(answer), embed_exactly(tower, centres.degrees.copy()), atol=2e-5)
    np.testing.assert_allclose(_rows(exact), embed_exactly(tower, places), atol=2e-5)


def test_the_service_shows_the_card_that_training_wrote(bundle: Bundle):
    with TestClient(create_app(Settings(bundles=(str(bundle.path),)))) as client:
        card = client.get("/v1/models/small").json()
    assert card["digest"] == bundle.card.digest
    assert card["embedding_dim"] == 16
    assert card["encoding"]["legendre_polys"] == 5
    assert card["training"]["samples"] == 360
    assert {source["credit"] for source in card["training"]["sources"]} == {"made up"}
    assert {metric["name"] for metric in card["metrics"]} >= {"validation contrastive loss", "retrieval top-1"}


def test_training_moved_the_tower(checkpoint: Path, tower: LocationTower):
    before = untrained_location_tower(read_checkpoint(checkpoint).config).double().eval()
    places = np.random.default_rng(1).uniform([-180, -90], [180, 90], (50, 2))
    assert np.abs(embed_exactly(tower, places) - embed_exactly(before, places)).max() > 1e-3


def _rows(answer: dict) -> np.ndarray:
    return np.array([item["embedding"] for item in answer["data"]], np.float32)
