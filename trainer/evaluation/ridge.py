"""Ridge regression of each fold from the others, in closed form (the linear probe of CoordBench)."""

from __future__ import annotations

import torch
from torch import Tensor

ALPHA = 1.0
CONSTANT = 1e-12
"""A dimension whose variance is a smaller share of its mean square over all rows is constant but for rounding."""


def ridge_predictions(embedding: Tensor, target: Tensor, folds: Tensor, alpha: float = ALPHA) -> Tensor:
    """Each row as the rows of other folds predict it: (n, dim), (n, columns), (n,) → (n, columns) float64.

    The embedding is standardised by the fitted rows alone; the intercept is not penalised; a dimension that is constant
    among the fitted rows counts for nothing. All folds share the Gram matrices of each: XᵀX of the fitted rows is the
    sum of those of the other folds, and mean and deviation follow from it.
    """
    x = embedding.double()
    x = x - x.mean(dim=0)  # so that a mean far from 0 costs the Gram matrices no digits
    y = target.double()
    noise = CONSTANT * embedding.double().square().mean(dim=0)
    members = [(folds == fold).nonzero().squeeze(1) for fold in sorted(set(folds.tolist()))]
    parts = [_moments(x[rows], y[rows]) for rows in members]
    predicted = torch.empty(len(x), y.shape[1], dtype=torch.float64)
    for i, rows in enumerate(members):
        fitted = [
            sum(each[1:], start=each[0]) for each in zip(*(p for j, p in enumerate(parts) if j != i), strict=True)
        ]
        predicted[rows] = _predicted(x[rows], fitted, noise, alpha)
    return predicted


def _moments(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return torch.tensor(float(len(x)), dtype=torch.float64), x.sum(dim=0), y.sum(dim=0), x.T @ x, x.T @ y


def _predicted(x: Tensor, moments: list[Tensor], noise: Tensor, alpha: float) -> Tensor:
    n, x_sum, y_sum, gram, product = moments
    mean, y_mean = x_sum / n, y_sum / n
    covariance = gram - n * torch.outer(mean, mean)
    variance = covariance.diagonal() / n
    scale = torch.where(variance > noise, variance.clamp(min=0).sqrt().reciprocal(), 0.0)
    standard = covariance * torch.outer(scale, scale)
    standard.diagonal().add_(alpha)
    weights = torch.linalg.solve(standard, (product - n * torch.outer(mean, y_mean)) * scale[:, None])
    predicted: Tensor = ((x - mean) * scale) @ weights + y_mean
    return predicted
