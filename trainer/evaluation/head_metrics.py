"""How good a head is on rows it was not fitted on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from service.bundle import HeadCard, Metric

TOP = 5

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def head_metrics(
    card: HeadCard, predicted: NDArray[np.float32], target: Floats | Integers, on: str
) -> tuple[Metric, ...]:
    """Of predictions (n, columns) for targets (n,): numbers in the head's unit, or numbers of its classes."""
    if card.task == "classification":
        figures = classification_figures(predicted, target.astype(np.int64))
    else:
        figures = regression_figures(predicted[:, 0], target.astype(np.float64), log1p=card.transform == "log1p")
    return tuple(Metric(name=name, value=value, on=on) for name, value in figures)


def regression_figures(predicted: NDArray[np.floating], target: Floats, *, log1p: bool) -> Iterator[tuple[str, float]]:
    """R², MSE and MAE in real units; with `log1p`, R² of the logarithms too, which few large values do not decide."""
    exact = predicted.astype(np.float64)
    error = exact - target
    yield "R2", r2(exact, target)
    yield "MSE", float(np.square(error).mean())
    yield "MAE", float(np.abs(error).mean())
    if log1p:
        yield "R2 of log1p", r2(np.log1p(exact), np.log1p(target))


def classification_figures(probabilities: NDArray[np.floating], target: Integers) -> Iterator[tuple[str, float]]:
    """Accuracy, also without the rows of the commonest class, which may be most of them; top-5 accuracy where there are
    more classes; the mean recall of the classes present."""
    own = probabilities[np.arange(len(target)), target]
    above = (probabilities > own[:, None]).sum(axis=1)
    right = probabilities.argmax(axis=1) == target
    yield "accuracy", float(right.mean())
    others = target != np.bincount(target).argmax()
    if others.any():
        yield "accuracy without the commonest class", float(right[others].mean())
    if probabilities.shape[1] > TOP:
        yield f"top-{TOP} accuracy", float((above < TOP).mean())
    yield "mean recall of classes", float(np.mean([right[target == k].mean() for k in np.unique(target)]))


def r2(predicted: Floats, target: Floats) -> float:
    """1 - residual / total sum of squares; 0 where the target is constant and not met, 1 where it is met."""
    residual, total = np.square(target - predicted).sum(), np.square(target - target.mean()).sum()
    if total == 0:
        return float(residual == 0)
    return float(1 - residual / total)
