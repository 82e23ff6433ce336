"""satcle evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from trainer.cli.arguments import bundle_folder, one_line_errors


def evaluate(
    bundle: Annotated[str, typer.Argument(help="Name or path of a bundle.")],
    tables: Annotated[list[Path], typer.Option("--data", help="A table with lon, lat and targets; may be repeated.")],
    heads: Annotated[list[str] | None, typer.Option("--head", help="Heads to measure; else all they suit.")] = None,
) -> None:
    """Measure a bundle's heads on tables: on the table a head was fitted on, on the rows that were held out.

    Exit status 1 where a figure so measured again is not the card's.
    """
    with one_line_errors():
        from service.bundle import read_bundle
        from trainer.data.tables import read_table
        from trainer.errors import HeadError
        from trainer.evaluation.heads import measure_heads

        shown = Table("head", "metric", "card", "measured", "rows")
        opened = read_bundle(bundle_folder(bundle))
        measured = list(measure_heads(opened, [read_table(path) for path in tables], heads or ()))
        for each in measured:
            rows = f"{each.rows:,}{' held out' if each.again else ''}"
            for metric, said in each.compared():
                value = "-" if said is None else f"{said:.4g}"
                shown.add_row(each.card.id, metric.name, value, f"{metric.value:.4g}", rows)
        Console().print(shown)
        if differing := [each.card.id for each in measured if each.differs]:
            raise HeadError(f"not as the card says: {', '.join(differing)}")
