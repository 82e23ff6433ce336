"""satcle evaluate."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from trainer.cli.arguments import bundle_folder, one_line_errors

if TYPE_CHECKING:
    from trainer.evaluation.probing import Protocol
    from trainer.evaluation.suites import TaskRequest

SPEC = "A bundle, FILE.ckpt, http(s)://host:port[#model] or baseline:NAME; NAME=… names its row."


def evaluate(
    encoders: Annotated[list[str], typer.Argument(metavar="ENCODER...", help=SPEC)],
    suites: Annotated[list[Path] | None, typer.Option("--tasks", help="A suite of tasks; may be repeated.")] = None,
    data_dir: Annotated[Path, typer.Option(help="The folder that the data of a suite is in.")] = Path(),
    data: Annotated[list[Path] | None, typer.Option(help="A table, or CoordBench's folder; may be repeated.")] = None,
    targets: Annotated[
        list[str] | None, typer.Option("--target", help="COLUMN[:classification | :log1p] of each --data table.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The folder of the leaderboard, and of figures kept.")] = Path(
        "leaderboard"
    ),
    probes: Annotated[str, typer.Option(help="Of ridge, knn, mlp and transfer, with commas.")] = "ridge,knn",
    seeds: Annotated[int, typer.Option(min=1, help="How many deals of the folds.")] = 1,
    mlp_seeds: Annotated[int, typer.Option(min=1, help="How many fits of the MLP.")] = 10,
    first_seed: Annotated[
        int, typer.Option(min=0, help="The first of either: what is chosen on some deals is reported on others.")
    ] = 0,
    heads: Annotated[bool, typer.Option("--heads", help="Measure the heads of a bundle again, on --data.")] = False,
    head: Annotated[list[str] | None, typer.Option(help="With --heads: which; else all that the tables suit.")] = None,
) -> None:
    """Measure encoders on tasks and compare them, or with --heads measure the heads of a bundle again.

    OUT gets leaderboard.md and leaderboard.csv; what is in its cells.json already is not measured again. With --heads,
    heads are measured on the rows held out from the tables that they were fitted on, and the exit status is 1 where a
    figure is not the card's.
    """
    with one_line_errors():
        from trainer.errors import EvaluationError
        from trainer.evaluation.probing import Protocol, read_probes

        if heads or head:
            _measure_heads(encoders, data or [], head or [])
            return
        protocol = Protocol(read_probes(probes), seeds, mlp_seeds, first_seed)
        requests = _requests(suites or [], data or [], tuple(targets or ()), data_dir)
        if not requests:
            raise EvaluationError("say what to measure on: --tasks SUITE.yaml, or --data TABLE --target COLUMN")
        _compare(encoders, requests, protocol, out)


def _requests(
    suites: list[Path], tables: list[Path], targets: tuple[str, ...], data_dir: Path
) -> tuple[TaskRequest, ...]:
    """What suites name, from the data folder, and what tables are given by themselves."""
    from trainer.evaluation.suites import read_suite, requested

    named = [task for suite in suites for task in read_suite(suite).tasks]
    moved = [task.model_copy(update={"data": data_dir / task.data}) for task in named]
    return (*moved, *(task for table in tables for task in requested(table, targets)))


def _compare(specs: list[str], requests: tuple[TaskRequest, ...], protocol: Protocol, out: Path) -> None:
    from trainer.evaluation.cells import Cells
    from trainer.evaluation.encoders import open_encoders
    from trainer.evaluation.leaderboard import measured
    from trainer.evaluation.report import MARKDOWN, write_report
    from trainer.evaluation.task_data import open_tasks

    progress, skipped = Console(stderr=True, highlight=False, soft_wrap=True), []

    def tell(line: str) -> None:
        skipped.append(line)
        progress.print(line)

    cells = Cells(out / "cells.json")
    encoders = open_encoders(specs)
    tasks = open_tasks(requests, Path(), tell)
    board = measured(encoders, tasks, protocol, cells, progress.print)
    command = shlex.join(["satcle", *sys.argv[1:]])
    write_report(board, tasks, protocol, out, command, skipped)
    shown = Table("encoder", "dim", "mean score", "mean rank")
    scores, ranks = board.scores(), board.mean_ranks()
    for row in board.rows:
        score = f"{scores[row.name].value:.4f}" if scores else "-"
        shown.add_row(row.name, str(row.dim), score, f"{ranks[row.name].value:.2f}")
    Console().print(shown)
    Console().print(f"{out / MARKDOWN}", highlight=False, soft_wrap=True)


def _measure_heads(bundles: list[str], paths: list[Path], head_ids: list[str]) -> None:
    from service.bundle import read_bundle
    from trainer.data.tables import read_table
    from trainer.errors import EvaluationError, HeadError
    from trainer.evaluation.heads import measure_heads

    if len(bundles) != 1 or not paths:
        raise EvaluationError("--heads measures one bundle on tables: satcle evaluate BUNDLE --heads --data TABLE")
    shown = Table("head", "metric", "card", "measured", "rows")
    opened = read_bundle(bundle_folder(bundles[0]))
    measured = list(measure_heads(opened, [read_table(path) for path in paths], head_ids))
    for each in measured:
        rows = f"{each.rows:,}{' held out' if each.again else ''}"
        for metric, said in each.compared():
            value = "-" if said is None else f"{said:.4g}"
            shown.add_row(each.card.id, metric.name, value, f"{metric.value:.4g}", rows)
    Console().print(shown)
    if differing := [each.card.id for each in measured if each.differs]:
        raise HeadError(f"not as the card says: {', '.join(differing)}")
