"""Image features, computed once and kept: training then costs the location tower alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from trainer.config import Config, Data, digest_of
from trainer.data.imagery import read_mosaic, read_raster, sha256
from trainer.data.mosaic import Mosaic
from trainer.data.points import draw_places, split
from trainer.models.image_tower import ImageTower
from trainer.seeding import generator

FIT_TILES = 2048
CHUNK = 256
FORMAT = 1
"""Raised when the computation changes, so that what an older one kept is not taken for it."""


@dataclass(frozen=True, eq=False)
class KeptTiles:
    """One row a tile: `lonlat` (n, 2) float64; image `features` (n, f) and `band_means` (n, bands), float32.

    The two are memory-mapped. `band_means` are over the valid pixels, NaN where a tile has none.
    """

    lonlat: Tensor
    features: Tensor
    band_means: Tensor
    train_rows: Tensor
    validation_rows: Tensor


def keep_tiles(config: Config, imagery: Path) -> KeptTiles:
    """The config's tiles, from `imagery`/kept where they are there, else computed and kept. Raises ImageryError."""
    folder = imagery / "kept" / kept_digest(config, imagery)
    if not folder.is_dir():
        _compute(config, imagery, folder)
    lonlat, features, band_means = (
        torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c"))
        for name in ("lonlat", "features", "band_means")
    )
    points = config.data.points
    return KeptTiles(lonlat, features, band_means, *split(points.count, points.validation_share, config.data.seed))


def kept_digest(config: Config, imagery: Path) -> str:
    """Of all that the kept arrays depend on: the sources' content, the places, the tiles and the image tower."""
    described = {
        "format": FORMAT,
        "data": config.data.model_dump(mode="json", exclude={"sources": True}),
        "sources": [
            source.model_dump(include={"bands", "bounds", "nodata", "valid_min", "valid_max"})
            | {"sha256": sha256(source, imagery), "land": source.name == config.data.points.land}
            for source in config.data.sources
        ],
        "image_tower": config.image_tower.model_dump(mode="json"),
    }
    return digest_of(described)


def _compute(config: Config, imagery: Path, folder: Path) -> None:
    """Into a folder of another name, and renamed when whole: an interrupted run leaves nothing to be mistaken."""
    data, seed = config.data, config.data.seed
    mosaic = read_mosaic(data, imagery)
    lonlat = draw_places(data.points, _land_rule(data, imagery), seed)
    train_rows, _ = split(len(lonlat), data.points.validation_share, seed)
    tower = ImageTower.fit(mosaic.tiles(lonlat[train_rows[:FIT_TILES]]), config.image_tower, generator(seed, "filters"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".kept.", dir=folder.parent))
    try:
        np.save(staging / "lonlat.npy", lonlat.numpy())
        _fill(staging, mosaic, tower, lonlat)
        staging.replace(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def _land_rule(data: Data, imagery: Path) -> Callable[[Tensor], Tensor]:
    """Where the source that is named as land has data; everywhere, where none is named."""
    for source in data.sources:
        if source.name == data.points.land:
            return read_raster(source, imagery).has_data
    return lambda places: torch.ones(len(places), dtype=torch.bool)


def _fill(folder: Path, mosaic: Mosaic, tower: ImageTower, lonlat: Tensor) -> None:
    width = tower(mosaic.tiles(lonlat[:1])).shape[1]
    bands = sum(raster.bands for raster in mosaic.rasters)
    features = _array(folder / "features.npy", (len(lonlat), width))
    band_means = _array(folder / "band_means.npy", (len(lonlat), bands))
    for start in track(range(0, len(lonlat), CHUNK), description="image features"):
        rows = slice(start, start + CHUNK)
        tiles = mosaic.tiles(lonlat[rows])
        features[rows] = tower(tiles).numpy()
        band_means[rows] = tiles.flatten(2).nanmean(dim=2).numpy()
    features.flush()
    band_means.flush()


def _array(path: Path, shape: tuple[int, int]) -> np.memmap[tuple[int, ...], np.dtype[np.float32]]:
    array: NDArray[np.float32] = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    assert isinstance(array, np.memmap)
    return array
