"""Image features, computed once over several views and kept: training then costs the location tower alone."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from trainer.config import Config, Views, digest_of
from trainer.data.tile_batch import Fault, FaultKind, TileBatch, Tiles, summary
from trainer.data.views import view_by_row
from trainer.errors import ImageryError

CHUNK = 256
CHUNK_BYTES = 1 << 26
"""A chunk is that many tiles, or as many as fit."""
SAVE_EVERY = 16
"""Chunks between two states that an interrupted computation goes on from."""
FORMAT = 3
"""Raised when the computation changes, so that what an older one kept is not taken for it."""
STATE = "state.json"

FloatMap = np.memmap[tuple[int, ...], np.dtype[np.float32]]
logger = logging.getLogger(__name__)


class ImageSide(Protocol):
    """The frozen part of the image side, as far as keeping its outputs goes."""

    @property
    def identity(self) -> object:
        """JSON-able; another wherever the outputs are."""
        ...

    def __call__(self, tiles: Tensor) -> Tensor:
        """(n, bands, h, w), NaN where no data → (n, features) float32."""
        ...


@dataclass(frozen=True, eq=False)
class KeptTiles:
    """One row a tile: `lonlat` (n, 2) float64; image `features` (views, n, f) and `band_means` (n, bands), float32.

    The last two are memory-mapped. `band_means` are over the valid pixels of view 0, NaN where a tile has none. A row
    whose tile could not be read is NaN, and is in neither `train_rows` nor `validation_rows`.
    """

    lonlat: Tensor
    features: Tensor
    band_means: Tensor
    train_rows: Tensor
    validation_rows: Tensor


def keep_tiles(config: Config, imagery: Path, tiles: Tiles, image_side: ImageSide) -> KeptTiles:
    """From `imagery`/kept where they are there, else computed and kept; what was interrupted goes on.

    Raises ImageryError where too little can be read, or the folder cannot be written.
    """
    folder = imagery / "kept" / kept_digest(config, tiles, image_side)
    if not folder.is_dir():
        _keep(folder, tiles, image_side, config.views, config.data.seed)
    lonlat, features, band_means = (
        torch.from_numpy(np.load(folder / f"{name}.npy", mmap_mode="c"))
        for name in ("lonlat", "features", "band_means")
    )
    readable = torch.ones(len(lonlat), dtype=torch.bool)
    readable[list(_state(folder)[1])] = False
    train_rows, validation_rows = (rows[readable[rows]] for rows in (tiles.train_rows, tiles.validation_rows))
    if not (len(train_rows) and len(validation_rows)):
        raise ImageryError(f"{len(train_rows)} tiles to train on and {len(validation_rows)} held out: too few")
    return KeptTiles(lonlat, features, band_means, train_rows, validation_rows)


def kept_digest(config: Config, tiles: Tiles, image_side: ImageSide) -> str:
    """Of all that the kept arrays depend on: pixels and places, the views, and the image side."""
    described = {
        "format": FORMAT,
        "tiles": tiles.identity,
        "views": config.views.model_dump(mode="json"),
        "seed": config.data.seed,
        "image_side": image_side.identity,
    }
    return digest_of(described)


def _keep(folder: Path, tiles: Tiles, image_side: ImageSide, views: Views, seed: int) -> None:
    """Into a folder of another name, renamed when whole: an interrupted run leaves nothing to be mistaken."""
    staging = folder.with_name(f".{folder.name}.part")
    try:
        staging.mkdir(parents=True, exist_ok=True)
        with _alone(staging / "lock"):
            if not folder.is_dir():  # else another process was faster
                np.save(staging / "lonlat.npy", tiles.lonlat.numpy())
                _fill(staging, tiles, image_side, views, seed)
                staging.replace(folder)
    except OSError as error:
        raise ImageryError(f"image features cannot be kept in {staging}: {error.strerror or error}") from error


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """One process at a time; the others wait, on other machines too."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)  # NFS locks only files that are open for writing
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _fill(folder: Path, tiles: Tiles, image_side: ImageSide, views: Views, seed: int) -> None:
    """Chunk by chunk, from where an interrupted computation ended."""
    rows = torch.cat((tiles.train_rows, tiles.validation_rows)).sort().values
    first = _first_tile(tiles, rows)
    chunks = torch.split(rows, max(1, min(CHUNK, CHUNK_BYTES // (4 * first.numel()))))
    width = image_side(view_by_row(first, rows[:1], 0, views, seed)).shape[1]
    features = _array(folder / "features.npy", (views.count, len(tiles.lonlat), width))
    band_means = _array(folder / "band_means.npy", (len(tiles.lonlat), len(tiles.bands)))
    done, faults = _state(folder)
    ahead = track(_read_ahead(tiles, chunks[done:]), "image features", len(chunks), done, console=Console(stderr=True))
    for number, batch in enumerate(ahead, start=done + 1):
        at = batch.rows.numpy()
        for index in range(views.count):
            seen = view_by_row(batch.tiles, batch.rows, index, views, seed)
            features[index, at] = image_side(seen).cpu().numpy()
            if index == 0:
                band_means[at] = seen.flatten(2).nanmean(dim=2).numpy()
        if number % SAVE_EVERY == 0:
            _save_state(folder, (features, band_means), number, faults | tiles.unreadable)
    faults |= tiles.unreadable
    features[:, list(faults)] = band_means[list(faults)] = np.nan
    _save_state(folder, (features, band_means), len(chunks), faults)
    if faults:
        logger.warning("%d of %d tiles left out: %s", len(faults), len(tiles.lonlat), summary(faults.values()))


def _first_tile(tiles: Tiles, rows: Tensor) -> Tensor:
    """(1, bands, h, w): every tile has this shape."""
    for some in torch.split(rows, 16):
        found = tiles.read(some).tiles
        if len(found):
            return found[:1]
    raise ImageryError("no tile can be read; satcle data check says why")


def _read_ahead(tiles: Tiles, chunks: Sequence[Tensor]) -> Iterator[TileBatch]:
    """The next chunk is read while one is computed."""
    if not chunks:
        return
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(tiles.read, chunks[0])
        for following in chunks[1:]:
            batch = reading.result()
            reading = pool.submit(tiles.read, following)
            yield batch
        yield reading.result()


def _array(path: Path, shape: tuple[int, ...]) -> FloatMap:
    """What is there from an interrupted computation, else zeros, for which the disk has room."""
    if path.exists():
        array = np.load(path, mmap_mode="r+")
    else:
        staged = path.with_suffix(".new.npy")
        array = np.lib.format.open_memmap(staged, mode="w+", dtype=np.float32, shape=shape)
        with staged.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, staged.stat().st_size)  # a full disk is told now, not by a SIGBUS
        staged.replace(path)
    assert isinstance(array, np.memmap)
    return array


def _state(folder: Path) -> tuple[int, dict[int, Fault]]:
    """How many chunks are done, and what could not be read."""
    path = folder / STATE
    if not path.exists():
        return 0, {}
    state = json.loads(path.read_text(encoding="utf-8"))
    return state["chunks"], {
        int(row): Fault(FaultKind(kind), item, detail) for row, (kind, item, detail) in state["unreadable"].items()
    }


def _save_state(folder: Path, arrays: Iterable[FloatMap], chunks: int, faults: Mapping[int, Fault]) -> None:
    """After the arrays themselves, so that it never says more than is there."""
    for array in arrays:
        array.flush()
    unreadable = {row: (fault.kind, fault.item, fault.detail) for row, fault in faults.items()}
    staged = folder / f"{STATE}.part"
    staged.write_text(json.dumps({"chunks": chunks, "unreadable": unreadable}), encoding="utf-8")
    staged.replace(folder / STATE)
