"""Maps as files: what a file holds is said by its suffix."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from service.bundle import CoordinateError, LonLat
from service.embedding.model import Model
from service.errors import InvalidRequest, ItemError
from service.maps.cells import covering
from service.maps.cog import write_cog
from service.maps.geometry import Geometry
from service.maps.grid import BBox, Grid
from service.maps.layers import HeadLayer, Layer, Similarity
from service.maps.regions import colored_raster, values_of_cells
from service.maps.render import Style, picture
from service.maps.table import arrow_bytes, geojson_pieces, parquet_bytes, table_of

PIXELS = (".tif", ".tiff", ".png")
CELLS = (".parquet", ".arrow", ".geojson")
DEFAULT_SIDE = 1024
"""Pixels of the longer side where nothing is said."""
MAX_PICTURE = 2**27
"""Pixels of a PNG, which is held in memory."""
CELLS_AT_ONCE = 65_536
FOREVER = math.inf

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Sheet:
    """What a file is to hold: the pixels of `grid`, empty outside of `area`, or else its cells at `h3_resolution`."""

    suffix: str
    area: BBox | Geometry
    grid: Grid | None
    h3_resolution: int | None

    @property
    def inside(self) -> Geometry | None:
        """The area, where a box does not say it all."""
        return self.area if isinstance(self.area, Geometry) else None


@dataclass(frozen=True)
class Look:
    """The colours of a picture, as they are asked for; None: the layer's own."""

    colormap_name: str | None = None
    rescale: str | None = None


def sheet_for(
    path: Path,
    area: BBox | Geometry,
    *,
    width: int | None = None,
    height: int | None = None,
    degrees: float | None = None,
    h3_resolution: int | None = None,
) -> Sheet:
    """As many pixels as are given, or of so many `degrees`; a missing side keeps them square. Raises InvalidRequest."""
    suffix = path.suffix.lower()
    if suffix not in PIXELS + CELLS:
        raise _invalid("output", f"{path}: only {', '.join(PIXELS + CELLS)} can be written")
    if suffix in CELLS:
        if h3_resolution is None or (width, height, degrees) != (None, None, None):
            raise _invalid("h3_resolution", f"{suffix} holds H3 cells: give their resolution, and no pixels")
        return Sheet(suffix, area, None, h3_resolution)
    if h3_resolution is not None:
        raise _invalid("h3_resolution", f"{suffix} holds pixels: give their width and height, or their size")
    bbox = box_around(area)
    grid = Grid.of_bbox(bbox, *size_of(bbox, width, height, degrees))
    if suffix == ".png" and len(grid) > MAX_PICTURE:
        raise _invalid("output", f"a .png holds at most {MAX_PICTURE} pixels, not {len(grid)}: write a .tif")
    return Sheet(suffix, area, grid, None)


def size_of(bbox: BBox, width: int | None, height: int | None, degrees: float | None) -> tuple[int, int]:
    """Pixels from west to east and from north to south. Raises InvalidRequest."""
    if degrees is not None and (width, height) != (None, None):
        raise _invalid("resolution", "give the size of pixels, or their number")
    if degrees is None:
        degrees = _square(bbox, width, height)
    if not (math.isfinite(degrees) and degrees > 0):
        raise _invalid("resolution", f"{degrees} is no size of a pixel in degrees")
    columns, rows = (_count(extent, degrees) for extent in (bbox.width, bbox.height))
    return columns if width is None else width, rows if height is None else height


def box_around(area: BBox | Geometry) -> BBox:
    return area.bbox if isinstance(area, Geometry) else area


def bbox_of(text: str) -> BBox:
    """A box written west,south,east,north. Raises InvalidRequest."""
    try:
        edges = [float(edge) for edge in text.split(",")]
    except ValueError:
        raise _invalid("bbox", f"{text[:64]!a} is not west,south,east,north in degrees") from None
    return BBox.of(edges)


