"""Tasks read from files: tables, rasters, polygons, grids, and folders of tables in CoordBench's layout."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.config import points_between
from trainer.data.land import land
from trainer.data.mosaic import Raster
from trainer.data.points import draw_places
from trainer.data.polygons import SUFFIXES as POLYGONS
from trainer.data.polygons import read_areas
from trainer.data.sampling import RasterBand
from trainer.data.tables import LAT_NAMES, LON_NAMES, PlacesTable, read_table
from trainer.data.tables import SUFFIXES as TABLES
from trainer.errors import EvaluationError, TrainerError
from trainer.evaluation.suites import TaskRequest
from trainer.evaluation.tasks import Task, class_task, number_task

RASTERS = (".tif", ".tiff")
GRID = ".npz"
PURPOSE = "task places"
"""Of the seed, so that no task is measured at the very places that tiles of the same seed are centred on."""
NOT_TARGETS = {"timestamp", "timestamp_end", "split", "id", *LON_NAMES, *LAT_NAMES}
"""The columns of CoordBench's schema, and other names of coordinates."""
MAX_CODES = 100
"""Whole numbers with more values than this are quantities, not the codes of classes, as CoordBench has it."""

Floats = NDArray[np.float64]
Told = Callable[[str], None]


def open_tasks(requests: tuple[TaskRequest, ...], folder: Path, tell: Told) -> list[Task]:
    """The tasks whose data is there; `tell` hears of each that is not, one line.

    Raises EvaluationError, TableError or ImageryError where data is there and wrong, or where none is there.
    """
    tasks: list[Task] = []
    for request in requests:
        path = folder / request.data
        if path.is_dir():
            tasks += _open_folder(request, path, tell)
        elif path.exists():
            tasks.append(open_task(request, path))
        else:
            tell(f"task {request.name} skipped: {path} does not exist")
    if not tasks:
        raise EvaluationError(f"no task is left: is {folder} the folder of the data? give it as --data-dir")
    names = [task.name for task in tasks]
    if twice := [name for name in names if names.count(name) > 1]:
        raise EvaluationError(f"two tasks are named {twice[0]!r}; rename one")
    return tasks


def open_task(request: TaskRequest, path: Path) -> Task:
    """Raises EvaluationError, TableError or ImageryError."""
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return _of_table(request, read_table(path), path)
    if suffix not in (*RASTERS, *POLYGONS, GRID):
        known = ", ".join((*TABLES, *RASTERS, *POLYGONS, GRID))
        raise EvaluationError(f"task {request.name}: {path} is none of {known}, nor a folder")
    labels: dict[float, str] | None = None
    if suffix in POLYGONS:
        areas = read_areas(path, request.target or "name")
        raster, labels = areas.raster, areas.labels
    else:
        raster = (
            read_grid(path, request.target) if suffix == GRID else RasterBand(path, request.band, request.nodata).read()
        )
    return _of_raster(request, raster, labels, path)


