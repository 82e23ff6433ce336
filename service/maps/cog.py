"""Cloud-Optimized GeoTIFF, written strip by strip.

The strips go into a plain GeoTIFF, from which GDAL makes the tiled one with its overviews: neither holds more than a
few blocks in memory. A box over the antimeridian is written from its west to east + 360 degrees, one picture, as GDAL
and QGIS expect it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.io import DatasetWriter
from rasterio.shutil import copy
from rasterio.windows import Window

from service.bundle import BundleCard
from service.embedding.model import Model
from service.maps.geometry import Geometry
from service.maps.grid import Grid
from service.maps.layers import Layer, Values
from service.maps.raster import strips
from service.maps.render import as_stored, category_colors, transform_of

CACHE_MB = 64
"""Of GDAL's own, whose default is a share of the machine's memory."""
BLOCK_PIXELS = 512


async def write_cog(
    path: Path,
    model: Model,
    grid: Grid,
    layer: Layer,
    deadline: float,
    *,
    inside: Geometry | None = None,
    advance: Callable[[int], None] = lambda points: None,
) -> None:
    """Write the layer over the grid to `path`; outside of `inside`, where given, there is no data.

    `advance` is told the points of each strip when it is written. Raises what `strips` raises, and OSError.
    """
    plain = path.with_name(f"{path.name}.strips")
    try:
        file = await asyncio.to_thread(create, plain, grid, layer, tags_of(model.bundle.card, layer))
        try:
            top = 0
            async with aclosing(strips(model, grid, layer, deadline)) as computed:
                async for strip in computed:
                    await asyncio.to_thread(write_strip, file, strip, top, grid, layer, inside)
                    top += len(strip)
                    advance(strip.shape[0] * strip.shape[1])
        finally:
            await asyncio.to_thread(file.close)
        await asyncio.to_thread(optimize, plain, path, layer)
    finally:
        plain.unlink(missing_ok=True)


def create(path: Path, grid: Grid, layer: Layer, tags: dict[str, str]) -> DatasetWriter:
    """A plain GeoTIFF of the grid, for strips to be written to. Blocks, as the two that follow do."""
    _, profile = as_stored(np.empty((0, 0, 0), np.float32), layer)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_MB):
        file = rasterio.open(
            path,
            "w",
            driver="GTiff",
            bigtiff="if_safer",
            width=grid.width,
            height=grid.height,
            count=layer.bands,
            crs=grid.crs,
            transform=transform_of(grid),
            **profile,
        )
    file.update_tags(**tags)
    for band in range(1, layer.bands + 1):
        file.set_band_description(band, layer.name)
        if layer.unit:
            file.set_band_unit(band, layer.unit)
    if profile["dtype"] == "uint8":
        file.write_colormap(1, {code: tuple(map(int, c)) for code, c in enumerate(category_colors(layer))})
    elif layer.bands == 3:
        file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    return file


def write_strip(
    file: DatasetWriter,
    strip: Values,
    top: int,
    grid: Grid,
    layer: Layer,
    inside: Geometry | None,
) -> None:
    """Write rows of the grid, (h, W, bands), from row `top` on; outside of `inside` there is no data."""
    if inside is not None:
        strip[~inside.mask(grid.lons, grid.lats[top : top + len(strip)])] = np.nan
    stored, _ = as_stored(np.moveaxis(strip, 2, 0), layer)
    with rasterio.Env(GDAL_CACHEMAX=CACHE_MB):
        file.write(stored, window=Window(0, top, grid.width, len(strip)))


def optimize(plain: Path, path: Path, layer: Layer) -> None:
    """Make a Cloud-Optimized GeoTIFF of a plain one."""
    categories = layer.categories is not None
    with rasterio.Env(GDAL_CACHEMAX=CACHE_MB):
        copy(
            plain,
            path,
            driver="COG",
            compress="deflate",
            predictor="standard" if categories else "floating_point",
            blocksize=BLOCK_PIXELS,
            bigtiff="if_safer",
            overview_resampling="nearest" if categories else "average",
        )


def tags_of(card: BundleCard, layer: Layer) -> dict[str, str]:
    """What the file says of itself; the name of each category under CATEGORY_ and its code."""
    tags = {"MODEL": card.name, "MODEL_DIGEST": card.digest, "LAYER": layer.name}
    if layer.unit:
        tags["UNIT"] = layer.unit
    return tags | {f"CATEGORY_{code}": name for code, name in enumerate(layer.categories or ())}
