"""Values as pictures and tiles: rio-tiler's colour maps, PNG, WebP, GeoTIFF, NPY. Calls block: use a thread."""

from __future__ import annotations

import colorsys
import math
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from rio_tiler.colormap import cmap

from service.errors import InvalidRequest, ItemError
from service.maps.grid import Grid
from service.maps.layers import Layer, Values

TileFormat = Literal["png", "webp", "tif", "npy"]
Bytes = NDArray[np.uint8]

COLORMAP = "viridis"
"""Where neither the asker nor the layer chooses: even to the eye, and to most who see colours otherwise."""
GOLDEN_RATIO = (1 + math.sqrt(5)) / 2
RGBA = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
PICTURES: dict[str, dict[str, Any]] = {"png": {"driver": "PNG"}, "webp": {"driver": "WEBP", "LOSSLESS": "YES"}}
NO_CATEGORY = 255


@dataclass(frozen=True)
class Style:
    """How values become colours: one of rio-tiler's colour maps, and the values at its two ends.

    Categories, and layers that are red, green and blue, have colours of their own.
    """

    colormap_name: str
    low: float
    high: float

    @classmethod
    def of(cls, layer: Layer, colormap_name: str | None = None, rescale: str | None = None) -> Style:
        """The layer's own where nothing is given; `rescale` is "low,high". Raises InvalidRequest.

        Neither may be given for categories, or red, green and blue.
        """
        if layer.categories is not None or layer.bands > 1:
            _check_absent(layer, colormap_name=colormap_name, rescale=rescale)
        name = colormap_name or layer.colormap_name or COLORMAP
        if name not in colormap_names():
            raise InvalidRequest([ItemError("/colormap_name", f"{name[:64]!a} is not one of rio-tiler's colour maps")])
        low, high = layer.value_range if rescale is None else _range_of(rescale)
        return cls(name, low, high)


def colormap_names() -> tuple[str, ...]:
    """Every name that a style may have."""
    return tuple(cmap.data)


def gradient(colormap_name: str) -> Bytes:
    """The colours from low to high, (256, 4)."""
    colors = cmap.get(colormap_name)
    return np.array([colors[index] for index in range(256)], np.uint8)


def category_colors(layer: Layer) -> Bytes:
    """The colour of each category of a layer that has categories, (categories, 4)."""
    if layer.category_colors is None:
        return palette(len(layer.categories or ()))
    return np.array([[*bytes.fromhex(color.removeprefix("#")), 255] for color in layer.category_colors], np.uint8)


def palette(categories: int) -> Bytes:
    """A colour for each of so many, (categories, 4): neighbours in the list are far apart in hue."""
    colors = [
        colorsys.hsv_to_rgb(index / GOLDEN_RATIO % 1, (0.75, 0.45)[index % 2], (0.9, 0.65, 0.8)[index % 3])
        for index in range(categories)
    ]
    return np.array([[*(round(255 * part) for part in color), 255] for color in colors], np.uint8)


def colored(values: Values, layer: Layer, style: Style) -> Bytes:
    """(H, W, bands) as red, green, blue and alpha, (H, W, 4); what is NaN is transparent."""
    unknown = np.isnan(values).any(axis=2)
    known = np.where(np.isnan(values), 0, values)
    if layer.categories is not None:
        pixels = category_colors(layer)[known[..., 0].astype(np.intp)]
    elif layer.bands == 1:
        with np.errstate(over="ignore"):  # of a range so narrow that all is at one end
            scaled = (known[..., 0].astype(np.float64) - style.low) / (style.high - style.low)
        pixels = gradient(style.colormap_name)[(255 * scaled.clip(0, 1)).round().astype(np.uint8)]
    else:
        pixels = np.dstack([(255 * known).round().astype(np.uint8), np.full(unknown.shape, 255, np.uint8)])
    pixels[unknown] = 0
    return pixels


def tile_bytes(values: Values, grid: Grid, layer: Layer, style: Style, tile_format: TileFormat) -> bytes:
    """(H, W, bands) as a file: png and webp are coloured by `style`, tif and npy (bands, H, W) hold the values.

    A pixel that is NaN is transparent, or nodata.
    """
    if tile_format in PICTURES:
        return picture(colored(values, layer, style), grid, tile_format)
    bands = np.moveaxis(values, 2, 0)
    if tile_format == "tif":
        stored, profile = as_stored(bands, layer)
        return _written(stored, grid, {"driver": "GTiff", "compress": "deflate", **profile})
    file = BytesIO()
    np.save(file, bands, allow_pickle=False)
    return file.getvalue()


def picture(pixels: Bytes, grid: Grid, picture_format: str) -> bytes:
    """(H, W, 4) as png or webp, without loss."""
    profile = {**PICTURES[picture_format], "dtype": "uint8"}
    return _written(np.moveaxis(pixels, 2, 0), grid, profile, RGBA)


def transform_of(grid: Grid) -> Affine:
    """From columns and rows to the units of the grid's reference system."""
    west, south, east, north = grid.bounds
    return Affine((east - west) / grid.width, 0, west, 0, (south - north) / grid.height, north)


def as_stored(bands: NDArray[np.float32], layer: Layer) -> tuple[NDArray[Any], dict[str, Any]]:
    """As a GeoTIFF holds it, with the dtype and nodata of that: float32, or bytes where the layer's categories fit."""
    if layer.categories is None or len(layer.categories) > NO_CATEGORY:
        return bands, {"dtype": "float32", "nodata": math.nan}
    codes = np.where(np.isnan(bands), NO_CATEGORY, bands).astype(np.uint8)
    return codes, {"dtype": "uint8", "nodata": NO_CATEGORY}


def _written(
    bands: NDArray[Any], grid: Grid, profile: dict[str, Any], interpretation: tuple[ColorInterp, ...] = ()
) -> bytes:
    shape = {"count": len(bands), "height": grid.height, "width": grid.width}
    with MemoryFile() as memory:
        with memory.open(crs=grid.crs, transform=transform_of(grid), **shape, **profile) as file:
            if interpretation:
                file.colorinterp = interpretation
            file.write(bands)
        return bytes(memory.read())


def _check_absent(layer: Layer, **given: str | None) -> None:
    kind = "bands that are red, green and blue" if layer.categories is None else "classes with a colour each"
    wrong = [name for name, value in given.items() if value is not None]
    if wrong:
        raise InvalidRequest([ItemError(f"/{name}", f"leave it out: {layer.name} has {kind}") for name in wrong])


def _range_of(rescale: str) -> tuple[float, float]:
    try:
        low, high = map(float, rescale.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidRequest([ItemError("/rescale", f"{rescale[:64]!a} is not low,high: two numbers, the lower first")])
    return low, high
