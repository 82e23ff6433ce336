"""Tiles cut from a config's world rasters, at places drawn on land."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from service.bundle import DataSource
from trainer.config import MosaicData
from trainer.data.imagery import read_mosaic, read_raster, sha256
from trainer.data.mosaic import Mosaic
from trainer.data.points import draw_places, split
from trainer.data.tile_batch import Fault, TileBatch


class MosaicTiles:
    """Every row can be read. Rasters are opened when first needed, so that kept features cost none of it."""

    def __init__(self, data: MosaicData, imagery: Path) -> None:
        """Raises ImageryError where a source is absent, or is not the file that the config names."""
        self.data, self.imagery = data, imagery
        self.bands = data.bands
        self.unreadable: dict[int, Fault] = {}
        self.sha256 = {source.name: sha256(source, imagery) for source in data.sources}
        self.train_rows, self.validation_rows = split(data.points.count, data.points.validation_share, data.seed)

    @property
    def identity(self) -> object:
        """The content of the sources and how it is read, the tiles and the places; not where the files lie."""
        return {
            "data": self.data.model_dump(mode="json", exclude={"sources": True}),
            "sources": [
                source.model_dump(include={"bands", "bounds", "nodata", "valid_min", "valid_max"})
                | {"sha256": self.sha256[source.name], "land": source.name == self.data.points.land}
                for source in self.data.sources
            ],
        }

    @property
    def sources(self) -> tuple[DataSource, ...]:
        return tuple(
            DataSource(name=s.name, credit=s.credit, license=s.license, url=s.url, sha256=self.sha256[s.name])
            for s in self.data.sources
        )

    @cached_property
    def lonlat(self) -> Tensor:
        return draw_places(self.data.points, self._on_land(), self.data.seed)

    @cached_property
    def _mosaic(self) -> Mosaic:
        return read_mosaic(self.data, self.imagery)

    def read(self, rows: Tensor) -> TileBatch:
        """As `Tiles.read`."""
        return TileBatch(rows, self._mosaic.tiles(self.lonlat[rows]))

    def _on_land(self) -> Callable[[Tensor], Tensor]:
        """Where the source that is named as land has data; everywhere, where none is named."""
        for source in self.data.sources:
            if source.name == self.data.points.land:
                return read_raster(source, self.imagery).has_data
        return lambda places: torch.ones(len(places), dtype=torch.bool)
