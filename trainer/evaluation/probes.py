"""The ridge probe of a card's figures, under random and under block folds drawn by a run's own generators."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from trainer.evaluation.head_metrics import r2
from trainer.evaluation.ridge import ALPHA, ridge_predictions

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


def ridge_r2(embedding: Tensor, target: Tensor, folds: Tensor, alpha: float = ALPHA) -> float:
    """Mean over folds of R², each fold predicted by ridge fitted on the others; (n, dim), (n,), (n,)."""
    predicted = ridge_predictions(embedding, target[:, None], folds, alpha)[:, 0].numpy()
    y = target.double().numpy()
    held_out = [(folds == fold).numpy() for fold in range(FOLDS)]
    return float(np.mean([r2(predicted[rows], y[rows]) for rows in held_out]))
