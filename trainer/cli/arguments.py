"""Arguments that commands share, and how their errors read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from service.bundle import BundleError
from trainer.errors import TrainerError
from trainer.shipped import bundle_folder as bundle_folder

ConfigFile = Annotated[Path, typer.Argument(help="The YAML config, e.g. trainer/configs/earth-l30.yaml.")]
Imagery = Annotated[Path, typer.Option(help="The folder that holds the imagery.")]
DEFAULT_IMAGERY = Path(".imagery")
DEFAULT_BUNDLE = "earth-l30"
Runs = Annotated[Path, typer.Option(help="The folder that holds the runs.")]
DEFAULT_RUNS = Path("runs")
RunsAnywhere = Annotated[
    str, typer.Option(metavar="FOLDER", help="What holds the runs: a folder, or a bucket as s3://bucket/runs.")
]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What a user can put right is one line on stderr and exit status 1; anything else keeps its traceback."""
    try:
        yield
    except (TrainerError, BundleError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
