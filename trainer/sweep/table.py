"""A sweep's folders compared: variants over their seeds, with what they are measured against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trainer.errors import RunError
from trainer.evaluation.leaderboard import Column, Leaderboard, Row
from trainer.evaluation.statistics import Mean, mean_of
from trainer.sweep.folders import Found, Measurement
from trainer.sweep.plan import UNTRAINED


@dataclass(frozen=True)
class Wins:
    """In how many of `cells` a run is better than its reference: for each seed, and by the means over seeds."""

    cells: int
    by_seed: tuple[int, ...]
    of_means: int


@dataclass(frozen=True)
class Compared:
    """A row of the table. `score` is the mean of a run's cells, over seeds; `wins` None of the reference itself."""

    name: str
    changes: Mapping[str, Any]
    runs: tuple[Found, ...]
    wins: Wins | None

    @property
    def seeds(self) -> tuple[int | None, ...]:
        return tuple(run.entry.seed for run in self.runs)

    @cached_property
    def figures(self) -> dict[Column, Mean]:
        """Each cell over the runs."""
        return {
            column: mean_of([_of(run).figures[column] for run in self.runs]) for column in _of(self.runs[0]).figures
        }

    @cached_property
    def score(self) -> Mean | None:
        """Over runs, of the mean of a run's cells of R² and accuracy by ridge and k-NN; None where there are none."""
        columns = [column for column in self.figures if column.probe in ("ridge", "knn")]
        return (
            mean_of([np.mean([_of(run).figures[c] for c in columns]).item() for run in self.runs]) if columns else None
        )

    @property
    def seconds(self) -> Mean | None:
        """Of a run's epochs."""
        known = [run.seconds for run in self.runs if run.seconds is not None]
        return mean_of(known) if known else None


@dataclass(frozen=True)
class Table:
    """`rows` are variants first; `tried` counts all configurations with a folder, whatever became of them.

    `unmeasured` are runs that failed, or were not finished, and runs measured by another protocol than the others.
    """

    rows: tuple[Compared, ...]
    reference: str
    tried: int
    unmeasured: tuple[Found, ...]

    @cached_property
    def board(self) -> Leaderboard:
        rows = [Row(row.name, "", _of(row.runs[0]).dim, row.figures) for row in self.rows]
        return Leaderboard(tuple(rows), tuple(rows[0].figures))

    @property
    def protocol(self) -> Mapping[str, Any]:
        return _of(self.rows[0].runs[0]).protocol


def compare(found: Sequence[Found], reference: str = UNTRAINED) -> Table:
    """The table of a sweep's folders. Raises RunError where nothing was measured, or nothing is named `reference`."""
    trained = [each for each in found if each.entry.kind == "run"]
    if not (measured := [each for each in found if each.measured]):
        raise RunError(f"nothing was measured yet in {found[0].path.parent}")
    newest = max(measured, key=lambda each: (each.path / "figures.json").stat().st_mtime)
    asked = _of(newest).asked
    alike = [each for each in measured if _of(each).asked == asked]
    by_folder = {each.path.name: each for each in alike}
    rows = [_compared(runs, alike, by_folder, reference) for runs in _groups(alike)]
    if reference != UNTRAINED and reference not in (row.name for row in rows):
        raise RunError(f"no variant {reference!r} was measured; there are {', '.join(row.name for row in rows)}")
    return Table(
        tuple(rows),
        reference,
        len({each.entry.variant for each in trained}),
        tuple(each for each in trained if each not in alike or each.entry.error),
    )


def _groups(found: Sequence[Found]) -> Iterator[tuple[Found, ...]]:
    """Runs of one variant; towers before training by what they are of; encoders beside them."""
    runs = [each for each in found if each.entry.kind == "run"]
    for variant in dict.fromkeys(each.entry.variant for each in runs):
        yield tuple(sorted((r for r in runs if r.entry.variant == variant), key=lambda run: run.entry.seed or 0))
    wanted = [tuple(r.entry.untrained for r in runs if r.entry.variant == v.entry.variant) for v in runs]
    by_name = {each.path.name: each for each in found}
    for names in dict.fromkeys(wanted):
        if towers := tuple(by_name[name] for name in names if name in by_name):
            yield towers
    for each in found:
        if each.entry.kind == "beside":
            yield (each,)


def _compared(
    runs: tuple[Found, ...], found: Sequence[Found], by_folder: Mapping[str, Found], reference: str
) -> Compared:
    first = runs[0].entry
    name = first.variant
    if first.kind == "untrained":
        users = {e.entry.variant for e in found if e.entry.untrained == runs[0].path.name}
        every = {e.entry.variant for e in found if e.entry.kind == "run"}
        name = UNTRAINED if users == every else f"{UNTRAINED} ({', '.join(sorted(users))})"
    pairs = [(run, against) for run in runs if (against := _reference(run, found, by_folder, reference))]
    return Compared(name, first.changes or {}, runs, _wins(pairs) if pairs else None)


def _reference(run: Found, found: Sequence[Found], by_folder: Mapping[str, Found], reference: str) -> Found | None:
    """What a run is compared with: its own tower before training, or the reference's run of the same seed."""
    if reference == UNTRAINED:
        return by_folder.get(run.entry.untrained or "")
    same = (e for e in found if e.entry.variant == reference and e.entry.seed == run.entry.seed and e is not run)
    return next(same, None)


def _wins(pairs: Sequence[tuple[Found, Found]]) -> Wins:
    columns = list(_of(pairs[0][0]).figures)
    signs = np.array([column.sign for column in columns])
    gains = np.array([[_of(run).figures[c] - _of(against).figures[c] for c in columns] for run, against in pairs])
    better = signs * gains > 0
    return Wins(len(columns), tuple(better.sum(axis=1).tolist()), int((signs * gains.mean(axis=0) > 0).sum()))


def _of(found: Found) -> Measurement:
    assert found.measured is not None
    return found.measured
