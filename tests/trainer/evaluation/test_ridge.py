"""Ridge over shared Gram matrices is ridge fitted fold by fold, by hand."""

import numpy as np
import pytest
import torch

from trainer.evaluation.folds import random_folds
from trainer.evaluation.ridge import ridge_predictions

RNG = np.random.default_rng(0)


def by_hand(x, y, folds, alpha=1.0):
    """Least squares of the rows augmented by √alpha on the standardised dimensions."""
    predicted = np.empty_like(y)
    for fold in np.unique(folds):
        held, fitted = folds == fold, folds != fold
        mean, deviation = x[fitted].mean(axis=0), x[fitted].std(axis=0)
        scaled = (x - mean) / np.where(deviation > 0, deviation, 1)
        a = np.concatenate([scaled[fitted], np.sqrt(alpha) * np.eye(x.shape[1])])
        b = np.concatenate([y[fitted] - y[fitted].mean(axis=0), np.zeros((x.shape[1], y.shape[1]))])
        predicted[held] = scaled[held] @ np.linalg.lstsq(a, b, rcond=None)[0] + y[fitted].mean(axis=0)
    return predicted


def predictions(x, y, folds, alpha=1.0):
    return ridge_predictions(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(folds), alpha).numpy()


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_it_is_ridge_of_each_fold(alpha):
    x = RNG.normal(size=(211, 7)) * np.logspace(-4, 4, 7) + 1e3 * np.logspace(-4, 4, 7)
    y = RNG.normal(size=(211, 3))
    folds = random_folds(len(x), 0)
    np.testing.assert_allclose(predictions(x, y, folds, alpha), by_hand(x, y, folds, alpha), atol=1e-7)


def test_a_dimension_that_the_fitted_rows_do_not_vary_in_counts_for_nothing():
    """As the one-hot column of a cell whose rows are all held out."""
    x, y = RNG.normal(size=(100, 4)), RNG.normal(size=(100, 1))
    folds = random_folds(100, 0)
    lone = np.stack([folds == 2, np.full(100, 0.1)], axis=1).astype(float)
    widened = predictions(np.concatenate([x, lone], axis=1), y, folds)
    np.testing.assert_allclose(widened[folds == 2], predictions(x, y, folds)[folds == 2], atol=1e-9)


def test_the_order_of_rows_does_not_matter():
    x, y, folds = RNG.normal(size=(60, 3)), RNG.normal(size=(60, 1)), random_folds(60, 0)
    order = RNG.permutation(60)
    np.testing.assert_allclose(
        predictions(x[order], y[order], folds[order]), predictions(x, y, folds)[order], atol=1e-9
    )
