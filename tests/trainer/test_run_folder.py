import json

import pytest
import yaml

from service.bundle import Metric
from tests.synthetic_world import small_config
from trainer.config import Config
from trainer.errors import CheckpointError
from trainer.run_folder import RunFolder, environment


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "runs" / "small")


def test_a_new_folder_is_free_and_unfinished(run):
    assert run.epochs_of(Config.model_validate(small_config()), resume=False) == 0
    assert not run.finished


def test_config_and_environment_are_written_down(run):
    config = Config.model_validate(small_config())
    run.describe(config)
    assert Config.model_validate(yaml.safe_load((run.path / "config.yaml").read_text())).digest == config.digest
    assert json.loads((run.path / "environment.json").read_text()) == environment() | {"processes": 1}
    run.describe(config, processes=4)
    assert json.loads((run.path / "environment.json").read_text())["processes"] == 4


def test_metrics_and_best_checkpoint_mark_a_finished_run(run):
    run.describe(Config.model_validate(small_config()))
    run.finish([Metric(name="made up", value=1.5, on="nothing")])
    assert json.loads((run.path / "metrics.json").read_text()) == [{"name": "made up", "value": 1.5, "on": "nothing"}]
    assert not run.finished
    run.best.touch()
    assert run.finished


def test_a_broken_last_checkpoint_is_named(run):
    run.describe(Config.model_validate(small_config()))
    run.last.write_bytes(b"broken")
    with pytest.raises(CheckpointError, match=r"last\.ckpt is not a checkpoint"):
        run.epochs_of(Config.model_validate(small_config()), resume=True)
