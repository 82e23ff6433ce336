"""MOSAIKS: random convolutional features of the nearest cell of a grid of imagery (Rolf et al. 2021).

The features are a config's frozen image side, whitened on its training tiles. Over a mosaic the grid is of one degree,
on land; of S2-100K, which has no grid, the nearest tile serves. They are computed once and kept beside the imagery.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from service.bundle import DataSource
from trainer.baselines.baseline import Baseline, Embeddings, Places
from trainer.config import Config, MosaicData, Views, read_config
from trainer.data.imagery import read_mosaic, read_raster
from trainer.data.kept import KeptTiles, keep_tiles
from trainer.data.mosaic import Mosaic
from trainer.data.tile_batch import Fault, TileBatch
from trainer.data.tiles import Tiles, open_tiles
from trainer.errors import BaselineError
from trainer.models.image_side import open_image_side
from trainer.sphere import unit_vectors

CELL_DEG = 1.0
CHUNK = 256


def mosaiks(asked: str) -> Baseline:
    """`asked` is CONFIG@IMAGERY, a config of `satcle pretrain` and the imagery's folder.

    Raises BaselineError where it is not, ConfigError or ImageryError where one of them cannot be used.
    """
    config_file, _, imagery = asked.partition("@")
    if not config_file or not imagery:
        raise BaselineError(f"baseline mosaiks={asked}: say mosaiks=CONFIG@IMAGERY, the imagery's folder last")
    config = read_config(Path(config_file)).model_copy(update={"views": Views()})
    kept = keep_grid(config, Path(imagery))
    rows = torch.cat([kept.train_rows, kept.validation_rows])
    nearest = Nearest(kept.lonlat[rows], kept.features[0, rows])
    note = f"image features ({config.image_tower.kind}) of the nearest of {len(rows):,} cells of {config.name}"
    return Baseline("mosaiks", note, nearest.embed)


def keep_grid(config: Config, imagery: Path) -> KeptTiles:
    """The features of every cell, computed where they are not kept yet."""
    tiles = open_tiles(config, imagery)
    image_side = open_image_side(config, tiles, vision=None, weights=None)
    cells = GridTiles(tiles, config.data, imagery) if isinstance(config.data, MosaicData) else tiles
    return keep_tiles(config, imagery, cells, image_side)


@dataclass
class GridTiles:
    """A tile for the middle of every cell on land, of the same mosaic as `training`; as `Tiles`."""

    training: Tiles
    data: MosaicData
    imagery: Path

    @property
    def bands(self) -> tuple[str, ...]:
        return self.training.bands

    @property
    def sources(self) -> tuple[DataSource, ...]:
        return self.training.sources

    @property
    def unreadable(self) -> dict[int, Fault]:
        return {}

    @property
    def identity(self) -> object:
        return {"grid_deg": CELL_DEG, "of": self.training.identity}

    @cached_property
    def lonlat(self) -> Tensor:
        centres = grid_centres()
        for source in self.data.sources:
            if source.name == self.data.points.land:
                return centres[read_raster(source, self.imagery).has_data(centres)]
        return centres

    @property
    def train_rows(self) -> Tensor:
        """All cells but one: nothing is trained on them, and kept tiles must have both parts."""
        return torch.arange(len(self.lonlat) - 1)

    @property
    def validation_rows(self) -> Tensor:
        return torch.tensor([len(self.lonlat) - 1])

    @cached_property
    def _mosaic(self) -> Mosaic:
        return read_mosaic(self.data, self.imagery)

    def read(self, rows: Tensor) -> TileBatch:
        """As `Tiles.read`."""
        return TileBatch(rows, self._mosaic.tiles(self.lonlat[rows]))


def grid_centres() -> Tensor:
    """The middle of every cell of the globe, (n, 2) float64 lon and lat in degrees."""
    lons = torch.arange(-180 + CELL_DEG / 2, 180, CELL_DEG, dtype=torch.float64)
    lats = torch.arange(-90 + CELL_DEG / 2, 90, CELL_DEG, dtype=torch.float64)
    return torch.cartesian_prod(lons, lats)


class Nearest:
    """The features of the nearest place, by great circle: the largest product of unit vectors."""

    def __init__(self, lonlat: Tensor, features: Tensor) -> None:
        self._directions = unit_vectors(lonlat).numpy()
        self._features = features.numpy()

    def embed(self, places: Places) -> Embeddings:
        directions = unit_vectors(torch.from_numpy(places)).numpy()
        chunks = (directions[start : start + CHUNK] for start in range(0, len(directions), CHUNK))
        rows = np.concatenate([np.argmax(chunk @ self._directions.T, axis=1) for chunk in chunks])
        made: Embeddings = self._features[rows].astype(np.float32)
        return made
