"""The imagery that a config names, opened as tiles by row."""

from __future__ import annotations

from pathlib import Path

from trainer.config import Config, S2Data
from trainer.data.mosaic_tiles import MosaicTiles
from trainer.data.s2_100k import S2Tiles
from trainer.data.tile_batch import Fault as Fault
from trainer.data.tile_batch import FaultKind as FaultKind
from trainer.data.tile_batch import TileBatch as TileBatch
from trainer.data.tile_batch import Tiles as Tiles


def open_tiles(config: Config, imagery: Path) -> Tiles:
    """Quick, whatever the size of the imagery. Raises ImageryError where it is absent or altered."""
    if isinstance(config.data, S2Data):
        return S2Tiles(config.data, imagery)
    return MosaicTiles(config.data, imagery)
