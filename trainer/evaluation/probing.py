"""An embedding of a task's places, probed: the figures of each probe, split and seed that are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.targets import Classes
from trainer.errors import EvaluationError
from trainer.evaluation.cells import Cells, Figures, Key
from trainer.evaluation.continents import FEW_SHOT, continents
from trainer.evaluation.folds import FOLDS
from trainer.evaluation.head_metrics import r2
from trainer.evaluation.neighbours import neighbours_elsewhere, neighbours_predictions
from trainer.evaluation.perceptron import MIN_ROWS, perceptron_figures, transfer_figures
from trainer.evaluation.ridge import ridge_predictions
from trainer.evaluation.side_by_side import side_by_side
from trainer.evaluation.tasks import Task

Probe = Literal["ridge", "knn", "mlp", "transfer"]
PROBES: tuple[Probe, ...] = get_args(Probe)
SPLIT = "7:1:2"


@dataclass(frozen=True)
class Protocol:
    """Which probes, under how many deals of the folds, and how many seeds of the perceptron.

    Both count from `first_seed`: what is chosen on some deals can be reported on others.
    """

    probes: tuple[Probe, ...] = ("ridge", "knn")
    seeds: int = 1
    mlp_seeds: int = 10
    first_seed: int = 0

    def seeds_of(self, probe: Probe) -> range:
        """The seeds that `probe` is measured with."""
        count = self.mlp_seeds if probe in ("mlp", "transfer") else self.seeds
        return range(self.first_seed, self.first_seed + count)


def read_probes(asked: str) -> tuple[Probe, ...]:
    """ "ridge, knn" → ("ridge", "knn"). Raises EvaluationError."""
    names = [name.strip() for name in asked.split(",") if name.strip()]
    if unknown := [name for name in names if name not in PROBES]:
        raise EvaluationError(f"no probe is named {unknown[0]!r}; there are {', '.join(PROBES)}")
    if not names:
        raise EvaluationError(f"name a probe or more: {', '.join(PROBES)}")
    return tuple(probe for probe in PROBES if probe in names)


def keys(encoder: str, task: Task, protocol: Protocol) -> Iterator[Key]:
    """Of all the figures of a task that the protocol asks for."""
    for probe in protocol.probes:
        for split in _splits(task, probe):
            for seed in protocol.seeds_of(probe):
                yield Key(encoder, task.digest, probe, split, seed)


def missing(encoder: str, task: Task, protocol: Protocol, cells: Cells) -> list[Key]:
    return [key for key in keys(encoder, task, protocol) if cells.get(key) is None]


def measure(embeddings: NDArray[np.float32], task: Task, wanted: Sequence[Key]) -> Iterator[tuple[Key, Figures]]:
    """`embeddings` (n, dim) are those of the task's places. Raises HeadError or EvaluationError."""
    embedding, columns = torch.from_numpy(embeddings), task.columns
    folded = [key for key in wanted if key.probe in ("ridge", "knn")]
    dealt = {key: torch.from_numpy(task.folds(key.split, key.seed)) for key in folded}  # type: ignore[arg-type]
    by_neighbours = [key for key in folded if key.probe == "knn"]
    nearest = neighbours_elsewhere(embedding, [dealt[key] for key in by_neighbours]) if by_neighbours else []
    for key, rows in zip(by_neighbours, nearest, strict=True):
        yield key, fold_figures(task, neighbours_predictions(rows, columns), dealt[key])
    for key in folded:
        if key.probe == "ridge":
            yield key, fold_figures(task, ridge_predictions(embedding, columns, dealt[key]), dealt[key])
    yield from _by_perceptron(embeddings, task, [key for key in wanted if key.probe in ("mlp", "transfer")])


def fold_figures(task: Task, predicted: Tensor, folds: Tensor) -> Figures:
    """R² of each fold, or the share of its rows whose class has the highest column; (n, columns), (n,)."""
    values = task.targets.values
    told = predicted.argmax(dim=1).numpy() if isinstance(task.targets, Classes) else predicted[:, 0].numpy()
    scores = []
    for fold in range(FOLDS):
        rows = (folds == fold).numpy()
        right = isinstance(task.targets, Classes)
        scores.append(float((told[rows] == values[rows]).mean()) if right else r2(told[rows], values[rows]))
    return {task.metric: scores}


def _by_perceptron(embeddings: NDArray[np.float32], task: Task, wanted: Sequence[Key]) -> Iterator[tuple[Key, Figures]]:
    """Each as it is finished, in any order."""

    def figures_of(key: Key) -> tuple[Key, Figures]:
        if key.probe == "mlp":
            figures = perceptron_figures(embeddings, task.targets, key.seed)
        else:
            figures = transfer_figures(embeddings, task.targets, continents(task.lonlat) == key.split, key.seed)
        return key, {metric: [value] for metric, value in figures.items()}

    return side_by_side([partial(figures_of, key) for key in wanted])


def _splits(task: Task, probe: Probe) -> tuple[str, ...]:
    if probe == "mlp":
        return (SPLIT,)
    if probe == "transfer":
        where = continents(task.lonlat)
        return tuple(name for name in FEW_SHOT if MIN_ROWS <= (where == name).sum() <= len(where) - MIN_ROWS)
    return task.fold_kinds()