def read_grid(path: Path, variable: str | None) -> Raster:
    """The array `variable` (lat, lon) of an .npz that also has lat and lon, pixel centres evenly spaced.

    Raises EvaluationError.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} is no .npz of arrays: {error}") from error
    planes = [name for name, array in arrays.items() if array.ndim == 2]
    if (chosen := variable or (planes[0] if len(planes) == 1 else None)) not in planes:
        raise EvaluationError(f"{path} has no array {chosen!r}; target names one of {', '.join(planes) or 'none'}")
    values, lat, lon = (arrays.get(name, np.empty(0)) for name in (chosen, "lat", "lon"))
    if values.shape != (len(lat), len(lon)) or not (_is_even(lat) and _is_even(lon)):
        raise EvaluationError(f"{path}: {chosen} is not (lat, lon) over evenly spaced arrays lat and lon")
    values = values if lat[0] > lat[-1] else values[::-1]
    values = values if lon[0] < lon[-1] else values[:, ::-1]
    margins = [abs(axis[1] - axis[0]) / 2 for axis in (lon, lat)]
    bounds = lon.min() - margins[0], lat.min() - margins[1], lon.max() + margins[0], lat.max() + margins[1]
    west, south, east, north = map(float, bounds)
    return Raster(torch.from_numpy(values.astype(np.float32))[..., None], (west, south, east, north))


def _of_table(request: TaskRequest, table: PlacesTable, path: Path) -> Task:
    name = request.target or ""
    if name not in table.columns.column_names:
        found = ", ".join(map(repr, table.columns.column_names)) or "none besides lon and lat"
        raise EvaluationError(f"task {request.name}: {path} has no column {name!r}; it has {found}")
    column, lonlat = table.columns[name].combine_chunks(), table.lonlat.degrees
    if request.max_rows and len(table) > request.max_rows:
        drawn = np.sort(np.random.default_rng(request.seed).permutation(len(table))[: request.max_rows])
        column, lonlat = column.take(pa.array(drawn)), lonlat[drawn]
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if request.kind == "classification":
        return class_task(request, lonlat, [_label(value) for value in column.to_pylist()], str(path), table.sha256)
    if not _is_number(column.type):
        raise EvaluationError(
            f"task {request.name}: column {name!r} of {path} holds {column.type}; is it a classification?"
        )
    values = column.to_numpy(zero_copy_only=False).astype(np.float64)  # null is NaN
    return number_task(request, lonlat, values, str(path), table.sha256)


def _of_raster(request: TaskRequest, raster: Raster, labels: dict[float, str] | None, path: Path) -> Task:
    values = raster.values
    if request.nodata is not None:
        values = values.masked_fill(values == request.nodata, torch.nan)
    if request.fill is not None:
        values = values.nan_to_num(nan=request.fill)
    raster = Raster(values, raster.bounds)

    def drawn_from(places: Tensor) -> Tensor:
        has_data = raster.has_data(places)
        return has_data & _land().has_data(places) if request.land else has_data

    asked = points_between(request.points, request.min_lat, 90.0)
    lonlat = draw_places(asked, drawn_from, request.seed, PURPOSE)
    found = raster.pixels(lonlat)[:, 0].double().numpy()
    if labels is None and request.kind == "regression":
        return number_task(request, lonlat.numpy(), found, str(path), _sha256(path))
    named = [labels[value] if labels else _label(value) for value in found.tolist()]
    return class_task(request, lonlat.numpy(), named, str(path), _sha256(path))


def _open_folder(request: TaskRequest, folder: Path, tell: Told) -> Iterator[Task]:
    """Every column of every `<config>/data.parquet` that can be a target, or those that the request names."""
    paths = sorted(folder.glob("**/data.parquet"))
    if not paths:
        raise EvaluationError(f"task {request.name}: {folder} holds no <config>/data.parquet")
    for path in paths:
        table = read_table(path)
        names = [name for name in table.columns.column_names if name.lower() not in NOT_TARGETS]
        for name in names:
            if request.target not in (None, name):
                continue
            kind = "classification" if _is_coded(table.columns[name]) else "regression"
            told = {"name": f"{path.parent.name}/{name}", "target": name, "kind": kind}
            try:
                yield _of_table(request.model_copy(update=told), table, path)
            except TrainerError as error:
                tell(f"skipped: {error}")


def _is_coded(column: pa.ChunkedArray) -> bool:
    """Text and truth values, and whole numbers of which there are few."""
    if not _is_number(column.type):
        return True
    values = column.drop_null().to_numpy().astype(np.float64)
    found = np.unique(values[np.isfinite(values)])
    return len(found) <= MAX_CODES and bool((found == np.round(found)).all())


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _label(value: object) -> str | None:
    """Text; 3.0 is 3, and what is not finite is none."""
    if isinstance(value, float):
        return f"{value:g}" if np.isfinite(value) else None
    return None if value is None or value == "" else str(value)


def _is_even(axis: NDArray[np.generic]) -> bool:
    steps = np.diff(axis.astype(np.float64))
    return axis.ndim == 1 and len(axis) > 1 and bool(np.allclose(steps, steps[0], rtol=1e-3)) and steps[0] != 0


@cache
def _land() -> Raster:
    return land()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
