"""The tiles of vision pretraining: cut once and kept where they fit, else read as they are asked for."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from trainer.config import VisionConfig, digest_of
from trainer.data.tile_batch import Tiles
from trainer.errors import ImageryError
from trainer.seeding import generator

MAX_KEPT_BYTES = 8 << 30
SPARE = 2
"""Of the free disk the kept tiles may take one part in so many."""
CHUNK = 256
LOOK = 16
FORMAT = 1
LEAST = 2
"""Tiles of a batch, whose spread would else be none."""


class TrainingTiles:
    """The readable training tiles of `tiles`, by row."""

    def __init__(self, tiles: Tiles, kept: tuple[Tensor, Tensor] | None) -> None:
        """`kept` are rows, ascending, and their tiles."""
        self.rows = tiles.train_rows if kept is None else kept[0]
        self._tiles = tiles
        self._kept = kept

    def read(self, rows: Tensor) -> Tensor:
        """(m,) rows → (m, bands, h, w), NaN = no data, without those that turn out to be unreadable."""
        if self._kept is None:
            read = self._tiles.read(rows).tiles
        else:
            read = self._kept[1][torch.searchsorted(self._kept[0], rows)]
        if len(read) < LEAST:
            raise ImageryError(f"only {len(read)} of {len(rows)} tiles of a batch can be read; a batch needs {LEAST}")
        return read

    def ahead(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Batches in their order, the next being read while one is used."""
        with ThreadPoolExecutor(1) as reader:
            coming: Future[Tensor] | None = None
            for rows in batches:
                now, coming = coming, reader.submit(self.read, rows)
                if now is not None:
                    yield now.result()
            if coming is not None:
                yield coming.result()


def batches(rows: Tensor, vision: VisionConfig, steps: range) -> Iterator[Tensor]:
    """The rows of each of `steps`: every epoch has all rows in an order of its own, but for the remainder."""
    size = min(vision.batch_size, len(rows))
    per_epoch = len(rows) // size
    drawn, order = -1, rows
    for step in steps:
        epoch, place = divmod(step, per_epoch)
        if epoch != drawn:
            drawn, order = (
                epoch,
                rows[torch.randperm(len(rows), generator=generator(vision.seed, "vision order", epoch))],
            )
        yield order[place * size : (place + 1) * size]


def tile_shape(tiles: Tiles) -> tuple[int, int, int]:
    """Bands, height and width of every tile. Raises ImageryError where none can be read."""
    for rows in torch.split(tiles.train_rows, LOOK):
        read = tiles.read(rows).tiles
        if len(read):
            bands, height, width = read.shape[1:]
            return bands, height, width
    raise ImageryError("no training tile can be read; satcle data check says why")


def open_training_tiles(tiles: Tiles, imagery: Path) -> TrainingTiles:
    """Memory-mapped from `imagery`/kept, where they are put now if need be, or read anew if they are too many.

    Raises ImageryError where none can be read, or the folder cannot be written.
    """
    folder = imagery / "kept" / f"tiles-{digest_of({'format': FORMAT, 'tiles': tiles.identity})}"
    if not folder.is_dir():
        shape = (len(tiles.train_rows), *tile_shape(tiles))
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            if 4 * math.prod(shape) > min(MAX_KEPT_BYTES, shutil.disk_usage(folder.parent).free // SPARE):
                return TrainingTiles(tiles, None)
            _keep(tiles, folder, shape)
        except OSError as error:
            raise ImageryError(f"tiles cannot be kept in {folder.parent}: {error.strerror}") from error
    rows = torch.from_numpy(np.load(folder / "rows.npy"))
    return TrainingTiles(tiles, (rows, torch.from_numpy(np.load(folder / "tiles.npy", mmap_mode="c"))))


def _keep(tiles: Tiles, folder: Path, shape: tuple[int, ...]) -> None:
    """Into a folder of another name, renamed when whole."""
    staging = Path(tempfile.mkdtemp(prefix=".kept.", dir=folder.parent))
    try:
        array = np.lib.format.open_memmap(staging / "tiles.npy", mode="w+", dtype=np.float32, shape=shape)
        read: list[Tensor] = []
        start = 0
        for rows in track(torch.split(tiles.train_rows, CHUNK), "tiles", console=Console(stderr=True)):
            batch = tiles.read(rows)
            array[start : start + len(batch.rows)] = batch.tiles.numpy()
            start += len(batch.rows)
            read.append(batch.rows)
        array.flush()
        np.save(staging / "rows.npy", torch.cat(read).numpy())
        staging.replace(folder)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
