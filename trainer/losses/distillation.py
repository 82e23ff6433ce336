"""The distillation loss: how much of a target's variance an embedding does not tell."""

from __future__ import annotations

from torch import Tensor

from trainer.processes import Share


def distillation_loss(told: Tensor, target: Tensor, share: Share | None = None) -> Tensor:
    """Mean over rows of the squared distance, (n, k) each, in float32: 0 where all is told.

    With `share` the rows are this process's part of a batch, and the loss is that of the whole batch.
    """
    by_row = (told.float() - target.float()).square().sum(dim=1)
    return (share or Share(len(told))).mean(by_row)
