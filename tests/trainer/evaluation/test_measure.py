import pytest
import torch

from tests.killed_training import training_of
from tests.synthetic_world import small_config, write_world
from trainer.config import Config
from trainer.evaluation.measure import measure
from trainer.models.location_tower import LocationTower


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("imagery"))


def metrics_of(imagery, **refinement):
    """Of a model that has not been trained."""
    given = small_config()
    config = Config.model_validate({**given, "refinement": {**given["refinement"], **refinement}})
    training = training_of(config, imagery)
    return {metric.name: metric for metric in measure(training.model, training.tiles, config)}


@pytest.fixture(scope="module")
def metrics(imagery):
    return metrics_of(imagery)


def test_what_is_probed_is_what_is_served(imagery, metrics):
    fused = metrics_of(imagery, serve_fusion=True)
    name = "green R2, random folds"
    assert fused[name].value == fused[f"{name}, untrained"].value != metrics[name].value
    assert fused["retrieval median rank"] == metrics["retrieval median rank"]


def test_an_untrained_tower_equals_its_untrained_self(metrics):
    for folds in ("random folds", "10° blocks"):
        assert metrics[f"green R2, {folds}"].value == metrics[f"green R2, {folds}, untrained"].value


def test_an_untrained_model_retrieves_by_chance(metrics):
    """Among 40 tiles the median rank is about 20, and the loss no better than chance."""
    assert 8 <= metrics["retrieval median rank"].value <= 32
    assert metrics["validation contrastive loss"].value > 3.5


def test_every_metric_says_on_how_many_tiles(metrics):
    assert all("40 held-out tiles" in metric.on for metric in metrics.values())


def distilling(imagery):
    given = small_config(contrast_weight=0) | {"distillation": {"components": 4}}
    config = Config.model_validate(given)
    return training_of(config, imagery), config


def test_without_contrast_nothing_is_said_of_it(imagery):
    training, config = distilling(imagery)
    names = {metric.name for metric in measure(training.model, training.tiles, config)}
    assert "image told" in names
    assert not {name for name in names if "retrieval" in name or "contrastive" in name}


def test_the_image_is_told_wholly_or_not_at_all(imagery):
    """An embedding that begins with the components themselves tells them all; one that is constant, none."""
    training, config = distilling(imagery)
    model, tiles = training.model, training.tiles
    rows = tiles.validation_rows
    targets = model.distillation.of(tiles.features[0, rows]) * model.distillation.reach

    class Known(LocationTower):
        def forward(self, lonlat):
            index = (lonlat[:, None] == tiles.lonlat[rows]).all(dim=2).int().argmax(dim=1)
            return torch.cat((targets[index], super().forward(lonlat)[:, 4:]), dim=1)

    def told():
        return {metric.name: metric.value for metric in measure(model, tiles, config)}["image told"]

    plain = model.location_tower
    model.location_tower = Known(plain.encoding, plain.network)
    assert told() == pytest.approx(1, abs=1e-6)
    targets[:] = targets.mean(dim=0)
    assert told() == pytest.approx(0, abs=1e-6)
