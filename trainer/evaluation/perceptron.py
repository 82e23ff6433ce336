"""The papers' probe: a perceptron on the frozen embedding (SatCLE §3.4.2, §4.1), and its few-shot transfer (§4.4)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.targets import Classes, Integers, Split, Targets, split
from trainer.errors import EvaluationError
from trainer.head_fitting import Recipe, fit
from trainer.models.head import Regression
from trainer.seeding import generator

FEW = 0.01
"""The share of a continent's rows that is there to learn from (SatCLE §4.4)."""
VALIDATION = 8
"""Of the rows of other continents, every eighth validates: 7:1, as in 7:1:2."""
MIN_ROWS = 100
"""A continent with fewer rows is not measured: a hundredth of it is none."""


def perceptron_figures(embedding: NDArray[np.float32], targets: Targets, seed: int) -> dict[str, float]:
    """MSE and MAE of a standardised regression, or accuracy, on the test rows of a 7:1:2 split.

    Split, weights and order of batches are the seed's; the epoch is the best by validation. Raises HeadError.
    """
    return _fitted_figures(embedding, targets, split(targets, seed), seed)


def transfer_figures(
    embedding: NDArray[np.float32], targets: Targets, there: NDArray[np.bool_], seed: int
) -> dict[str, float]:
    """The same figures on a continent of which only FEW of the rows were learnt from, beside all other rows.

    `there` (n,) says which rows are the continent's. Raises EvaluationError where they are too few to say anything.
    """
    return _fitted_figures(embedding, targets, few_shot_split(there, seed), seed)


def few_shot_split(there: NDArray[np.bool_], seed: int) -> Split:
    """Raises EvaluationError."""
    if there.sum() < MIN_ROWS or (~there).sum() < MIN_ROWS:
        raise EvaluationError(
            f"{there.sum()} rows there and {(~there).sum()} elsewhere; transfer takes {MIN_ROWS} of each"
        )
    here, elsewhere = (_shuffled(np.flatnonzero(rows), seed) for rows in (there, ~there))
    few = max(1, round(FEW * len(here)))
    held = np.arange(len(elsewhere)) % VALIDATION == 0
    train = np.concatenate([elsewhere[~held], here[:few]])
    return Split(np.sort(train), np.sort(elsewhere[held]), np.sort(here[few:]))


def _shuffled(rows: Integers, seed: int) -> Integers:
    shuffled: Integers = rows[torch.randperm(len(rows), generator=generator(seed, "transfer split")).numpy()]
    return shuffled


def _fitted_figures(embedding: NDArray[np.float32], targets: Targets, parts: Split, seed: int) -> dict[str, float]:
    fitted = fit(embedding, targets, Recipe(seed=seed), log1p=False, parts=parts)
    test = torch.from_numpy(parts.test)
    with torch.no_grad():
        predicted = fitted.head(torch.from_numpy(embedding[parts.test]).double())
    truth = torch.from_numpy(targets.values)[test]
    if isinstance(targets, Classes) or not isinstance(fitted.head, Regression):
        return {"accuracy": float((predicted.argmax(dim=1) == truth).double().mean())}
    error = (predicted[:, 0] - truth) / fitted.head.target_deviation
    return {"MSE": float(error.square().mean()), "MAE": float(error.abs().mean())}
