"""The local engine: one process, some threads, a bounded number of blocks in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TypeVar

import pyarrow as pa

from service.bulk.formats import added_names, is_typed, open_source, sink_for
from service.bulk.locations import CellColumn, DegreeColumns, GeometryColumn, Locations, find_locations
from service.bulk.progress import Progress, Silent
from service.bulk.recipe import Recipe
from service.bulk.replace import replacing
from service.bulk.sink import Layout
from service.bulk.source import RowProblem, Source
from service.bulk.text import NarrowestTypes
from service.bundle import BundleCard, LonLat
from service.embedding.backends.base import Rows
from service.embedding.cells import Cells
from service.embedding.context import CONTEXT_FIELDS, Context
from service.errors import BadRow, BadTable

Kept = TypeVar("Kept")
Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Files:
    """What to read and what to write; `lon` and `lat` name the columns where their names do not say so."""

    source: Path
    target: Path
    lon: str | None = None
    lat: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Report:
    points: int
    seconds: float


def embed_table(
    files: Files,
    card: BundleCard,
    recipe: Recipe,
    threads: int,
    progress: Progress | None = None,
    context: Callable[[LonLat], Context] | None = None,
) -> Report:
    """Write the source's rows, in order and with their embeddings, as the target: all of them or no file.

    With `context`, what the embeddings may be worth goes before them.
    The whole source is checked before anything is embedded. Raises BadTable, BadRow, OutputExists,
    BackendFailed and OSError.
    """
    progress = progress or Silent()
    started = perf_counter()
    source, sink = open_source(files.source), sink_for(files.target)
    locations = find_locations(source, files.lon, files.lat)
    has_cell = recipe.snap_resolution is not None and not isinstance(locations, CellColumn)
    geometry = locations.columns[0] if isinstance(locations, GeometryColumn) else None
    layout = Layout(source.schema, geometry, has_cell, recipe.dimensions, card.name, card.digest)
    fields = list(CONTEXT_FIELDS if context else ())
    _check_names(source, [*(field.name for field in fields), *added_names(sink, layout)])
    with replacing(files.target, overwrite=files.overwrite) as staging:
        points, types = _survey(source, locations, is_typed(sink), progress)
        kept = types.schema if types else source.schema
        layout = replace(layout, kept=pa.schema([*kept, *fields], kept.metadata))

        def made_of(lonlat: LonLat) -> tuple[list[pa.Array], tuple[Cells | None, Rows]]:
            return list(context(lonlat).columns().values()) if context else [], recipe.embed(lonlat)

        progress.begin("embedding", points)
        with sink(staging, layout) as write, ThreadPoolExecutor(threads) as pool:
            for block, (columns, made) in _in_order(pool, made_of, _placed(source, locations), threads + 2):
                given = types.cast(block) if types else block
                write(pa.RecordBatch.from_arrays([*given.columns, *columns], schema=layout.kept), *made)
                progress.advance(block.num_rows)
    return Report(points, perf_counter() - started)


def _survey(source: Source, locations: Locations, typed: bool, progress: Progress) -> tuple[int, NarrowestTypes | None]:
    """Check every row, and count them; find the types of text where the output has types. Raises BadRow."""
    types = None
    if source.is_text and typed:
        types = NarrowestTypes(source.schema, numbers=_degree_columns(locations))
    progress.begin("checking", None)
    points = 0
    for block, lonlat in _placed(source, locations, locations.columns if types is None else None):
        if types:
            types.observe(block)
        points += len(lonlat)
        progress.advance(len(lonlat))
    return points, types


def _placed(
    source: Source, locations: Locations, columns: Sequence[str] | None = None
) -> Iterator[tuple[pa.RecordBatch, LonLat]]:
    """Each block with the places of its rows. Raises BadRow, which says where the row is in the file."""
    start = 0
    try:
        for block in source.blocks(columns):
            yield block, locations.lonlat(block)
            start += block.num_rows
    except RowProblem as problem:
        where = source.place_of(start + problem.index)
        raise BadRow(f"{source.path}: {where}: {problem.reason}") from None


def _in_order(
    pool: ThreadPoolExecutor, make: Callable[[Given], Made], items: Iterable[tuple[Kept, Given]], at_once: int
) -> Iterator[tuple[Kept, Made]]:
    """What `make` makes of each item, made `at_once` at most, handed out in the order of the items."""
    making: deque[tuple[Kept, Future[Made]]] = deque()
    for kept, given in items:
        making.append((kept, pool.submit(make, given)))
        if len(making) == at_once:
            first, made = making.popleft()
            yield first, made.result()
    for kept, made in making:
        yield kept, made.result()


def _degree_columns(locations: Locations) -> frozenset[str]:
    return frozenset(locations.columns) if isinstance(locations, DegreeColumns) else frozenset()


def _check_names(source: Source, added: Sequence[str]) -> None:
    taken = [name for name in added if name in source.schema.names]
    if taken:
        raise BadTable(f"{source.path} has a column {taken[0]!r}, which the output adds; rename it")
