import pytest

from tests.synthetic_world import small_config, write_world
from trainer.config import Config
from trainer.data.kept import keep_tiles
from trainer.evaluation.measure import measure
from trainer.training import initial_model


@pytest.fixture(scope="module")
def metrics(tmp_path_factory):
    """Of a model that has not been trained."""
    config = Config.model_validate(small_config())
    tiles = keep_tiles(config, write_world(tmp_path_factory.mktemp("imagery")))
    return {metric.name: metric for metric in measure(initial_model(config, tiles), tiles, config)}


def test_an_untrained_tower_equals_its_untrained_self(metrics):
    for folds in ("random folds", "10° blocks"):
        assert metrics[f"green R2, {folds}"].value == metrics[f"green R2, {folds}, untrained"].value


def test_an_untrained_model_retrieves_by_chance(metrics):
    """Among 40 tiles the median rank is about 20, and the loss no better than chance."""
    assert 8 <= metrics["retrieval median rank"].value <= 32
    assert metrics["validation contrastive loss"].value > 3.5


def test_every_metric_says_on_how_many_tiles(metrics):
    assert all("40 held-out tiles" in metric.on for metric in metrics.values())
