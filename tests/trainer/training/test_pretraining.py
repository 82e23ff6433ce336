import json
import math

import pytest
import torch

from tests.synthetic_world import FEW_PLACES, small_config, write_world
from trainer.checkpoint import read_checkpoint
from trainer.config import Config, read_config
from trainer.errors import CheckpointError, RunError
from trainer.models.two_tower import untrained_location_tower
from trainer.package import package
from trainer.run_folder import RunFolder
from trainer.training import pretrain
from trainer.training.history import COLUMNS, read_history


@pytest.fixture(scope="module")
def imagery(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("imagery"))


@pytest.fixture(scope="module")
def finished(imagery, tmp_path_factory):
    """The run folder of a finished run."""
    runs = tmp_path_factory.mktemp("runs")
    return RunFolder(pretrain(config(), imagery, runs).parent)


def config(**training: object) -> Config:
    return Config.model_validate(small_config(**training))


def metrics_of(run: RunFolder) -> dict[str, float]:
    return {metric["name"]: metric["value"] for metric in json.loads((run.path / "metrics.json").read_text())}


def weights_of(run: RunFolder) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(run.best).model_state)


def test_another_seed_is_another_run(imagery, finished, tmp_path):
    other = RunFolder(pretrain(config(seed=1), imagery, tmp_path).parent)
    name = "location_tower.network.last.weight"
    assert not torch.equal(weights_of(finished)[name], weights_of(other)[name])


def test_training_lowers_the_validation_loss(finished):
    assert metrics_of(finished)["validation contrastive loss"] < math.log(40) - 0.3  # of 40 tiles; chance is log 40


def test_a_finished_run_holds_all_that_describes_it(finished):
    assert read_config(finished.path / "config.yaml") == config()
    environment = json.loads((finished.path / "environment.json").read_text())
    assert torch.__version__.startswith(environment["torch"])
    assert {"python", "platform", "lightning", "git", "cpu", "cuda", "devices"} <= environment.keys()
    assert environment["processes"] == 1
    assert list(finished.path.glob("events.out.tfevents.*"))
    checkpoint = read_checkpoint(finished.best)
    metrics = json.loads((finished.path / "metrics.json").read_text())
    assert [metric.model_dump() for metric in checkpoint.description.metrics] == metrics
    assert checkpoint.description.samples == 360
    assert 1 <= checkpoint.description.epochs <= 3
    assert [source.name for source in checkpoint.description.sources] == ["positions", "greenness"]
    assert all(source.sha256 for source in checkpoint.description.sources)


def test_the_history_has_a_line_an_epoch(finished):
    lines = read_history(finished.history)
    assert [line["epoch"] for line in lines] == ["1", "2", "3"]
    assert tuple(lines[0]) == COLUMNS
    assert float(lines[-1]["train_loss"]) < float(lines[0]["train_loss"])
    assert all(
        float(line["samples_per_second"]) * float(line["seconds"]) == pytest.approx(320, rel=1e-3) for line in lines
    )
    best = min(float(line["validation_loss"]) for line in lines)
    assert metrics_of(finished)["validation contrastive loss"] == pytest.approx(best, rel=0.05)


def test_the_metrics_compare_with_the_untrained_tower(finished):
    names = metrics_of(finished).keys()
    for folds in ("random folds", "10° blocks"):
        assert {f"green R2, {folds}", f"green R2, {folds}, untrained"} <= names
    assert {"retrieval top-1", "retrieval top-5", "retrieval median rank"} <= names


def test_a_run_is_not_overwritten_and_a_finished_one_is_not_run_again(imagery, finished):
    runs = finished.path.parent
    before = finished.best.read_bytes()
    with pytest.raises(RunError, match=r"holds a run; go on with --resume"):
        pretrain(config(), imagery, runs)
    assert pretrain(config(), imagery, runs, resume=True) == finished.best
    assert finished.best.read_bytes() == before
    with pytest.raises(RunError, match="holds a run of another config"):
        pretrain(config(epochs=4), imagery, runs, resume=True)


def test_resuming_where_there_is_nothing_starts(imagery, finished, tmp_path):
    again = RunFolder(pretrain(config(), imagery, tmp_path, resume=True).parent)
    one, other = weights_of(finished), weights_of(again)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_early_stopping_keeps_the_best_epoch(imagery, tmp_path):
    """At a learning rate far too high the validation loss soon stops falling."""
    best = pretrain(config(learning_rate=3.0, epochs=40, patience=2), imagery, tmp_path)
    epochs = read_checkpoint(RunFolder(best.parent).last).description.epochs
    assert epochs == read_checkpoint(best).description.epochs + 2 < 40


def test_satclip_has_no_fusion(imagery, tmp_path):
    given = {name: section for name, section in small_config().items() if name != "refinement"}
    asked = Config.model_validate({**given, "method": "satclip"})
    assert not any(
        name.startswith("fusion") for name in weights_of(RunFolder(pretrain(asked, imagery, tmp_path).parent))
    )


def test_a_causal_run_needs_its_vision_pretraining(imagery, tmp_path):
    asked = Config.model_validate({**small_config(), "causal": {}, "vision": {"patch": 4}})
    with pytest.raises(CheckpointError, match="pretrain-vision") as error:
        pretrain(asked, imagery, tmp_path)
    assert "\n" not in str(error.value)


def distilling(**training: object) -> Config:
    given = small_config(contrast_weight=0, epochs=8, learning_rate=3e-3, **training)
    given["distillation"] = {"components": 4}
    given["location_tower"] |= {"untrained": {"legendre_polys": 2, "hidden_dim": 8, "dimensions": 12}}
    given["image_tower"], given["refinement"] = {"kind": "statistics"}, {"neighbours": 0}
    given["card"]["dimensions"] = [4, 8]
    return Config.model_validate(given)


def test_distillation_alone_teaches_what_images_say_and_keeps_what_is_untrained(imagery, tmp_path):
    run = RunFolder(pretrain(distilling(), imagery, tmp_path).parent)
    first, *_, last = (float(epoch["validation_loss"]) for epoch in read_history(run.history))
    assert last < first / 2
    checkpoint = read_checkpoint(run.best)
    assert checkpoint.training_places is not None
    lonlat = checkpoint.training_places.double()
    with torch.no_grad():
        embeddings = checkpoint.location_tower()(lonlat)
        untrained = untrained_location_tower(checkpoint.config)(lonlat)[:, 4:]
    torch.testing.assert_close(embeddings[:, 8:], (untrained - untrained.mean(dim=0))[:, 4:], atol=1e-4, rtol=0)
    card = package(run.best, tmp_path / "bundle", snap_places=FEW_PLACES).card
    assert card.dimensions == (4, 8, 16)
    assert card.network.hidden_dim == checkpoint.config.location_tower.network.hidden_dim + 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distillation": None}, "the contrast is all there is to learn from"),
        ({"distillation": {"components": 5}}, "distillation.components: more than location_tower trains"),
        ({"card": {"dimensions": [99]}}, "card.dimensions: 99 is more than"),
        ({"refinement": {"neighbours": 2, "serve_fusion": True}}, "set serve_fusion: false"),
    ],
)
def test_a_distillation_that_cannot_be_is_refused(changes, message):
    given = distilling().model_dump(mode="json")
    for section, values in changes.items():
        given[section] = values if values is None else (given[section] or {}) | values
    with pytest.raises(ValueError, match=message):
        Config.model_validate(given)
