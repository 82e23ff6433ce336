"""How a place becomes a row: the same way as in the service, so that both give the same embedding."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.bundle import BundleCard, LonLat
from service.embedding.backends.base import Backend, Rows, batch_points_of, embed_checked
from service.embedding.cells import Cells, cells_of, centres_of
from service.embedding.rows import shape_rows
from service.errors import InvalidRequest, ItemError


@dataclass(frozen=True)
class Recipe:
    """`snap_resolution` is None where the very coordinate is embedded and not the centre of its cell."""

    backend: Backend
    batch_points: int
    snap_resolution: int | None
    dimensions: int
    normalize: bool

    @classmethod
    def of(
        cls,
        card: BundleCard,
        backend: Backend,
        *,
        exact: bool,
        dimensions: int | None,
        normalize: bool,
        batch_points: int | None = None,
    ) -> Recipe:
        """`batch_points`, where it is not the provider's own number. Raises InvalidRequest where the card does not
        allow so many dimensions."""
        snap_resolution = None if exact else card.snap_resolution
        kept = allowed_dimensions(card, dimensions)
        return cls(backend, batch_points or batch_points_of(backend), snap_resolution, kept, normalize)

    def embed(self, lonlat: LonLat) -> tuple[Cells | None, Rows]:
        """The cell of each place (None where it is not snapped) and its row; raises BackendFailed."""
        cells = None if self.snap_resolution is None else cells_of(lonlat, self.snap_resolution)
        encoded = lonlat if cells is None else centres_of(cells)
        rows = np.empty((len(lonlat), self.dimensions), np.float32)
        for start in range(0, len(lonlat), self.batch_points):
            chunk = slice(start, start + self.batch_points)
            rows[chunk] = shape_rows(embed_checked(self.backend, encoded[chunk]), self.dimensions, self.normalize)
        return cells, rows


def allowed_dimensions(card: BundleCard, dimensions: int | None) -> int:
    """So many, all where it is None. Raises InvalidRequest where the card does not allow that prefix."""
    if dimensions is not None and dimensions not in card.dimensions:
        allowed = ", ".join(map(str, card.dimensions))
        raise InvalidRequest([ItemError("", f"dimensions {dimensions} is not one of {card.name}'s: {allowed}")])
    return dimensions or card.embedding_dim
