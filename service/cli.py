"""The command `satcle`. Whatever takes long to import is imported by the command that needs it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from service.bulk.parts import Engine, Job
    from service.bundle import Bundle, BundleCard, Network, OtherPart, PositionalEncoding, Training
    from service.embedding.graphs import Device

TRAINER_COMMANDS = "satcle.commands"
"""The group of entry points by which the trainer adds its commands; the service imports none of it."""


class TrainerCommand(TyperCommand):
    """A command of the trainer, which is loaded, torch and all, only when it is given arguments."""

    def __init__(self, entry_point: EntryPoint) -> None:
        super().__init__(entry_point.name, help=f"Training; see satcle {entry_point.name} --help.")
        self._entry_point = entry_point

    def make_context(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - passed on as it is
        loaded = self._entry_point.load()
        if isinstance(loaded, typer.Typer):
            return typer.main.get_group(loaded).make_context(*args, **kwargs)
        alone = typer.Typer(add_completion=False)
        alone.command(self.name)(loaded)
        return typer.main.get_command(alone).make_context(*args, **kwargs)


class Commands(TyperGroup):
    """The service's commands and the trainer's; what a user can put right is said in one line."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401 - click's Context, which typer may vendor
        return [*super().list_commands(ctx), *sorted(entry_points(group=TRAINER_COMMANDS).names)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        for entry_point in entry_points(group=TRAINER_COMMANDS, name=cmd_name):
            return TrainerCommand(entry_point)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            _fail("interrupted", 128 + signal.SIGINT)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in ("service", "trainer"):
                raise
            extra = "serve" if ctx.invoked_subcommand in self.commands else "train"
            purpose = {"serve": "serving", "train": "training"}[extra]
            if error.name == "ray":
                _fail("--engine ray needs Ray: pip install 'satcle[serve,ray]', or 'satcle[gpu,ray]' for GPUs")
            _fail(f"satcle {ctx.invoked_subcommand} needs the {purpose} extra: pip install 'satcle[{extra}]'")
        except OSError as error:
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except Exception as error:
            from service.bundle.errors import BundleError
            from service.errors import ServiceError

            if not isinstance(error, BundleError | ServiceError):
                raise
            _fail(str(error))


def _fail(message: str, code: int = 1) -> NoReturn:
    typer.echo(f"satcle: {message}", err=True)
    raise typer.Exit(code)


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
bundle_app = typer.Typer(no_args_is_help=True, help="What is installed, and whether it is whole.")
app.add_typer(bundle_app, name="bundle")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"satcle {version('satcle')}")
        raise typer.Exit


