import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.embedding.rows import shape_rows

ROWS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 5), st.just(8)),
    elements=st.floats(allow_nan=False, allow_infinity=False, width=32),
)
DIMENSIONS = st.integers(1, 8)


@given(ROWS, DIMENSIONS)
def test_a_prefix_is_the_first_columns_bit_for_bit(rows, dimensions):
    prefix = shape_rows(rows, dimensions, normalize=False)
    assert prefix.dtype == np.float32
    assert prefix.flags.c_contiguous
    assert prefix.tobytes() == rows[:, :dimensions].tobytes()


@given(ROWS, DIMENSIONS)
def test_normalised_rows_have_length_one_and_zeros_stay_zeros(rows, dimensions):
    unit = shape_rows(rows, dimensions, normalize=True)
    zero = (rows[:, :dimensions] == 0).all(axis=1)
    assert unit.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(unit.astype(np.float64), axis=1), np.where(zero, 0, 1), atol=1e-6)


@given(ROWS, DIMENSIONS)
def test_normalising_keeps_the_direction(rows, dimensions):
    prefix = rows[:, :dimensions].astype(np.float64)
    lengths = np.linalg.norm(prefix, axis=1, keepdims=True)
    unit = shape_rows(rows, dimensions, normalize=True)
    np.testing.assert_allclose(unit, prefix / np.where(lengths == 0, 1, lengths), atol=1e-6)


@pytest.mark.parametrize("scale", [1e-45, 1e-20, 1, 1e20, 3e38])
def test_neither_tiny_nor_huge_rows_overflow(scale):
    rows = np.full((1, 4), scale, np.float32)
    np.testing.assert_allclose(shape_rows(rows, 4, normalize=True), 0.5, rtol=1e-6)


def test_the_prefix_is_what_gets_length_one():
    rows = np.array([[3, 4, 100]], np.float32)
    np.testing.assert_allclose(shape_rows(rows, 2, normalize=True), [[0.6, 0.8]], rtol=1e-6)


def test_the_rows_given_are_left_as_they_were():
    rows = np.array([[3, 4]], np.float32)
    shape_rows(rows, 2, normalize=True)
    assert rows.tolist() == [[3, 4]]
