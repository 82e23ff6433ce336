"""Where a checkpoint was trained, for the bundle: told by the checkpoint, or, of an older one, found in the imagery."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from service.bundle import BundleCard, LonLat, TrainingPlacesCard, training_places_file
from trainer.checkpoint import Checkpoint
from trainer.data.tiles import open_tiles
from trainer.errors import ImageryError

FILE = "training_places.npy"


def training_places(checkpoint: Checkpoint, imagery: Path) -> Tensor:
    """Lon and lat of the training tiles, (samples, 2). Raises ImageryError where neither tells them, and why."""
    if checkpoint.training_places is not None:
        return checkpoint.training_places
    tiles, described = open_tiles(checkpoint.config, imagery), checkpoint.description
    if tiles.sources != described.sources or len(tiles.train_rows) != described.samples:
        raise ImageryError(f"{imagery} holds other imagery than that of the training")
    return tiles.lonlat[tiles.train_rows]


def with_training_places(card: BundleCard, lonlat: Tensor) -> tuple[BundleCard, dict[str, bytes]]:
    """The card with the places, and their file."""
    places = LonLat.from_degrees(lonlat.numpy())
    described = TrainingPlacesCard(file=FILE, count=len(places))
    return card.model_copy(update={"training_places": described}), {FILE: training_places_file(places)}
