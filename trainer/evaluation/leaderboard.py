"""Encoders by tasks: every figure with its interval, the mean score, the mean rank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trainer.evaluation.cells import Cells
from trainer.evaluation.encoders import Encoder, embeddings_of, fingerprint
from trainer.evaluation.probing import Protocol, keys, measure, missing
from trainer.evaluation.statistics import Mean, mean_of, ranks
from trainer.evaluation.tasks import Task

Told = Callable[[str], None]
LOWER_IS_BETTER = ("MSE", "MAE")


@dataclass(frozen=True)
class Column:
    """What is compared: one metric of one probe of a task, under folds or a split."""

    task: str
    probe: str
    split: str
    metric: str

    @property
    def sign(self) -> int:
        return -1 if self.metric in LOWER_IS_BETTER else 1


@dataclass(frozen=True)
class Row:
    """An encoder: its dimension, and a mean for each column."""

    name: str
    note: str
    dim: int
    figures: dict[Column, Mean]


@dataclass(frozen=True)
class Leaderboard:
    """`rows` in the order asked for; every row has every column."""

    rows: tuple[Row, ...]
    columns: tuple[Column, ...]

    def scores(self) -> dict[str, Mean]:
        """The mean over the columns of R² and accuracy by ridge and k-NN, where there are any, with t over columns."""
        chosen = [column for column in self.columns if column.probe in ("ridge", "knn")]
        return {row.name: mean_of([row.figures[c].value for c in chosen]) for row in self.rows if chosen}

    def mean_ranks(self) -> dict[str, Mean]:
        """The mean over all columns of a row's rank, 1 the best, equals sharing theirs; with t over columns."""
        ranked = np.array([ranks(np.array([c.sign * row.figures[c].value for row in self.rows])) for c in self.columns])
        return {row.name: mean_of(of_row) for row, of_row in zip(self.rows, ranked.T.tolist(), strict=True)}


def measured(
    encoders: Sequence[Encoder], tasks: Sequence[Task], protocol: Protocol, cells: Cells, tell: Told
) -> Leaderboard:
    """Measure what `cells` does not have yet, and compare. `tell` hears of each task measured.

    Raises EvaluationError, HeadError, or what an encoder raises.
    """
    rows = [_row(encoder, tasks, protocol, cells, tell) for encoder in encoders]
    return Leaderboard(tuple(rows), tuple(rows[0].figures))


def _row(encoder: Encoder, tasks: Sequence[Task], protocol: Protocol, cells: Cells, tell: Told) -> Row:
    digest = fingerprint(encoder)
    for task in tasks:
        wanted = missing(digest, task, protocol, cells)
        if wanted:
            cells.add(measure(embeddings_of(encoder, task.lonlat), task, wanted))
        tell(
            f"{encoder.name}: {task.name}, {len(wanted)} figures measured" if wanted else f"{encoder.name}: {task.name}"
        )
    figures = {column: mean for task in tasks for column, mean in _means(digest, task, protocol, cells)}
    return Row(encoder.name, encoder.note, embeddings_of(encoder, tasks[0].lonlat[:1]).shape[1], figures)


def _means(digest: str, task: Task, protocol: Protocol, cells: Cells) -> Iterator[tuple[Column, Mean]]:
    """Over seeds; of one seed, over its folds."""
    by_column: dict[Column, list[list[float]]] = {}
    for key in keys(digest, task, protocol):
        for metric, values in (cells.get(key) or {}).items():
            by_column.setdefault(Column(task.name, key.probe, key.split, metric), []).append(values)
    for column, seeds in by_column.items():
        yield column, mean_of(seeds[0] if len(seeds) == 1 else [float(np.mean(values)) for values in seeds])
