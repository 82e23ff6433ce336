"""The table of a sweep, as Markdown and as CSV, with how many configurations were tried."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from trainer.errors import RunError
from trainer.evaluation.report import column_name, column_title
from trainer.evaluation.statistics import Mean
from trainer.sweep.plan import UNTRAINED
from trainer.sweep.table import Compared, Table

MARKDOWN, CSV = "table.md", "table.csv"
MINUTE = 60


def write_table(name: str, table: Table, folder: Path) -> Path:
    """table.md and table.csv in `folder`; the first. Raises RunError."""
    try:
        (folder / MARKDOWN).write_text("\n".join(_markdown(name, table)) + "\n", encoding="utf-8")
        (folder / CSV).write_text(as_csv(table), encoding="utf-8", newline="")
    except OSError as error:
        raise RunError(f"the table cannot be written to {folder}: {error.strerror}") from error
    return folder / MARKDOWN


def as_csv(table: Table) -> str:
    """A line a run, then one for each row of the table (seed `all`): every cell, the mean of cells, cells won."""
    written = io.StringIO()
    lines = csv.writer(written, lineterminator="\n")
    columns = table.board.columns
    names = [column_name(column) for column in columns]
    lines.writerow(["variant", "seed", "mean of cells", "deviation", "mean rank", "cells won", "seconds", *names])
    ranks = table.board.mean_ranks()
    for row in table.rows:
        for index, run in enumerate(row.runs):
            alone = Compared(row.name, row.changes, (run,), None)
            won = row.wins.by_seed[index] if row.wins and index < len(row.wins.by_seed) else ""
            cells = [alone.figures[column].value for column in columns]
            lines.writerow([row.name, run.entry.seed, _value(alone.score), "", "", won, run.seconds, *cells])
        of_means = row.wins.of_means if row.wins else ""
        deviation = row.score.deviation if row.score else None
        cells = [row.figures[column].value for column in columns]
        summary = [_value(row.score), deviation, ranks[row.name].value, of_means, _value(row.seconds)]
        lines.writerow([row.name, "all", *summary, *cells])
    return written.getvalue()


def summary(table: Table) -> Iterator[tuple[str, ...]]:
    """A line a row: name, seeds, mean of cells, mean rank, cells won, minutes a run."""
    ranks = table.board.mean_ranks()
    for row in table.rows:
        minutes = row.seconds and f"{row.seconds.value / MINUTE:.1f}"
        yield row.name, _seeds(row), _shown(row.score), f"{ranks[row.name].value:.2f}", _won(row), minutes or ""


def _markdown(name: str, table: Table) -> Iterator[str]:
    runs = sum(len(row.runs) for row in table.rows if row.runs[0].entry.kind == "run")
    yield f"# Sweep {name}\n"
    yield f"{table.tried} configurations tried; {runs} runs measured, {len(table.unmeasured)} not.\n"
    won = "before training, same seed" if table.reference == UNTRAINED else f"{table.reference}, same seed"
    yield f"| variant | seeds | mean of cells | mean rank | cells won against {won} | minutes a run |"
    yield "|---|---|---:|---:|---:|---:|"
    for line in summary(table):
        yield f"| {' | '.join(line)} |"
    if changed := [row for row in table.rows if row.changes]:
        yield "\n| variant | what it changes |\n|---|---|"
        yield from (f"| {row.name} | {_changes(row)} |" for row in changed)
    for task, columns in groupby(table.board.columns, key=lambda column: column.task):
        shown = list(columns)
        yield f"\n## {task}\n"
        yield "| variant | " + " | ".join(map(column_title, shown)) + " |"
        yield "|---|" + "---:|" * len(shown)
        for row in table.rows:
            yield f"| {row.name} | " + " | ".join(_shown(row.figures[column]) for column in shown) + " |"
    yield "\n## How it was made\n"
    yield "By `satcle sweep`, from this folder alone. Means ± standard deviations over seeds; mean of cells over ridge"
    yield "and 5-NN; mean rank over all cells, of the rows' means over seeds. Cells won: of the means over seeds, then"
    yield f"from the worst to the best seed. Protocol: {json.dumps(dict(table.protocol))}."
    for found in table.unmeasured:
        yield f"\n{found.path.name}: {found.entry.error or 'not finished, or measured by another protocol'}."


def _seeds(row: Compared) -> str:
    return ", ".join(str(seed) for seed in row.seeds if seed is not None) or "-"


def _won(row: Compared) -> str:
    if row.wins is None:
        return ""
    low, high = min(row.wins.by_seed), max(row.wins.by_seed)
    spread = f" ({low} to {high})" if len(row.wins.by_seed) > 1 else ""
    return f"{row.wins.of_means}{spread} of {row.wins.cells}"


def _changes(row: Compared) -> str:
    return ", ".join(f"`{key}: {json.dumps(value)}`" for key, value in row.changes.items())


def _shown(mean: Mean | None) -> str:
    if mean is None:
        return ""
    return f"{mean.value:.4f}" + ("" if mean.deviation is None else f" ± {mean.deviation:.4f}")


def _value(mean: Mean | None) -> float | None:
    return None if mean is None else mean.value
