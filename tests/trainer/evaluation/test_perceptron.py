"""The perceptron learns what can be learnt; the few-shot split is what it says."""

import numpy as np
import pytest

from trainer.data.targets import Classes, Numbers
from trainer.errors import EvaluationError
from trainer.evaluation.perceptron import few_shot_split, perceptron_figures, transfer_figures

RNG = np.random.default_rng(0)
X = RNG.normal(size=(800, 6)).astype(np.float32)


def test_a_linear_target_is_learnt_and_noise_is_not():
    learnt = perceptron_figures(X, Numbers(X[:, 0].astype(np.float64) * 1e4 + 7), seed=0)
    assert learnt["MSE"] < 0.05
    assert learnt["MAE"] ** 2 <= learnt["MSE"]  # Jensen
    noise = perceptron_figures(X, Numbers(RNG.normal(size=800)), seed=0)
    assert noise["MSE"] > 0.8


def test_classes_are_told_and_another_seed_is_another_split():
    values = (X[:, 0] > 0).astype(np.int64)
    classes = Classes(("a", "b"), np.arange(800), values)
    scores = [perceptron_figures(X, classes, seed)["accuracy"] for seed in (0, 1)]
    assert min(scores) > 0.9
    assert scores[0] == perceptron_figures(X, classes, 0)["accuracy"]
    assert scores[0] != scores[1]


def test_a_hundredth_of_a_continent_is_learnt_from_and_the_rest_of_it_is_the_test():
    there = np.arange(1000) < 400
    parts = few_shot_split(there, seed=0)
    assert sorted(np.concatenate([parts.train, parts.validation, parts.test]).tolist()) == list(range(1000))
    assert there[parts.train].sum() == 4
    assert len(parts.validation) == 75
    assert not there[parts.validation].any()
    assert there[parts.test].all()
    assert len(parts.test) == 396


def test_what_holds_elsewhere_and_not_there_does_not_transfer():
    there = np.arange(800) < 300
    same = X[:, 0].astype(np.float64)
    other = np.where(there, -same, same)
    assert transfer_figures(X, Numbers(same), there, 0)["MSE"] < 0.1
    assert transfer_figures(X, Numbers(other), there, 0)["MSE"] > 1


def test_a_continent_of_few_rows_is_refused():
    with pytest.raises(EvaluationError, match="50 rows there and 750 elsewhere"):
        few_shot_split(np.arange(800) < 50, 0)
