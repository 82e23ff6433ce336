"""The figures of a task: what can be told is told, what leaks under random folds does not under blocks."""

import numpy as np
import pytest
import torch

from trainer.errors import EvaluationError
from trainer.evaluation.cells import Cells
from trainer.evaluation.probing import Protocol, fold_figures, keys, measure, missing, read_probes
from trainer.evaluation.suites import TaskRequest
from trainer.evaluation.tasks import class_task, number_task
from trainer.snap import uniform_on_sphere

PLACES = uniform_on_sphere(3000, 0)
REQUEST = TaskRequest(name="t", data="t.csv", target="v", min_class_rows=1)


def on_sphere(lonlat):
    lon, lat = np.radians(lonlat).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1).astype(np.float32)


def means(task, embeddings):
    wanted = list(keys("e", task, Protocol()))
    return {(key.probe, key.split): np.mean(figures[task.metric]) for key, figures in measure(embeddings, task, wanted)}


def test_a_linear_target_is_told_by_ridge_and_a_smooth_one_by_neighbours():
    task = number_task(REQUEST, PLACES, on_sphere(PLACES)[:, 2].astype(np.float64), "", "")
    found = means(task, on_sphere(PLACES))
    assert set(found) == {("ridge", "random"), ("ridge", "blocks"), ("knn", "random"), ("knn", "blocks")}
    assert found["ridge", "random"] > 0.9999
    assert found["knn", "random"] > found["knn", "blocks"] > 0.9


def test_a_task_that_is_the_block_itself_is_never_told_under_block_folds():
    blocks = [f"{lon:g} {lat:g}" for lon, lat in np.floor(PLACES / 10)]
    found = means(class_task(REQUEST, PLACES, blocks, "", ""), on_sphere(PLACES))
    assert found["knn", "blocks"] == 0
    assert found["ridge", "blocks"] == 0
    assert found["knn", "random"] > 0.3


def test_scores_are_of_each_fold():
    task = number_task(REQUEST, PLACES[:10], np.arange(10.0), "", "")
    folds = torch.arange(10) // 2
    predicted = torch.arange(10.0, dtype=torch.float64)[:, None]
    assert fold_figures(task, predicted, folds) == {"R2": [1.0] * 5}
    predicted[:2] = 0.5  # the mean of its fold
    assert fold_figures(task, predicted, folds)["R2"] == [0, 1, 1, 1, 1]


def test_only_what_is_missing_is_wanted(tmp_path):
    task = number_task(REQUEST, PLACES, PLACES[:, 1], "", "")
    cells = Cells(tmp_path / "cells.json")
    once, twice = Protocol(seeds=1), Protocol(seeds=2)
    cells.add(measure(on_sphere(PLACES), task, missing("e", task, once, cells)))
    assert missing("e", task, once, cells) == []
    assert {key.seed for key in missing("e", task, twice, cells)} == {1}
    assert len(missing("other", task, once, cells)) == 4


def test_other_seeds_are_other_folds():
    task = number_task(REQUEST, PLACES, PLACES[:, 1], "", "")
    reported, chosen = Protocol(("ridge", "mlp"), 5, 3), Protocol(("ridge", "mlp"), 5, 3, first_seed=100)
    assert {key.seed for key in keys("e", task, chosen)} == {100, 101, 102, 103, 104}
    assert not {*keys("e", task, reported)} & {*keys("e", task, chosen)}
    assert chosen.seeds_of("mlp") == range(100, 103)


def test_transfer_is_of_the_continents_that_have_rows():
    task = number_task(REQUEST, PLACES, PLACES[:, 1], "", "")
    asked = {key.split for key in keys("e", task, Protocol(("transfer",), mlp_seeds=1))}
    assert asked == {"Africa", "North America", "Oceania"}


def test_probes_are_named():
    assert read_probes("knn, ridge") == ("ridge", "knn")
    with pytest.raises(EvaluationError, match="no probe is named 'lasso'"):
        read_probes("lasso")
    with pytest.raises(EvaluationError, match="name a probe or more"):
        read_probes(",")
