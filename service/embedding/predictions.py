"""What heads predict for places that have been embedded, computed batch by batch in worker threads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.bundle import HeadCard
from service.embedding.backends.base import Rows
from service.embedding.batcher import Batcher
from service.embedding.heads import Head
from service.embedding.units import in_order


@dataclass(frozen=True)
class Prediction:
    """What one head says of n places.

    `numbers` is float32 (n, columns). Of a regression, one column: the value. Of a classification whose classes were
    ranked, the probability of the class that `ranked` (n, columns) has there, the most probable first; else, where
    `ranked` is None, the probability of each class.
    """

    card: HeadCard
    numbers: NDArray[np.float32]
    ranked: NDArray[np.intp] | None = None


async def predict(
    batcher: Batcher, heads: Sequence[Head], rows: Rows, deadline: float, *, top: int | None
) -> list[Prediction]:
    """What each head predicts from `rows`; of classes the `top` most probable, or all where None.

    What one batch holds is done at once; more takes its turn in the batcher's bulk lane, and is not refused there, for
    the caller had the places admitted (`Embedder.admitted`). Raises DeadlineExceeded, NotReady or BackendFailed.
    """
    size = batcher.limits.batch_points
    if len(rows) <= size:
        return await asyncio.to_thread(_predict, heads, top, rows)
    batches = [rows[start : start + size] for start in range(0, len(rows), size)]
    calls = ((len(batch), partial(_predict, heads, top, batch)) for batch in batches)
    parts = [part async for part in in_order(batcher, calls, deadline, admitted=True)]
    return await asyncio.to_thread(lambda: [_joined(of_head) for of_head in zip(*parts, strict=True)])


def _predict(heads: Sequence[Head], top: int | None, rows: Rows) -> list[Prediction]:
    return [_predict_with(head, top, rows) for head in heads]


def _predict_with(head: Head, top: int | None, rows: Rows) -> Prediction:
    predicted = head.predict(rows)
    if head.card.task == "regression":
        return Prediction(head.card, predicted[:, None])
    if top is None:
        return Prediction(head.card, predicted)
    ranked = _most_probable(predicted, top)
    return Prediction(head.card, np.take_along_axis(predicted, ranked, axis=1), ranked)


def _most_probable(probabilities: NDArray[np.float32], top: int) -> NDArray[np.intp]:
    """Per row, the columns of the `top` largest, the largest first."""
    columns = probabilities.shape[1]
    if top < columns:
        candidates = np.argpartition(-probabilities, top - 1, axis=1)[:, :top]
        candidates.sort(axis=1)
    else:
        candidates = np.broadcast_to(np.arange(columns), probabilities.shape)
    order = np.argsort(-np.take_along_axis(probabilities, candidates, axis=1), axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1)


def _joined(parts: Sequence[Prediction]) -> Prediction:
    ranked = [part.ranked for part in parts if part.ranked is not None]
    numbers = np.concatenate([part.numbers for part in parts])
    return Prediction(parts[0].card, numbers, np.concatenate(ranked) if ranked else None)
