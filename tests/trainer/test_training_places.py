"""Where a model was trained: kept in its checkpoint, written into its bundle, else found in the imagery."""

import logging

import numpy as np
import pytest
import torch

from service.bundle import read_bundle, read_training_places
from tests.synthetic_world import FEW_PLACES, small_config, write_world
from trainer.checkpoint import TRAINING_PLACES, read_checkpoint
from trainer.config import Config
from trainer.data.tiles import open_tiles
from trainer.errors import ImageryError
from trainer.package import package
from trainer.training_places import training_places


@pytest.fixture
def older(small_run, tmp_path):
    """The checkpoint as it was before checkpoints held places."""
    raw = torch.load(small_run / "best.ckpt", weights_only=True)
    del raw[TRAINING_PLACES]
    path = tmp_path / "older.ckpt"
    torch.save(raw, path)
    return path


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world") / "imagery")


@pytest.fixture(scope="module")
def trained_at(imagery):
    tiles = open_tiles(Config.model_validate(small_config()), imagery)
    return tiles.lonlat[tiles.train_rows].numpy()


def test_a_checkpoint_holds_the_training_tiles_and_none_held_out(small_run, trained_at):
    checkpoint = read_checkpoint(small_run / "best.ckpt")
    assert checkpoint.training_places is not None
    assert len(checkpoint.training_places) == checkpoint.description.samples == 360
    np.testing.assert_allclose(checkpoint.training_places, trained_at, atol=1e-5)


def test_the_bundle_has_them(small_bundle, trained_at):
    bundle = read_bundle(small_bundle.path)
    assert bundle.card.training_places is not None
    assert bundle.card.training_places.count == 360
    places = read_training_places(bundle)
    assert places is not None
    np.testing.assert_allclose(places.degrees, trained_at, atol=2e-5)


def test_of_an_older_checkpoint_the_imagery_tells_the_same(older, imagery, trained_at):
    checkpoint = read_checkpoint(older)
    assert checkpoint.training_places is None
    np.testing.assert_array_equal(training_places(checkpoint, imagery), trained_at)


def test_other_imagery_tells_nothing(older, tmp_path):
    with pytest.raises(ImageryError, match="other imagery than that of the training"):
        training_places(read_checkpoint(older), write_world(tmp_path / "other", rows=60))


def test_without_the_imagery_a_bundle_has_none_and_a_warning_says_why(older, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        bundle = package(older, tmp_path / "bundle", snap_places=FEW_PLACES, imagery=tmp_path / "nowhere")
    assert bundle.card.training_places is None
    assert "positions.tif cannot be read" in caplog.text
