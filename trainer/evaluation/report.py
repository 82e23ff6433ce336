"""A leaderboard as Markdown and CSV, with what it takes to make it again."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from trainer.errors import EvaluationError
from trainer.evaluation.leaderboard import Column, Leaderboard, Row
from trainer.evaluation.probing import Protocol
from trainer.evaluation.statistics import Mean
from trainer.evaluation.tasks import Task

MARKDOWN, CSV = "leaderboard.md", "leaderboard.csv"
PROBE_NAMES = {"ridge": "ridge", "knn": "5-NN", "mlp": "MLP", "transfer": "MLP, 1 % of"}


def write_report(
    board: Leaderboard, tasks: Sequence[Task], protocol: Protocol, out: Path, command: str, skipped: Sequence[str]
) -> None:
    """leaderboard.md and leaderboard.csv in `out`. Raises EvaluationError."""
    footer = "\n".join(_footer(tasks, protocol, command, skipped))
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / MARKDOWN).write_text("\n".join(_markdown(board)) + "\n" + footer + "\n", encoding="utf-8")
        (out / CSV).write_text(as_csv(board), encoding="utf-8", newline="")
    except OSError as error:
        raise EvaluationError(f"the leaderboard cannot be written to {out}: {error.strerror}") from error


def as_csv(board: Leaderboard) -> str:
    """A row an encoder; each column with its mean and the half width of its interval (empty of a single value)."""
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    names = [column_name(column) for column in board.columns]
    table.writerow(["encoder", "dim", "mean score", "mean rank", *(h for n in names for h in (n, f"{n} ±")), "note"])
    scores, mean_ranks = board.scores(), board.mean_ranks()
    for row in board.rows:
        summary = [scores[row.name].value if scores else "", mean_ranks[row.name].value]
        cells = [x for c in board.columns for x in (row.figures[c].value, row.figures[c].margin)]
        table.writerow([row.name, row.dim, *summary, *("" if x is None else x for x in cells), row.note])
    return written.getvalue()


def column_name(column: Column) -> str:
    """Of the column in a CSV."""
    return f"{column.task} | {column.probe} | {column.split} | {column.metric}"


def _markdown(board: Leaderboard) -> Iterator[str]:
    yield "# Leaderboard\n"
    yield from _summary(board)
    for task, columns in groupby(board.columns, key=lambda column: column.task):
        shown = list(columns)
        yield f"\n## {task}\n"
        yield "| encoder | " + " | ".join(column_title(column) for column in shown) + " |"
        yield "|---|" + "---:|" * len(shown)
        best = [_marks(board, column) for column in shown]
        for row in board.rows:
            cells = (mark(row, _shown(row.figures[column])) for column, mark in zip(shown, best, strict=True))
            yield f"| {row.name} | " + " | ".join(cells) + " |"


def _summary(board: Leaderboard) -> Iterator[str]:
    scores, mean_ranks = board.scores(), board.mean_ranks()
    yield "| encoder | dim | mean score | mean rank | what it is |\n|---|---:|---:|---:|---|"
    for row in board.rows:
        score = _shown(scores[row.name]) if scores else ""
        yield f"| {row.name} | {row.dim} | {score} | {_shown(mean_ranks[row.name], 2)} | {row.note} |"


def _marks(board: Leaderboard, column: Column) -> Callable[[Row, str], str]:
    """The best of a column is bold and the second underlined, as they are shown: equals are marked alike."""
    values = sorted({round(column.sign * row.figures[column].value, 3) for row in board.rows}, reverse=True)

    def mark(row: Row, text: str) -> str:
        place = values.index(round(column.sign * row.figures[column].value, 3))
        if len(values) == 1 or place > 1:
            return text
        return f"**{text}**" if place == 0 else f"<u>{text}</u>"

    return mark


def column_title(column: Column) -> str:
    """Within the table of its task."""
    arrow = "↓" if column.sign < 0 else "↑"
    where = "" if column.probe == "mlp" else f" {column.split}"
    return f"{PROBE_NAMES[column.probe]}{where}, {column.metric.replace('R2', 'R²')} {arrow}"


def _shown(mean: Mean, digits: int = 3) -> str:
    margin = "" if mean.margin is None else f" ± {mean.margin:.{digits}f}"
    return f"{mean.value:.{digits}f}{margin}"


def _footer(tasks: Sequence[Task], protocol: Protocol, command: str, skipped: Sequence[str]) -> Iterator[str]:
    yield "\n## How it was made\n"
    yield f"```sh\n{command}\n```\n"
    yield f"On {datetime.datetime.now(datetime.UTC):%Y-%m-%d}. Means ± half a 95 % interval by Student's t:"
    deals, fits = protocol.seeds_of("ridge"), protocol.seeds_of("mlp")
    over = f"the five folds of seed {deals[0]}" if len(deals) == 1 else f"seeds {deals[0]} to {deals[-1]} of the folds"
    yield f"of ridge and 5-NN over {over};"
    yield f"of the MLP over seeds {fits[0]} to {fits[-1]}; of mean score and mean rank over columns."
    yield "Ridge on standardised embeddings, alpha 1; 5-NN by cosine; R² or accuracy, the mean of five folds. MLP on"
    yield "7:1:2, targets standardised. Mean score: over ridge and 5-NN.\n"
    yield "| task | rows | left out | data | sha256 |\n|---|---:|---:|---|---|"
    for task in tasks:
        yield f"| {task.name} | {len(task.lonlat):,} | {task.left_out:,} | {task.source} | {task.sha256[:16]} |"
    for line in skipped:
        yield f"\n{line}."
