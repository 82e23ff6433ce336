import json
import math

import pytest
import torch

from tests.synthetic_world import small_config, write_world
from trainer.checkpoint import read_checkpoint
from trainer.config import Config, read_config
from trainer.data.kept import keep_tiles
from trainer.errors import RunError
from trainer.run_folder import RunFolder
from trainer.training import (
    ContrastiveTraining,
    RowBatches,
    credited_sources,
    decay_groups,
    fit,
    initial_model,
    pretrain,
)


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


def module(imagery, asked: Config, kind: type[ContrastiveTraining] = ContrastiveTraining) -> ContrastiveTraining:
    tiles = keep_tiles(asked, imagery)
    return kind(initial_model(asked, tiles), tiles, asked, credited_sources(asked, imagery))


class Killed(Exception):
    pass


class KilledInTheMiddle(ContrastiveTraining):
    """Training that dies in the second step of its third epoch."""

    def training_step(self, rows: torch.Tensor, step: int) -> torch.Tensor:
        if (self.current_epoch, step) == (2, 1):
            raise Killed
        return super().training_step(rows, step)


def same(a: object, b: object) -> bool:
    """Bitwise equality of nested states."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one_bit_for_bit(imagery, tmp_path):
    asked = config(epochs=5)
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    fit(module(imagery, asked), whole)
    with pytest.raises(Killed):
        fit(module(imagery, asked, KilledInTheMiddle), killed)
    torch.rand(7)  # the global generator is not what a run depends on
    fit(module(imagery, asked), killed)
    for path, resumed in ((whole.last, killed.last), (whole.best, killed.best)):
        one, other = (torch.load(each, weights_only=True) for each in (path, resumed))
        for part in ("state_dict", "optimizer_states", "epoch", "global_step"):
            assert same(one[part], other[part]), part


def test_another_seed_is_another_run(imagery, finished, tmp_path):
    other = pretrain(config(seed=1), imagery, tmp_path)
    one, two = (
        read_checkpoint(path).model_state["location_tower.network.last.weight"] for path in (finished.best, other)
    )
    assert not torch.equal(one, two)


def test_training_lowers_the_validation_loss(finished):
    metrics = {metric["name"]: metric["value"] for metric in json.loads((finished.path / "metrics.json").read_text())}
    assert metrics["validation contrastive loss"] < math.log(40) - 0.3  # 40 held-out tiles; chance is log 40


def test_a_finished_run_holds_all_that_describes_it(finished):
    assert read_config(finished.path / "config.yaml") == config()
    environment = json.loads((finished.path / "environment.json").read_text())
    assert torch.__version__.startswith(environment["torch"])
    assert {"python", "platform", "lightning", "git"} <= environment.keys()
    assert list(finished.path.glob("events.out.tfevents.*"))
    checkpoint = read_checkpoint(finished.best)
    metrics = json.loads((finished.path / "metrics.json").read_text())
    assert [metric.model_dump() for metric in checkpoint.description.metrics] == metrics
    assert checkpoint.description.samples == 360
    assert 1 <= checkpoint.description.epochs <= 3
    assert [source.name for source in checkpoint.description.sources] == ["positions", "greenness"]
    assert all(source.sha256 for source in checkpoint.description.sources)


def test_the_metrics_compare_with_the_untrained_tower(finished):
    names = [metric["name"] for metric in json.loads((finished.path / "metrics.json").read_text())]
    for folds in ("random folds", "10° blocks"):
        assert {f"green R2, {folds}", f"green R2, {folds}, untrained"} <= set(names)
    assert {"retrieval top-1", "retrieval top-5", "retrieval median rank"} <= set(names)


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
    best = pretrain(config(), imagery, tmp_path, resume=True)
    assert same(read_checkpoint(best).model_state, read_checkpoint(finished.best).model_state)


def test_a_diverging_run_says_so(imagery, tmp_path):
    with pytest.raises(RunError, match=r"without a finite validation loss; lower training\.learning_rate"):
        pretrain(config(learning_rate=1e20), imagery, tmp_path)


def test_early_stopping_keeps_the_best_epoch(imagery, tmp_path):
    """At a learning rate far too high the validation loss soon stops falling."""
    best = pretrain(config(learning_rate=3.0, epochs=40, patience=2), imagery, tmp_path)
    epochs = read_checkpoint(RunFolder(best.parent).last).description.epochs
    assert epochs == read_checkpoint(best).description.epochs + 2 < 40


def test_a_run_that_stopped_early_stays_stopped(imagery, tmp_path):
    asked, run = config(learning_rate=3.0, epochs=40, patience=2), RunFolder(tmp_path)
    fit(module(imagery, asked), run)
    before = read_checkpoint(run.last)
    fit(module(imagery, asked), run)
    after = read_checkpoint(run.last)
    assert before.description == after.description
    assert same(before.model_state, after.model_state)


def test_without_neighbours_it_is_satclip(imagery, tmp_path):
    asked = Config.model_validate({**small_config(), "refinement": {"neighbours": 0}})
    state = read_checkpoint(pretrain(asked, imagery, tmp_path)).model_state
    assert not any(name.startswith("fusion") for name in state)


def test_decay_is_on_matrices_alone(imagery):
    model = initial_model(config(), keep_tiles(config(), imagery))
    decayed, free = decay_groups(model, 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all(names[id(p)].endswith("weight") for p in decayed["params"])
    assert {"log_scale"} | {n for n in names.values() if n.endswith("bias")} == {names[id(p)] for p in free["params"]}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(free["params"]) == len(names)


def test_each_epoch_has_its_own_order_and_covers_all_but_a_remainder(imagery):
    training = module(imagery, config())
    rows = torch.cat(list(training.train_dataloader()))
    assert len(rows) == len(rows.unique()) == 320
    assert set(rows.tolist()) <= set(training.tiles.train_rows.tolist())


def test_fewer_rows_than_a_batch_are_one_batch():
    assert [batch.tolist() for batch in RowBatches(torch.arange(3), 8)] == [[0, 1, 2]]
    assert [batch.tolist() for batch in RowBatches(torch.arange(7), 3)] == [[0, 1, 2], [3, 4, 5]]
