"""satcle fit-head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trainer.cli.arguments import DEFAULT_BUNDLE, bundle_folder, one_line_errors

NOT_STATED = "not stated"


def fit_head(
    table: Annotated[Path, typer.Argument(help="A .csv or .parquet table with lon, lat and the target.")],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    task: Annotated[str, typer.Option(help="regression or classification.")],
    head_id: Annotated[str | None, typer.Option("--id", help="The head's name; the target's by default.")] = None,
    bundle: Annotated[str, typer.Option(help="Name or path of the bundle whose embeddings it reads.")] = DEFAULT_BUNDLE,
    out: Annotated[Path | None, typer.Option(help="The bundle with the head; BUNDLE itself by default.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a head of that name, or OUT.")] = False,
    transform: Annotated[str | None, typer.Option(help="log1p, for targets of many magnitudes.")] = None,
    unit: Annotated[str | None, typer.Option(help="The target's unit, as m or °C.")] = None,
    description: Annotated[str, typer.Option(help="What is predicted, and where it holds.")] = "",
    colormap_name: Annotated[
        str | None, typer.Option("--colormap", help="The colour map that suits it, as terrain.")
    ] = None,
    class_colors: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="The colour of each class: the columns label and color.")
    ] = None,
    min_class_rows: Annotated[int, typer.Option(min=0, help="Leave out classes with fewer rows.")] = 0,
    hidden: Annotated[str, typer.Option(help="Widths of the hidden layers, with commas.")] = "256,256",
    epochs: Annotated[int, typer.Option(min=1)] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of the 7:1:2 split and of the weights.")] = 0,
    source: Annotated[str | None, typer.Option(help="The data's name, for the card.")] = None,
    credit: Annotated[str, typer.Option(help="Whom the data is credited to.")] = NOT_STATED,
    license_: Annotated[str, typer.Option("--license", help="The data's licence.")] = NOT_STATED,
    url: Annotated[str | None, typer.Option(help="Where the data is from.")] = None,
) -> None:
    """Fit a head on a table of places, measure it on rows held out, and add it to a bundle."""
    with one_line_errors():
        from service.bundle import DataSource
        from trainer.class_colors import read_class_colors
        from trainer.heads import fit_head as fit
        from trainer.heads import read_request

        request = read_request(
            id=head_id or target,
            column=target,
            task=task,
            transform=transform,
            unit=unit,
            description=description,
            colormap_name=colormap_name,
            class_colors=class_colors and read_class_colors(class_colors),
            min_class_rows=min_class_rows,
            source=DataSource(name=source or table.name, credit=credit, license=license_, url=url),
            recipe={"hidden_dims": hidden.split(","), "epochs": epochs, "seed": seed},
        )
        folder = bundle_folder(bundle)
        written, card = fit(table, request, folder, out or folder, replace=replace)
        for metric in card.metrics:
            Console().print(f"{metric.name} {metric.value:.4g} on {metric.on}", highlight=False, soft_wrap=True)
        line = f"{written.path}: head {card.id}, digest {written.card.digest[:12]}"
        Console().print(line, highlight=False, soft_wrap=True)
