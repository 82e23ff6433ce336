"""Layers over grids, computed in units that the batcher runs among everything else, in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import numpy as np

from service.bundle import LonLat
from service.embedding.backends.base import Backend, GridBackend, Rows, checked, embed_checked
from service.embedding.model import Model
from service.embedding.units import in_order
from service.maps.grid import Degrees, Grid, lonlat_of
from service.maps.layers import Layer, Values

UNIT_COLUMNS = 256
"""A unit is so wide at most: its rows share what is made for a column, and its columns what is made for a row."""
STRIP_POINTS = 131_072
"""As many make a strip, or a unit's rows where those are more."""


@dataclass(frozen=True)
class _Block:
    """The rows and columns of one unit, and the rows of the strip that it is in."""

    strip: slice
    rows: slice
    columns: slice

    def __len__(self) -> int:
        return len(range(self.rows.start, self.rows.stop)) * len(range(self.columns.start, self.columns.stop))


async def strips(model: Model, grid: Grid, layer: Layer, deadline: float) -> AsyncGenerator[Values, None]:
    """(h, W, bands), north to south, until the grid is covered; `deadline` in the event loop's time.

    Each pixel is encoded at its very centre. Memory is bounded, however large the grid: embeddings become values in
    the unit that computes them, and few units are under way at once. Raises Overloaded (before anything is computed,
    or not at all), DeadlineExceeded, BackendFailed or NotReady.
    """
    batcher = model.embedder.batcher
    calls = (
        (len(block), partial(_block_values, model, grid, layer, block))
        for block in _blocks(grid, batcher.limits.batch_points)
    )
    async with aclosing(in_order(batcher, calls, deadline)) as computed:
        async for block, values in computed:
            top, height = block.strip.start, block.strip.stop - block.strip.start
            if block.rows.start == top and block.columns.start == 0:
                strip = np.empty((height, grid.width, layer.bands), np.float32)
            strip[block.rows.start - top : block.rows.stop - top, block.columns] = values
            _count(model, len(block))
            if block.rows.stop == block.strip.stop and block.columns.stop == grid.width:
                yield strip


def strips_here(
    backend: Backend, grid_backend: GridBackend | None, grid: Grid, layer: Layer, batch_points: int
) -> Iterator[Values]:
    """As `strips`, in this very thread. Raises BackendFailed."""
    strip = np.empty((0, grid.width, layer.bands), np.float32)
    for block in _blocks(grid, batch_points):
        top, height = block.strip.start, block.strip.stop - block.strip.start
        if block.rows.start == top and block.columns.start == 0:
            strip = np.empty((height, grid.width, layer.bands), np.float32)
        lons, lats = grid.lons[block.columns], grid.lats[block.rows]
        values = _values_over(backend, grid_backend, layer, lons, lats)
        strip[block.rows.start - top : block.rows.stop - top, block.columns] = values
        if block.rows.stop == block.strip.stop and block.columns.stop == grid.width:
            yield strip


async def raster(model: Model, grid: Grid, layer: Layer, deadline: float) -> Values:
    """The whole grid at once, (H, W, bands): for tiles and pictures. Raises what `strips` raises."""
    return np.concatenate([strip async for strip in strips(model, grid, layer, deadline)])


async def values_at(model: Model, lonlat: LonLat, layer: Layer, deadline: float) -> Values:
    """(n, bands) at the very places, not at their cells' centres. Raises what `strips` raises."""
    batcher, size = model.embedder.batcher, model.embedder.batcher.limits.batch_points
    if len(lonlat) <= size:  # with other single places, and before what is large
        rows = await batcher.embed(lonlat, deadline)
        values = [await asyncio.to_thread(_values_of, layer, rows)]
    else:
        chunks = (lonlat[start : start + size] for start in range(0, len(lonlat), size))
        calls = ((len(chunk), partial(_place_values, model, chunk, layer)) for chunk in chunks)
        values = [chunk async for chunk in in_order(batcher, calls, deadline)]
    _count(model, len(lonlat))
    return np.concatenate(values)


def _blocks(grid: Grid, unit_points: int) -> Iterator[_Block]:
    """The grid in units of at most `unit_points`, strip by strip, in each row by row."""
    columns = min(grid.width, UNIT_COLUMNS, unit_points)
    rows = unit_points // columns
    strip_rows = rows * max(1, STRIP_POINTS // (rows * grid.width))
    for top in range(0, grid.height, strip_rows):
        strip = slice(top, min(top + strip_rows, grid.height))
        for row in range(top, strip.stop, rows):
            for column in range(0, grid.width, columns):
                right = min(column + columns, grid.width)
                yield _Block(strip, slice(row, min(row + rows, strip.stop)), slice(column, right))


def _block_values(model: Model, grid: Grid, layer: Layer, block: _Block) -> tuple[_Block, Values]:
    """In a worker: (h, w, bands)."""
    lons, lats = grid.lons[block.columns], grid.lats[block.rows]
    return block, _values_over(model.backend, model.grid_backend, layer, lons, lats)


def _values_over(
    backend: Backend, grid_backend: GridBackend | None, layer: Layer, lons: Degrees, lats: Degrees
) -> Values:
    """(h, w, bands)."""
    rows = grid_backend.embed_grid(lons, lats) if grid_backend else embed_checked(backend, lonlat_of(lons, lats))
    return _values_of(layer, rows).reshape(len(lats), len(lons), layer.bands)


def _place_values(model: Model, lonlat: LonLat, layer: Layer) -> Values:
    return _values_of(layer, embed_checked(model.backend, lonlat))


def _values_of(layer: Layer, rows: Rows) -> Values:
    """(n, bands), checked: what is not finite never leaves here."""
    return checked(layer.values(rows), (len(rows), layer.bands), layer.name)


def _count(model: Model, points: int) -> None:
    model.embedder.metrics.points.labels(model.bundle.card.name, "compute").inc(points)
