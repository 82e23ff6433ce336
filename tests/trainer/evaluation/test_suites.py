"""A suite says what it means or which key is wrong; words of the command line become tasks."""

from pathlib import Path

import pytest

from trainer.data.imagery import source_file
from trainer.errors import EvaluationError
from trainer.evaluation.suites import is_suite, read_suite, requested

SHIPPED = Path(__file__).parents[3] / "trainer" / "configs" / "tasks"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_suites_that_ship_are_read(path):
    assert read_suite(path).tasks


def test_the_six_tasks_are_those_of_the_protocol():
    tasks = read_suite(SHIPPED / "six.yaml").tasks
    assert [task.name for task in tasks] == [
        "air temperature",
        "precipitation",
        "elevation",
        "country",
        "land cover",
        "population density",
    ]
    assert {(task.points, task.min_lat, task.land, task.min_class_rows) for task in tasks} == {(10_000, -60, True, 30)}


def test_hyper_parameters_are_chosen_on_other_tasks_than_are_reported():
    reported, chosen = (read_suite(SHIPPED / f"{name}.yaml").tasks for name in ("six", "validation"))
    assert not {task.data for task in reported} & {task.data for task in chosen}
    assert not {task.name for task in reported} & {task.name for task in chosen}


def test_the_data_of_the_validation_tasks_can_be_fetched():
    suite = read_suite(SHIPPED / "validation.yaml")
    files = {source_file(source, Path()) for source in suite.sources}
    assert {task.data for task in suite.tasks} == files
    assert all(source.package and "==" in source.package and source.sha256 for source in suite.sources)


def test_a_suite_is_told_from_a_config(tmp_path):
    assert is_suite(SHIPPED / "six.yaml")
    assert not is_suite(SHIPPED.parent / "earth-l10.yaml")
    assert not is_suite(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("tasks: []", "tasks: "),
        ("tasks: [{name: a, data: a.csv, colour: red}]", "tasks.0.colour: "),
        ("tasks: [{name: a, data: a.csv}, {name: a, data: b.csv}]", "two tasks are named 'a'"),
        (
            "tasks: [{name: a, data: a.csv, kind: classification, transform: log1p}]",
            "a classification has no transform",
        ),
        ("tasks: [{name: a, data: a.csv, min_lat: 90}]", "tasks.0.min_lat: "),
        ("[", "is not YAML"),
        ("tasks: []\ntasks: []", "key tasks stands in line 1 and in line 2"),
        ("a", "the top level"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path, content, message):
    path = tmp_path / "suite.yaml"
    path.write_text(content)
    with pytest.raises(EvaluationError, match=message) as raised:
        read_suite(path)
    assert "\n" not in str(raised.value)


def test_targets_of_a_table_say_what_they_are(tmp_path):
    plain, logarithm, classes, colon = requested(Path("t.csv"), ("a", "b:log1p", "c:classification", "d:e"))
    assert (plain.target, plain.kind, plain.transform) == ("a", "regression", None)
    assert (logarithm.target, logarithm.transform) == ("b", "log1p")
    assert (classes.target, classes.kind) == ("c", "classification")
    assert colon.target == "d:e"
    assert requested(tmp_path, ())[0].data == tmp_path
    with pytest.raises(EvaluationError, match=r"which column of t\.csv"):
        requested(Path("t.csv"), ())
