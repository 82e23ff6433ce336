"""satcle sweep."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from trainer.cli.arguments import DEFAULT_IMAGERY, DEFAULT_RUNS, Imagery, one_line_errors

if TYPE_CHECKING:
    from trainer.sweep.plan import Plan

COLUMNS = ("variant", "seeds", "mean of cells", "mean rank", "cells won", "minutes a run")


def sweep(
    what: Annotated[Path, typer.Argument(metavar="SWEEP.yaml|FOLDER", help="A sweep; or its folder, for the table.")],
    runs: Annotated[Path, typer.Option(help="The folder that holds the sweep's folder.")] = Path(DEFAULT_RUNS),
    imagery: Imagery = DEFAULT_IMAGERY,
    data_dir: Annotated[Path, typer.Option(help="The folder that the data of the suites is in.")] = Path(),
    jobs: Annotated[int, typer.Option(min=1, help="How many runs are trained at once.")] = 1,
    table: Annotated[bool, typer.Option("--table", help="Only make the table of what is there.")] = False,
    reference: Annotated[
        str | None, typer.Option(help="What cells are won against: untrained, or a variant; the sweep's by default.")
    ] = None,
    vision: Annotated[Path | None, typer.Option(help="As satcle pretrain has it, for all runs.")] = None,
    weights: Annotated[Path | None, typer.Option(help="As satcle pretrain has it, for all runs.")] = None,
) -> None:
    """Train and measure every run of a sweep, and compare them; what is done already is left alone.

    RUNS/SWEEP gets a folder for each run, table.md and table.csv. The table is made from the folders alone. Exit
    status 1 where a run failed; the others go on.
    """
    with one_line_errors():
        from trainer.sweep.plan import UNTRAINED, read_plan

        plan = None if what.is_dir() else read_plan(what)
        folder = what if plan is None else runs / plan.sweep.name
        failed = 0
        if plan and not table:
            options = [("--imagery", imagery), ("--vision", vision), ("--weights", weights)]
            failed = _run(plan, folder, data_dir, jobs, [str(x) for pair in options if pair[1] for x in pair])
        _table(folder, reference or (plan.sweep.reference if plan else UNTRAINED))
        if failed:
            raise typer.Exit(1)


def _run(plan: Plan, folder: Path, data_dir: Path, jobs: int, options: list[str]) -> int:
    """How many failed."""
    from trainer.sweep.running import run_sweep
    from trainer.sweep.training import Trainers

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    failures = run_sweep(plan, folder, data_dir, Trainers(jobs, options), progress.print)
    for failure in failures:
        progress.print(f"failed: {failure.name}: {failure.why}")
    return len(failures)


def _table(folder: Path, reference: str) -> None:
    from trainer.sweep.folders import read_sweep_folder
    from trainer.sweep.report import summary, write_table
    from trainer.sweep.table import compare

    compared = compare(read_sweep_folder(folder), reference)
    written = write_table(folder.name, compared, folder)
    shown = Table(*COLUMNS)
    for line in summary(compared):
        shown.add_row(*line)
    Console().print(shown)
    Console().print(f"{compared.tried} configurations tried; {written}", highlight=False, soft_wrap=True)
