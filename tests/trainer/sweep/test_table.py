"""Means, deviations, ranks and wins of made-up folders, in closed form; folders are read back as they were written."""

import csv
import io
import os

import pytest

from trainer.errors import RunError
from trainer.evaluation.leaderboard import Column
from trainer.sweep.folders import Entry, Measurement, read_sweep_folder
from trainer.sweep.report import as_csv, write_table
from trainer.sweep.table import compare

CELLS = (Column("t", "ridge", "random", "R2"), Column("t", "knn", "blocks", "R2"), Column("t", "mlp", "7:1:2", "MSE"))


def add(folder, name, entry, *values, asked="p", seconds=()):
    entry.write(folder / name)
    if values:
        figures = dict(zip(CELLS, values, strict=True))
        Measurement(asked, {"seeds": 1}, "", 8, figures).write(folder / name)
    if seconds:
        (folder / name / "history.csv").write_text("epoch,seconds\n" + "".join(f"1,{each}\n" for each in seconds))


@pytest.fixture
def folder(tmp_path):
    for seed in (0, 1):
        add(tmp_path, f"u{seed}", Entry("untrained", "untrained", seed), 0.5, 0.5, 0.5)
        of_a, of_b = (Entry("run", name, seed, {"x": name}, f"u{seed}") for name in "ab")
        add(tmp_path, f"a{seed}", of_a, 0.6 + 0.2 * seed, 0.4, 0.1, seconds=(30, 90))
        add(tmp_path, f"b{seed}", of_b, 0.4, 0.375 + 0.25 * seed, 0.6)
    add(tmp_path, "c0", Entry("run", "c", 0, {}, "u0", error="diverged"))
    add(tmp_path, "beside", Entry("beside", "GeoCLIP"), 0.9, 0.9, 0.05)
    return tmp_path


def rows_of(table):
    return {row.name: row for row in table.rows}


def test_a_row_is_a_variant_over_its_seeds(folder):
    table = compare(read_sweep_folder(folder))
    assert [row.name for row in table.rows] == ["a", "b", "untrained", "GeoCLIP"]
    a = rows_of(table)["a"]
    assert a.seeds == (0, 1)
    assert a.score.value == pytest.approx((0.5 + 0.6) / 2)  # of R² alone, not of the MSE
    assert a.score.deviation == pytest.approx(0.1 / 2**0.5)
    assert a.figures[CELLS[0]].value == pytest.approx(0.7)
    assert a.seconds.value == 120
    assert table.tried == 3
    assert [each.path.name for each in table.unmeasured] == ["c0"]


def test_cells_are_won_against_the_same_seed_and_a_lower_error_wins(folder):
    rows = rows_of(compare(read_sweep_folder(folder)))
    assert rows["a"].wins.by_seed == (2, 2)
    assert rows["a"].wins.of_means == 2
    assert rows["b"].wins.by_seed == (0, 1)
    assert rows["b"].wins.of_means == 0  # one seed worse by as much as the other is better: no win
    assert rows["untrained"].wins is None
    against_b = rows_of(compare(read_sweep_folder(folder), "b"))
    assert against_b["a"].wins.by_seed == (3, 2)
    assert against_b["b"].wins is None
    with pytest.raises(RunError, match="no variant 'z' was measured; there are a, b, untrained, GeoCLIP"):
        compare(read_sweep_folder(folder), "z")


def test_ranks_are_of_means_over_seeds(folder):
    ranks = compare(read_sweep_folder(folder)).board.mean_ranks()
    assert ranks["GeoCLIP"].value == 1
    assert ranks["a"].value == pytest.approx((2 + 4 + 2) / 3)


def test_towers_that_start_otherwise_have_rows_of_their_own(folder):
    add(folder, "u9", Entry("untrained", "untrained", 0), 0.1, 0.1, 0.9)
    add(folder, "d0", Entry("run", "d", 0, {}, "u9"), 0.2, 0.2, 0.8)
    rows = rows_of(compare(read_sweep_folder(folder)))
    assert set(rows) == {"a", "b", "d", "untrained (a, b)", "untrained (d)", "GeoCLIP"}
    assert rows["d"].wins.by_seed == (3,)


def test_what_was_measured_otherwise_is_counted_and_not_compared(folder):
    add(folder, "e0", Entry("run", "e", 0, {}, "u0"), 0.1, 0.1, 0.1, asked="another")
    os.utime(folder / "e0" / "figures.json", (0, 0))
    table = compare(read_sweep_folder(folder))
    assert "e" not in rows_of(table)
    assert table.tried == 4
    assert {each.path.name for each in table.unmeasured} == {"c0", "e0"}


def test_the_report_says_it_all(folder):
    table = compare(read_sweep_folder(folder))
    text = write_table("s", table, folder).read_text(encoding="utf-8")
    assert "3 configurations tried; 4 runs measured, 1 not." in text
    assert "| a | 0, 1 | 0.5500 ± 0.0707 | 2.67 | 2 (2 to 2) of 3 | 2.0 |" in text
    assert '| a | `x: "a"` |' in text
    assert "c0: diverged." in text
    lines = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [(line["variant"], line["seed"]) for line in lines[:3]] == [("a", "0"), ("a", "1"), ("a", "all")]
    assert float(lines[1]["t | ridge | random | R2"]) == pytest.approx(0.8)
    assert float(lines[2]["deviation"]) == pytest.approx(0.1 / 2**0.5)


@pytest.mark.parametrize(("name", "content"), [("sweep.json", "{"), ("sweep.json", "[]"), ("figures.json", '{"a": 1}')])
def test_a_damaged_file_is_named(folder, name, content):
    (folder / "a0" / name).write_text(content)
    with pytest.raises(RunError, match=rf"a0/{name}"):
        read_sweep_folder(folder)


def test_a_folder_without_runs_is_named(tmp_path):
    with pytest.raises(RunError, match="holds no runs of satcle sweep"):
        read_sweep_folder(tmp_path)
    Entry("run", "a", 0).write(tmp_path / "a0")
    with pytest.raises(RunError, match="nothing was measured yet"):
        compare(read_sweep_folder(tmp_path))
