"""Means with confidence intervals, and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Mean:
    """A mean, its standard deviation (n - 1) and the half width of its confidence interval; None of a single value."""

    value: float
    deviation: float | None = None
    margin: float | None = None


def mean_of(values: Sequence[float]) -> Mean:
    """With Student's t over `values`: mean ± t(.975, n - 1) · s / √n."""
    n = len(values)
    value = float(np.mean(values))
    if n < 2:
        return Mean(value)
    deviation = float(np.std(values, ddof=1))
    return Mean(value, deviation, float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation / n**0.5)


def ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) → (n,): 1 for the highest; equals share the mean of their places."""
    ranked: NDArray[np.float64] = stats.rankdata(-scores, method="average")
    return ranked