@app.callback()
def satcle(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turns any place on Earth into a vector that knows what the place is like."""


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65535)] = 8000,
    bundles: Annotated[
        str | None,
        typer.Option(help="Bundles to serve: paths, folders of them, or names, with commas; the first is the default."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that serve, each with its own models and cache.", min=1)] = 1,
) -> None:
    """Serve embeddings over HTTP. Everything else is set by the SATCLE_* environment."""
    from service import logs, serving
    from service.settings import read_settings

    settings = read_settings() if bundles is None else read_settings(bundles=bundles)
    logs.configure(settings.log_format, exception_messages=settings.log_coordinates)
    serving.serve(settings, host, port, workers)


EngineOption = Annotated[
    Literal["local", "ray"], typer.Option("--engine", help="What makes a folder of parts: this machine, or Ray.")
]
RegionOption = Annotated[
    str | None,
    typer.Option(metavar="REGION", help="world; w,s,e,n; a country by name or ISO code; a .geojson of polygons."),
]
ThreadsOption = Annotated[int, typer.Option(min=1, show_default="cores")]
CORES = os.cpu_count() or 1
WorkersOption = Annotated[int | None, typer.Option(min=1, help="With Ray, processes of a core each.")]
GpusOption = Annotated[int | None, typer.Option(min=1, help="With Ray, processes of a GPU each.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")]


@app.command()
def embed(
    target: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="OUT", help=".csv, .csv.gz, .parquet, .geoparquet, or a folder of parts."
        ),
    ],
    source: Annotated[
        str | None,
        typer.Argument(metavar="[IN]", help=".csv, .csv.gz, .tsv, .parquet, .geoparquet, .geojson; else a region."),
    ] = None,
    bundle: Annotated[str | None, typer.Option(help="Path of a bundle, or name of a shipped one.")] = None,
    region: RegionOption = None,
    h3_resolution: Annotated[int | None, typer.Option(help="Of the region's cells.")] = None,
    lon: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of longitudes, in degrees.")] = None,
    lat: Annotated[str | None, typer.Option(metavar="COLUMN", help="Column of latitudes, in degrees.")] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Embed each place, not the centre of its H3 cell.")] = False,
    dimensions: Annotated[int | None, typer.Option(help="Keep the first so many; the bundle says which.")] = None,
    normalize: Annotated[bool, typer.Option("--normalize", help="Scale each embedding to unit length.")] = False,
    context: Annotated[
        bool, typer.Option("--context", help="Add how far the nearest training sample is, and whether there is land.")
    ] = False,
    threads: ThreadsOption = CORES,
    engine: EngineOption = "local",
    workers: WorkersOption = None,
    gpus: GpusOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Add an embedding to every row of a table of places, or to every H3 cell of a region.

    Places are two columns (lon or lng, longitude, x; lat or latitude, y), a GeoParquet geometry, or a column h3.
    OUT without a suffix, or s3://…, is a folder of GeoParquet parts: those that are there already are not made again.
    """
    from service.bulk.asked import Source, embedding_job, engine_of, is_dataset
    from service.bulk.local import Files, embed_table
    from service.bulk.progress import Bar
    from service.bulk.recipe import Recipe
    from service.bundle import read_bundle
    from service.bundles import DEFAULT, bundle_path
    from service.embedding.context import context_reader
    from service.embedding.graphs import Device, Graphs
    from service.settings import read_settings

    settings = read_settings()
    device, precision = Device.of(settings), settings.precision
    opened = read_bundle(bundle_path(bundle or DEFAULT))
    card = opened.card
    places = Source(source, lon, lat, h3_resolution, region)
    if is_dataset(target, engine):
        made_by = engine_of(engine, threads, workers, gpus, device)
        job = embedding_job(
            opened,
            places,
            exact=exact,
            dimensions=dimensions,
            normalize=normalize,
            context=context,
            precision=precision,
        )
        _make_dataset(job, opened, target, made_by, overwrite=overwrite)
        return
    files = Files(places.file(target), Path(target), lon, lat, overwrite)
    graphs = Graphs(opened, device, precision)
    recipe = Recipe.of(
        card,
        graphs.encoder,
        exact=exact,
        dimensions=dimensions,
        normalize=normalize,
        batch_points=graphs.batch_points,
    )
    with _terminated_as_interrupted(), Bar() as bar:
        report = embed_table(files, card, recipe, threads, bar, context_reader(opened) if context else None)
    rate = report.points / report.seconds
    typer.echo(f"{report.points:,} points in {report.seconds:.1f} s, {rate:,.0f} points/s, {card.name} -> {target}")


@app.command("map")
def draw_map(
    target: Annotated[
        str,
        typer.Option("-o", "--output", metavar="OUT", help=".tif, .png, .parquet, .arrow, .geojson, or a folder."),
    ],
    bbox: Annotated[
        str | None, typer.Option(metavar="W,S,E,N", help="Degrees; west > east crosses the antimeridian.")
    ] = None,
    region: RegionOption = None,
    reference: Annotated[
        list[str] | None, typer.Option(metavar="LON,LAT", help="Like which place; may be repeated.")
    ] = None,
    negative: Annotated[
        list[str] | None, typer.Option(metavar="LON,LAT", help="Unlike which place; may be repeated.")
    ] = None,
    head: Annotated[str | None, typer.Option(metavar="NAME", help="A head of the model, for references.")] = None,
    model: Annotated[str | None, typer.Option(help="Path of a bundle, or name of a shipped one.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels from west to east.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels from north to south.")] = None,
    resolution: Annotated[float | None, typer.Option(metavar="DEGREES", help="Size of a pixel, instead.")] = None,
    h3_resolution: Annotated[int | None, typer.Option(help="Of cells, for a table, .geojson or folder.")] = None,
    colormap: Annotated[str | None, typer.Option(metavar="NAME", help="Colour map of a .png, as viridis.")] = None,
    rescale: Annotated[str | None, typer.Option(metavar="LOW,HIGH", help="Values at the ends of its colours.")] = None,
    threads: ThreadsOption = CORES,
    engine: EngineOption = "local",
    workers: WorkersOption = None,
    gpus: GpusOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Map how alike places are to a reference, or what a head predicts, over a box or a region.

    A GeoTIFF holds values (Cloud-Optimized, EPSG:4326), a PNG colours, a table or GeoJSON the H3 cells of the region.
    OUT without a suffix, or s3://…, is a folder of parts, of H3 cells or of GeoTIFF tiles that a VRT joins.
    """
    import asyncio

    from service.bulk.asked import Pixels, engine_of, is_dataset, map_job, map_region, map_value
    from service.bulk.progress import Bar
    from service.bulk.replace import replacing
    from service.bundle import read_bundle
    from service.bundles import DEFAULT, bundle_path
    from service.embedding.graphs import Device
    from service.embedding.models import load_models
    from service.maps.files import Look, layer_for, sheet_for, write_map
    from service.metrics import Metrics
    from service.settings import read_settings

    settings = read_settings(
        bundles=(model or DEFAULT,),
        default_model=None,
        model_memory_mb=None,
        worker_threads=threads,
        cache_memory_mb=0,
        redis_url=None,
    )
    where = map_region(bbox, region)
    if is_dataset(target, engine):
        made_by = engine_of(engine, threads, workers, gpus, Device.of(settings))
        opened = read_bundle(bundle_path(model or DEFAULT))
        value = map_value(opened, reference or [], negative or [], head, settings.precision)
        job = map_job(opened, where, value, Pixels(width, height, resolution), h3_resolution)
        _make_dataset(job, opened, target, made_by, overwrite=overwrite)
        return
    path = Path(target)
    sheet = sheet_for(path, where.area, width=width, height=height, degrees=resolution, h3_resolution=h3_resolution)
    models = load_models(settings, Metrics(), None)

    async def draw(staging: Path, bar: Bar) -> None:
        layer = await layer_for(models.default, reference or [], negative or [], head)
        look = Look(colormap, rescale)
        await write_map(staging, sheet, models.default, layer, look, bar.begin, bar.advance)
        await models.close()

    with _terminated_as_interrupted(), Bar() as bar, replacing(path, overwrite=overwrite) as staging:
        asyncio.run(draw(staging, bar))
    typer.echo(f"{models.default.bundle.card.name} -> {target}")


def _make_dataset(
    job: Job,
    bundle: Bundle,
    target: str,
    made_by: tuple[Engine, Device],
    *,
    overwrite: bool,
) -> None:
    """`made_by`: the engine, and what its workers compute on."""
    from service.bulk.progress import Bar, Lines
    from service.bulk.run import Output, make_dataset

    told = Bar() if sys.stderr.isatty() else nullcontext(Lines(partial(typer.echo, err=True)))
    with _terminated_as_interrupted(), told as progress:
        report = make_dataset(job, bundle, Output(target, overwrite), *made_by, progress)
    rate = f"{report.points / report.seconds:,.0f} points/s"
    made = f"{report.points:,} points in {report.seconds:.1f} s, {rate}" if report.made else "none made now"
    before = f", {report.parts - report.made:,} of them made before" if 0 < report.made < report.parts else ""
    typer.echo(f"{report.parts:,} parts{before}; {made}, {bundle.card.name} -> {target}")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does, so that nothing half-written is left behind."""

    def interrupt(number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@bundle_app.command("ls")
def list_bundles(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Bundles or folders of bundles; else the shipped."),
    ] = None,
) -> None:
    """List bundles, a line each."""
    from service.bundle import find_bundles, read_bundle
    from service.bundles import SHIPPED

    rows = [("NAME", "VERSION", "DIMS", "L", "SNAP", "DIGEST", "PATH")]
    for path in find_bundles(folders or [SHIPPED]):
        card = read_bundle(path).card
        snap = "exact" if card.snap_resolution is None else str(card.snap_resolution)
        encoding = str(getattr(card.encoding, "legendre_polys", "-"))
        rows.append((card.name, card.version, str(card.embedding_dim), encoding, snap, card.digest[:12], str(path)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@bundle_app.command("show")
def show_bundle(
    bundle: Annotated[str, typer.Argument(metavar="NAME|PATH")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole card.")] = False,
) -> None:
    """Say what a bundle is: its model, its training data, its measured figures."""
    from service.bundle import read_bundle
    from service.bundles import bundle_path

    card = read_bundle(bundle_path(bundle)).card
    typer.echo(card.model_dump_json(indent=2) if as_json else "\n".join(_summary(card)))


@bundle_app.command("verify")
def verify_bundle(bundle: Annotated[str, typer.Argument(metavar="NAME|PATH")]) -> None:
    """Check every file of a bundle against its manifest."""
    from service.bundle import read_bundle
    from service.bundles import bundle_path

    opened = read_bundle(bundle_path(bundle))
    typer.echo(f"ok {opened.card.digest} {opened.path}")


def _summary(card: BundleCard) -> Iterator[str]:
    snap = (
        "the very coordinate" if card.snap_resolution is None else f"H3 cell centres, resolution {card.snap_resolution}"
    )
    yield f"{card.name} {card.version}: {card.description}"
    yield f"digest      {card.digest}"
    yield f"embedding   {card.embedding_dim} x {card.dtype}; prefixes {', '.join(map(str, card.dimensions))}"
    yield f"encoding    {_part(card.encoding)}"
    yield f"network     {_part(card.network)}"
    yield f"embeds      {snap}"
    yield f"parity      {card.parity.max_abs_error:.1e} at {card.parity.points} places"
    for precision in card.precisions:
        distances = f"{precision.cosine_mean:.1e}, at most {precision.cosine_max:.1e}"
        yield f"precision   {precision.name}: cosine distance to float32 {distances}"
    yield f"training    {_training(card.training)}"
    if card.training_places:
        yield f"places      {card.training_places.count:,} where it was trained"
    for source in card.training.sources:
        yield f"  data      {source.name} ({source.license}): {source.credit}"
    for metric in card.metrics:
        yield f"  metric    {metric.name} = {metric.value:.4g} on {metric.on}"
    for head in card.heads:
        yield f"  head      {head.id}: {head.task} {head.unit or ''}".rstrip()
    yield f"license     {card.license}"
    yield f"limits      {card.limits}"


def _part(part: PositionalEncoding | Network | OtherPart) -> str:
    """An encoding or a network: its kind, and what it says of itself."""
    fields = part.model_dump(exclude={"kind", "settings"}) | getattr(part, "settings", {})
    return ", ".join([part.kind, *(f"{name} {value}" for name, value in fields.items())])


def _training(training: Training) -> str:
    samples = "an unknown number of" if training.samples is None else f"{training.samples:,}"
    epochs = "an unknown number of" if training.epochs is None else str(training.epochs)
    return f"{training.method}, {samples} samples, {epochs} epochs"


def main() -> None:
    app()
