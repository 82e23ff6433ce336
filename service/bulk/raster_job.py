"""A job whose parts are GeoTIFF tiles of one large raster, which a VRT joins for QGIS and GDAL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from service.bulk.additions import MapValue
from service.bulk.parts import MakePart, Part
from service.bulk.regions import Region
from service.bundle import Bundle, BundleCard
from service.embedding.graphs import Device, Graphs
from service.errors import InvalidRequest, ItemError
from service.maps.cog import create, optimize, tags_of, write_strip
from service.maps.files import box_around, size_of
from service.maps.geometry import Geometry
from service.maps.grid import WGS84, Grid
from service.maps.raster import strips_here
from service.maps.render import NO_CATEGORY

TILE = 2048
"""Pixels a side: some four million, about a minute of a core."""
MAX_SIDE = 2**31 - 1
"""Of what GDAL reads."""
MOSAIC = "mosaic.vrt"
MOSAIC_END = ("  </VRTRasterBand>", "</VRTDataset>", "")


@dataclass(frozen=True)
class RasterJob:
    """The map of a region, `width` by `height` pixels, outside of the region empty."""

    card: BundleCard
    region: Region
    width: int
    height: int
    value: MapValue

    suffix = ".tif"

    @classmethod
    def of(
        cls,
        card: BundleCard,
        region: Region,
        value: MapValue,
        *,
        width: int | None,
        height: int | None,
        degrees: float | None,
    ) -> RasterJob:
        """As many pixels as are given, or of so many `degrees`. Raises InvalidRequest."""
        columns, rows = size_of(box_around(region.area), width, height, degrees)
        for name, side in (("width", columns), ("height", rows)):
            if not 1 <= side <= MAX_SIDE:
                raise InvalidRequest([ItemError(name, f"{name} is {side}; it must be from 1 to {MAX_SIDE}")])
        return cls(card, region, columns, rows, value)

    @property
    def description(self) -> dict[str, Any]:
        source = {"region": self.region.name, "region_digest": self.region.digest, "tile": TILE}
        shape = {"width": self.width, "height": self.height}
        model = {"model": self.card.name, "digest": self.card.digest}
        return {**model, **self.value.description, "kind": "raster", "source": {**source, **shape}}

    def parts(self) -> list[Part]:
        return [
            Part(f"tile-{top // TILE:05}-{left // TILE:05}.tif", (left, top))
            for top in range(0, self.height, TILE)
            for left in range(0, self.width, TILE)
        ]

    def extras(self, parts: Iterable[Part]) -> Mapping[str, str]:
        return {MOSAIC: "\n".join([*self._mosaic_head(), *map(self._mosaic_tile, parts), *MOSAIC_END])}

    def open(self, bundle: Bundle, device: Device) -> MakePart:
        graphs = Graphs(bundle, device, self.value.precision)
        grid_encoder, layer = graphs.grid_encoder(), self.value.layer(graphs)
        area = self.region.area
        inside = area if isinstance(area, Geometry) else None

        def make(part: Part, path: Path) -> int:
            grid = self._tile(part)
            if inside and not _may_meet(inside, grid):
                return 0
            plain = path.with_name(f"{path.name}.strips")
            try:
                with create(plain, grid, layer, tags_of(bundle.card, layer)) as file:
                    top = 0
                    for strip in strips_here(graphs.encoder, grid_encoder, grid, layer, graphs.batch_points):
                        write_strip(file, strip, top, grid, layer, inside)
                        top += len(strip)
                optimize(plain, path, layer)
            finally:
                plain.unlink(missing_ok=True)
            return len(grid)

        return make

    def _tile(self, part: Part) -> Grid:
        """The pixels of a part, each where it is in the whole."""
        left, top = part.key
        right, bottom = min(left + TILE, self.width), min(top + TILE, self.height)
        box = box_around(self.region.area)
        lons = box.west + box.width * (np.arange(left, right) + 0.5) / self.width
        lats = box.north - box.height * (np.arange(top, bottom) + 0.5) / self.height
        west, east = (box.west + box.width * edge / self.width for edge in (left, right))
        north, south = (box.north - box.height * edge / self.height for edge in (top, bottom))
        return Grid(lons, lats, (west, south, east, north))

    def _mosaic_head(self) -> list[str]:
        """Source: https://gdal.org/drivers/raster/vrt.html."""
        box = box_around(self.region.area)
        across, down = box.width / self.width, box.height / self.height
        kind, nodata = ("Byte", NO_CATEGORY) if self._is_bytes else ("Float32", "nan")
        return [
            f'<VRTDataset rasterXSize="{self.width}" rasterYSize="{self.height}">',
            f"  <SRS>{WGS84}</SRS>",
            f"  <GeoTransform>{box.west!r}, {across!r}, 0, {box.north!r}, 0, {-down!r}</GeoTransform>",
            f'  <VRTRasterBand dataType="{kind}" band="1">',
            f"    <NoDataValue>{nodata}</NoDataValue>",
        ]

    def _mosaic_tile(self, part: Part) -> str:
        left, top = part.key
        columns, rows = min(TILE, self.width - left), min(TILE, self.height - top)
        size = f'xSize="{columns}" ySize="{rows}"'
        return (
            f'    <SimpleSource><SourceFilename relativeToVRT="1">{part.name}</SourceFilename>'
            f'<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" {size}/>'
            f'<DstRect xOff="{left}" yOff="{top}" {size}/></SimpleSource>'
        )

    @property
    def _is_bytes(self) -> bool:
        """Whether the values are categories, few enough to be bytes."""
        classes = next((head.classes for head in self.card.heads if head.id == self.value.head), None)
        return classes is not None and len(classes) <= NO_CATEGORY


def _may_meet(area: Geometry, grid: Grid) -> bool:
    west, south, east, north = grid.bounds
    return area.may_hold((west + east) / 2, (south + north) / 2, (east - west) / 2, (north - south) / 2)
