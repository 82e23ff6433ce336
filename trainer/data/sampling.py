"""Tables of places from a raster: drawn uniformly by area, each with the value of the pixel that holds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from torch import Tensor

from trainer.config import Points, Source
from trainer.data.imagery import band_count, read_raster
from trainer.data.land import land
from trainer.data.mosaic import Raster
from trainer.data.points import draw_places
from trainer.errors import ImageryError

DEGREE_DECIMALS = 6
"""0.1 m: a place is the same in the table and when it is read back."""


@dataclass(frozen=True)
class RasterBand:
    """One band of a world raster, counted from 1; `nodata` besides what the file itself says."""

    path: Path
    band: int = 1
    nodata: float | None = None

    def read(self) -> Raster:
        """Raises ImageryError where there is no such raster or band."""
        if not self.path.is_file():
            raise ImageryError(f"{self.path} does not exist")
        bands = band_count(self.path)
        if not 1 <= self.band <= bands:
            raise ImageryError(f"{self.path} has no band {self.band}; it has {bands}, counted from 1")
        names = tuple(map(str, range(1, bands + 1)))
        source = Source(name="raster", bands=names, path=self.path.resolve(), nodata=self.nodata, credit="", license="")
        raster = read_raster(source, Path())
        return Raster(raster.values[..., self.band - 1 : self.band], raster.bounds)


def sample_table(
    values: Raster, points: Points, column: str, seed: int, *, on_land: bool, labels: Mapping[float, str] | None
) -> pa.Table:
    """Columns lon, lat and `column`, a row for each of `points`, where `values` has data, and land if `on_land`.

    With `labels`, the column holds the label of each value, and what has none counts as no data. Raises ImageryError.
    """
    if labels is not None:
        values = _labelled_only(values, labels)
    mask = land() if on_land else None

    def drawn_from(places: Tensor) -> Tensor:
        return values.has_data(places) if mask is None else values.has_data(places) & mask.has_data(places)

    lonlat = draw_places(points, drawn_from, seed)
    found = values.pixels(lonlat)[:, 0].double().numpy()
    degrees = np.round(lonlat.numpy(), DEGREE_DECIMALS)
    target = pa.array(found) if labels is None else pa.array([labels[value] for value in found.tolist()])
    return pa.table({"lon": degrees[:, 0], "lat": degrees[:, 1], column: target})


def _labelled_only(raster: Raster, labels: Mapping[float, str]) -> Raster:
    values = raster.values.clone()
    known = np.isin(values.numpy(), np.array(list(labels), np.float32))
    values[~known] = float("nan")
    return Raster(values, raster.bounds)
