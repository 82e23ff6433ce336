"""7:1:2, class by class; and what cannot be learnt from, said in one line."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.bundle import LonLat
from trainer.data.tables import PlacesTable
from trainer.data.targets import Classes, Numbers, classes_of, read_classes, read_numbers, split
from trainer.errors import HeadError, TableError


def table(**columns):
    n = len(next(iter(columns.values())))
    return PlacesTable(Path("t.csv"), LonLat.from_degrees(np.zeros((n, 2))), pa.table(columns), "0" * 64)


@given(n=st.integers(10, 500), seed=st.integers(0, 9))
def test_a_split_is_disjoint_complete_and_7_1_2(n, seed):
    parts = split(Numbers(np.zeros(n)), seed)
    together = np.concatenate([parts.train, parts.validation, parts.test])
    assert sorted(together) == list(range(n))
    for part, share in ((parts.train, 7), (parts.validation, 1), (parts.test, 2)):
        assert share * (n // 10) <= len(part) <= share * -(-n // 10)


def test_the_same_seed_splits_the_same_and_another_does_not():
    target = Numbers(np.zeros(100))
    np.testing.assert_array_equal(split(target, 3).test, split(target, 3).test)
    assert not np.array_equal(split(target, 3).test, split(target, 4).test)


@given(sizes=st.lists(st.integers(2, 40), min_size=1, max_size=6), seed=st.integers(0, 9))
def test_every_class_is_learnt_and_tested(sizes, seed):
    values = np.repeat(np.arange(len(sizes)), sizes)
    classes = Classes(tuple(map(str, range(len(sizes)))), np.arange(len(values)), values)
    if max(sizes) < 4 or sum(sizes) < 10:
        return
    parts = split(classes, seed)
    for part, share in ((parts.train, 0.7), (parts.test, 0.2)):
        counts = np.bincount(values[part], minlength=len(sizes))
        assert (counts >= 1).all()
        assert (np.abs(counts - share * np.array(sizes)) <= 2).all()


def test_too_few_rows_to_split():
    with pytest.raises(HeadError, match="9 rows are too few"):
        split(Numbers(np.zeros(9)), 0)
    pairs = Classes(tuple(map(str, range(8))), np.arange(16), np.arange(16) // 2)
    with pytest.raises(HeadError, match="16 rows are too few"):
        split(pairs, 0)


def test_classes_are_in_order_whole_numbers_by_value():
    assert read_classes(table(c=["10", "9", "b", "9", "10", "b", "-1", "-1"]), "c", 0).names == ("-1", "9", "10", "b")
    assert read_classes(table(c=[10, 9, 9, 10]), "c", 0).names == ("9", "10")


def test_rare_classes_are_left_out_where_that_is_asked_for():
    classes = read_classes(table(c=["a"] * 5 + ["b"] * 3 + ["c"]), "c", 3)
    assert classes.names == ("a", "b")
    assert classes.rows.tolist() == list(range(8))
    assert classes.values.tolist() == [0] * 5 + [1] * 3


def test_rows_of_classes_that_are_not_named_are_left_out():
    classes = classes_of(np.array(["a", "x", "b"]), ("a", "b"))
    assert (classes.rows.tolist(), classes.values.tolist()) == ([0, 2], [0, 1])


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            lambda: read_classes(table(c=["a", "a", "b"]), "c", 0),
            "1 classes of c have a single row.*'b'.*min-class-rows",
        ),
        (lambda: read_classes(table(c=list("abcdefgh")), "c", 0), "8 classes of c have a single row.* …"),
        (lambda: read_classes(table(c=["a"] * 9), "c", 0), "c has 1 classes; a classification needs at least two"),
        (lambda: read_classes(table(c=["a"] * 9 + ["b"]), "c", 5), "c has 1 classes of 5 rows or more"),
        (lambda: read_classes(table(c=[1.5, 2.5]), "c", 0), "holds double; classes are text or integers"),
        (lambda: read_classes(table(c=["a", None]), "c", 0), "empty in 1 rows, the first row 2"),
        (lambda: read_classes(table(c=["a", "b", ""]), "c", 0), "empty in 1 rows, the first row 3"),
        (lambda: read_numbers(table(v=["a", "b"]), "v", log1p=False), "holds string, not numbers"),
        (lambda: read_numbers(table(v=[1.0, np.nan, np.inf]), "v", log1p=False), "2 values that are not finite.*row 2"),
        (lambda: read_numbers(table(v=[1.0, None]), "v", log1p=False), "empty in 1 rows, the first row 2"),
        (lambda: read_numbers(table(v=[0.0, -1.0]), "v", log1p=True), "v is -1 in row 2; log1p needs"),
        (lambda: read_numbers(table(v=[1.0]), "w", log1p=True), "has no column 'w'; it has 'v'"),
    ],
)
def test_what_cannot_be_learnt_from_is_one_line(read, message):
    with pytest.raises((HeadError, TableError), match=message) as raised:
        read()
    assert "\n" not in str(raised.value)
