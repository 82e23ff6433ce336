"""Metrics in closed form."""

import numpy as np
import pytest

from service.bundle import DataSource, HeadCard
from trainer.evaluation.head_metrics import classification_figures, head_metrics, r2, regression_figures

SOURCE = DataSource(name="n", credit="c", license="l")


def test_regression_by_hand():
    figures = dict(regression_figures(np.array([1.0, 2, 5]), np.array([1.0, 2, 3]), log1p=False))
    assert figures == pytest.approx({"R2": 1 - 4 / 2, "MSE": 4 / 3, "MAE": 2 / 3})


def test_a_logarithm_has_an_r2_of_its_own():
    target = np.expm1(np.array([0.0, 1, 2]))
    predicted = np.expm1(np.array([0.0, 1, 3]))
    figures = dict(regression_figures(predicted, target, log1p=True))
    assert figures["R2 of log1p"] == pytest.approx(1 - 1 / 2)
    assert figures["R2"] == pytest.approx(r2(predicted, target))


def test_the_mean_has_an_r2_of_zero_and_a_constant_target_is_met_or_not():
    target = np.array([1.0, 2, 3])
    assert r2(np.full(3, 2.0), target) == 0
    assert r2(target, target) == 1
    assert r2(np.ones(3), np.ones(3)) == 1
    assert r2(np.zeros(3), np.ones(3)) == 0


def test_classification_by_hand():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.1, 0.8, 0.1], [0.9, 0.1, 0.0]])
    figures = dict(classification_figures(probabilities, np.array([0, 1, 1, 0])))
    assert figures == pytest.approx(
        {"accuracy": 3 / 4, "accuracy without the commonest class": 1 / 2, "mean recall of classes": (1 + 1 / 2) / 2}
    )


def test_top_5_counts_the_right_class_among_the_five_most_probable():
    probabilities = np.tile(np.array([[0.3, 0.2, 0.18, 0.14, 0.1, 0.05, 0.03]]), (7, 1))
    figures = dict(classification_figures(probabilities, np.arange(7)))
    assert figures["top-5 accuracy"] == pytest.approx(5 / 7)
    assert figures["accuracy"] == pytest.approx(1 / 7)
    assert figures["mean recall of classes"] == pytest.approx(1 / 7)


def test_the_task_decides_and_on_says_what_on():
    head = HeadCard(id="h", task="classification", classes=("a", "b"), file="h.onnx", source=SOURCE)
    metrics = head_metrics(head, np.array([[0.9, 0.1]], np.float32), np.array([0]), "one row")
    assert [(metric.name, metric.value, metric.on) for metric in metrics] == [
        ("accuracy", 1.0, "one row"),
        ("mean recall of classes", 1.0, "one row"),
    ]
