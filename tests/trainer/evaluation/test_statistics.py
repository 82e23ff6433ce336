"""Intervals and ranks, in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluation.statistics import mean_of, ranks


def test_the_interval_is_students():
    """t(.975, 4) = 2.7764, t(.975, 1) = 12.7062; the deviation of 1…5 is √2.5."""
    five = mean_of([1, 2, 3, 4, 5])
    assert (five.value, five.deviation) == pytest.approx((3, 2.5**0.5))
    assert five.margin == pytest.approx(2.776445 * (2.5 / 5) ** 0.5, rel=1e-6)
    assert mean_of([0, 1]).margin == pytest.approx(12.706205 * 0.5, rel=1e-6)


def test_one_value_has_no_interval():
    assert (mean_of([0.5]).value, mean_of([0.5]).deviation, mean_of([0.5]).margin) == (0.5, None, None)


def test_equals_share_the_mean_of_their_places():
    assert ranks(np.array([0.9, 0.5, 0.9, 0.1])).tolist() == [1.5, 3, 1.5, 4]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=20))
def test_ranks_add_up_whatever_is_equal(scores):
    n = len(scores)
    assert ranks(np.array(scores, float)).sum() == n * (n + 1) / 2
