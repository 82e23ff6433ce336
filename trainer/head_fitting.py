"""The loop that fits a head: AdamW on standardised inputs, a cosine schedule, the best epoch by validation kept."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR

from service.bundle.card import Frozen
from trainer.data.targets import Classes, Numbers, Split, Targets, split
from trainer.errors import HeadError
from trainer.models.head import Classification, Head, Regression
from trainer.seeding import generator

Count = Annotated[int, Field(ge=1)]

DRAWING = threading.Lock()
"""Weights are drawn by torch's one generator: threads that fit side by side take turns at it."""


class Recipe(Frozen):
    """How a head is fitted. `patience` epochs without a lower validation loss end it.

    `learning_rate` is that of the largest batch; the steps of a smaller one are shorter by the root of its share.
    """

    hidden_dims: tuple[Count, ...] = (256, 256)
    learning_rate: float = Field(default=3e-3, gt=0)
    weight_decay: float = Field(default=1e-2, ge=0)
    max_batch_size: Count = 1024
    epochs: Count = 60
    patience: Count = 10
    seed: int = Field(default=0, ge=0)

    def batch_size(self, rows: int) -> int:
        """Small tables take small batches: sixteen steps an epoch at least."""
        return max(1, min(self.max_batch_size, rows // 16))

    def step_size(self, rows: int) -> float:
        return float(self.learning_rate * (self.batch_size(rows) / self.max_batch_size) ** 0.5)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A head in float64, and after how many epochs it was the best."""

    head: Head
    epochs: int


def fit(
    embeddings: NDArray[np.float32], targets: Targets, recipe: Recipe, *, log1p: bool, parts: Split | None = None
) -> Fitted:
    """Fit on `embeddings` (n, dim), row by row those of `targets`; split 7:1:2 without `parts`. Raises HeadError."""
    parts = parts or split(targets, recipe.seed)
    rows = torch.from_numpy(embeddings)
    with DRAWING:
        torch.manual_seed(int(generator(recipe.seed, "head weights").initial_seed()))
        head = _untrained(rows.shape[1], targets, recipe, log1p=log1p)
    head.standardise_inputs(rows[parts.train])
    learnt = _learnt(head, targets, parts.train)
    inputs = head.standardised(rows).float()
    epochs = _descend(head, inputs, learnt, (parts.train, parts.validation), recipe)
    return Fitted(head.double().eval(), epochs)


def _untrained(dim: int, targets: Targets, recipe: Recipe, *, log1p: bool) -> Head:
    if isinstance(targets, Classes):
        return Classification(dim, recipe.hidden_dims, len(targets.names))
    return Regression(dim, recipe.hidden_dims, log1p=log1p)


def _learnt(head: Head, targets: Targets, train: NDArray[np.int64]) -> Tensor:
    """What the perceptron learns of every row: class numbers (n,), or standardised targets (n, 1)."""
    values = torch.from_numpy(targets.values)
    if not isinstance(targets, Numbers) or not isinstance(head, Regression):
        return values
    head.standardise_targets(values[train])
    deviation = head.target_deviation.item()
    if deviation == 0 or not np.isfinite(deviation):
        found = "the same in every row to learn from" if deviation == 0 else "too large to be standardised"
        raise HeadError(f"the target is {found}: there is nothing to fit")
    return head.standardised_targets(values).float()


def _descend(
    head: Head, inputs: Tensor, learnt: Tensor, parts: tuple[NDArray[np.int64], NDArray[np.int64]], recipe: Recipe
) -> int:
    """Train the perceptron in place; the epoch, from 1, whose weights it is left with."""
    train, validation = map(torch.from_numpy, parts)
    loss_of = functional.cross_entropy if isinstance(head, Classification) else functional.mse_loss
    batch_size = recipe.batch_size(len(train))
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.step_size(len(train)), weight_decay=recipe.weight_decay)
    schedule = CosineAnnealingLR(optimizer, recipe.epochs * -(-len(train) // batch_size))
    best_loss, best_epoch, best = float("inf"), 0, copy.deepcopy(head.state_dict())
    for epoch in range(1, recipe.epochs + 1):
        order = torch.randperm(len(train), generator=generator(recipe.seed, "head batches", epoch))
        for batch in torch.split(train[order], batch_size):
            optimizer.zero_grad()
            training_loss: Tensor = loss_of(head.perceptron(inputs[batch]), learnt[batch])
            training_loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            loss = loss_of(head.perceptron(inputs[validation]), learnt[validation]).item()
        if loss < best_loss:
            best_loss, best_epoch, best = loss, epoch, copy.deepcopy(head.state_dict())
        elif epoch - best_epoch >= recipe.patience:
            break
    if best_epoch == 0:
        raise HeadError("fitting diverged: no epoch had a finite validation loss; check the target for extreme values")
    head.load_state_dict(best)
    return best_epoch
