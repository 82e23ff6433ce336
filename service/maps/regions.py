"""Values where a region has them: pixels inside an area, and centres of cells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import numpy as np

from service.bundle import LonLat
from service.embedding.cells import Cells, centres_of
from service.embedding.model import Model
from service.embedding.pieces import pieces
from service.maps.geometry import Geometry
from service.maps.grid import Degrees, Grid
from service.maps.layers import Layer, Values
from service.maps.raster import strips, values_at
from service.maps.render import Bytes, Style, colored

CELLS_AT_ONCE = 128
"""H3 holds the interpreter: pieces of about 0.2 ms let others have their turn."""


async def colored_raster(
    model: Model,
    grid: Grid,
    layer: Layer,
    style: Style,
    deadline: float,
    *,
    inside: Geometry | None = None,
    advance: Callable[[int], None] = lambda points: None,
) -> Bytes:
    """The whole grid as red, green, blue and alpha, (H, W, 4), transparent outside the area, if there is one.

    `advance` is told the points of each strip when it is done. Raises what `strips` raises.
    """
    pixels = np.empty((grid.height, grid.width, 4), np.uint8)
    top = 0
    async with aclosing(strips(model, grid, layer, deadline)) as computed:
        async for strip in computed:
            rows = slice(top, top + len(strip))
            await asyncio.to_thread(_color, pixels[rows], strip, grid.lons, grid.lats[rows], layer, style, inside)
            top += len(strip)
            advance(strip.shape[0] * strip.shape[1])
    return pixels


def _color(
    pixels: Bytes, strip: Values, lons: Degrees, lats: Degrees, layer: Layer, style: Style, inside: Geometry | None
) -> None:
    if inside is not None:
        strip[~inside.mask(lons, lats)] = np.nan
    pixels[:] = colored(strip, layer, style)


async def values_of_cells(model: Model, cells: Cells, layer: Layer, deadline: float) -> Values:
    """(n, bands) at the centres of the cells. Raises what `values_at` raises."""
    degrees = np.empty((len(cells), 2))
    async for piece in pieces(len(cells), CELLS_AT_ONCE):
        degrees[piece] = centres_of(cells[piece]).degrees
    return await values_at(model, LonLat(degrees), layer, deadline)
