"""Linear probes of a frozen embedding (the protocol of CoordBench): ridge, under random and under block folds."""

from __future__ import annotations

import torch
from torch import Tensor

FOLDS = 5
BLOCK_DEG = 10.0


def random_folds(n: int, rng: torch.Generator) -> Tensor:
    """(n,) int64, the fold of each row; sizes differ by one at most."""
    return torch.randperm(n, generator=rng) % FOLDS


def block_folds(lonlat: Tensor, rng: torch.Generator) -> Tensor:
    """The fold of each place (n, 2), all places of a 10° block in one fold, blocks dealt at random."""
    block = torch.floor(lonlat / BLOCK_DEG).long()
    _, number = torch.unique(block, dim=0, return_inverse=True)
    return random_folds(int(number.max()) + 1, rng)[number]


def ridge_r2(embedding: Tensor, target: Tensor, folds: Tensor, alpha: float = 1.0) -> float:
    """Mean over folds of R², each fold predicted by ridge fitted on the others; (n, dim), (n,), (n,).

    The embedding is standardised by the fitted rows alone; the intercept is not penalised.
    """
    x, y = embedding.double(), target.double()
    scores = []
    for fold in range(FOLDS):
        held_out = folds == fold
        predicted = _ridge(x[~held_out], y[~held_out], x[held_out], alpha)
        scores.append(_r2(y[held_out], predicted))
    return float(torch.stack(scores).mean())


def _ridge(x: Tensor, y: Tensor, new_x: Tensor, alpha: float) -> Tensor:
    mean, deviation = x.mean(dim=0), x.std(dim=0, correction=0)
    deviation = torch.where(deviation > 0, deviation, 1.0)
    standard = (x - mean) / deviation
    gram = standard.T @ standard + alpha * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(gram, standard.T @ (y - y.mean()))
    predicted: Tensor = (new_x - mean) / deviation @ weights + y.mean()
    return predicted


def _r2(y: Tensor, predicted: Tensor) -> Tensor:
    return 1 - (y - predicted).square().sum() / (y - y.mean()).square().sum()