async def layer_for(model: Model, references: list[str], negatives: list[str], head: str | None) -> Layer:
    """Similarity to places written as lon,lat, or a head's values. Raises InvalidRequest or UnknownHead."""
    if head is not None:
        if references or negatives:
            raise _invalid("head", "give a head or references, not both")
        return HeadLayer(model.heads.named(head))
    if not references:
        raise _invalid("reference", "give a reference as lon,lat, or a head")
    places = [place_of("reference", text) for text in references]
    places += [place_of("negative", text) for text in negatives]
    rows = await model.embedder.batcher.embed(LonLat.from_degrees(places), FOREVER)
    return Similarity(rows[: len(references)], rows[len(references) :])


async def write_map(
    path: Path,
    sheet: Sheet,
    model: Model,
    layer: Layer,
    look: Look,
    begin: Callable[[str, int], None],
    advance: Advance,
) -> None:
    """Write the sheet to `path`; `begin` is told the points there are, `advance` those that are done.

    Raises InvalidRequest, BackendFailed or OSError.
    """
    style = Style.of(layer, look.colormap_name, look.rescale)
    if sheet.grid is None:
        await _write_cells(path, sheet, model, layer, begin, advance)
    elif sheet.suffix == ".png":
        begin("map", len(sheet.grid))
        await _write_picture(path, sheet.grid, model, layer, style, sheet.inside, advance)
    else:
        begin("map", len(sheet.grid))
        await write_cog(path, model, sheet.grid, layer, FOREVER, inside=sheet.inside, advance=advance)


async def _write_picture(
    path: Path, grid: Grid, model: Model, layer: Layer, style: Style, inside: Geometry | None, advance: Advance
) -> None:
    pixels = await colored_raster(model, grid, layer, style, FOREVER, inside=inside, advance=advance)
    await asyncio.to_thread(lambda: _save(path, [picture(pixels, grid, "png")]))


async def _write_cells(
    path: Path, sheet: Sheet, model: Model, layer: Layer, begin: Callable[[str, int], None], advance: Advance
) -> None:
    assert sheet.h3_resolution is not None
    cells = await covering(sheet.area, sheet.h3_resolution)
    begin("map", len(cells))
    done = []
    for start in range(0, len(cells), CELLS_AT_ONCE):
        piece = cells[start : start + CELLS_AT_ONCE]
        done.append(await values_of_cells(model, piece, layer, FOREVER))
        advance(len(piece))
    values = np.concatenate(done)
    if sheet.suffix == ".geojson":
        await asyncio.to_thread(_save, path, geojson_pieces(cells, values, layer))
    else:
        card = model.bundle.card
        table = table_of(cells, values, layer, {"satcle.model": card.name, "satcle.digest": card.digest})
        encode = arrow_bytes if sheet.suffix == ".arrow" else parquet_bytes
        await asyncio.to_thread(lambda: _save(path, [encode(table)]))


def _save(path: Path, pieces: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(pieces)


def _square(bbox: BBox, width: int | None, height: int | None) -> float:
    """The size of square pixels, of which there are so many along a side."""
    if width is not None:
        return bbox.width / max(1, width)
    if height is not None:
        return bbox.height / max(1, height)
    return max(bbox.width, bbox.height) / DEFAULT_SIDE


def _count(extent: float, degrees: float) -> int:
    return max(1, round(min(extent / degrees, 1e9)))


def place_of(option: str, text: str) -> tuple[float, float]:
    """A place written as lon,lat in degrees. Raises InvalidRequest, which names the option."""
    try:
        lon, lat = map(float, text.split(","))
        LonLat.from_degrees([[lon, lat]])
    except CoordinateError as error:
        raise _invalid(option, f"{text}: {error.problems[0].message}") from None
    except ValueError:
        raise _invalid(option, f"{text[:64]!a} is not lon,lat in degrees, as 116.4,39.9") from None
    return lon, lat


def _invalid(option: str, message: str) -> InvalidRequest:
    return InvalidRequest([ItemError(f"/{option}", message)])
