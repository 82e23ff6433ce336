"""Which rows a step sees, the same for one process and for several."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


class RowBatches:
    """Rows in batches of one size, in the order given; the remainder is left out, unless it is all there is."""

    def __init__(self, rows: Tensor, batch_size: int) -> None:
        size = min(batch_size, len(rows))
        self.batches = torch.split(rows[: len(rows) // size * size], size)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.batches)


def draw_views(count: int, rows: int, rng: torch.Generator) -> Tensor:
    """One of `count` views for each row, (rows,) int64."""
    return torch.randint(count, (rows,), generator=rng)
