"""What the figures are: against closed forms, by brute force, and what must not change them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from service.embedding.agreement import (
    centred,
    common_neighbours,
    cross_product,
    linear_cka,
    neighbours,
    unit_columns,
)


def cka(x, y):
    x, y = centred(np.asarray(x, np.float32)), centred(np.asarray(y, np.float32))
    return linear_cka(cross_product(x, x), cross_product(x, y), cross_product(y, y))


def gaussian(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_a_hand_computed_example():
    """Centred, x = (-1, 0, 1) and y = (-1, -1, 2): ⟨x, y⟩² / (|x|² |y|²) = 9 / (2 · 6)."""
    assert cka([[1], [2], [3]], [[0], [0], [3]]) == pytest.approx(0.75)


def test_of_one_column_each_it_is_the_squared_correlation():
    x, y = gaussian(0, 50, 1), gaussian(1, 50, 1)
    assert cka(x, y) == pytest.approx(np.corrcoef(x[:, 0], y[:, 0])[0, 1] ** 2, rel=1e-5)


def test_it_is_hsic_of_linear_kernels_as_the_paper_writes_it():
    """Kornblith et al. 2019, eq. 3 to 5: HSIC(K, L) = tr(KHLH) / (n - 1)², here with K = xxᵀ, L = yyᵀ."""
    x, y = gaussian(2, 30, 5).astype(np.float64), gaussian(3, 30, 9).astype(np.float64)
    centring = np.eye(30) - 1 / 30

    def hsic(k, m):
        return np.trace(k @ centring @ m @ centring)

    k, m = x @ x.T, y @ y.T
    assert cka(x, y) == pytest.approx(hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m)), rel=1e-6)


def test_with_itself_it_is_1_and_it_goes_both_ways():
    x, y = gaussian(4, 40, 6), gaussian(5, 40, 3)
    assert cka(x, x) == pytest.approx(1, abs=1e-12)
    assert cka(x, y) == pytest.approx(cka(y, x), rel=1e-12)
    assert 0 <= cka(x, y) < 1


@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_orthogonal_maps_scaling_and_shifts_do_not_change_it(scale, seed):
    x, y = gaussian(seed, 30, 6), gaussian(seed + 100, 30, 4)
    rotation, _ = np.linalg.qr(gaussian(seed + 200, 6, 6).astype(np.float64))
    assert cka(scale * (x @ rotation) + 1, y) == pytest.approx(cka(x, y), rel=1e-3, abs=1e-6)


def test_features_that_have_nothing_in_common():
    assert cka([[1], [-1], [1], [-1]], [[1], [1], [-1], [-1]]) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("scale", [1e-30, 1, 1e30])
def test_no_scale_over_or_underflows(scale):
    assert cka(scale * gaussian(6, 20, 3), gaussian(6, 20, 3)) == pytest.approx(1, abs=1e-5)


def test_where_all_rows_are_alike_there_is_none():
    assert cka(np.ones((5, 3)), gaussian(7, 5, 3)) is None


def test_it_is_the_sum_of_its_pieces():
    x, y = centred(gaussian(8, 33, 4)), centred(gaussian(9, 33, 5))
    pieces = [slice(0, 10), slice(10, 11), slice(11, 33)]
    np.testing.assert_allclose(sum(cross_product(x[p], y[p]) for p in pieces), x.T @ y, rtol=1e-12)


def brute_force(rows, k):
    """The k nearest by cosine to each, itself excluded, the first of those equally near first."""
    exact = rows.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    unit = np.divide(exact, lengths, out=exact, where=lengths > 0)
    chosen = []
    for place in range(len(rows)):
        others = [other for other in range(len(rows)) if other != place]
        chosen.append(set(sorted(others, key=lambda other: (-float(unit[place] @ unit[other]), other))[:k]))
    return chosen


def sets_of(mask):
    return [set(np.flatnonzero(row).tolist()) for row in mask]


@pytest.mark.parametrize("k", [1, 3, 19])
def test_neighbours_are_those_of_brute_force(k):
    rows = gaussian(10, 20, 5)
    columns = unit_columns(rows)
    assert sets_of(neighbours(columns, slice(0, 20), k)) == brute_force(rows, k)
    assert sets_of(neighbours(columns, slice(7, 9), k)) == brute_force(rows, k)[7:9]


@given(
    rows=arrays(np.float32, (9, 2), elements=st.sampled_from([-1, 0, 1])),
    k=st.integers(1, 8),
    cut=st.integers(1, 8),
)
def test_ties_go_by_the_order_of_the_places_however_they_are_cut_into_pieces(rows, k, cut):
    """Rows of a grid, of which many are equal, opposite or zero; their products are exact or equal in every bit."""
    columns = unit_columns(rows)
    whole = neighbours(columns, slice(0, 9), k)
    assert (whole.sum(axis=1) == k).all()
    assert not whole.diagonal().any()
    pieces = [neighbours(columns, slice(0, cut), k), neighbours(columns, slice(cut, 9), k)]
    assert (np.concatenate(pieces) == whole).all()
    for place, chosen in enumerate(sets_of(whole)):  # of equal places, none is chosen before one that stands before it
        for other in chosen - {place}:
            twins = [t for t in range(other) if t != place and (rows[t] == rows[other]).all()]
            assert set(twins) <= chosen


def test_agreement_by_hand():
    """In one model 0 and 1, 2 and 3 are near; in the other 0 and 1, but 2 is nearer to 0 than to 3."""
    one = np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]], np.float32)
    other = np.array([[1, 0], [1, 0.1], [1, -0.2], [-1, 1]], np.float32)
    columns = [unit_columns(one), unit_columns(other)]
    counts = common_neighbours(columns, [(0, 0), (0, 1)], slice(0, 4), 1)
    assert counts.tolist() == [4, 2]


@given(seed=st.integers(0, 50), k=st.integers(1, 11))
def test_agreement_is_that_of_brute_force(seed, k):
    one, other = gaussian(seed, 12, 4), gaussian(seed + 1000, 12, 7)
    columns = [unit_columns(one), unit_columns(other)]
    expected = sum(len(a & b) for a, b in zip(brute_force(one, k), brute_force(other, k), strict=True))
    pieces = [common_neighbours(columns, [(0, 1)], piece, k) for piece in (slice(0, 5), slice(5, 12))]
    assert sum(count.item() for count in pieces) == expected
