"""Means, ranks and marks of a small made-up leaderboard; nothing is measured twice."""

import csv
import io

import numpy as np
import pytest

from trainer.baselines import Baseline
from trainer.evaluation.cells import Cells
from trainer.evaluation.leaderboard import Column, Leaderboard, Row, measured
from trainer.evaluation.probing import Protocol
from trainer.evaluation.report import as_csv, write_report
from trainer.evaluation.statistics import Mean, mean_of
from trainer.evaluation.suites import TaskRequest
from trainer.evaluation.tasks import number_task
from trainer.snap import uniform_on_sphere

SCORE, BLOCKS, ERROR = (
    Column("t", "ridge", "random", "R2"),
    Column("t", "ridge", "blocks", "R2"),
    Column("t", "mlp", "7:1:2", "MSE"),
)


def row(name, score, blocks, error):
    return Row(name, f"note of {name}", 3, {SCORE: Mean(score), BLOCKS: Mean(blocks), ERROR: Mean(error, 0.1, 0.05)})


BOARD = Leaderboard((row("a", 0.9, 0.5, 0.3), row("b", 0.8, 0.5, 0.1), row("c", 0.1, 0.2, 0.9)), (SCORE, BLOCKS, ERROR))
PLACES = uniform_on_sphere(500, 0)
TASK = number_task(TaskRequest(name="lat", data="t.csv", target="v"), PLACES, PLACES[:, 1], "t.csv", "ab" * 32)


def test_a_lower_error_is_better_and_equals_share_ranks():
    found = BOARD.mean_ranks()
    assert found["a"] == mean_of([1, 1.5, 2])
    assert found["b"] == mean_of([2, 1.5, 1])
    assert found["c"].value == 3


def test_the_mean_score_leaves_errors_out():
    assert BOARD.scores()["a"] == mean_of([0.9, 0.5])
    assert Leaderboard(BOARD.rows, (ERROR,)).scores() == {}


def test_the_best_is_bold_and_the_second_underlined(tmp_path):
    write_report(BOARD, [TASK], Protocol(), tmp_path, "satcle evaluate a b c", ["task gone skipped"])
    text = (tmp_path / "leaderboard.md").read_text(encoding="utf-8")
    assert "| a | **0.900** | **0.500** | <u>0.300 ± 0.050</u> |" in text
    assert "| b | <u>0.800</u> | **0.500** | **0.100 ± 0.050** |" in text
    assert "| c | 0.100 | <u>0.200</u> | 0.900 ± 0.050 |" in text
    assert "satcle evaluate a b c" in text
    assert "| lat | 500 | 0 | t.csv | abababababababab |" in text
    assert "task gone skipped." in text


def test_the_csv_has_a_row_an_encoder_and_every_figure():
    rows = list(csv.DictReader(io.StringIO(as_csv(BOARD))))
    assert [each["encoder"] for each in rows] == ["a", "b", "c"]
    assert float(rows[0]["t | ridge | random | R2"]) == 0.9
    assert rows[0]["t | ridge | random | R2 ±"] == ""
    assert float(rows[2]["t | mlp | 7:1:2 | MSE ±"]) == 0.05
    assert float(rows[1]["mean score"]) == pytest.approx(0.65)


def counted(name, calls):
    def embed(places):
        calls.append(len(places))
        lon, lat = np.radians(places).T
        return np.stack([np.sin(lon), np.cos(lon), np.sin(lat)], axis=1).astype(np.float32)

    return Baseline(name, "", embed)


def test_what_is_kept_is_not_measured_again(tmp_path):
    told, calls = [], []
    path = tmp_path / "cells.json"
    first = measured([counted("a", calls)], [TASK], Protocol(), Cells(path), told.append)
    assert len(PLACES) in calls
    content = path.read_bytes()
    calls.clear()
    again = measured([counted("a", calls)], [TASK], Protocol(), Cells(path), told.append)
    assert again == first
    assert len(PLACES) not in calls
    assert path.read_bytes() == content
    assert told == ["a: lat, 4 figures measured", "a: lat"]


def test_one_seed_has_the_interval_of_its_folds_and_several_that_of_their_means(tmp_path):
    cells = Cells(tmp_path / "cells.json")
    (one,) = measured([counted("a", [])], [TASK], Protocol(("ridge",)), cells, str).rows
    (three,) = measured([counted("a", [])], [TASK], Protocol(("ridge",), seeds=3), cells, str).rows
    column = Column("lat", "ridge", "random", "R2")
    assert one.figures[column].margin is not None
    assert three.figures[column].value != one.figures[column].value
    assert three.figures[column].margin < one.figures[column].margin
