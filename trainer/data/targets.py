"""What a head learns: numbers, or classes; and which rows it learns them from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.data.tables import PlacesTable
from trainer.errors import HeadError
from trainer.seeding import generator

Integers = NDArray[np.int64]

TRAIN, VALIDATION, TEST = range(3)
PARTS = np.array([TRAIN, TEST, TRAIN, VALIDATION, TRAIN, TRAIN, TEST, TRAIN, TRAIN, TRAIN])
"""7:1:2 of every ten rows of a class, in an order that gives a class of two rows one to learn from and one to test."""
MIN_ROWS = 10
MIN_CLASS_ROWS = 2


@dataclass(frozen=True, eq=False)
class Numbers:
    """A regression's target: `values` of the rows of a table, all of them."""

    values: NDArray[np.float64]

    @property
    def rows(self) -> Integers:
        return np.arange(len(self.values))

    @property
    def strata(self) -> Integers:
        return np.zeros(len(self.values), np.int64)


@dataclass(frozen=True, eq=False)
class Classes:
    """A classification's target: the class of each of `rows` of a table, as a number into `names`."""

    names: tuple[str, ...]
    rows: Integers
    values: Integers

    @property
    def strata(self) -> Integers:
        return self.values


Targets = Numbers | Classes


@dataclass(frozen=True, eq=False)
class Split:
    """Positions in `Targets.rows`, disjoint, all of them."""

    train: Integers
    validation: Integers
    test: Integers


def read_numbers(table: PlacesTable, column: str, *, log1p: bool) -> Numbers:
    """Raises TableError or HeadError."""
    values = table.numbers(column)
    if log1p and (values <= -1).any():
        row = int(np.argmax(values <= -1))
        raise HeadError(f"{table.path}: {column} is {values[row]:g} in row {row + 1}; log1p needs values above -1")
    return Numbers(values)


def read_classes(table: PlacesTable, column: str, min_rows: int) -> Classes:
    """Classes with fewer than `min_rows` rows are left out; what is left must have MIN_CLASS_ROWS each.

    Raises TableError or HeadError.
    """
    labels = table.labels(column)
    found, counts = np.unique(labels, return_counts=True)
    kept = {name: int(count) for name, count in zip(found.tolist(), counts, strict=True) if count >= min_rows}
    rare = [name for name, count in kept.items() if count < MIN_CLASS_ROWS]
    if rare:
        shown = ", ".join(map(repr, rare[:5])) + (" …" if len(rare) > 5 else "")
        raise HeadError(
            f"{table.path}: {len(rare)} classes of {column} have a single row, and none could be held out: {shown}; "
            "add rows, or leave rare classes out with --min-class-rows"
        )
    if len(kept) < 2:
        of = f" of {min_rows} rows or more" if len(kept) < len(found) else ""
        raise HeadError(f"{table.path}: {column} has {len(kept)} classes{of}; a classification needs at least two")
    return classes_of(labels, tuple(sorted(kept, key=_in_order)))


def classes_of(labels: NDArray[np.str_], names: tuple[str, ...]) -> Classes:
    """The rows whose label is one of `names`."""
    number = {name: index for index, name in enumerate(names)}
    numbers = np.array([number.get(label, -1) for label in labels.tolist()], np.int64)
    rows = np.flatnonzero(numbers >= 0)
    return Classes(names, rows, numbers[rows])


def split(targets: Targets, seed: int) -> Split:
    """7:1:2 at random, class by class. Raises HeadError where there are too few rows."""
    strata = targets.strata
    shuffled = torch.randperm(len(strata), generator=generator(seed, "head split")).numpy()
    order = shuffled[np.argsort(strata[shuffled], kind="stable")]
    _, first, size = np.unique(strata[order], return_index=True, return_counts=True)
    part = PARTS[(np.arange(len(order)) - first.repeat(size)) % len(PARTS)]
    train, validation, test = (np.sort(order[part == which]) for which in (TRAIN, VALIDATION, TEST))
    if len(strata) < MIN_ROWS or not len(validation):
        raise HeadError(f"{len(strata)} rows are too few to be split 7:1:2: give {MIN_ROWS} or more, of a class or two")
    return Split(train, validation, test)


def _in_order(name: str) -> tuple[bool, int, str]:
    """Whole numbers by value, before everything else by name."""
    is_number = name.removeprefix("-").isdecimal()
    return not is_number, int(name) if is_number else 0, name
