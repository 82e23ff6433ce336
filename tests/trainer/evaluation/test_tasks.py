"""Bad rows are counted and left out; what cannot be a task is refused in one line."""

import numpy as np
import pytest

from trainer.data.targets import Classes
from trainer.errors import EvaluationError
from trainer.evaluation.suites import TaskRequest
from trainer.evaluation.tasks import class_task, number_task
from trainer.snap import uniform_on_sphere

PLACES = uniform_on_sphere(200, 0)


def request(**changes):
    return TaskRequest(name="t", data="t.csv", target="v", **changes)


def test_rows_without_a_number_are_left_out_and_counted():
    values = np.arange(200.0)
    values[[3, 5]], values[7] = np.nan, np.inf
    task = number_task(request(nodata=9), PLACES, values, "t.csv", "")
    assert task.left_out == 4
    assert not {3.0, 5.0, 9.0} & set(task.targets.values)
    np.testing.assert_array_equal(task.lonlat, np.delete(PLACES, [3, 5, 7, 9], axis=0))
    assert task.columns.shape == (196, 1)
    assert task.metric == "R2"


def test_log1p_is_taken_of_the_target():
    task = number_task(request(transform="log1p"), PLACES, np.arange(200.0), "t.csv", "")
    np.testing.assert_allclose(np.expm1(task.targets.values), np.arange(200), atol=1e-9)
    with pytest.raises(EvaluationError, match="the target has -999, and log1p needs values above -1"):
        number_task(request(transform="log1p"), PLACES, np.full(200, -999.0), "t.csv", "")


def test_rare_classes_are_left_out():
    labels = [*["a"] * 90, *["b"] * 60, *["c"] * 29, *["d"] * 15, *[None] * 6]
    task = class_task(request(kind="classification"), PLACES, labels, "t.csv", "")
    assert isinstance(task.targets, Classes)
    assert (task.targets.names, task.left_out) == (("a", "b"), 50)
    assert task.columns.sum(dim=0).tolist() == [90, 60]
    assert class_task(request(kind="classification", min_class_rows=20), PLACES, labels, "t.csv", "").left_out == 21


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full(200, 3.5), "is 3.5 in every row"),
        (np.full(200, np.nan), "no row of t.csv has a target"),
        (np.linspace(0, -1e300, 200), r"has 1e\+300, too large; is it nodata"),
    ],
)
def test_a_target_that_tells_nothing_is_refused(values, message):
    with pytest.raises(EvaluationError, match=message):
        number_task(request(), PLACES, values, "t.csv", "")


def test_one_class_is_no_classification():
    with pytest.raises(EvaluationError, match="has 1 classes of 30 rows or more"):
        class_task(request(kind="classification"), PLACES, ["a"] * 200, "t.csv", "")


def test_fewer_rows_than_folds_are_refused_and_a_small_region_has_no_blocks():
    few = number_task(request(), PLACES[:4], np.arange(4.0), "t.csv", "")
    with pytest.raises(EvaluationError, match="task t: 4 rows are too few for 5 folds"):
        few.fold_kinds()
    region = number_task(request(), PLACES * 0.01 + 5, np.arange(200.0), "t.csv", "")
    assert region.fold_kinds() == ("random",)
    seven = number_task(request(), PLACES[:6], np.arange(6.0), "t.csv", "")
    with pytest.raises(EvaluationError, match="fewer than 5 rows to learn from"):
        seven.fold_kinds()


def test_the_digest_is_of_places_targets_and_kind():
    values = np.arange(200.0)
    task = number_task(request(), PLACES, values, "t.csv", "")
    assert task.digest == number_task(request(nodata=-1), PLACES.copy(), values.copy(), "other.csv", "x").digest
    assert task.digest != number_task(request(), PLACES[::-1], values, "t.csv", "").digest
    assert task.digest != number_task(request(), PLACES, values + 1, "t.csv", "").digest
