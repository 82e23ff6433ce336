"""A task: places, each with a number or a class to be told from its embedding."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.targets import Classes, Numbers, Targets
from trainer.errors import EvaluationError
from trainer.evaluation.folds import FOLDS, FoldKind, folds_of
from trainer.evaluation.neighbours import NEIGHBOURS
from trainer.evaluation.suites import TaskRequest

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
LARGEST = 1e100
"""Beyond it, squares overflow."""
KINDS: tuple[FoldKind, ...] = ("random", "blocks")


@dataclass(frozen=True, eq=False)
class Task:
    """`lonlat` (n, 2) degrees and `targets` of all n rows. `left_out` rows of the data had no target or a rare class.

    `sha256` is that of the file at `source`; `digest` is of the places and targets themselves.
    """

    name: str
    lonlat: Floats
    targets: Targets
    left_out: int
    source: str
    sha256: str

    @property
    def metric(self) -> str:
        return "accuracy" if isinstance(self.targets, Classes) else "R2"

    @property
    def digest(self) -> str:
        content = hashlib.sha256(repr((self.metric, self.lonlat.shape)).encode())
        for array in (self.lonlat, self.targets.values):
            content.update(np.ascontiguousarray(array).tobytes())
        return content.hexdigest()

    @property
    def columns(self) -> Tensor:
        """(n, 1) numbers, or (n, classes) one-hot, float64."""
        values = torch.from_numpy(self.targets.values)
        if isinstance(self.targets, Classes):
            return torch.nn.functional.one_hot(values, len(self.targets.names)).double()
        return values[:, None]

    def fold_kinds(self) -> tuple[FoldKind, ...]:
        """The kinds of folds that there are rows, blocks and neighbours enough for. Raises EvaluationError for none."""
        found, problems = [], []
        for kind in KINDS:
            try:
                self.folds(kind, 0)
                found.append(kind)
            except EvaluationError as error:
                problems.append(str(error))
        if not found:
            raise EvaluationError(f"task {self.name}: {problems[0]}")
        return tuple(found)

    def folds(self, kind: FoldKind, seed: int) -> Integers:
        """The fold of each row. Raises EvaluationError."""
        folds = folds_of(kind, self.lonlat, seed)
        if len(folds) - np.bincount(folds, minlength=FOLDS).max() < NEIGHBOURS:
            raise EvaluationError(
                f"one of the {FOLDS} folds ({kind}) leaves fewer than {NEIGHBOURS} rows to learn from"
            )
        return folds


def number_task(request: TaskRequest, lonlat: Floats, values: Floats, source: str, sha256: str) -> Task:
    """Of `values` (n,), those that are numbers and not nodata. Raises EvaluationError."""
    known = np.isfinite(values) & (values != request.nodata)
    kept = values[known]
    if request.transform == "log1p":
        if (kept <= -1).any():
            raise EvaluationError(
                f"task {request.name}: the target has {kept.min():g}, and log1p needs values above -1; is it nodata?"
            )
        kept = np.log1p(kept)
    if len(kept) == 0:
        raise EvaluationError(f"task {request.name}: no row of {source} has a target")
    if abs(kept).max() > LARGEST:
        raise EvaluationError(f"task {request.name}: the target has {abs(kept).max():g}, too large; is it nodata?")
    if kept.min() == kept.max():
        raise EvaluationError(f"task {request.name}: the target is {kept[0]:g} in every row; there is nothing to tell")
    return Task(request.name, lonlat[known], Numbers(kept), int((~known).sum()), source, sha256)


def class_task(request: TaskRequest, lonlat: Floats, labels: Sequence[str | None], source: str, sha256: str) -> Task:
    """Of `labels`, None where there is none, those of classes with rows enough. Raises EvaluationError."""
    nodata = None if request.nodata is None else f"{request.nodata:g}"
    named = np.array([label if label is not None and label != nodata else "" for label in labels])
    found, counts = np.unique(named[named != ""], return_counts=True)
    names = tuple(found[counts >= request.min_class_rows].tolist())
    if len(names) < 2:
        raise EvaluationError(
            f"task {request.name}: {source} has {len(names)} classes of {request.min_class_rows} rows or more; "
            "a classification needs two (see min_class_rows)"
        )
    kept = np.isin(named, names)
    values = np.searchsorted(np.array(names), named[kept]).astype(np.int64)
    targets = Classes(names, np.arange(len(values)), values)
    return Task(request.name, lonlat[kept], targets, int((~kept).sum()), source, sha256)
